"""The worker of confluent-kafka."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import SESSION_TIMEOUT_MS, Unsupported, decoded, described, headers, parted, serve

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from _admin import BROKER, PATIENCE_S, Admin
from _transform import transform

KINDS = {
    "fenced": ("_FENCED", "PRODUCER_FENCED"),
    "too_large": ("MSG_SIZE_TOO_LARGE",),
    "unknown_topic": ("_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART"),
    "topic_exists": ("TOPIC_ALREADY_EXISTS",),
    "stale_member": ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS", "_ASSIGNMENT_LOST"),
}


def kind(error):
    is_kafkas = isinstance(error, KafkaException)
    names = {names for names in KINDS if is_kafkas and error.args[0].name() in KINDS[names]}
    return next(iter(names), "other")


def open_producer(id=None, transaction_timeout_ms=60000, idempotence=None, acks=None, codec="none", patience_ms=30000):
    settings = {"compression.type": codec, "linger.ms": 2, "enable.idempotence": bool(idempotence)}
    if acks is not None:
        settings["acks"] = acks
    if not id:
        settings |= {"message.timeout.ms": int(patience_ms), "topic.metadata.propagation.max.ms": int(patience_ms)}
        try:
            return Producer(BROKER | settings)
        except KafkaException as error:
            if "not available at build time" in str(error):
                raise Unsupported(f"its library was built without {codec} here") from error
            raise
    transactional = {"transactional.id": id, "transaction.timeout.ms": int(transaction_timeout_ms), "linger.ms": 2}
    producer = Producer(BROKER | transactional)
    producer.init_transactions(PATIENCE_S)
    return producer


def open_consumer(isolation="uncommitted", **settings):
    named = {name.replace("_", "."): value for name, value in settings.items()}
    reading = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    return Consumer(BROKER | reading | {"isolation.level": "read_" + isolation} | named)


class Library(Admin):
    def __init__(self):
        super().__init__()
        # Of each consumer: its topic, and where it goes on, behind what it has answered with.
        self.producers, self.consumers, self.failed, self.topic_of, self.next = {}, {}, {}, {}, {}

    def producer(self, name, *words):
        self.producers[name] = open_producer(**parted(words)[0])

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction(PATIENCE_S)

    def abort(self, name):
        self.producers[name].abort_transaction(PATIENCE_S)

    def send(self, name, topic, partition, *words):
        def delivered(error, _):
            if error is not None:
                self.failed.setdefault(name, KafkaException(error))

        options, values = parted(words)
        settings = {"key": decoded(options.get("key", "-")), "headers": headers(words), "on_delivery": delivered}
        if partition != "-":
            settings["partition"] = int(partition)
        if "timestamp" in options:
            settings["timestamp"] = int(options["timestamp"])
        for value in values:
            self.producers[name].produce(topic, decoded(value), **settings)

    def flush(self, name):
        if self.producers[name].flush(60):
            raise TimeoutError("flush")
        if name in self.failed:
            raise self.failed.pop(name)

    def consumer(self, name, topic, partitions, *words):
        options, _ = parted(words)
        begin = options.pop("from", "earliest")
        self.consumers[name], self.topic_of[name], self.next[name] = open_consumer(group_id=name, **options), topic, {}
        for index in range(int(partitions)):
            [self.next[name][index]] = self.offset(topic, index, begin)
        assigned = [TopicPartition(topic, *begins) for begins in self.next[name].items()]
        self.consumers[name].assign(assigned)

    def member(self, name, group, topic, *words):
        options, _ = parted(words)
        settings = {"session_timeout_ms": int(options.get("session_timeout_ms", 6000)), "heartbeat_interval_ms": 300}
        if "instance" in options:
            settings["group_instance_id"] = options["instance"]
        self.consumers[name], self.topic_of[name], self.next[name] = open_consumer(group_id=group, **settings), topic, {}
        self.consumers[name].subscribe([topic])

    def _take(self, name, count, ms):
        records, deadline = [], time.monotonic() + int(ms) / 1000
        while True:
            left = max(deadline - time.monotonic(), 0)
            for message in self.consumers[name].consume(int(count) - len(records), timeout=min(left, 1)):
                if message.error() and not message.error().retriable():
                    raise KafkaException(message.error())
                if not message.error():
                    records.append(message)
                    self.next[name][message.partition()] = message.offset() + 1
            if len(records) >= int(count) or time.monotonic() >= deadline:
                return records

    def poll(self, name, count, ms):
        return [described(message.partition(), message.value()) for message in self._take(name, count, ms)]

    def records(self, name, count, ms):
        return [
            described(message.partition(), message.value(), message.offset(), message.timestamp()[1], message.key(), message.headers())
            for message in self._take(name, count, ms)
        ]

    def assignment(self, name):
        return sorted(partition.partition for partition in self.consumers[name].assignment())

    def position(self, name, partition):
        # The library knows none before the first message and after a seek.
        [found] = self.consumers[name].position([TopicPartition(self.topic_of[name], int(partition))])
        return [self.next[name][int(partition)] if found.offset < 0 else found.offset]

    def seek(self, name, partition, offset):
        partition, topic = int(partition), self.topic_of[name]
        [offset] = self.offset(topic, partition, offset) if offset in ("earliest", "latest") else [int(offset)]
        self.consumers[name].seek(TopicPartition(topic, partition, offset))
        self.next[name][partition] = offset

    def commit_offsets(self, name):
        offsets = [TopicPartition(self.topic_of[name], *read) for read in self.next[name].items()]
        for committed in self.consumers[name].commit(offsets=offsets, asynchronous=False):
            if committed.error:
                raise KafkaException(committed.error)

    def committed(self, name, partition):
        asked = [TopicPartition(self.topic_of[name], int(partition))]
        [stored] = self.consumers[name].committed(asked, timeout=PATIENCE_S)
        if stored.error:
            raise KafkaException(stored.error)
        return ["-" if stored.offset < 0 else stored.offset]

    def close(self, name):
        producer = self.producers.pop(name, None)
        if producer is None:
            self.consumers.pop(name).close()
        else:
            producer.flush(PATIENCE_S)

    def transform(self, source, target, group, identity, stall):
        session = {"session_timeout_ms": SESSION_TIMEOUT_MS, "heartbeat_interval_ms": 300}
        consumer = open_consumer(isolation="committed", group_id=group, **session)
        consumer.subscribe([source])
        transform(consumer, open_producer(id=identity), target, stall)


serve(Library(), kind)
