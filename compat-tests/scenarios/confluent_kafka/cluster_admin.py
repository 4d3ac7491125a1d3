"""Cluster, topics, settings and groups as AdminClient and list_topics show them."""
from _helpers import *
from confluent_kafka.admin import ConfigResource

topic, group, client = new_topic(partitions=2, **{"retention.ms": "12345"}), unique("group"), admin()
metadata = client.list_topics(timeout=30)
equal((len(metadata.brokers), len(metadata.topics[topic].partitions)), (1, 2))
resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
equal(results(client.describe_configs([resource]))[resource]["retention.ms"].value, "12345")
reader = member(topic, group)
until(lambda: reader.owns(2), "a stable group")
if confluent_kafka.version()[0] < "2.1":
    [listed] = client.list_groups(group, timeout=30)
    equal((listed.state, len(listed.members)), ("Stable", 1))
else:
    assert group in [found.group_id for found in client.list_consumer_groups().result(timeout=30).valid]
    described = results(client.describe_consumer_groups([group]))[group]
    equal((described.state.name, len(described.members)), ("STABLE", 1))
    cluster = client.describe_cluster().result(timeout=30)
    equal(len(cluster.nodes), 1)
reader.leave()
done()
