"""A record over the topic's max.message.bytes: the library says so, nothing of it is written, and the producer goes on."""
# except: kafka-python 3.0.12: its idempotent producer answers every later record with the same error
from _helpers import *

worker = Worker()
topic, producer = worker.topic(max_message_bytes=20_000), worker.producer()
worker.write(producer, topic, 0, "before")
worker.ask("send", producer, topic, 0, "x" * 21_000)
equal(worker.refuses("flush", producer).kind, "too_large")
worker.write(producer, topic, 0, "after")
equal(worker.poll(worker.consumer(topic), 2), {0: ["before", "after"]})
done()
