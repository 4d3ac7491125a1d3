"""A topic with LogAppendTime: the broker's clock replaces the producer's timestamp."""
import time

from _helpers import *

topic = new_topic(**{"message.timestamp.type": "LogAppendTime"})
send_all(topic, [b"x"], timestamp=1_600_000_000_000)
[message] = read_all(topic, 1)
kind, timestamp = message.timestamp()
equal(kind, confluent_kafka.TIMESTAMP_LOG_APPEND_TIME)
assert abs(timestamp / 1000 - time.time()) < 60, timestamp
done()
