"""confluent-kafka with patience set for tests."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _common import *  # noqa: F401,F403
from _common import BOOTSTRAP, Member, equal, unique, until

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DIRECTORY = os.path.dirname(os.path.abspath(__file__))


_admin = AdminClient({"bootstrap.servers": BOOTSTRAP})  # its calls fail when it is collected before they end


def admin():
    return _admin


def results(futures):
    """Waits for every future an admin call returned."""
    return {key: future.result(timeout=30) for key, future in futures.items()}


def new_topic(name="topic", partitions=1, **settings):
    topic = unique(name)
    results(admin().create_topics([NewTopic(topic, partitions, 1, config=settings)]))
    return topic


def producer(**settings):
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return Producer({"bootstrap.servers": BOOTSTRAP, "message.timeout.ms": 30000} | named)


def consumer(*topics, **settings):
    named = {name.replace("_", "."): value for name, value in settings.items()}
    defaults = {"group.id": unique("group"), "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
    timeouts = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "topic.metadata.refresh.interval.ms": 1000}
    client = Consumer({"bootstrap.servers": BOOTSTRAP} | defaults | timeouts | named)
    if topics:
        client.subscribe(list(topics))
    return client


def send_all(topic, values, client=None, **message):
    """Sends the values in order and returns the delivered messages; a failed delivery is raised."""
    client, delivered = client or producer(), []
    for value in values:
        client.produce(topic, value, on_delivery=lambda error, message: delivered.append((error, message)), **message)
    client.flush(30)
    equal(len(delivered), len(values))
    for error, _ in delivered:
        if error is not None:
            raise KafkaException(error)
    return [message for _, message in delivered]


def take(client, count):
    messages = []

    def poll():
        for message in client.consume(count - len(messages), timeout=1.0):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
        return len(messages) == count

    until(poll, f"{count} messages", pause_s=0)
    return messages


def read_all(topic, count, partitions=(0,)):
    """Exactly `count` messages of the named partitions, read from their start."""
    client = consumer()
    client.assign([TopicPartition(topic, index, 0) for index in partitions])
    messages = take(client, count)
    ends = [client.get_watermark_offsets(TopicPartition(topic, index), timeout=30)[1] for index in partitions]
    equal(sum(ends), count)
    client.close()
    return messages


def roundtrip(count=500, **settings):
    """What goes in with these producer settings comes out the same, in order."""
    topic = new_topic("roundtrip")
    values = [b"value %06d " % number * (1 + number % 50) for number in range(count)]
    send_all(topic, values, producer(**settings))
    messages = read_all(topic, count)
    equal([message.value() for message in messages], values)
    equal([message.offset() for message in messages], list(range(count)))


def member(topic, group, **settings):
    return Member(DIRECTORY, topic=topic, group=group, **settings)


def committed(group, topic, partition=0):
    client = consumer(group_id=group)
    [stored] = client.committed([TopicPartition(topic, partition)], timeout=30)
    client.close()
    return stored.offset
