"""Producing to a topic that is not there, on a broker that makes none by itself, is an error, and the topic is not made."""
# broker: own auto.create.topics.enable=false
from _helpers import *

worker, topic = Worker(), unique("missing")
producer = worker.producer(patience_ms=4000)
try:
    worker.ask("send", producer, topic, 0, "x")
    kind = worker.refuses("flush", producer).kind
except Refused as error:
    kind = error.kind
assert kind in ("unknown_topic", "other"), kind  # some libraries only say that their time is over
assert topic not in worker.ask("topics")
there = worker.topic()
worker.write(producer, there, 0, "x")
equal(worker.poll(worker.consumer(there), 1), {0: ["x"]})
done()
