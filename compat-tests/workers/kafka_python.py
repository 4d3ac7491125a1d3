"""A worker on kafka-python; see _loop.py."""
import logging
import time

from _loop import PATIENCE_S, Failed, Worker
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

logging.disable(logging.CRITICAL)


class Listener(ConsumerRebalanceListener):
    def __init__(self, client):
        self.client = client

    def on_partitions_revoked(self, revoked):
        self.client.events.append((time.monotonic_ns(), "revoked", [tuple(place) for place in revoked]))

    def on_partitions_assigned(self, assigned):
        self.client.events.append((time.monotonic_ns(), "assigned", [tuple(place) for place in assigned]))
        self.client.metadata = self.client.consumer.group_metadata()


class Client:
    def __init__(self, settings):
        self.events = []
        self.deadline = time.monotonic() + PATIENCE_S
        self.metadata = None
        self.futures = []
        self.kept_offsets = False
        shared = {
            "bootstrap_servers": settings["bootstrap"],
            "reconnect_backoff_ms": 20,
            "reconnect_backoff_max_ms": 250,
            "retry_backoff_ms": 20,
        }
        if settings["produces"]:
            options = {
                "enable_idempotence": True,
                "acks": "all",
                "linger_ms": 1,
                "request_timeout_ms": settings["delivery_timeout_ms"] - 1000,
                "delivery_timeout_ms": settings["delivery_timeout_ms"],
                "max_block_ms": PATIENCE_S * 1000,
            }
            if settings.get("transactional_id"):
                options["transactional_id"] = settings["transactional_id"]
                options["transaction_timeout_ms"] = settings["transaction_timeout_ms"]
            self.producer = KafkaProducer(**shared, **options)
        if settings["consumes"]:
            self.consumer = KafkaConsumer(
                **shared,
                group_id=settings.get("group"),
                isolation_level=settings["isolation"],
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=settings["session_timeout_ms"],
                max_poll_interval_ms=12000,
                heartbeat_interval_ms=400,
                fetch_max_wait_ms=100,
                partition_assignment_strategy=[RangePartitionAssignor],
            )

    # ---- producer

    def send(self, topic, partition, data):
        self.futures.append(self.producer.send(topic, data, partition=partition))

    def flush(self):
        futures, self.futures = self.futures, []
        offsets, wrong = [], None
        for future in futures:
            try:
                offset = future.get(timeout=max(0.1, self.deadline - time.monotonic())).offset
                offsets.append(offset if offset >= 0 else None)
            except Exception as error:
                wrong = error
                offsets.append(None)
        if wrong is not None:
            raise Failed(str(wrong), offsets)
        return offsets

    def init(self):
        self.producer.init_transactions()

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()
        if self.kept_offsets:
            raise RuntimeError("this producer would commit the offsets that were refused in its next transaction")

    def send_offsets(self, offsets):
        ends = {TopicPartition(*place): OffsetAndMetadata(offset) for place, offset in offsets.items()}
        # kafka-python 3.0.12 keeps refused offsets through the abort and sends them along with the next ones.
        self.kept_offsets = True
        self.producer.send_offsets_to_transaction(ends, self.metadata)
        self.kept_offsets = False

    # ---- consumer

    def assign(self, places):
        self.consumer.assign([TopicPartition(topic, partition) for topic, partition, _ in places])
        for topic, partition, offset in places:
            self.consumer.seek(TopicPartition(topic, partition), offset)

    def end_offset(self, topic, partition):
        place = TopicPartition(topic, partition)
        return self.consumer.end_offsets([place], timeout_ms=PATIENCE_S * 1000)[place]

    def subscribe(self, topic):
        self.consumer.subscribe(topics=[topic], listener=Listener(self))

    def consume(self, most, seconds):
        for place, records in self.consumer.poll(timeout_ms=int(seconds * 1000), max_records=most).items():
            self.events += [(place.topic, place.partition, record.offset, record.value) for record in records]
        events, self.events = self.events, []
        return events

    def rewind(self):
        for place in self.consumer.assignment():
            committed = self.consumer.committed(place, timeout_ms=PATIENCE_S * 1000)
            self.consumer.seek(place, committed or 0)

    def commit_offsets(self, offsets):
        ends = {TopicPartition(*place): OffsetAndMetadata(offset) for place, offset in offsets.items()}
        self.consumer.commit(ends, timeout_ms=PATIENCE_S * 1000)

    def position_at_end(self, topic, partition, end):
        return self.consumer.position(TopicPartition(topic, partition)) >= end


Worker(Client).run()
