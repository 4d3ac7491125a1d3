"""What the worker of aiokafka asks and changes. Its admin client hands most of the broker's answers on as they are."""
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from _serve import Unsupported, encoded, parted

BROKER = {"bootstrap_servers": sys.argv[1]}
SET_FOR_THE_TOPIC = 1  # a config's source


def check(code, message=None):
    if code:
        raise for_code(code)(message)


class Admin:
    def __init__(self):
        self._admin = self._lookup = None

    async def _client(self):
        if self._admin is None:
            admin = AIOKafkaAdminClient(**BROKER)
            await admin.start()
            self._admin = admin
        return self._admin

    async def _consumer(self):
        if self._lookup is None:
            lookup = AIOKafkaConsumer(**BROKER)
            await lookup.start()
            self._lookup = lookup
        return self._lookup

    async def topic(self, name, partitions, *words):
        configs, _ = parted(words)
        answer = await (await self._client()).create_topics([NewTopic(name, int(partitions), 1, topic_configs=configs)])
        for _, code, *message in answer.topic_errors:
            check(code, *message)

    async def topics(self):
        return await (await self._client()).list_topics()

    async def partitions(self, topic):
        [described] = await (await self._client()).describe_topics([topic])
        return [len(described["partitions"])]

    async def grow(self, topic, partitions):
        await (await self._client()).create_partitions({topic: NewPartitions(int(partitions))})

    async def delete_topic(self, topic):
        answer = await (await self._client()).delete_topics([topic])
        for _, code in answer.topic_error_codes:
            check(code)

    async def offset(self, topic, partition, wanted):
        partition, consumer = TopicPartition(topic, int(partition)), await self._consumer()
        if wanted == "earliest":
            return [(await consumer.beginning_offsets([partition]))[partition]]
        if wanted == "latest":
            return [(await consumer.end_offsets([partition]))[partition]]
        found = (await consumer.offsets_for_times({partition: int(wanted)}))[partition]
        return ["-" if found is None else found.offset]

    async def _configs(self, topic):
        """Value and source of each config by its name."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await (await self._client()).describe_configs([resource])
        [(code, message, _, _, configs)] = answer.resources
        check(code, message)
        return {name: (value, source) for name, value, _, source, *_ in configs}

    async def config(self, topic, key):
        return [encoded((await self._configs(topic))[key][0])]

    async def alter(self, topic, key, value):
        # It replaces all configs at once.
        kept = {name: value for name, (value, source) in (await self._configs(topic)).items() if source == SET_FOR_THE_TOPIC}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, kept | {key: value})
        [answer] = await (await self._client()).alter_configs([resource])
        for code, message, *_ in answer.resources:
            check(code, message)

    async def delete_records(self, topic, partition, offset):
        partition = TopicPartition(topic, int(partition))
        deleted = await (await self._client()).delete_records({partition: RecordsToDelete(int(offset))})
        return [deleted[partition]]

    async def groups(self):
        return [group[0] for group in await (await self._client()).list_consumer_groups()]

    async def group(self, name):
        [answer] = await (await self._client()).describe_consumer_groups([name])
        [(code, _, state, _, _, members, *_)] = answer.groups
        check(code)
        return [state, len(members)]

    async def delete_group(self, name):
        raise Unsupported("its admin client does not delete groups")
