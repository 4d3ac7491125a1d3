"""A worker on confluent-kafka; see _loop.py."""
import time

from _loop import Failed, Worker
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition



class Client:
    def __init__(self, settings):
        self.events = []
        self.deadline = time.monotonic() + 30
        self.at_end = set()
        self.metadata = None
        self.reports = []
        shared = {
            "bootstrap.servers": settings["bootstrap"],
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 250,
            "retry.backoff.ms": 20,
            "socket.timeout.ms": 4000,
            "log_level": 0,
        }
        if settings["produces"]:
            options = {"enable.idempotence": True, "linger.ms": 1, "message.timeout.ms": settings["delivery_timeout_ms"]}
            if settings.get("transactional_id"):
                options["transactional.id"] = settings["transactional_id"]
                options["transaction.timeout.ms"] = settings["transaction_timeout_ms"]
            self.producer = Producer(shared | options, logger=_silent())
        if settings["consumes"]:
            options = {
                "group.id": settings.get("group") or "unused",
                "isolation.level": settings["isolation"],
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": settings["role"] == "reader",
                "session.timeout.ms": settings["session_timeout_ms"],
                "max.poll.interval.ms": 12000,
                "heartbeat.interval.ms": 400,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 20,
                "partition.assignment.strategy": "range",
            }
            self.consumer = Consumer(shared | options, logger=_silent())

    # ---- producer

    def send(self, topic, partition, data):
        report = [None, None]
        self.reports.append(report)

        def delivered(error, message):
            report[0] = error
            if error is None and message.offset() >= 0:
                report[1] = message.offset()

        self.producer.produce(topic, data, partition=partition, on_delivery=delivered)

    def flush(self):
        try:
            why = self.producer.flush(self.left())
        except KafkaException as failure:
            why = failure
        reports, self.reports = self.reports, []
        offsets = [offset for _, offset in reports]
        why = why or next((error for error, _ in reports if error is not None), None)
        if why:
            raise Failed(str(why), offsets)
        return offsets

    def init(self):
        self.again(lambda: self.producer.init_transactions(self.left()))

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.again(lambda: self.producer.commit_transaction(self.left()))

    def abort(self):
        self.again(lambda: self.producer.abort_transaction(self.left()))

    def send_offsets(self, offsets):
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        self.again(lambda: self.producer.send_offsets_to_transaction(places, self.metadata, self.left()))

    def again(self, action):
        """Calls again what librdkafka says may be called again."""
        while True:
            try:
                return action()
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > self.deadline:
                    raise

    def left(self):
        return max(0.1, self.deadline - time.monotonic())

    # ---- consumer

    def assign(self, places):
        self.at_end.clear()
        self.consumer.assign([TopicPartition(*place) for place in places])

    def end_offset(self, topic, partition):
        return self.consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self.left())[1]

    def subscribe(self, topic):
        def assigned(consumer, partitions):
            self.events.append((time.monotonic_ns(), "assigned", _places(partitions)))
            self.metadata = consumer.consumer_group_metadata()

        def revoked(_, partitions):
            self.events.append((time.monotonic_ns(), "revoked", _places(partitions)))

        self.consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)

    def consume(self, most, seconds):
        count = 0
        message = self.consumer.poll(seconds)
        while message is not None:
            error = message.error()
            if error is None:
                self.events.append((message.topic(), message.partition(), message.offset(), message.value()))
                count += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self.at_end.add((message.topic(), message.partition(), message.offset()))
            elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
            if count >= most:
                break
            message = self.consumer.poll(0)
        events, self.events = self.events, []
        return events

    def rewind(self):
        assigned = self.consumer.assignment()
        for place in self.consumer.committed(assigned, timeout=self.left()) if assigned else []:
            if place.error is not None:
                raise KafkaException(place.error)
            self.consumer.seek(TopicPartition(place.topic, place.partition, max(place.offset, 0)))

    def commit_offsets(self, offsets):
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        for place in self.consumer.commit(offsets=places, asynchronous=False):
            if place.error is not None:
                raise KafkaException(place.error)

    def position_at_end(self, topic, partition, end):
        return end == 0 or any(
            (topic, partition) == place[:2] and place[2] >= end for place in self.at_end
        )


def _places(partitions):
    return [(place.topic, place.partition) for place in partitions]


def _silent():
    import logging

    logger = logging.getLogger("silent")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


Worker(Client).run()
