"""A header without a value comes back without one."""
# except: kafka-go: its Reader shows empty values as none
from _helpers import *

worker = Worker()
topic = worker.topic()
worker.write(worker.producer(), topic, 0, "x", headers=[("null", None), ("empty", b"")])
[record] = worker.records(worker.consumer(topic), 1)
equal(record.headers, [("null", None), ("empty", b"")])
done()
