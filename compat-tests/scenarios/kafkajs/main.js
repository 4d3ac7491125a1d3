// The worker of KafkaJS; ../_serve.py says what a worker does, ../_node has the loop.
'use strict';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs');
const lz4 = require('kafkajs-lz4');
const snappy = require('kafkajs-snappy');
const zstd = require('@bokuweb/zstd-wasm');
const { serve } = require('./serve.js');
const { JsCluster } = require('./cluster.js');
const { JsProducer } = require('./producing.js');
const { JsReader } = require('./reading.js');
const { transform } = require('./transform.js');

const KINDS = {
  PRODUCER_FENCED: 'fenced',
  INVALID_PRODUCER_EPOCH: 'fenced',
  MESSAGE_TOO_LARGE: 'too_large',
  UNKNOWN_TOPIC_OR_PARTITION: 'unknown_topic',
  TOPIC_ALREADY_EXISTS: 'topic_exists',
  UNKNOWN_MEMBER_ID: 'stale_member',
  ILLEGAL_GENERATION: 'stale_member',
  MEMBERSHIP_LOST: 'stale_member',
};

// The library brings gzip; the others are plugged in, as its documentation says.
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = new lz4().codec;
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

function client(patienceMs) {
  const retry = { initialRetryTime: 100, maxRetryTime: 300, retries: Math.ceil(patienceMs / 300) };
  return new Kafka({ clientId: 'worker', brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry });
}

const library = {
  producer: (options) => JsProducer.open(client(options.patienceMs), options),
  consumer: (options) => JsReader.ofPartitions(client(30000), options),
  member: (options) => JsReader.ofGroup(client(30000), options),
  cluster: () => JsCluster.open(client(5000)),
  transform: (options) => transform(client(10000), options),
  kind(error) {
    for (let cause = error; cause; cause = cause.cause ?? cause.originalError) {
      if (KINDS[cause.type]) return KINDS[cause.type];
    }
    const [first] = error.errors ?? []; // of several topics
    return KINDS[first?.type] ?? 'other';
  },
};

zstd.init().then(() => serve(library));
