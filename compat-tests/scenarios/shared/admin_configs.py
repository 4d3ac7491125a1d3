"""A topic's configs are described and altered one by one."""
# except: rdkafka: its alter_configs calls the refusal of a resource a success
from _helpers import *

worker = Worker()
topic = worker.topic(retention_ms=3_600_000)
config = lambda key: until(lambda: worker.ask("config", topic, key), key)
equal([config("retention.ms"), config("cleanup.policy")], [["3600000"], ["delete"]])
worker.ask("alter", topic, "max.message.bytes", 20_000)
until(lambda: config("max.message.bytes") == ["20000"], "the altered value")
equal(config("retention.ms"), ["3600000"])
producer = worker.producer()
worker.ask("send", producer, topic, 0, "x" * 21_000)
equal(worker.refuses("flush", producer).kind, "too_large")
worker.refuses("alter", topic, "max.message.bytes", "many")
equal(config("max.message.bytes"), ["20000"])
done()
