"""The producer's timestamp is kept; without one it is about now."""
import time

from _helpers import *

topic = new_topic()
client = producer()
client.send(topic, b"old", timestamp_ms=1_600_000_000_123).get(timeout=30)
metadata = client.send(topic, b"now").get(timeout=30)
old, now = read_all(topic, 2)
equal((old.timestamp, old.timestamp_type), (1_600_000_000_123, 0))
assert abs(now.timestamp / 1000 - time.time()) < 60, now.timestamp
equal(metadata.timestamp, now.timestamp)
done()
