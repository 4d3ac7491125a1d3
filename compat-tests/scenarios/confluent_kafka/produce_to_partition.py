"""An explicit partition is obeyed; one that does not exist is refused."""
from _helpers import *

topic = new_topic(partitions=3)
for index in range(3):
    equal([message.partition() for message in send_all(topic, [b"x", b"y"], partition=index)], [index, index])
try:
    send_all(topic, [b"x"], partition=7)
    raise AssertionError("partition 7 of 3 was accepted")
except KafkaException as refusal:
    equal(refusal.args[0].code(), KafkaError._UNKNOWN_PARTITION)
done()
