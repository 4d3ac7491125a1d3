// Consumers of @confluentinc/kafka-javascript: of whole partitions, and members of groups.
'use strict';

const { CODES, KafkaConsumer } = require('@confluentinc/kafka-javascript');
const { HEARTBEAT_MS } = require('./serve.js');
const { call } = require('./calls.js');

const TIMEOUT_MS = 10000;
const WAIT_MS = 100;

class CjsReader {
  static async open(settings, topic, more) {
    const own = { ...settings, rebalance_cb: true, 'enable.auto.commit': false, 'enable.auto.offset.store': false };
    const consumer = new KafkaConsumer({ ...own, 'fetch.wait.max.ms': WAIT_MS, ...more }, { 'auto.offset.reset': 'earliest' });
    const made = Object.assign(new CjsReader(), { consumer, topic, answered: new Map() });
    consumer.on('event.error', () => {}); // the library goes on by itself
    consumer.on('rebalance', ({ code }, partitions) => {
      if (code !== CODES.ERRORS.ERR__REVOKE_PARTITIONS) return;
      for (const { partition } of partitions) made.answered.delete(partition);
    });
    consumer.setDefaultConsumeTimeout(WAIT_MS);
    consumer.setDefaultIsTimeoutOnlyForFirstMessage(true);
    await call(consumer, 'connect', { timeout: TIMEOUT_MS });
    return made;
  }

  static async ofPartitions(settings, { topic, partitions, latest, committed }) {
    // The library wants the name of a group, though nobody joins it.
    const more = { 'group.id': 'nobody', 'isolation.level': committed ? 'read_committed' : 'read_uncommitted' };
    const reader = await CjsReader.open(settings, topic, more);
    const assigned = [];
    for (let partition = 0; partition < partitions; partition += 1) {
      const offset = await reader.resolved(partition, latest ? 'latest' : 'earliest');
      assigned.push({ topic, partition, offset });
      reader.answered.set(partition, offset);
    }
    reader.consumer.assign(assigned);
    return reader;
  }

  static async ofGroup(settings, { group, topic, instance, sessionMs }) {
    const more = { 'group.id': group, 'session.timeout.ms': sessionMs, 'heartbeat.interval.ms': HEARTBEAT_MS };
    if (instance !== undefined) more['group.instance.id'] = instance;
    const reader = await CjsReader.open(settings, topic, more);
    reader.consumer.subscribe([topic]);
    return reader;
  }

  async resolved(partition, wanted) {
    if (wanted !== 'earliest' && wanted !== 'latest') return Number(wanted);
    const { lowOffset, highOffset } = await call(this.consumer, 'queryWatermarkOffsets', this.topic, partition, TIMEOUT_MS);
    return wanted === 'earliest' ? lowOffset : highOffset;
  }

  async take(count, ms) {
    const deadline = Date.now() + ms;
    const found = [];
    do {
      found.push(...(await call(this.consumer, 'consume', count - found.length).catch(() => []))); // tried again
    } while (found.length < count && Date.now() < deadline);
    for (const { partition, offset } of found) this.answered.set(partition, offset + 1);
    return found.map(({ headers, ...message }) => ({ ...message, headers: (headers ?? []).flatMap(Object.entries) }));
  }

  assignment() {
    return this.consumer.assignments().map(({ partition }) => partition);
  }

  position(partition) {
    return this.answered.get(partition);
  }

  async seek(partition, wanted) {
    const offset = await this.resolved(partition, wanted);
    await call(this.consumer, 'seek', { topic: this.topic, partition, offset }, TIMEOUT_MS);
    this.answered.set(partition, offset);
  }

  offsets() {
    return [...this.answered].map(([partition, offset]) => ({ topic: this.topic, partition, offset }));
  }

  commitOffsets() {
    this.consumer.commitSync(this.offsets());
  }

  async committed(partition) {
    const [found] = await call(this.consumer, 'committed', [{ topic: this.topic, partition }], TIMEOUT_MS);
    return found.offset ?? -1;
  }

  close() {
    return call(this.consumer, 'disconnect');
  }
}

module.exports = { CjsReader };
