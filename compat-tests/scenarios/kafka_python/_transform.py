"""Consume, transform, produce with kafka-python, exactly once."""
from kafka.errors import KafkaError, ProducerFencedError
from kafka.structs import OffsetAndMetadata

from _serve import Stall


def transform(consumer, producer, target, stall):
    """For ever; ends with the error after which only a new producer helps."""
    stall = Stall(stall)
    try:
        while True:
            batches = consumer.poll(timeout_ms=200)
            if batches:
                _transaction(consumer, producer, batches, target, stall)
    finally:
        consumer.close()


def _transaction(consumer, producer, batches, target, stall):
    records = [record for batch in batches.values() for record in batch]
    try:
        producer.begin_transaction()
        for record in records:
            producer.send(target, record.value + b"!", partition=record.partition)
        offsets = {partition: OffsetAndMetadata(batch[-1].offset + 1, "", -1) for partition, batch in batches.items()}
        # Versions before 3.0 know the group by its name alone.
        group = consumer.group_metadata() if hasattr(consumer, "group_metadata") else consumer.config["group_id"]
        producer.send_offsets_to_transaction(offsets, group)
        producer.flush()
        if stall.asked_to_abort([record.value.decode() for record in records]):
            producer.abort_transaction()
            _rewind(consumer)
            return
        producer.commit_transaction()
        print("committed", len(records), flush=True)
    except ProducerFencedError:
        raise
    except KafkaError:
        producer.abort_transaction()
        _rewind(consumer)


def _rewind(consumer):
    for partition in consumer.assignment():
        consumer.seek(partition, consumer.committed(partition) or 0)
