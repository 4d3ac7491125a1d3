"""Partitions without records beside one with records disturb nobody."""
from _helpers import *

topic = new_topic(partitions=5)
send_all(topic, [b"x"], partition=3)
reader = consumer(topic)
take(reader, 1)
equal(reader.poll(timeout_ms=700), {})
send_all(topic, [b"y"], partition=4)
equal([record.value for record in take(reader, 1)], [b"y"])
done()
