"""A topic with CreateTime keeps the timestamps that the client gave, in whatever order; without one it is the client's clock."""
from _helpers import *

worker = Worker()
topic, producer = worker.topic(), worker.producer()
given = [1_600_000_000_000, 1_700_000_000_123, 1_500_000_000_999]
for timestamp in given:
    worker.write(producer, topic, 0, "x", timestamp=timestamp)
before = int(time.time() * 1000)
worker.write(producer, topic, 0, "now")
after = int(time.time() * 1000)
*kept, clock = [record.timestamp for record in worker.records(worker.consumer(topic), 4)]
equal(kept, given)
assert before <= clock <= after, (before, clock, after)
done()
