"""A consumer without a group goes on where it was after kill -9 and a new start of the broker."""
# broker: own
from _helpers import *

worker, other = Worker(), Worker()
topic = worker.topic(2)
consumer = worker.consumer(topic, 2)
for first in (0, 50, 100):
    values = numbered(2, first, 50)
    other.send(other.producer(patience_ms=60_000), topic, values)
    equal(worker.poll(consumer, 100), dict(enumerate(values)))
    if first < 100:
        broker("kill")
        broker("start")
worker.nothing_more(consumer)
done()
