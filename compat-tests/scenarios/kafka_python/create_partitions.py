"""create_partitions, and then a producer and a consumer that use the new ones."""
from _helpers import *
from kafka.admin import NewPartitions

client, topic = admin(), new_topic()
send_all(topic, [b"old"], partition=0)
client.create_partitions({topic: NewPartitions(3)})
until(lambda: len(client.describe_topics([topic])[0]["partitions"]) == 3, "three partitions")
for partition in (1, 2):
    send_all(topic, [b"new"] * 5, partition=partition)
equal(len(read_all(topic, 11, partitions=(0, 1, 2))), 11)
for count in (3, 1):
    try:
        client.create_partitions({topic: NewPartitions(count)})
    except kafka.errors.InvalidPartitionsError:
        continue
    raise AssertionError(f"{count} partitions were accepted")
done()
