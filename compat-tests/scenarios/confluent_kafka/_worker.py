"""The worker of confluent-kafka."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import MAX_RECORDS, SESSION_TIMEOUT_MS, Stall, serve

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER = {"bootstrap.servers": sys.argv[1]}
FENCED = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED}


def fenced(error):
    return isinstance(error, KafkaException) and error.args[0].code() in FENCED


def open_producer(identity, timeout_ms):
    if identity == "-":
        return Producer(BROKER | {"enable.idempotence": True, "linger.ms": 2})
    producer = Producer(BROKER | {"transactional.id": identity, "transaction.timeout.ms": int(timeout_ms), "linger.ms": 2})
    producer.init_transactions(30)
    return producer


def open_consumer(**settings):
    named = {name.replace("_", "."): value for name, value in settings.items()}
    reading = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    return Consumer(BROKER | reading | named)


def again(call, *arguments):
    """Calls until the error is none that trying again may mend."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


class Library:
    def __init__(self):
        self.producers, self.consumers, self.failed = {}, {}, {}

    def topic(self, name, partitions):
        admin = AdminClient(BROKER)
        for future in admin.create_topics([NewTopic(name, int(partitions), 1)]).values():
            future.result(timeout=30)

    def producer(self, name, identity, timeout_ms):
        self.producers[name] = open_producer(identity, timeout_ms)

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction(30)

    def abort(self, name):
        self.producers[name].abort_transaction(30)

    def send(self, name, topic, partition, *values):
        def delivered(error, _):
            if error is not None:
                self.failed[name] = KafkaException(error)

        for value in values:
            self.producers[name].produce(topic, value, partition=int(partition), on_delivery=delivered)

    def flush(self, name):
        if self.producers[name].flush(60):
            raise TimeoutError("flush")
        if name in self.failed:
            raise self.failed.pop(name)

    def consumer(self, name, topic, partitions, isolation):
        consumer = open_consumer(group_id=name, isolation_level="read_" + isolation)
        consumer.assign([TopicPartition(topic, index, 0) for index in range(int(partitions))])
        self.consumers[name] = consumer

    def poll(self, name, count, ms):
        records, deadline = [], time.monotonic() + int(ms) / 1000
        while len(records) < int(count) and time.monotonic() < deadline:
            left = deadline - time.monotonic()
            for message in self.consumers[name].consume(int(count) - len(records), timeout=min(max(left, 0), 1)):
                if message.error() and not message.error().retriable():
                    raise KafkaException(message.error())
                if not message.error():
                    records.append(f"{message.partition()}:{message.value().decode()}")
        return records

    def transform(self, source, target, group, identity, stall):
        stall = Stall(stall)
        session = {"session.timeout.ms": SESSION_TIMEOUT_MS, "heartbeat.interval.ms": 300}
        consumer = open_consumer(group_id=group, isolation_level="read_committed", **session)
        consumer.subscribe([source])
        producer = open_producer(identity, 60000)
        try:
            while True:
                messages = [message for message in consumer.consume(MAX_RECORDS, timeout=0.2) if not message.error()]
                if messages:
                    self._transform(consumer, producer, messages, target, stall)
        finally:
            consumer.close()

    def _transform(self, consumer, producer, messages, target, stall):
        producer.begin_transaction()
        try:
            for message in messages:
                producer.produce(target, message.value() + b"!", partition=message.partition())
            offsets = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
            offsets = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
            again(producer.send_offsets_to_transaction, offsets, consumer.consumer_group_metadata())
            producer.flush()
            if stall.asked_to_abort([message.value().decode() for message in messages]):
                again(producer.abort_transaction)
                rewind(consumer)
                return
            again(producer.commit_transaction)
            print("committed", len(messages), flush=True)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            again(producer.abort_transaction)
            rewind(consumer)


def rewind(consumer):
    for stored in consumer.committed(consumer.assignment(), timeout=30):
        if stored.offset == OFFSET_INVALID:
            stored.offset = 0
        consumer.seek(stored)


serve(Library(), fenced)
