"""A record near the default limit of a megabyte, and small ones around it."""
from _helpers import *

worker = Worker()
topic, producer = worker.topic(), worker.producer()
values = ["before", "".join(f"{number:09d}," for number in range(90_000)), "after"]
for value in values:
    worker.write(producer, topic, 0, value)
equal(worker.poll(worker.consumer(topic), 3), {0: values})
done()
