"""beginning_offsets and end_offsets of several partitions."""
from _helpers import *

topic = new_topic(partitions=2)
send_all(topic, [b"x"] * 7, partition=1)
partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
equal(consumer().beginning_offsets(partitions), dict(zip(partitions, (0, 0))))
equal(consumer().end_offsets(partitions), dict(zip(partitions, (0, 7))))
done()
