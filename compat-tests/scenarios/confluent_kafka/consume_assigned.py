"""assign() without a group protocol, end of partition reported, empty partitions silent."""
from _helpers import *

topic = new_topic(partitions=3)
send_all(topic, [b"a", b"b"], partition=1)
reader = consumer(enable_partition_eof=True)
reader.assign([TopicPartition(topic, index, 0) for index in range(3)])
values, ends = [], {}


def poll():
    message = reader.poll(1.0)
    if message and message.error():
        equal(message.error().code(), KafkaError._PARTITION_EOF)
        ends[message.partition()] = message.offset()
    elif message:
        values.append(message.value())
    return len(ends) == 3


until(poll, "three ends", pause_s=0)
equal((values, ends), ([b"a", b"b"], {0: 0, 1: 2, 2: 0}))
done()
