"""What the worker of confluent-kafka asks and changes."""
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from _serve import Unsupported, encoded, parted

BROKER = {"bootstrap.servers": sys.argv[1]}
PATIENCE_S = 30
NOT_LED = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
DYNAMIC_TOPIC_CONFIG = 1  # a config's source


def result(futures):
    """Of a call for one thing, for which there is one future."""
    [future] = futures.values()
    return future.result(timeout=PATIENCE_S)


def once_led(call):
    """Calls until a topic that was just made has a leader which knows it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except KafkaException as error:
            if error.args[0].code() not in NOT_LED or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Admin:
    def __init__(self):
        self._client = AdminClient(BROKER)
        self._lookup = Consumer(BROKER | {"group.id": "lookup"})

    def topic(self, name, partitions, *words):
        configs, _ = parted(words)
        result(self._client.create_topics([NewTopic(name, int(partitions), 1, config=configs)]))

    def topics(self):
        return list(self._client.list_topics(timeout=PATIENCE_S).topics)

    def partitions(self, topic):
        return [len(self._client.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)]

    def grow(self, topic, partitions):
        result(self._client.create_partitions([NewPartitions(topic, int(partitions))]))

    def delete_topic(self, topic):
        result(self._client.delete_topics([topic]))

    def offset(self, topic, partition, wanted):
        partition = int(partition)
        if wanted in ("earliest", "latest"):
            asked = TopicPartition(topic, partition)
            ends = once_led(lambda: self._lookup.get_watermark_offsets(asked, timeout=PATIENCE_S))
            return [ends[wanted == "latest"]]
        asked = [TopicPartition(topic, partition, int(wanted))]
        [found] = self._lookup.offsets_for_times(asked, timeout=PATIENCE_S)
        if found.error:
            raise KafkaException(found.error)
        return ["-" if found.offset < 0 else found.offset]

    def _configs(self, topic):
        return result(self._client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))

    def config(self, topic, key):
        return [encoded(self._configs(topic)[key].value)]

    def alter(self, topic, key, value):
        if hasattr(self._client, "incremental_alter_configs"):
            from confluent_kafka.admin import AlterConfigOpType, ConfigEntry

            entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
            result(self._client.incremental_alter_configs([resource]))
        else:  # all configs at once
            kept = {name: entry.value for name, entry in self._configs(topic).items() if entry.source == DYNAMIC_TOPIC_CONFIG}
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config=kept | {key: value})
            result(self._client.alter_configs([resource]))

    def delete_records(self, topic, partition, offset):
        if not hasattr(self._client, "delete_records"):
            raise Unsupported("its admin client does not delete records")
        deleted = result(self._client.delete_records([TopicPartition(topic, int(partition), int(offset))]))
        return [deleted.low_watermark]

    def groups(self):
        return [group.id for group in self._client.list_groups(timeout=PATIENCE_S)]

    def group(self, name):
        [described] = self._client.list_groups(name, timeout=PATIENCE_S)
        return [described.state, len(described.members)]

    def delete_group(self, name):
        if not hasattr(self._client, "delete_consumer_groups"):
            raise Unsupported("its admin client does not delete groups")
        result(self._client.delete_consumer_groups([name]))
