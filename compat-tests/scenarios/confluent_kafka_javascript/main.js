// The worker of @confluentinc/kafka-javascript, through its callbacks around librdkafka; ../_serve.py says what a worker does,
// ../_node has the loop.
'use strict';

const { CODES } = require('@confluentinc/kafka-javascript');
const { serve } = require('./serve.js');
const { CjsCluster } = require('./cluster.js');
const { CjsProducer } = require('./producing.js');
const { CjsReader } = require('./reading.js');
const { transform } = require('./transform.js');

const { ERRORS } = CODES;
const KINDS = new Map([
  [ERRORS.ERR__FENCED, 'fenced'],
  [ERRORS.ERR_PRODUCER_FENCED, 'fenced'],
  [ERRORS.ERR_INVALID_PRODUCER_EPOCH, 'fenced'],
  [ERRORS.ERR_MSG_SIZE_TOO_LARGE, 'too_large'],
  [ERRORS.ERR_UNKNOWN_TOPIC_OR_PART, 'unknown_topic'],
  [ERRORS.ERR__UNKNOWN_TOPIC, 'unknown_topic'],
  [ERRORS.ERR__UNKNOWN_PARTITION, 'unknown_topic'],
  [ERRORS.ERR_TOPIC_ALREADY_EXISTS, 'topic_exists'],
  [ERRORS.ERR_UNKNOWN_MEMBER_ID, 'stale_member'],
  [ERRORS.ERR_ILLEGAL_GENERATION, 'stale_member'],
  [ERRORS.ERR_FENCED_INSTANCE_ID, 'stale_member'],
]);

const settings = {
  'bootstrap.servers': process.argv[2],
  'reconnect.backoff.max.ms': 500,
  'allow.auto.create.topics': false,
  log_level: 0,
};

serve({
  producer: (options) => CjsProducer.open(settings, options),
  consumer: (options) => CjsReader.ofPartitions(settings, options),
  member: (options) => CjsReader.ofGroup(settings, options),
  cluster: () => CjsCluster.open(settings),
  transform: (options) => transform(settings, options),
  kind: (error) => KINDS.get(error.code) ?? 'other',
});
