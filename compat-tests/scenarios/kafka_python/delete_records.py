"""delete_records: the start of the partition moves, and a consumer that asks for the earliest begins there."""
# only: kafka-python >= 2.3
from _helpers import *

client, topic = admin(), new_topic(partitions=2)
send_all(topic, [b"%d" % number for number in range(10)], partition=0)
partition = TopicPartition(topic, 0)
client.delete_records({partition: 6})
equal(consumer().beginning_offsets([partition]), {partition: 6})
equal(consumer().end_offsets([partition]), {partition: 10})
reader = consumer()
reader.assign([partition])
equal([record.value for record in take(reader, 4)], [b"6", b"7", b"8", b"9"])
client.delete_records({partition: -1})
equal(consumer().beginning_offsets([partition]), {partition: 10})
equal([result.offset for result in send_all(topic, [b"new"], partition=0)], [10])
try:
    client.delete_records({partition: 99})
except kafka.errors.OffsetOutOfRangeError:
    done()
raise AssertionError("an offset above the end was accepted")
