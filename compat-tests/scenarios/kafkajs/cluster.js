// What is asked of the cluster and changed in it with KafkaJS.
'use strict';

const { ConfigResourceTypes } = require('kafkajs');

const DYNAMIC_TOPIC_CONFIG = 1; // the source of a value that was set for the topic itself

class JsCluster {
  static async open(kafka) {
    const admin = kafka.admin();
    await admin.connect();
    return Object.assign(new JsCluster(), { admin });
  }

  async makeTopic(topic, numPartitions, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }));
    const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }];
    const made = await this.admin.createTopics({ topics, waitForLeaders: false });
    // What was there before is no error to the library.
    if (!made) throw Object.assign(new Error('createTopics gave false'), { type: 'TOPIC_ALREADY_EXISTS' });
  }

  async deleteTopic(topic) {
    await this.admin.deleteTopics({ topics: [topic] });
  }

  topics() {
    return this.admin.listTopics();
  }

  async partitions(topic) {
    const { topics } = await this.admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0].partitions.length;
  }

  async grow(topic, count) {
    await this.admin.createPartitions({ topicPartitions: [{ topic, count }] });
  }

  async configs(topic) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }];
    const { resources: found } = await this.admin.describeConfigs({ includeSynonyms: false, resources });
    return found[0].configEntries;
  }

  async config(topic, key) {
    return (await this.configs(topic)).find((entry) => entry.configName === key).configValue;
  }

  // The library can only set all configs at once: what it does not name goes back to its default.
  async alter(topic, key, value) {
    const kept = (await this.configs(topic)).filter(
      ({ configName, configSource }) => configSource === DYNAMIC_TOPIC_CONFIG && configName !== key,
    );
    const configEntries = kept.map(({ configName, configValue }) => ({ name: configName, value: configValue }));
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [...configEntries, { name: key, value }] };
    await this.admin.alterConfigs({ resources: [resource] });
  }

  async offset(topic, partition, wanted) {
    const offsets = await this.admin.fetchTopicOffsets(topic);
    const { low, high } = offsets.find((one) => one.partition === partition);
    if (wanted === 'earliest' || wanted === 'latest') return wanted === 'earliest' ? low : high;
    const found = await this.admin.fetchTopicOffsetsByTimestamp(topic, Number(wanted));
    const { offset } = found.find((one) => one.partition === partition);
    return offset === high ? -1 : offset; // the library gives the end where there is none
  }

  async deleteRecords(topic, partition, offset) {
    await this.admin.fetchTopicOffsets(topic); // without it the library knows no leader of a new topic
    await this.admin.deleteTopicRecords({ topic, partitions: [{ partition, offset }] });
    return this.offset(topic, partition, 'earliest'); // the library keeps the answer to itself
  }

  async groups() {
    return (await this.admin.listGroups()).groups.map((group) => group.groupId);
  }

  async group(name) {
    const { groups } = await this.admin.describeGroups([name]);
    return [groups[0].state, groups[0].members.length];
  }

  async deleteGroup(name) {
    await this.admin.deleteGroups([name]);
  }
}

module.exports = { JsCluster };
