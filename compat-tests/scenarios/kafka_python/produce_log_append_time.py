"""A topic with LogAppendTime: the broker's clock replaces the producer's timestamp."""
import time

from _helpers import *

topic = new_topic(**{"message.timestamp.type": "LogAppendTime"})
metadata = producer().send(topic, b"x", timestamp_ms=1_600_000_000_000).get(timeout=30)
[record] = read_all(topic, 1)
equal(record.timestamp_type, 1)
assert abs(record.timestamp / 1000 - time.time()) < 60, record.timestamp
equal(metadata.timestamp, record.timestamp)
done()
