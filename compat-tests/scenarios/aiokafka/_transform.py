"""Consume, transform, produce with aiokafka, exactly once."""
import asyncio

from _serve import MAX_RECORDS, Stall


class Aborted(Exception):
    """Leaves a transaction's block, which aborts it."""


async def transform(consumer, producer, target, group, stall):
    """For ever; ends with the error after which only a new producer helps."""
    stall = Stall(stall)
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            if batches:
                await _transaction(consumer, producer, batches, target, group, stall)
    finally:
        await consumer.stop()


async def _transaction(consumer, producer, batches, target, group, stall):
    records = [record for batch in batches.values() for record in batch]
    try:
        async with producer.transaction():
            for record in records:
                await producer.send(target, record.value + b"!", partition=record.partition)
            offsets = {partition: batch[-1].offset + 1 for partition, batch in batches.items()}
            await producer.send_offsets_to_transaction(offsets, group)
            await producer.flush()
            if await asyncio.to_thread(stall.asked_to_abort, [record.value.decode() for record in records]):
                raise Aborted
        print("committed", len(records), flush=True)
    except Aborted:
        for partition in consumer.assignment():
            consumer.seek(partition, await consumer.committed(partition) or 0)
