"""An explicit partition is obeyed; one that does not exist is refused."""
from _helpers import *

topic = new_topic(partitions=3)
for index in range(3):
    equal([result.partition for result in send_all(topic, [b"x", b"y"], partition=index)], [index, index])
equal([record.partition for record in read_all(topic, 6, partitions=range(3))].count(1), 2)
try:
    producer(max_block_ms=1500).send(topic, b"x", partition=7).get(timeout=10)
except (AssertionError, kafka.errors.KafkaError, ValueError):
    done()
raise AssertionError("partition 7 of 3 was accepted")
