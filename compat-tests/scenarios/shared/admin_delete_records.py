"""Records before an offset are deleted; readers begin there."""
from _helpers import *

worker = Worker()
topic, [values] = worker.topic(), numbered(1, 0, 20)
worker.send(worker.producer(), topic, [values])
equal(worker.number("delete_records", topic, 0, 15), 15)
equal([worker.number("offset", topic, 0, end) for end in ("earliest", "latest")], [15, 20])
equal(worker.poll(worker.consumer(topic), 5), {0: values[15:]})
worker.refuses("delete_records", topic, 0, 50)
done()
