"""Producing to a partition that the topic does not have is an error, and the producer goes on."""
# except: kafkajs: it leaves out what is meant for a partition that it does not know, and calls that a success
from _helpers import *

worker = Worker()
topic, producer = worker.topic(2), worker.producer(patience_ms=4000)
try:
    worker.ask("send", producer, topic, 7, "x")
    kind = worker.refuses("flush", producer).kind
except Refused as error:
    kind = error.kind
assert kind in ("unknown_topic", "other"), kind
equal(worker.number("partitions", topic), 2)
worker.write(producer, topic, 1, "x")
equal(worker.poll(worker.consumer(topic, 2), 1), {1: ["x"]})
done()
