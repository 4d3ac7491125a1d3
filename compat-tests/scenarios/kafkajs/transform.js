// Consume, transform, produce with KafkaJS: a transaction for each few records of a batch, inside its handler.
'use strict';

const { MAX_RECORDS, SESSION_TIMEOUT_MS, HEARTBEAT_MS } = require('./serve.js');

async function transform(kafka, { source, target, group, id, stall }) {
  const producer = kafka.producer({ transactionalId: id, maxInFlightRequests: 1, idempotent: true, transactionTimeout: 60000 });
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_MS,
    maxWaitTimeInMs: 100,
    rebalanceTimeout: 10000,
    readUncommitted: false,
  });
  await producer.connect();
  const ended = new Promise((_, reject) => {
    const each = async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
      for (let first = 0; first < batch.messages.length && isRunning() && !isStale(); first += MAX_RECORDS) {
        const messages = batch.messages.slice(first, first + MAX_RECORDS);
        const transaction = await producer.transaction();
        try {
          const committed = await transact({ transaction, target, group, stall, batch, messages, heartbeat });
          if (!committed) return; // what is not resolved is fetched again
        } catch (error) {
          await transaction.abort().catch(reject);
          throw error;
        }
        resolveOffset(messages.at(-1).offset);
        await heartbeat();
      }
    };
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error));
    consumer
      .connect()
      .then(() => consumer.subscribe({ topics: [source], fromBeginning: true }))
      .then(() => consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: each }))
      .catch(reject);
  });
  try {
    await ended;
  } finally {
    await Promise.allSettled([consumer.disconnect(), producer.disconnect()]);
  }
}

async function transact({ transaction, target, group, stall, batch, messages, heartbeat }) {
  const { topic, partition } = batch;
  const made = messages.map(({ value }) => ({ partition, value: Buffer.concat([value, Buffer.from('!')]) }));
  await transaction.send({ topic: target, messages: made });
  const offset = String(Number(messages.at(-1).offset) + 1);
  await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions: [{ partition, offset }] }] });
  const values = messages.map(({ value }) => value.toString());
  if (await stall.askedToAbort(values, () => heartbeat().catch(() => {}))) {
    await transaction.abort();
    return false;
  }
  await transaction.commit();
  console.log('committed', messages.length);
  return true;
}

module.exports = { transform };
