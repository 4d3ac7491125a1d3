"""create_topics and delete_topics, twice under one name, and what is refused."""
from _helpers import *

client, topic = admin(), unique("topic")
for partitions in (3, 2):
    results(client.create_topics([NewTopic(topic, partitions, 1)]))
    until(lambda: len(client.list_topics(topic, timeout=30).topics[topic].partitions) == partitions, "the topic")
    equal([message.offset() for message in send_all(topic, [b"x"], partition=0)], [0])
    results(client.delete_topics([topic]))
    until(lambda: topic not in client.list_topics(timeout=30).topics, "the deletion")


def refused(code, name, partitions=1, replicas=1, settings=None):
    try:
        results(client.create_topics([NewTopic(name, partitions, replicas, config=settings or {})]))
    except KafkaException as refusal:
        equal(refusal.args[0].code(), code)
    else:
        raise AssertionError(f"{name} was accepted")


refused(KafkaError.TOPIC_ALREADY_EXISTS, new_topic())
refused(KafkaError.TOPIC_EXCEPTION, "not/a/topic")
refused(KafkaError.INVALID_PARTITIONS, unique("t"), partitions=0)
refused(KafkaError.INVALID_REPLICATION_FACTOR, unique("t"), replicas=3)
refused(KafkaError.INVALID_CONFIG, unique("t"), settings={"retention.ms": "soon"})
done()
