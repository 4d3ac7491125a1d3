"""Consume, transform, produce with confluent-kafka, exactly once."""
from confluent_kafka import OFFSET_INVALID, KafkaException, TopicPartition

from _serve import MAX_RECORDS, Stall


def transform(consumer, producer, target, stall):
    """For ever; ends with the error after which only a new producer helps."""
    stall = Stall(stall)
    try:
        while True:
            messages = [message for message in consumer.consume(MAX_RECORDS, timeout=0.2) if not message.error()]
            if messages:
                _transaction(consumer, producer, messages, target, stall)
    finally:
        consumer.close()


def _transaction(consumer, producer, messages, target, stall):
    producer.begin_transaction()
    try:
        for message in messages:
            producer.produce(target, message.value() + b"!", partition=message.partition())
        offsets = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
        offsets = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
        _again(producer.send_offsets_to_transaction, offsets, consumer.consumer_group_metadata())
        producer.flush()
        if stall.asked_to_abort([message.value().decode() for message in messages]):
            _again(producer.abort_transaction)
            _rewind(consumer)
            return
        _again(producer.commit_transaction)
        print("committed", len(messages), flush=True)
    except KafkaException as error:
        if not error.args[0].txn_requires_abort():
            raise
        _again(producer.abort_transaction)
        _rewind(consumer)


def _again(call, *arguments):
    """Calls until the error is none that trying again may mend."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


def _rewind(consumer):
    for stored in consumer.committed(consumer.assignment(), timeout=30):
        if stored.offset == OFFSET_INVALID:
            stored.offset = 0
        consumer.seek(stored)
