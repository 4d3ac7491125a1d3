"""create_topics refuses what exists, bad names, bad counts and bad settings, each with its own error."""
from _helpers import *

client, topic = admin(), new_topic()


def refused(error, name, partitions=1, replicas=1, settings=None):
    try:
        client.create_topics([NewTopic(name, partitions, replicas, topic_configs=settings or {})])
    except error:
        return
    raise AssertionError(f"not refused with {error.__name__}")


refused(kafka.errors.TopicAlreadyExistsError, topic)
refused(kafka.errors.InvalidTopicError, "not/a/topic")
refused(kafka.errors.InvalidTopicError, "x" * 250)
refused(kafka.errors.InvalidPartitionsError, unique("t"), partitions=0)
refused(kafka.errors.InvalidReplicationFactorError, unique("t"), replicas=3)
refused(kafka.errors.InvalidConfigurationError, unique("t"), settings={"retention.ms": "soon"})
refused(kafka.errors.InvalidConfigurationError, unique("t"), settings={"no.such.setting": "1"})
done()
