//! The API table: which APIs this broker serves, in which versions, and what frames them.
//!
//! Invariants: this is the only place with version ranges; an API is listed only when every listed
//! version is answered in full, because clients change their behaviour on the mere presence of an
//! API; rows are in key order. Sources: Kafka 4.3's message schemas (`validVersions`,
//! `flexibleVersions`) and `ApiKeys`.
//!
//! The floors are those of Kafka 4.1 and later, but for four APIs that older clients still send in versions which Kafka 4
//! dropped (ListOffsets 0, CreateTopics 0-1, DeleteTopics 0, DescribeConfigs 0). They must hold, because librdkafka before 2.11.1
//! switches a feature on only when one exact version lies in our range: Produce 3 and 7 (and 0),
//! Fetch 4 and 10, ListOffsets 1, FindCoordinator 0, OffsetCommit 2, OffsetFetch 1, JoinGroup 0,
//! SyncGroup 0, Heartbeat 0, LeaveGroup 0, InitProducerId 0, ApiVersions 0. Metadata 0-3 are for
//! kafka-python 2.0.

/// Key of Produce.
pub const PRODUCE: i16 = 0;
/// Key of Fetch.
pub const FETCH: i16 = 1;
/// Key of ListOffsets.
pub const LIST_OFFSETS: i16 = 2;
/// Key of Metadata.
pub const METADATA: i16 = 3;
/// Key of OffsetCommit.
pub const OFFSET_COMMIT: i16 = 8;
/// Key of OffsetFetch.
pub const OFFSET_FETCH: i16 = 9;
/// Key of FindCoordinator.
pub const FIND_COORDINATOR: i16 = 10;
/// Key of JoinGroup.
pub const JOIN_GROUP: i16 = 11;
/// Key of Heartbeat.
pub const HEARTBEAT: i16 = 12;
/// Key of LeaveGroup.
pub const LEAVE_GROUP: i16 = 13;
/// Key of SyncGroup.
pub const SYNC_GROUP: i16 = 14;
/// Key of DescribeGroups.
pub const DESCRIBE_GROUPS: i16 = 15;
/// Key of ListGroups.
pub const LIST_GROUPS: i16 = 16;
/// Key of ApiVersions.
pub const API_VERSIONS: i16 = 18;
/// Key of CreateTopics.
pub const CREATE_TOPICS: i16 = 19;
/// Key of DeleteTopics.
pub const DELETE_TOPICS: i16 = 20;
/// Key of DeleteRecords.
pub const DELETE_RECORDS: i16 = 21;
/// Key of InitProducerId.
pub const INIT_PRODUCER_ID: i16 = 22;
/// Key of OffsetForLeaderEpoch.
pub const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
/// Key of AddPartitionsToTxn.
pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
/// Key of AddOffsetsToTxn.
pub const ADD_OFFSETS_TO_TXN: i16 = 25;
/// Key of EndTxn.
pub const END_TXN: i16 = 26;
/// Key of WriteTxnMarkers.
pub const WRITE_TXN_MARKERS: i16 = 27;
/// Key of TxnOffsetCommit.
pub const TXN_OFFSET_COMMIT: i16 = 28;
/// Key of DescribeConfigs.
pub const DESCRIBE_CONFIGS: i16 = 32;
/// Key of AlterConfigs.
pub const ALTER_CONFIGS: i16 = 33;
/// Key of AlterReplicaLogDirs.
pub const ALTER_REPLICA_LOG_DIRS: i16 = 34;
/// Key of DescribeLogDirs.
pub const DESCRIBE_LOG_DIRS: i16 = 35;
/// Key of CreatePartitions.
pub const CREATE_PARTITIONS: i16 = 37;
/// Key of DeleteGroups.
pub const DELETE_GROUPS: i16 = 42;
/// Key of ElectLeaders.
pub const ELECT_LEADERS: i16 = 43;
/// Key of IncrementalAlterConfigs.
pub const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
/// Key of AlterPartitionReassignments.
pub const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
/// Key of ListPartitionReassignments.
pub const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
/// Key of OffsetDelete.
pub const OFFSET_DELETE: i16 = 47;
/// Key of DescribeClientQuotas.
pub const DESCRIBE_CLIENT_QUOTAS: i16 = 48;
/// Key of AlterClientQuotas.
pub const ALTER_CLIENT_QUOTAS: i16 = 49;
/// Key of DescribeQuorum.
pub const DESCRIBE_QUORUM: i16 = 55;
/// Key of UpdateFeatures.
pub const UPDATE_FEATURES: i16 = 57;
/// Key of DescribeCluster.
pub const DESCRIBE_CLUSTER: i16 = 60;
/// Key of DescribeProducers.
pub const DESCRIBE_PRODUCERS: i16 = 61;
/// Key of UnregisterBroker.
pub const UNREGISTER_BROKER: i16 = 64;
/// Key of DescribeTransactions.
pub const DESCRIBE_TRANSACTIONS: i16 = 65;
/// Key of ListTransactions.
pub const LIST_TRANSACTIONS: i16 = 66;
/// Key of ListConfigResources.
pub const LIST_CONFIG_RESOURCES: i16 = 74;
/// Key of DescribeTopicPartitions.
pub const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// One served API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiSpec {
    /// The API key.
    pub key: i16,
    /// Kafka's name of the API.
    pub name: &'static str,
    /// Lowest version that is served.
    pub min_version: i16,
    /// Lowest version that ApiVersions lists: `min_version`, except for Produce.
    pub listed_min_version: i16,
    /// Highest version that is served and listed.
    pub max_version: i16,
    /// First version with compact encodings and tagged fields.
    pub flexible_from: i16,
    /// How many bytes of memory one byte of a request may cost while it is handled: what a
    /// connection charges against the memory limit for queued requests.
    pub memory_factor: u8,
}

