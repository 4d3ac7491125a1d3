"""A consumer goes back, forth, and to both ends of a partition."""
from _helpers import *

worker = Worker()
topic, producer, [values] = worker.topic(), worker.producer(), numbered(1, 0, 100)
worker.send(producer, topic, [values])
consumer = worker.consumer(topic)
equal(worker.poll(consumer, 30), {0: values[:30]})
equal(worker.number("position", consumer, 0), 30)
for offset in (10, 90, 0):
    worker.ask("seek", consumer, 0, offset)
    equal(worker.number("position", consumer, 0), offset)
    equal(worker.poll(consumer, 5), {0: values[offset : offset + 5]})
worker.ask("seek", consumer, 0, "latest")
worker.nothing_more(consumer)
worker.write(producer, topic, 0, "last")
equal(worker.poll(consumer, 1), {0: ["last"]})
worker.ask("seek", consumer, 0, "earliest")
equal(worker.poll(consumer, 101), {0: [*values, "last"]})
done()
