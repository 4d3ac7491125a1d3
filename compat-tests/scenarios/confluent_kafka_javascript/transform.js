// Consume, transform, produce with @confluentinc/kafka-javascript.
'use strict';

const { MAX_RECORDS, SESSION_TIMEOUT_MS, HEARTBEAT_MS } = require('./serve.js');
const { again, call } = require('./calls.js');
const { CjsProducer, TIMEOUT_MS } = require('./producing.js');
const { CjsReader } = require('./reading.js');

async function transform(settings, { source, target, group, id, stall }) {
  const writer = await CjsProducer.open(settings, { id, transactionTimeoutMs: 60000, codec: 'none' });
  const reader = await CjsReader.open(settings, source, {
    'group.id': group,
    'isolation.level': 'read_committed',
    'session.timeout.ms': SESSION_TIMEOUT_MS,
    'heartbeat.interval.ms': HEARTBEAT_MS,
  });
  reader.consumer.subscribe([source]);
  try {
    for (;;) {
      const records = await reader.take(MAX_RECORDS, 0);
      if (!records.length) continue;
      try {
        if (await transact(writer, reader, target, stall, records)) console.log('committed', records.length);
        else await rewind(reader);
      } catch (error) {
        if (!error.isTxnRequiresAbort) throw error;
        await again(writer.producer, 'abortTransaction', TIMEOUT_MS);
        await rewind(reader);
      }
    }
  } finally {
    await Promise.allSettled([reader.close(), writer.close()]);
  }
}

// Whether it was committed; if not, it was asked to abort.
async function transact(writer, reader, target, stall, records) {
  await writer.begin();
  for (const { partition, value } of records) {
    await writer.send(target, partition, [{ key: null, value: Buffer.concat([value, Buffer.from('!')]), headers: [] }]);
  }
  await again(writer.producer, 'sendOffsetsToTransaction', reader.offsets(), reader.consumer, TIMEOUT_MS);
  await writer.flush().catch(() => {}); // what was not delivered makes the commit fail
  if (await stall.askedToAbort(records.map(({ value }) => value.toString()))) {
    await again(writer.producer, 'abortTransaction', TIMEOUT_MS);
    return false;
  }
  await again(writer.producer, 'commitTransaction', TIMEOUT_MS);
  return true;
}

async function rewind(reader) {
  const stored = await call(reader.consumer, 'committed', null, TIMEOUT_MS);
  for (const { topic, partition, offset } of stored) {
    // Partitions that were taken away meanwhile are begun anew by whoever has them.
    await call(reader.consumer, 'seek', { topic, partition, offset: offset ?? 0 }, TIMEOUT_MS).catch(() => {});
  }
}

module.exports = { transform };