const fn api(key: i16, name: &'static str, versions: (i16, i16), flexible_from: i16, memory_factor: u8) -> ApiSpec {
    ApiSpec {
        key,
        name,
        min_version: versions.0,
        listed_min_version: versions.0,
        max_version: versions.1,
        flexible_from,
        memory_factor,
    }
}

/// Memory factor of requests whose payload stays one shared slice of the frame.
const PAYLOAD: u8 = 2;
/// Memory factor of requests made of many small fields: the worst is a member of LeaveGroup 4, three
/// bytes on the wire and three string objects and a map in memory.
const FIELDS: u8 = 40;

/// The served APIs, in key order.
pub static APIS: &[ApiSpec] = &[
    // Listed from 0 although 0-2 are refused: librdkafka up to 2.11.0 takes a higher floor for a
    // broker without compression and silently sends uncompressed batches.
    ApiSpec {
        listed_min_version: 0,
        ..api(PRODUCE, "Produce", (3, 13), 9, PAYLOAD)
    },
    api(FETCH, "Fetch", (4, 18), 12, FIELDS),
    api(LIST_OFFSETS, "ListOffsets", (0, 11), 6, FIELDS),
    api(METADATA, "Metadata", (0, 13), 9, FIELDS),
    api(OFFSET_COMMIT, "OffsetCommit", (2, 10), 8, FIELDS),
    api(OFFSET_FETCH, "OffsetFetch", (1, 10), 6, FIELDS),
    api(FIND_COORDINATOR, "FindCoordinator", (0, 6), 3, FIELDS),
    // 0 and 1 came back in Kafka 4.0.1 because librdkafka, kafka-go and brod probe for them.
    api(JOIN_GROUP, "JoinGroup", (0, 9), 6, FIELDS),
    api(HEARTBEAT, "Heartbeat", (0, 4), 4, FIELDS),
    api(LEAVE_GROUP, "LeaveGroup", (0, 5), 4, FIELDS),
    api(SYNC_GROUP, "SyncGroup", (0, 5), 4, FIELDS),
    api(DESCRIBE_GROUPS, "DescribeGroups", (0, 6), 5, FIELDS),
    api(LIST_GROUPS, "ListGroups", (0, 5), 3, FIELDS),
    api(API_VERSIONS, "ApiVersions", (0, 4), 3, FIELDS),
    api(CREATE_TOPICS, "CreateTopics", (0, 7), 5, FIELDS),
    api(DELETE_TOPICS, "DeleteTopics", (0, 6), 4, FIELDS),
    api(DELETE_RECORDS, "DeleteRecords", (0, 2), 2, FIELDS),
    // 6 (two-phase commit, KIP-939) is unstable in Kafka.
    api(INIT_PRODUCER_ID, "InitProducerId", (0, 5), 2, FIELDS),
    api(OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch", (2, 4), 4, FIELDS),
    // Kafka's brokers use 4 and 5 among themselves, and list them to everybody.
    api(ADD_PARTITIONS_TO_TXN, "AddPartitionsToTxn", (0, 5), 3, FIELDS),
    api(ADD_OFFSETS_TO_TXN, "AddOffsetsToTxn", (0, 4), 3, FIELDS),
    api(END_TXN, "EndTxn", (0, 5), 3, FIELDS),
    api(WRITE_TXN_MARKERS, "WriteTxnMarkers", (1, 2), 1, FIELDS),
    api(TXN_OFFSET_COMMIT, "TxnOffsetCommit", (0, 5), 3, FIELDS),
    api(DESCRIBE_CONFIGS, "DescribeConfigs", (0, 4), 4, FIELDS),
    api(ALTER_CONFIGS, "AlterConfigs", (0, 2), 2, FIELDS),
    api(ALTER_REPLICA_LOG_DIRS, "AlterReplicaLogDirs", (1, 2), 2, FIELDS),
    api(DESCRIBE_LOG_DIRS, "DescribeLogDirs", (1, 5), 2, FIELDS),
    api(CREATE_PARTITIONS, "CreatePartitions", (0, 3), 2, FIELDS),
    api(DELETE_GROUPS, "DeleteGroups", (0, 2), 2, FIELDS),
    api(ELECT_LEADERS, "ElectLeaders", (0, 2), 2, FIELDS),
    api(INCREMENTAL_ALTER_CONFIGS, "IncrementalAlterConfigs", (0, 1), 1, FIELDS),
    api(
        ALTER_PARTITION_REASSIGNMENTS,
        "AlterPartitionReassignments",
        (0, 1),
        0,
        FIELDS,
    ),
    api(
        LIST_PARTITION_REASSIGNMENTS,
        "ListPartitionReassignments",
        (0, 0),
        0,
        FIELDS,
    ),
    // No version of it has compact encodings.
    api(OFFSET_DELETE, "OffsetDelete", (0, 0), i16::MAX, FIELDS),
    api(DESCRIBE_CLIENT_QUOTAS, "DescribeClientQuotas", (0, 1), 1, FIELDS),
    api(ALTER_CLIENT_QUOTAS, "AlterClientQuotas", (0, 1), 1, FIELDS),
    api(DESCRIBE_QUORUM, "DescribeQuorum", (0, 2), 0, FIELDS),
    api(UPDATE_FEATURES, "UpdateFeatures", (0, 2), 0, FIELDS),
    api(DESCRIBE_CLUSTER, "DescribeCluster", (0, 2), 0, FIELDS),
    api(DESCRIBE_PRODUCERS, "DescribeProducers", (0, 0), 0, FIELDS),
    api(UNREGISTER_BROKER, "UnregisterBroker", (0, 0), 0, FIELDS),
    api(DESCRIBE_TRANSACTIONS, "DescribeTransactions", (0, 0), 0, FIELDS),
    api(LIST_TRANSACTIONS, "ListTransactions", (0, 2), 0, FIELDS),
    api(LIST_CONFIG_RESOURCES, "ListConfigResources", (0, 1), 0, FIELDS),
    api(DESCRIBE_TOPIC_PARTITIONS, "DescribeTopicPartitions", (0, 0), 0, FIELDS),
];

/// The served API with this key.
pub fn find(key: i16) -> Option<&'static ApiSpec> {
    APIS.binary_search_by_key(&key, |api| api.key)
        .ok()
        .map(|index| &APIS[index])
}

