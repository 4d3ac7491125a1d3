// What is asked of the cluster and changed in it with @confluentinc/kafka-javascript.
'use strict';

const { AdminClient, ConsumerGroupStates, OffsetSpec } = require('@confluentinc/kafka-javascript');
const { Unsupported } = require('./serve.js');
const { call } = require('./calls.js');

const TIMEOUT_MS = 30000;
const NO_CONFIGS = 'the admin client has no calls for configs';
// As Kafka writes them, by the library's numbers.
const STATES = new Map([
  [ConsumerGroupStates.UNKNOWN, 'Unknown'],
  [ConsumerGroupStates.PREPARING_REBALANCE, 'PreparingRebalance'],
  [ConsumerGroupStates.COMPLETING_REBALANCE, 'CompletingRebalance'],
  [ConsumerGroupStates.STABLE, 'Stable'],
  [ConsumerGroupStates.DEAD, 'Dead'],
  [ConsumerGroupStates.EMPTY, 'Empty'],
]);

class CjsCluster {
  static open(settings) {
    return Object.assign(new CjsCluster(), { admin: AdminClient.create(settings) });
  }

  makeTopic(topic, partitions, config) {
    return call(this.admin, 'createTopic', { topic, num_partitions: partitions, replication_factor: 1, config }, TIMEOUT_MS);
  }

  deleteTopic(topic) {
    return call(this.admin, 'deleteTopic', topic, TIMEOUT_MS);
  }

  topics() {
    return call(this.admin, 'listTopics', { timeout: TIMEOUT_MS });
  }

  async partitions(topic) {
    const [found] = await call(this.admin, 'describeTopics', [topic], { timeout: TIMEOUT_MS });
    if (found.error) throw found.error;
    return found.partitions.length;
  }

  grow(topic, partitions) {
    return call(this.admin, 'createPartitions', topic, partitions, TIMEOUT_MS);
  }

  config() {
    throw new Unsupported(NO_CONFIGS);
  }

  alter() {
    throw new Unsupported(NO_CONFIGS);
  }

  async offset(topic, partition, wanted) {
    const spec = { earliest: OffsetSpec.EARLIEST, latest: OffsetSpec.LATEST }[wanted] ?? new OffsetSpec(Number(wanted));
    const [found] = await call(this.admin, 'listOffsets', [{ topic, partition, offset: spec }], { timeout: TIMEOUT_MS });
    if (found.error) throw found.error;
    return found.offset;
  }

  async deleteRecords(topic, partition, offset) {
    const wanted = [{ topic, partition, offset: Number(offset) }];
    const [found] = await call(this.admin, 'deleteRecords', wanted, { timeout: TIMEOUT_MS, operationTimeout: TIMEOUT_MS });
    if (found.error) throw found.error;
    return found.lowWatermark;
  }

  async groups() {
    const { groups } = await call(this.admin, 'listGroups', { timeout: TIMEOUT_MS });
    return groups.map((group) => group.groupId);
  }

  async group(name) {
    const { groups } = await call(this.admin, 'describeGroups', [name], { timeout: TIMEOUT_MS });
    if (groups[0].error) throw groups[0].error;
    return [STATES.get(groups[0].state), groups[0].members.length];
  }

  async deleteGroup(name) {
    const [found] = await call(this.admin, 'deleteGroups', [name], { timeout: TIMEOUT_MS });
    if (found.errorCode) throw found.error;
  }
}

module.exports = { CjsCluster };
