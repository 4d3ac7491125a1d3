"""A consumer that begins at the end reads only what is added."""
from _helpers import *

worker = Worker()
topic, producer = worker.topic(2), worker.producer()
worker.send(producer, topic, numbered(2, 0, 50))
consumer = worker.consumer(topic, 2, **{"from": "latest"})
worker.nothing_more(consumer)
more = numbered(2, 50, 5)
worker.send(producer, topic, more)
equal(worker.poll(consumer, 10), dict(enumerate(more)))
done()
