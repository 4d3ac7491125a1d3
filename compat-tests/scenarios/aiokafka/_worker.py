"""The worker of aiokafka."""
import asyncio
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import SESSION_TIMEOUT_MS, decoded, described, headers, kinds, parted, serve

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from _admin import BROKER, Admin
from _transform import transform

KINDS = {
    "fenced": ("ProducerFenced",),
    "too_large": ("MessageSizeTooLargeError",),
    "unknown_topic": ("UnknownTopicOrPartitionError", "Unrecognized partition"),
    "topic_exists": ("TopicAlreadyExistsError",),
    "stale_member": ("CommitFailedError", "IllegalGeneration", "UnknownMemberId", "RebalanceInProgress"),
}


async def open_producer(id=None, transaction_timeout_ms=60000, idempotence=None, acks=None, codec="none", patience_ms=30000):
    settings = {"compression_type": None if codec == "none" else codec, "request_timeout_ms": int(patience_ms)}
    if acks is not None:
        settings["acks"] = acks if acks == "all" else int(acks)
    if id:
        settings |= {"transactional_id": id, "transaction_timeout_ms": int(transaction_timeout_ms)}
    producer = AIOKafkaProducer(**BROKER, **settings, enable_idempotence=bool(idempotence or id))
    await producer.start()
    return producer


def open_consumer(*topics, isolation="uncommitted", **settings):
    reading = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100}
    return AIOKafkaConsumer(*topics, **BROKER, **reading, isolation_level="read_" + isolation, **settings)


class Library(Admin):
    def __init__(self):
        super().__init__()
        # Of each consumer: its topic, and behind what it has answered with.
        self.producers, self.consumers, self.sent, self.topic_of, self.read = {}, {}, {}, {}, {}

    async def producer(self, name, *words):
        self.producers[name] = await open_producer(**parted(words)[0])

    async def begin(self, name):
        await self.producers[name].begin_transaction()

    async def commit(self, name):
        await self.producers[name].commit_transaction()

    async def abort(self, name):
        await self.producers[name].abort_transaction()

    async def send(self, name, topic, partition, *words):
        options, values = parted(words)
        settings = {"headers": headers(words), "key": decoded(options.get("key", "-"))}
        if partition != "-":
            settings["partition"] = int(partition)
        if "timestamp" in options:
            settings["timestamp_ms"] = int(options["timestamp"])
        for value in values:
            future = await self.producers[name].send(topic, decoded(value), **settings)
            self.sent.setdefault(name, []).append(future)

    async def flush(self, name):
        for future in self.sent.pop(name, ()):
            await future

    async def consumer(self, name, topic, partitions, *words):
        options, _ = parted(words)
        begin = options.pop("from", "earliest")
        consumer = open_consumer(**options)
        await consumer.start()
        partitions = [TopicPartition(topic, index) for index in range(int(partitions))]
        consumer.assign(partitions)
        if begin == "latest":
            await consumer.seek_to_end(*partitions)
        self.consumers[name], self.topic_of[name], self.read[name] = consumer, topic, {}

    async def member(self, name, group, topic, *words):
        options, _ = parted(words)
        settings = {"session_timeout_ms": int(options.get("session_timeout_ms", 6000)), "heartbeat_interval_ms": 300}
        consumer = open_consumer(
            topic, group_id=group, group_instance_id=options.get("instance"), metadata_max_age_ms=1000, **settings
        )
        await consumer.start()
        self.consumers[name], self.topic_of[name], self.read[name] = consumer, topic, {}

    async def _take(self, name, count, ms):
        records, loop = [], asyncio.get_running_loop()
        deadline = loop.time() + int(ms) / 1000
        while True:
            left = max(int((deadline - loop.time()) * 1000), 0)
            asked = int(count) - len(records)
            polled = await self.consumers[name].getmany(timeout_ms=min(left, 1000), max_records=asked)
            for partition, batch in polled.items():
                records.extend(batch)
                self.read[name][partition] = batch[-1].offset + 1
            if len(records) >= int(count) or loop.time() >= deadline:
                return records

    async def poll(self, name, count, ms):
        return [described(record.partition, record.value) for record in await self._take(name, count, ms)]

    async def records(self, name, count, ms):
        return [
            described(record.partition, record.value, record.offset, record.timestamp, record.key, record.headers)
            for record in await self._take(name, count, ms)
        ]

    async def assignment(self, name):
        return sorted(partition.partition for partition in self.consumers[name].assignment())

    async def position(self, name, partition):
        return [await self.consumers[name].position(TopicPartition(self.topic_of[name], int(partition)))]

    async def seek(self, name, partition, offset):
        consumer, partition = self.consumers[name], TopicPartition(self.topic_of[name], int(partition))
        if offset == "earliest":
            await consumer.seek_to_beginning(partition)
        elif offset == "latest":
            await consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, int(offset))

    async def commit_offsets(self, name):
        await self.consumers[name].commit(dict(self.read[name]))

    async def committed(self, name, partition):
        offset = await self.consumers[name].committed(TopicPartition(self.topic_of[name], int(partition)))
        return ["-" if offset is None else offset]

    async def close(self, name):
        await (self.producers.pop(name, None) or self.consumers.pop(name)).stop()

    async def transform(self, source, target, group, identity, stall):
        session = {"session_timeout_ms": SESSION_TIMEOUT_MS, "heartbeat_interval_ms": 300}
        consumer = open_consumer(source, isolation="committed", group_id=group, **session)
        await consumer.start()
        await transform(consumer, await open_producer(id=identity), target, group, stall)


class Blocking:
    """The methods of `library`, each run to its end on a loop that goes on while no command is there."""

    def __init__(self, library):
        self._library, self._loop = library, asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __getattr__(self, command):
        method = getattr(self._library, command)
        return lambda *words: asyncio.run_coroutine_threadsafe(method(*words), self._loop).result()


serve(Blocking(Library()), lambda error: kinds(KINDS, repr(error)))
