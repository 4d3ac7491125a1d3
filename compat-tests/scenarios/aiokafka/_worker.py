"""The worker of aiokafka."""
import asyncio
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import MAX_RECORDS, SESSION_TIMEOUT_MS, Stall, serve

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced

BROKER = {"bootstrap_servers": sys.argv[1]}


class Aborted(Exception):
    """Leaves a transaction's block, which aborts it."""


async def open_producer(identity, timeout_ms):
    if identity == "-":
        producer = AIOKafkaProducer(**BROKER, enable_idempotence=True)
    else:
        producer = AIOKafkaProducer(**BROKER, transactional_id=identity, transaction_timeout_ms=int(timeout_ms))
    await producer.start()
    return producer


def open_consumer(*topics, **settings):
    reading = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100}
    return AIOKafkaConsumer(*topics, **BROKER, **reading, **settings)


class Library:
    def __init__(self):
        self.producers, self.consumers, self.sent = {}, {}, {}

    async def topic(self, name, partitions):
        admin = AIOKafkaAdminClient(**BROKER)
        await admin.start()
        await admin.create_topics([NewTopic(name, int(partitions), 1)])
        await admin.close()

    async def producer(self, name, identity, timeout_ms):
        self.producers[name] = await open_producer(identity, timeout_ms)

    async def begin(self, name):
        await self.producers[name].begin_transaction()

    async def commit(self, name):
        await self.producers[name].commit_transaction()

    async def abort(self, name):
        await self.producers[name].abort_transaction()

    async def send(self, name, topic, partition, *values):
        for value in values:
            future = await self.producers[name].send(topic, value.encode(), partition=int(partition))
            self.sent.setdefault(name, []).append(future)

    async def flush(self, name):
        for future in self.sent.pop(name, ()):
            await future

    async def consumer(self, name, topic, partitions, isolation):
        consumer = open_consumer(isolation_level="read_" + isolation)
        await consumer.start()
        consumer.assign([TopicPartition(topic, index) for index in range(int(partitions))])
        self.consumers[name] = consumer

    async def poll(self, name, count, ms):
        records, loop = [], asyncio.get_running_loop()
        deadline = loop.time() + int(ms) / 1000
        while len(records) < int(count) and loop.time() < deadline:
            left = max(int((deadline - loop.time()) * 1000), 0)
            polled = await self.consumers[name].getmany(
                timeout_ms=min(left, 1000), max_records=int(count) - len(records)
            )
            for batch in polled.values():
                records.extend(f"{record.partition}:{record.value.decode()}" for record in batch)
        return records

    async def transform(self, source, target, group, identity, stall):
        stall = Stall(stall)
        session = {"session_timeout_ms": SESSION_TIMEOUT_MS, "heartbeat_interval_ms": 300}
        consumer = open_consumer(source, group_id=group, isolation_level="read_committed", **session)
        await consumer.start()
        producer = await open_producer(identity, 60000)
        try:
            while True:
                batches = await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
                records = [record for batch in batches.values() for record in batch]
                if not records:
                    continue
                try:
                    async with producer.transaction():
                        for record in records:
                            await producer.send(target, record.value + b"!", partition=record.partition)
                        offsets = {partition: batch[-1].offset + 1 for partition, batch in batches.items()}
                        await producer.send_offsets_to_transaction(offsets, group)
                        await producer.flush()
                        values = [record.value.decode() for record in records]
                        if await asyncio.to_thread(stall.asked_to_abort, values):
                            raise Aborted
                    print("committed", len(records), flush=True)
                except Aborted:
                    await rewind(consumer)
        finally:
            await consumer.stop()


async def rewind(consumer):
    for partition in consumer.assignment():
        consumer.seek(partition, await consumer.committed(partition) or 0)


class Blocking:
    """The methods of `library`, each run to its end on a loop that goes on while no command is there."""

    def __init__(self, library):
        self._library, self._loop = library, asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __getattr__(self, command):
        method = getattr(self._library, command)
        return lambda *words: asyncio.run_coroutine_threadsafe(method(*words), self._loop).result()


serve(Blocking(Library()), lambda error: isinstance(error, ProducerFenced))