impl ApiSpec {
    /// The version whose request fields a version has: kafka-protocol knows ListOffsets up to 10, and 11 only gave one
    /// more timestamp a meaning (KIP-1023); of DescribeLogDirs 5 only the response has a field more, which its handler
    /// writes itself; of WriteTxnMarkers 2 only the request has one, which [`crate::wire::write_txn_markers`] reads.
    pub(crate) const fn version_of_fields(&self, version: i16) -> i16 {
        match (self.key, version) {
            (LIST_OFFSETS, 11) => 10,
            (DESCRIBE_LOG_DIRS, 5) => 4,
            (WRITE_TXN_MARKERS, 2) => 1,
            _ => version,
        }
    }

    /// Whether this version of the API is served.
    pub const fn serves(&self, version: i16) -> bool {
        self.min_version <= version && version <= self.max_version
    }

    /// Whether this version uses compact encodings and tagged fields.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// 1, or 2 with tagged fields.
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// 0, or 1 with tagged fields. Always 0 for ApiVersions: its reader does not know yet which
    /// version the broker answers in.
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) && self.key != API_VERSIONS {
            1
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn rows_are_in_key_order_and_found() {
        assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
        for api in APIS {
            assert_eq!(find(api.key), Some(api));
            assert!(api.listed_min_version <= api.min_version && api.min_version <= api.max_version);
        }
        assert_eq!(find(4), None);
        assert_eq!(find(-1), None);
    }

    #[test]
    fn names_versions_and_header_versions_agree_with_the_decoder() {
        for api in APIS {
            let key = ApiKey::try_from(api.key).expect("every served key has a decoder");
            let theirs = format!("{key:?}").replace("Key", "");
            assert_eq!(theirs, api.name);
            let range = key.valid_versions();
            let older = [LIST_OFFSETS, CREATE_TOPICS, DELETE_TOPICS, DESCRIBE_CONFIGS].contains(&api.key);
            assert!(
                (range.min <= api.min_version) != older && api.version_of_fields(api.max_version) <= range.max,
                "{}",
                api.name
            );
            for version in api.min_version..=api.max_version {
                assert_eq!(
                    api.request_header_version(version),
                    key.request_header_version(version),
                    "{} v{version}",
                    api.name
                );
                assert_eq!(
                    api.response_header_version(version),
                    key.response_header_version(version),
                    "{} v{version}",
                    api.name
                );
            }
        }
    }

    /// The shortest elements of the served requests that name something by a string.
    #[test]
    fn the_memory_factor_covers_the_worst_elements() {
        use kafka_protocol::messages::{
            create_topics_request::CreatableTopic, describe_configs_request::DescribeConfigsResource,
            join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
            metadata_request::MetadataRequestTopic, offset_commit_request::OffsetCommitRequestTopic,
            offset_fetch_request::OffsetFetchRequestTopics, sync_group_request::SyncGroupRequestAssignment,
        };
        use std::mem::size_of;
        let worst = [
            (size_of::<kafka_protocol::protocol::StrBytes>(), 1),
            (size_of::<MetadataRequestTopic>(), 2),
            (size_of::<MemberIdentity>(), 3),
            (size_of::<OffsetFetchRequestTopics>(), 3),
            (size_of::<OffsetCommitRequestTopic>(), 3),
            (size_of::<JoinGroupRequestProtocol>(), 3),
            (size_of::<SyncGroupRequestAssignment>(), 3),
            (size_of::<crate::wire::fetch::FetchTopic>(), 3),
            (size_of::<DescribeConfigsResource>(), 4),
            (size_of::<CreatableTopic>(), 10),
        ];
        for (index, (memory, wire)) in worst.into_iter().enumerate() {
            assert!(
                memory <= wire * usize::from(FIELDS),
                "row {index}: {memory} bytes for {wire}"
            );
        }
    }

    #[test]
    fn only_produce_lists_more_than_it_serves() {
        for api in APIS.iter().filter(|api| api.key != PRODUCE) {
            assert_eq!(api.listed_min_version, api.min_version);
        }
        assert_eq!(
            find(PRODUCE).map(|api| (api.listed_min_version, api.min_version)),
            Some((0, 3))
        );
    }
}
