// A producer of KafkaJS: its calls one after the other, in the background until somebody waits for them.
'use strict';

const { CompressionTypes, Partitioners } = require('kafkajs');
const { Unsupported } = require('./serve.js');

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};
const ACKS = { 0: 0, 1: 1, all: -1 };

class JsProducer {
  static async open(kafka, { id, transactionTimeoutMs, idempotent, acks, codec }) {
    const producer = kafka.producer({
      transactionalId: id,
      transactionTimeout: transactionTimeoutMs,
      idempotent: idempotent || id !== undefined,
      maxInFlightRequests: idempotent || id !== undefined ? 1 : undefined,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    const made = Object.assign(new JsProducer(), { producer, acks: ACKS[acks ?? 'all'], compression: CODECS[codec] });
    made.sent = Promise.resolve();
    made.failed = null;
    await producer.connect();
    if (id !== undefined) made.next = await producer.transaction(); // takes the id over; `begin` makes it the current one
    return made;
  }

  async send(topic, partition, records) {
    if (records.some(({ headers }) => headers.some(([, value]) => value === null))) {
      throw new Unsupported('KafkaJS cannot write a header without a value');
    }
    const messages = records.map(({ key, value, timestamp, headers }) => ({ key, value, timestamp, partition, headers: grouped(headers) }));
    const through = this.transaction ?? this.producer;
    this.sent = this.sent
      .then(() => through.send({ topic, messages, acks: this.acks, compression: this.compression }))
      .catch((error) => {
        this.failed ??= error;
      });
  }

  async flush() {
    await this.sent;
    const error = this.failed;
    this.failed = null;
    if (error) throw error;
  }

  async begin() {
    this.transaction = this.next ?? (await this.producer.transaction());
    this.next = null;
  }

  async commit() {
    await this.transaction.commit();
    this.transaction = null;
  }

  async abort() {
    await this.transaction.abort();
    this.transaction = null;
  }

  async close() {
    await this.sent;
    await this.producer.disconnect();
  }
}

// The library takes headers as an object, names that occur repeatedly with an array of their values.
function grouped(headers) {
  const made = {};
  for (const [name, value] of headers) made[name] = name in made ? [made[name], value].flat() : value;
  return made;
}

module.exports = { JsProducer };
