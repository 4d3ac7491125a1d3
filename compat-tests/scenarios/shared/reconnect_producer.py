"""A producer goes on after kill -9 and a new start of the broker; what was acknowledged is there."""
# broker: own
from _helpers import *

worker = Worker()
topic, producer = worker.topic(2), worker.producer(patience_ms=60_000)
for first in (0, 100):
    worker.send(producer, topic, numbered(2, first, 100))
    broker("kill")
    broker("start")
worker.send(producer, topic, numbered(2, 200, 100))
found = worker.poll(worker.consumer(topic, 2), 600)
equal([found[index] for index in range(2)], numbered(2, 0, 300))
done()
