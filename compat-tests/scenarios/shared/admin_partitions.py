"""A topic gets more partitions, which take records; fewer are refused."""
from _helpers import *

worker = Worker()
topic = worker.topic(2)
worker.ask("grow", topic, 5)
until(lambda: worker.number("partitions", topic) == 5, "five partitions")
values = numbered(5, 0, 10)
worker.send(worker.producer(), topic, values)
equal(worker.poll(worker.consumer(topic, 5), 50), dict(enumerate(values)))
worker.refuses("grow", topic, 3)
equal(worker.number("partitions", topic), 5)
done()
