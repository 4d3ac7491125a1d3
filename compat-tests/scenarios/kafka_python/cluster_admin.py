"""The cluster, its topics and their settings, described."""
from _helpers import *
from kafka.admin import ConfigResource, ConfigResourceType

topic = new_topic(partitions=2, **{"retention.ms": "12345"})
client = admin()
cluster = client.describe_cluster()
equal(len(cluster["brokers"]), 1)
[described] = client.describe_topics([topic])
equal(len(described["partitions"]), 2)
[answer] = [client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])] if VERSION >= (3, 0) else \
    client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
assert "12345" in str(answer), answer
done()
