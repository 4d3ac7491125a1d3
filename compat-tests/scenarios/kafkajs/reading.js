// Consumers of KafkaJS. It knows members of groups only, so that a consumer of whole partitions is alone in a group of its own.
'use strict';

const { randomUUID } = require('node:crypto');
const { Unsupported, HEARTBEAT_MS } = require('./serve.js');
const { Arrivals } = require('./arrivals.js');

class JsReader {
  constructor(kafka, group, topic, settings) {
    this.admin = kafka.admin();
    this.consumer = kafka.consumer({
      groupId: group,
      heartbeatInterval: HEARTBEAT_MS,
      maxWaitTimeInMs: 100,
      rebalanceTimeout: 10000,
      allowAutoTopicCreation: false,
      ...settings,
    });
    Object.assign(this, { group, topic, partitions: [], arrivals: new Arrivals(), answered: new Map(), awaited: new Map() });
    Object.assign(this, { alone: false, lost: false });
    this.joined = new Promise((resolve) => {
      this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
        this.rebalance();
        this.partitions = payload.memberAssignment[topic] ?? [];
        resolve();
      });
    });
    this.consumer.on(this.consumer.events.REBALANCING, () => this.rebalance());
  }

  static async ofPartitions(kafka, { topic, partitions, latest, committed }) {
    const reader = new JsReader(kafka, `alone-${randomUUID()}`, topic, { sessionTimeout: 10000, readUncommitted: !committed });
    reader.alone = true;
    await reader.run();
    await reader.joined;
    for (let partition = 0; partition < partitions; partition += 1) {
      if (latest) await reader.seek(partition, 'latest');
      else reader.answered.set(partition, 0);
    }
    return reader;
  }

  static async ofGroup(kafka, { group, topic, instance, sessionMs }) {
    if (instance) throw new Unsupported('KafkaJS has no static members');
    const reader = new JsReader(kafka, group, topic, { sessionTimeout: sessionMs, readUncommitted: true });
    reader.run().catch(() => {}); // it tries again by itself
    return reader;
  }

  async run() {
    await this.admin.connect();
    await this.consumer.connect();
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true });
    await this.consumer.run({ autoCommit: false, eachMessage: async ({ partition, message }) => this.arrive(partition, message) });
  }

  // After a rebalance the library begins again where the group has committed. One that is alone goes on where it was.
  rebalance() {
    this.arrivals.clear();
    this.partitions = [];
    if (this.alone) {
      for (const [partition, offset] of this.answered) this.jump(partition, offset, (found) => found >= offset);
      return;
    }
    this.lost ||= this.answered.size > 0;
    this.answered.clear();
  }

  // What comes is taken again from a record on that is `awaited`: others were fetched before.
  jump(partition, offset, awaited) {
    this.consumer.seek({ topic: this.topic, partition, offset: String(offset) });
    this.arrivals.drop(partition);
    this.answered.set(partition, offset);
    this.awaited.set(partition, awaited);
  }

  arrive(partition, { offset, timestamp, key, value, headers }) {
    const awaited = this.awaited.get(partition);
    if (awaited && !awaited(Number(offset))) return;
    this.awaited.delete(partition);
    const pairs = Object.entries(headers ?? {}).flatMap(([name, found]) => [found].flat().map((one) => [name, one]));
    this.arrivals.push({ partition, offset: Number(offset), timestamp, key, value, headers: pairs });
  }

  async take(count, ms) {
    const records = await this.arrivals.take(count, ms);
    this.lost = false;
    for (const { partition, offset } of records) this.answered.set(partition, offset + 1);
    return records;
  }

  assignment() {
    return this.partitions;
  }

  position(partition) {
    return this.arrivals.first(partition)?.offset ?? this.answered.get(partition);
  }

  async seek(partition, wanted) {
    let offset = Number(wanted);
    if (wanted === 'earliest' || wanted === 'latest') {
      const found = (await this.admin.fetchTopicOffsets(this.topic)).find((one) => one.partition === partition);
      offset = Number(wanted === 'earliest' ? found.low : found.high);
    }
    this.jump(partition, offset, (found) => found === offset);
  }

  async commitOffsets() {
    if (this.lost) throw Object.assign(new Error('the library joined the group anew'), { type: 'MEMBERSHIP_LOST' });
    const offsets = [...this.answered].map(([partition, offset]) => ({ topic: this.topic, partition, offset: String(offset) }));
    await this.consumer.commitOffsets(offsets);
  }

  async committed(partition) {
    const [found] = await this.admin.fetchOffsets({ groupId: this.group, topics: [this.topic] });
    return found.partitions.find((one) => one.partition === partition)?.offset ?? -1;
  }

  async close() {
    await this.consumer.disconnect();
    await this.admin.disconnect();
  }
}

module.exports = { JsReader };
