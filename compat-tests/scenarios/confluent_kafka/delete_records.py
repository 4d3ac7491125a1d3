"""delete_records: the start of the partition moves, and a consumer that asks for the earliest begins there."""
# only: confluent-kafka >= 2.16
from _helpers import *

client, topic = admin(), new_topic()
send_all(topic, [b"%d" % number for number in range(10)], partition=0)


def delete(offset):
    [deleted] = results(client.delete_records([TopicPartition(topic, 0, offset)])).values()
    return deleted.low_watermark


equal(delete(6), 6)
reader = consumer()
equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30), (6, 10))
reader.assign([TopicPartition(topic, 0, 0)])  # out of range: starts at the earliest
equal([message.value() for message in take(reader, 4)], [b"6", b"7", b"8", b"9"])
equal(delete(-1), 10)
equal([message.offset() for message in send_all(topic, [b"new"], partition=0)], [10])
try:
    delete(99)
except KafkaException as refusal:
    equal(refusal.args[0].code(), KafkaError.OFFSET_OUT_OF_RANGE)
    done()
raise AssertionError("an offset above the end was accepted")
