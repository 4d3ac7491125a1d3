"""A topic with LogAppendTime has the broker's clock as timestamps, whatever the client gave."""
# except: kafka-go: its Reader knows only the producer's timestamps
from _helpers import *

worker = Worker()
topic, producer = worker.topic(message_timestamp_type="LogAppendTime"), worker.producer()
before = int(time.time() * 1000)
worker.write(producer, topic, 0, "a", "b", timestamp=1_600_000_000_000)
after = int(time.time() * 1000)
for record in worker.records(worker.consumer(topic), 2):
    assert before <= record.timestamp <= after, (before, record, after)
done()
