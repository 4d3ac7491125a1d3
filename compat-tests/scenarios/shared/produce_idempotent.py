"""An idempotent producer's records are there once and in order, over many batches and two partitions."""
from _helpers import *

worker = Worker()
topic, values = worker.topic(2), numbered(2, 0, 1000)
producer = worker.producer(idempotence="on")
for first in range(0, 1000, 250):
    worker.send(producer, topic, [part[first : first + 250] for part in values])
equal(worker.poll(worker.consumer(topic, 2), 2000), dict(enumerate(values)))
equal([worker.number("offset", topic, index, "latest") for index in range(2)], [1000, 1000])
done()
