"""A group's offsets are listed and altered; groups are deleted, but not while they have members."""
# only: confluent-kafka >= 2.0
from _helpers import *
from confluent_kafka import ConsumerGroupTopicPartitions

topic, group, client = new_topic(), unique("group"), admin()


def offset():
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    return results(client.list_consumer_group_offsets([asked]))[group].topic_partitions[0].offset


def delete(name):
    try:
        results(client.delete_consumer_groups([name]))
    except KafkaException as refusal:
        return refusal.args[0].code()
    return 0


send_all(topic, [b"x"] * 5)
reader = member(topic, group)
until(lambda: reader.owns(1) and len(reader.values) == 5, "a group that has read")
equal(delete(group), KafkaError.NON_EMPTY_GROUP)
until(lambda: offset() == 5, "the commit")
reader.leave()
wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 2)])
until(lambda: results(client.alter_consumer_group_offsets([wanted]))[group].topic_partitions[0].error is None, "the change")
equal(offset(), 2)
equal(delete(group), 0)
equal(offset(), -1001)
equal(delete(unique("stranger")), KafkaError.GROUP_ID_NOT_FOUND)
done()
