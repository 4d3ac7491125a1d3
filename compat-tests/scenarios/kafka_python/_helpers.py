"""kafka-python with patience set for tests, and the few calls that differ between its versions."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _common import *  # noqa: F401,F403
from _common import BOOTSTRAP, Member, equal, unique, until

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

VERSION = tuple(int(part) for part in kafka.__version__.split(".")[:2])
DIRECTORY = os.path.dirname(os.path.abspath(__file__))


def admin():
    return KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def new_topic(name="topic", partitions=1, **settings):
    """Makes a topic that nobody else uses and returns its name."""
    topic = unique(name)
    client = admin()
    client.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
    client.close()
    return topic


def forget(topic):
    """Deletes what an earlier tutorial left behind, where the broker is not a fresh one."""
    client = admin()
    while topic in client.list_topics():
        try:
            client.delete_topics([topic])
        except kafka.errors.UnknownTopicOrPartitionError:
            pass
    client.close()


def producer(**settings):
    settings.setdefault("max_block_ms", 30000)
    return KafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)


def consumer(*topics, **settings):
    settings.setdefault("auto_offset_reset", "earliest")
    settings.setdefault("fetch_max_wait_ms", 100)
    if settings.get("group_id"):
        settings.setdefault("session_timeout_ms", 6000)
        settings.setdefault("heartbeat_interval_ms", 300)
    return KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, **settings)


def send_all(topic, values, partition=None, **settings):
    """Sends the values (bytes) in order and returns what the broker answered for each."""
    client = producer(**settings)
    futures = [client.send(topic, value, partition=partition) for value in values]
    client.flush()
    results = [future.get(timeout=30) for future in futures]
    client.close()
    return results


def take(client, count):
    """The next `count` records of a consumer, and a proof that no more are there is left to the caller."""
    records = []

    def poll():
        for batch in client.poll(timeout_ms=1000).values():
            records.extend(batch)
        return len(records) >= count

    until(poll, f"{count} records", pause_s=0)
    equal(len(records), count)
    return records


def read_all(topic, count, partitions=(0,)):
    """Exactly `count` records of the named partitions, read from their start without a group."""
    client = consumer()
    assigned = [TopicPartition(topic, index) for index in partitions]
    client.assign(assigned)
    records = take(client, count)
    equal(sum(client.end_offsets(assigned).values()), count)
    client.close()
    return records


def roundtrip(count=500, **settings):
    """What goes in with these producer settings comes out the same, in order."""
    topic = new_topic("roundtrip")
    values = [b"value %06d " % number * (1 + number % 50) for number in range(count)]
    send_all(topic, values, **settings)
    records = read_all(topic, count)
    equal([record.value for record in records], values)
    equal([record.offset for record in records], list(range(count)))
    return topic


def member(topic, group, **settings):
    return Member(DIRECTORY, topic=topic, group=group, **settings)


def committed(group, topic, partition=0):
    client = consumer(group_id=group)
    offset = client.committed(TopicPartition(topic, partition))
    client.close()
    return offset


def groups():
    client = admin()
    listed = client.list_groups() if hasattr(client, "list_groups") else client.list_consumer_groups()
    client.close()
    return [group["group_id"] if isinstance(group, dict) else group[0] for group in listed]


def setting(kind, name, key):
    """The value of one setting of a resource, whatever shape the version answers with."""
    from kafka.admin import ConfigResource

    client = admin()

    def ask():
        """A tuple of the value, or nothing: Apache Kafka may answer a moment too early that a new topic is unknown."""
        if VERSION >= (3, 0):
            answer = client.describe_configs([ConfigResource(kind, name, {key: None})], config_filter="all")
            return [(found[key]["value"],) for names in answer.values() for found in names.values() if key in found]
        [answer] = client.describe_configs([ConfigResource(kind, name, {key: None})])
        return [(found[1],) for _, _, _, _, settings in answer.resources for found in settings if found[0] == key]

    [(value,)] = until(ask, f"{key} of {name}")
    client.close()
    return value
