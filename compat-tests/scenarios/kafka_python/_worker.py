"""The worker of kafka-python."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import MAX_RECORDS, SESSION_TIMEOUT_MS, Stall, serve

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, ProducerFencedError
from kafka.structs import OffsetAndMetadata

BOOTSTRAP = sys.argv[1]


def open_producer(identity, timeout_ms):
    if identity == "-":
        return KafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True)
    settings = {"transactional_id": identity, "transaction_timeout_ms": int(timeout_ms)}
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    producer.init_transactions()
    return producer


def open_consumer(**settings):
    reading = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100}
    return KafkaConsumer(bootstrap_servers=BOOTSTRAP, **reading, **settings)


class Library:
    def __init__(self):
        self.producers, self.consumers, self.sent = {}, {}, {}

    def topic(self, name, partitions):
        admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        admin.create_topics([NewTopic(name, int(partitions), 1)])
        admin.close()

    def producer(self, name, identity, timeout_ms):
        self.producers[name] = open_producer(identity, timeout_ms)

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction()

    def abort(self, name):
        self.producers[name].abort_transaction()

    def send(self, name, topic, partition, *values):
        for value in values:
            future = self.producers[name].send(topic, value.encode(), partition=int(partition))
            self.sent.setdefault(name, []).append(future)

    def flush(self, name):
        self.producers[name].flush()
        for future in self.sent.pop(name, ()):
            future.get(timeout=60)

    def consumer(self, name, topic, partitions, isolation):
        consumer = open_consumer(isolation_level="read_" + isolation)
        partitions = [TopicPartition(topic, index) for index in range(int(partitions))]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        self.consumers[name] = consumer

    def poll(self, name, count, ms):
        records, deadline = [], time.monotonic() + int(ms) / 1000
        while len(records) < int(count) and time.monotonic() < deadline:
            left = max(int((deadline - time.monotonic()) * 1000), 0)
            polled = self.consumers[name].poll(timeout_ms=min(left, 1000), max_records=int(count) - len(records))
            for batch in polled.values():
                records.extend(f"{record.partition}:{record.value.decode()}" for record in batch)
        return records

    def transform(self, source, target, group, identity, stall):
        stall = Stall(stall)
        session = {"session_timeout_ms": SESSION_TIMEOUT_MS, "heartbeat_interval_ms": 300}
        consumer = open_consumer(
            group_id=group, isolation_level="read_committed", max_poll_records=MAX_RECORDS, **session
        )
        consumer.subscribe([source])
        producer = open_producer(identity, 60000)
        try:
            while True:
                batches = consumer.poll(timeout_ms=200)
                if batches:
                    self._transform(consumer, producer, batches, target, stall)
        finally:
            consumer.close()

    def _transform(self, consumer, producer, batches, target, stall):
        records = [record for batch in batches.values() for record in batch]
        try:
            producer.begin_transaction()
            for record in records:
                producer.send(target, record.value + b"!", partition=record.partition)
            offsets = {
                partition: OffsetAndMetadata(batch[-1].offset + 1, "", -1) for partition, batch in batches.items()
            }
            producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
            producer.flush()
            if stall.asked_to_abort([record.value.decode() for record in records]):
                producer.abort_transaction()
                rewind(consumer)
                return
            producer.commit_transaction()
            print("committed", len(records), flush=True)
        except ProducerFencedError:
            raise
        except KafkaError:
            producer.abort_transaction()
            rewind(consumer)


def rewind(consumer):
    for partition in consumer.assignment():
        consumer.seek(partition, consumer.committed(partition) or 0)


# Most calls raise a plain KafkaError that names the cause.
serve(Library(), lambda error: "ProducerFencedError" in repr(error))
