"""What the worker of kafka-python asks and changes; the calls' names and answers differ between the versions."""
import sys

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import for_code

from _serve import Unsupported, encoded, parted

BOOTSTRAP = sys.argv[1]
SET_FOR_THE_TOPIC = 1  # a config's source


class Admin:
    def __init__(self):
        self._admin = self._lookup = None

    def _client(self):
        self._admin = self._admin or KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        return self._admin

    def _consumer(self):
        self._lookup = self._lookup or KafkaConsumer(bootstrap_servers=BOOTSTRAP)
        return self._lookup

    def topic(self, name, partitions, *words):
        configs, _ = parted(words)
        self._client().create_topics([NewTopic(name, int(partitions), 1, topic_configs=configs)])

    def topics(self):
        return self._client().list_topics()

    def partitions(self, topic):
        return [len(self._client().describe_topics([topic])[0]["partitions"])]

    def grow(self, topic, partitions):
        self._client().create_partitions({topic: NewPartitions(int(partitions))})

    def delete_topic(self, topic):
        self._client().delete_topics([topic])

    def offset(self, topic, partition, wanted):
        partition, consumer = TopicPartition(topic, int(partition)), self._consumer()
        if wanted == "earliest":
            return [consumer.beginning_offsets([partition])[partition]]
        if wanted == "latest":
            return [consumer.end_offsets([partition])[partition]]
        found = consumer.offsets_for_times({partition: int(wanted)})[partition]
        return ["-" if found is None else found.offset]

    def config(self, topic, key):
        return [encoded(self._configs(topic)[key][0])]

    def _configs(self, topic):
        """Value and source of each config by its name."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        if not hasattr(KafkaAdminClient, "describe_consumer_groups"):  # 3.0 and later
            answer = self._client().describe_configs([resource], config_filter="all")
            [configs] = [configs for names in answer.values() for configs in names.values()]
            return {name: (config["value"], config["config_source"]) for name, config in configs.items()}
        [answer] = self._client().describe_configs([resource])
        [(code, message, _, _, configs)] = answer.resources
        if code:
            raise for_code(code)(message)
        return {name: (value, source) for name, value, _, source, *_ in configs}

    def alter(self, topic, key, value):
        kept = {}
        if hasattr(KafkaAdminClient, "describe_consumer_groups"):  # they replace all configs at once
            kept = {name: value for name, (value, source) in self._configs(topic).items() if source == SET_FOR_THE_TOPIC}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, kept | {key: value})
        answer = self._client().alter_configs([resource])
        if isinstance(answer, dict):  # 3.0 and later
            if answer["topic"][topic] != "OK":
                raise RuntimeError(answer["topic"][topic])
            return
        for response in answer if isinstance(answer, list) else [answer]:
            for code, message, *_ in response.resources:
                if code:
                    raise for_code(code)(message)

    def delete_records(self, topic, partition, offset):
        if not hasattr(KafkaAdminClient, "delete_records"):
            raise Unsupported("its admin client does not delete records")
        partition = TopicPartition(topic, int(partition))
        self._client().delete_records({partition: int(offset)})
        return [self._consumer().beginning_offsets([partition])[partition]]

    def groups(self):
        client = self._client()
        listed = client.list_groups() if hasattr(client, "list_groups") else client.list_consumer_groups()
        return [group["group_id"] if isinstance(group, dict) else group[0] for group in listed]

    def group(self, name):
        client = self._client()
        if hasattr(client, "describe_groups"):
            described = client.describe_groups([name])[name]
            return [described["group_state"], len(described["members"])]
        [described] = client.describe_consumer_groups([name])
        return [described.state, len(described.members)]

    def delete_group(self, name):
        client = self._client()
        delete = client.delete_groups if hasattr(client, "delete_groups") else client.delete_consumer_groups
        answer = delete([name])
        [(_, error)] = answer.items() if isinstance(answer, dict) else answer
        # A class, an instance or its name, as the version likes it.
        named = error if isinstance(error, str) else getattr(error, "__name__", type(error).__name__)
        if named not in ("NoError", "OK", "NoneType"):
            raise RuntimeError(named)
