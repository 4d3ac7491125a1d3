"""The worker of kafka-python."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _serve import MAX_RECORDS, SESSION_TIMEOUT_MS, Unsupported, decoded, described, headers, kinds, parted, serve

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from _admin import BOOTSTRAP, Admin

KINDS = {
    "fenced": ("ProducerFencedError", "InvalidProducerEpochError"),
    "too_large": ("MessageSizeTooLargeError",),
    "unknown_topic": ("UnknownTopicOrPartitionError", "Unrecognized partition"),
    "topic_exists": ("TopicAlreadyExistsError",),
    "stale_member": ("CommitFailedError", "IllegalGenerationError", "UnknownMemberIdError", "RebalanceInProgressError"),
}
EPOCH = (-1,) * ("leader_epoch" in OffsetAndMetadata._fields)


def known(client, setting, reason):
    """Whether this version has a setting; without it, what asks for it has no way to be done."""
    if setting not in client.DEFAULT_CONFIG:
        raise Unsupported(reason)


def open_producer(id=None, transaction_timeout_ms=60000, idempotence=None, acks=None, codec="none", patience_ms=30000):
    settings = {"compression_type": None if codec == "none" else codec, "max_block_ms": int(patience_ms)}
    if "delivery_timeout_ms" in KafkaProducer.DEFAULT_CONFIG:
        settings |= {"delivery_timeout_ms": int(patience_ms), "request_timeout_ms": min(int(patience_ms) - 1, 30000)}
    else:  # it does not try again by itself
        settings |= {"retries": 20, "retry_backoff_ms": 200, "max_in_flight_requests_per_connection": 1}
    if acks is not None:
        settings["acks"] = acks if acks == "all" else int(acks)
        if acks != "all" and "enable_idempotence" in KafkaProducer.DEFAULT_CONFIG:
            settings["enable_idempotence"] = False
    if idempotence or id:
        known(KafkaProducer, "enable_idempotence", "its producers are neither idempotent nor transactional")
        settings["enable_idempotence"] = True
    if id:
        known(KafkaProducer, "transactional_id", "its producers have no transactions")
        settings |= {"transactional_id": id, "transaction_timeout_ms": int(transaction_timeout_ms)}
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    if id:
        producer.init_transactions()
    return producer


def open_consumer(isolation="uncommitted", **settings):
    if isolation == "committed":
        known(KafkaConsumer, "isolation_level", "its consumers know nothing of transactions")
        settings["isolation_level"] = "read_committed"
    reading = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100}
    return KafkaConsumer(bootstrap_servers=BOOTSTRAP, **reading, **settings)


class Library(Admin):
    def __init__(self):
        super().__init__()
        # Of each consumer: its topic, and behind what it has answered with.
        self.producers, self.consumers, self.sent, self.topic_of, self.read = {}, {}, {}, {}, {}
        self.members = set()

    def producer(self, name, *words):
        self.producers[name] = open_producer(**parted(words)[0])

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction()

    def abort(self, name):
        self.producers[name].abort_transaction()

    def send(self, name, topic, partition, *words):
        options, values = parted(words)
        settings = {"headers": headers(words), "key": decoded(options.get("key", "-"))}
        if any(value is None for _, value in settings["headers"]):
            raise Unsupported("it takes no header without a value")
        if partition != "-":
            settings["partition"] = int(partition)
        if "timestamp" in options:
            settings["timestamp_ms"] = int(options["timestamp"])
        for value in values:
            future = self.producers[name].send(topic, decoded(value), **settings)
            self.sent.setdefault(name, []).append(future)

    def flush(self, name):
        sent = self.sent.pop(name, ())
        self.producers[name].flush()  # some versions raise here
        for future in sent:
            future.get(timeout=60)

    def consumer(self, name, topic, partitions, *words):
        options, _ = parted(words)
        begin = options.pop("from", "earliest")
        consumer = open_consumer(**options)
        partitions = [TopicPartition(topic, index) for index in range(int(partitions))]
        consumer.assign(partitions)
        if begin == "latest":
            consumer.seek_to_end(*partitions)
            for partition in partitions:
                consumer.position(partition)
        self.consumers[name], self.topic_of[name] = consumer, topic

    def member(self, name, group, topic, *words):
        options, _ = parted(words)
        settings = {"session_timeout_ms": int(options.pop("session_timeout_ms", 6000)), "heartbeat_interval_ms": 300}
        if "instance" in options:
            known(KafkaConsumer, "group_instance_id", "its members are never static")
            settings["group_instance_id"] = options.pop("instance")
        settings |= {"metadata_max_age_ms": 1000} | options
        if settings["session_timeout_ms"] >= 30000:
            settings["request_timeout_ms"] = settings["session_timeout_ms"] + 200_000
            settings["connections_max_idle_ms"] = settings["request_timeout_ms"] + 200_000
        self.consumers[name], self.topic_of[name] = open_consumer(group_id=group, **settings), topic
        self.consumers[name].subscribe([topic])
        self.members.add(name)

    def _take(self, name, count, ms):
        records, deadline, read = [], time.monotonic() + int(ms) / 1000, self.read.setdefault(name, {})
        while True:
            left_ms = int((deadline - time.monotonic()) * 1000)
            polled = self.consumers[name].poll(timeout_ms=self._patience(name, left_ms), max_records=int(count) - len(records))
            for partition, batch in polled.items():
                records.extend(batch)
                read[partition] = OffsetAndMetadata(batch[-1].offset + 1, "", *EPOCH)
            if len(records) >= int(count) or time.monotonic() >= deadline - 0.02:
                return records

    def _patience(self, name, left_ms):
        """How long to poll: 3.0 can lose, for good, an assignment that comes in the moment in which a poll's time is over."""
        joining = name in self.members and not self.consumers[name].assignment()
        return 2000 if joining else min(max(left_ms, 0), 1000)

    def poll(self, name, count, ms):
        return [described(record.partition, record.value) for record in self._take(name, count, ms)]

    def records(self, name, count, ms):
        return [
            described(record.partition, record.value, record.offset, record.timestamp, record.key, record.headers)
            for record in self._take(name, count, ms)
        ]

    def assignment(self, name):
        return sorted(partition.partition for partition in self.consumers[name].assignment())

    def position(self, name, partition):
        return [self.consumers[name].position(TopicPartition(self.topic_of[name], int(partition)))]

    def seek(self, name, partition, offset):
        consumer, partition = self.consumers[name], TopicPartition(self.topic_of[name], int(partition))
        if offset == "earliest":
            consumer.seek_to_beginning(partition)
        elif offset == "latest":
            consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, int(offset))
        consumer.position(partition)

    def commit_offsets(self, name):
        self.consumers[name].commit(dict(self.read.get(name, {})))

    def committed(self, name, partition):
        offset = self.consumers[name].committed(TopicPartition(self.topic_of[name], int(partition)))
        return ["-" if offset is None else offset]

    def close(self, name):
        (self.producers.pop(name, None) or self.consumers.pop(name)).close()

    def transform(self, source, target, group, identity, stall):
        producer = open_producer(id=identity)
        from _transform import transform  # old versions lack names that it needs
        session = {"session_timeout_ms": SESSION_TIMEOUT_MS, "heartbeat_interval_ms": 300}
        consumer = open_consumer(isolation="committed", group_id=group, max_poll_records=MAX_RECORDS, **session)
        consumer.subscribe([source])
        transform(consumer, producer, target, stall)


# Most calls raise a plain KafkaError that names the cause.
serve(Library(), lambda error: kinds(KINDS, repr(error)))
