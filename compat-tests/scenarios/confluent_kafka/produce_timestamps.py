"""The producer's timestamp is kept; without one it is about now."""
import time

from _helpers import *

topic = new_topic()
send_all(topic, [b"old"], timestamp=1_600_000_000_123)
send_all(topic, [b"now"])
old, now = read_all(topic, 2)
equal(old.timestamp(), (confluent_kafka.TIMESTAMP_CREATE_TIME, 1_600_000_000_123))
assert abs(now.timestamp()[1] / 1000 - time.time()) < 60, now.timestamp()
done()
