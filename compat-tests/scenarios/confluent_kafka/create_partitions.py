"""create_partitions, and then a producer and a consumer that use the new ones."""
from _helpers import *
from confluent_kafka.admin import NewPartitions

client, topic = admin(), new_topic()
send_all(topic, [b"old"], partition=0)
results(client.create_partitions([NewPartitions(topic, 3)]))
until(lambda: len(client.list_topics(topic, timeout=30).topics[topic].partitions) == 3, "three partitions")
for partition in (1, 2):
    send_all(topic, [b"new"] * 5, partition=partition)
read_all(topic, 11, partitions=(0, 1, 2))
for count in (3, 1):
    try:
        results(client.create_partitions([NewPartitions(topic, count)]))
    except KafkaException as refusal:
        equal(refusal.args[0].code(), KafkaError.INVALID_PARTITIONS)
    else:
        raise AssertionError(f"{count} partitions were accepted")
done()
