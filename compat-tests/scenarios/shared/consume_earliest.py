"""A consumer without a group reads all partitions from their start, each in order, and then what is added."""
from _helpers import *

worker = Worker()
topic, producer, values = worker.topic(3), worker.producer(), numbered(3, 0, 200)
worker.send(producer, topic, values)
consumer = worker.consumer(topic, 3, **{"from": "earliest"})
equal(worker.poll(consumer, 600), dict(enumerate(values)))
worker.nothing_more(consumer)
more = numbered(3, 200, 5)
worker.send(producer, topic, more)
equal(worker.poll(consumer, 15), dict(enumerate(more)))
equal([worker.number("position", consumer, index) for index in range(3)], [205] * 3)
done()
