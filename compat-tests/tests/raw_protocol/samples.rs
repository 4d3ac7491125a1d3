//! One valid request for every API and version that a broker of this project lists, for tests that walk over all of them.
//!
//! **Invariant:** a sample sets in each version only fields which that version has.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{delete_topics_request::DeleteTopicState, *};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use uuid::Uuid;

use compat_tests::batch::Batch;
use compat_tests::broker::external_address;
use compat_tests::requests::{
    alteration, commit_request, creatable, delete_records_request, fetch_request, group_id, list_offsets_request,
    produce_request, topic_name, unique,
};
use compat_tests::wire::{encode_request, text, version_of_fields};

use crate::older;

/// The correlation id of every sample.
pub(crate) const CORRELATION_ID: i32 = 4711;

/// A request frame, and how its answer is read.
pub(crate) struct Sample {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) frame: Bytes,
    pub(crate) check: fn(Bytes, i16) -> Result<(), String>,
}

impl Sample {
    /// Decodes an answer's frame completely.
    pub(crate) fn check(&self, answer: Bytes) -> Result<(), String> {
        (self.check)(answer, self.version)
    }
}

/// What the requests are about: a topic that is there, and a group.
pub(crate) struct Subject<'a> {
    pub(crate) topic: &'a str,
    pub(crate) topic_id: Uuid,
    pub(crate) group: &'a str,
}

fn check<Q: Request>(mut frame: Bytes, version: i16) -> Result<(), String> {
    let header_version = <Q::Response as HeaderVersion>::header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version).map_err(|error| format!("header: {error}"))?;
    if header.correlation_id != CORRELATION_ID {
        return Err(format!("correlation id {}", header.correlation_id));
    }
    Q::Response::decode(&mut frame, version_of_fields(Q::KEY, version)).map_err(|error| error.to_string())?;
    if frame.is_empty() {
        Ok(())
    } else {
        Err(format!("{} bytes left over", frame.len()))
    }
}

fn sample<Q: Request>(versions: RangeInclusive<i16>, build: impl Fn(i16) -> Q) -> Vec<Sample> {
    let one = |version| Sample {
        key: Q::KEY,
        version,
        frame: encode_request(CORRELATION_ID, version, &build(version)),
        check: check::<Q>,
    };
    versions.map(one).collect()
}

/// All samples, in the order of their keys and versions.
pub(crate) fn all(subject: &Subject<'_>) -> Vec<Sample> {
    let mut samples = data(subject);
    samples.extend(offsets(subject));
    samples.extend(membership(subject));
    samples.extend(administration(subject));
    samples.extend(configs(subject));
    samples.extend(cluster(subject));
    samples.extend(transactions(subject));
    // Apache Kafka 4 does not list these.
    if external_address().is_none() {
        samples.extend(older::samples(subject));
    }
    samples.sort_by_key(|sample| (sample.key, sample.version));
    samples
}

fn data(subject: &Subject<'_>) -> Vec<Sample> {
    let &Subject { topic, topic_id, .. } = subject;
    let produce = |version| {
        let mut request = produce_request(topic, 0, Batch::of(&["sample"]).encode(), -1);
        if version >= 13 {
            request.topic_data[0].name = topic_name("");
            request.topic_data[0].topic_id = topic_id;
        }
        request
    };
    let fetch = |version| {
        let mut request = fetch_request(topic, 0, 0, 0, 1);
        if version >= 13 {
            request.topics[0].topic = topic_name("");
            request.topics[0].topic_id = topic_id;
        }
        request
    };
    let metadata = |version| {
        let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(version < 4)
    };
    [
        sample(3..=13, produce),
        sample(4..=18, fetch),
        sample(1..=11, |_| list_offsets_request(topic, 0, -1)),
        sample(0..=13, metadata),
        sample(2..=4, |_| {
            let asked = OffsetForLeaderPartition::default()
                .with_current_leader_epoch(-1)
                .with_leader_epoch(0);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic_name(topic))
                .with_partitions(vec![asked]);
            OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![topic])
        }),
        sample(0..=5, |_| {
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(60_000)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn offsets(subject: &Subject<'_>) -> Vec<Sample> {
    let &Subject { topic, topic_id, group } = subject;
    let fetch = |version| {
        if version < 8 {
            let asked = OffsetFetchRequestTopic::default().with_name(topic_name(topic));
            let asked = asked.with_partition_indexes(vec![0]);
            return OffsetFetchRequest::default()
                .with_group_id(group_id(group))
                .with_topics(Some(vec![asked]));
        }
        let asked = OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_topics(Some(vec![asked]));
        OffsetFetchRequest::default().with_groups(vec![group])
    };
    let coordinator = |version| match version {
        0..=3 => FindCoordinatorRequest::default().with_key(text(group)),
        _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]),
    };
    let mut samples = sample(2..=9, |_| commit_request(group, ("", -1), topic, 0, "note"));
    samples.extend(sample(1..=9, fetch));
    samples.extend(sample(0..=6, coordinator));
    samples.push(by_hand::<OffsetCommitRequest>(10, &commit_by_id(group, topic_id)));
    samples.push(by_hand::<OffsetFetchRequest>(10, &fetch_by_id(group, topic_id)));
    samples
}

/// A request that kafka-protocol answers, but does not send: these versions were not yet stable in Kafka 4.1.
pub(crate) fn by_hand<Q: Request>(version: i16, body: &[u8]) -> Sample {
    let mut payload = [Q::KEY.to_be_bytes(), version.to_be_bytes()].concat();
    payload.extend(CORRELATION_ID.to_be_bytes());
    payload.extend([0xff, 0xff, 0]); // no client id, no tagged fields
    payload.extend(body);
    let length = i32::try_from(payload.len()).expect("a small frame");
    Sample {
        key: Q::KEY,
        version,
        frame: Bytes::from([&length.to_be_bytes()[..], &payload].concat()),
        check: check::<Q>,
    }
}

fn compact(string: &str) -> Vec<u8> {
    let length = u8::try_from(string.len() + 1)
        .ok()
        .filter(|length| *length < 0x80)
        .expect("a short string");
    [&[length], string.as_bytes()].concat()
}

fn commit_by_id(group: &str, topic_id: Uuid) -> Vec<u8> {
    let mut body = compact(group);
    body.extend((-1_i32).to_be_bytes()); // no generation
    body.extend([1, 0, 2]); // no member, no instance, one topic
    body.extend(topic_id.as_bytes());
    body.push(2); // one partition
    body.extend(0_i32.to_be_bytes());
    body.extend(0_i64.to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    body.extend([1, 0, 0, 0]); // no metadata, then the tagged fields of partition, topic and request
    body
}

fn fetch_by_id(group: &str, topic_id: Uuid) -> Vec<u8> {
    let mut body = vec![2]; // one group
    body.extend(compact(group));
    body.push(0); // no member
    body.extend((-1_i32).to_be_bytes());
    body.push(2); // one topic
    body.extend(topic_id.as_bytes());
    body.push(2); // one partition
    body.extend(0_i32.to_be_bytes());
    body.extend([0, 0, 0, 0]); // tagged fields of topic and group, not only stable offsets, tagged fields
    body
}

fn membership(subject: &Subject<'_>) -> Vec<Sample> {
    let group = || group_id(subject.group);
    let join = |_| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::new());
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(6_000)
            .with_rebalance_timeout_ms(6_000)
            .with_member_id(text("stranger"))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    };
    let join = |version| {
        if version == 0 {
            join(version).with_rebalance_timeout_ms(-1)
        } else {
            join(version)
        }
    };
    let sync = |version| {
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("stranger"));
        match version {
            5.. => request
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range"))),
            _ => request,
        }
    };
    let leave = |version| match version {
        0..=2 => LeaveGroupRequest::default()
            .with_group_id(group())
            .with_member_id(text("stranger")),
        _ => LeaveGroupRequest::default()
            .with_group_id(group())
            .with_members(vec![MemberIdentity::default().with_member_id(text("stranger"))]),
    };
    [
        sample(0..=9, join),
        sample(0..=4, |_| {
            HeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(text("stranger"))
        }),
        sample(0..=5, leave),
        sample(0..=5, sync),
        sample(0..=6, |_| DescribeGroupsRequest::default().with_groups(vec![group()])),
        sample(0..=5, |_| ListGroupsRequest::default()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn administration(subject: &Subject<'_>) -> Vec<Sample> {
    let api_versions = |version| match version {
        3.. => ApiVersionsRequest::default()
            .with_client_software_name(text("samples"))
            .with_client_software_version(text("1.0")),
        _ => ApiVersionsRequest::default(),
    };
    let delete = |version| match version {
        0..=5 => DeleteTopicsRequest::default().with_topic_names(vec![topic_name("not-there")]),
        _ => DeleteTopicsRequest::default().with_topics(vec![
            DeleteTopicState::default().with_name(Some(topic_name("not-there"))),
        ]),
    };
    let producers = |_| {
        let asked = describe_producers_request::TopicRequest::default()
            .with_name(topic_name(subject.topic))
            .with_partition_indexes(vec![0, 99]);
        DescribeProducersRequest::default().with_topics(vec![asked])
    };
    let create = |_| {
        CreateTopicsRequest::default()
            .with_topics(vec![creatable(&unique("sample"), 1, &[("retention.ms", "1000")])])
            .with_timeout_ms(30_000)
    };
    // offset 0: the other samples still find the topic's records
    let records = |_| delete_records_request(subject.topic, &[(0, 0)]);
    [
        sample(0..=4, api_versions),
        sample(2..=7, create),
        sample(1..=6, delete),
        sample(0..=2, records),
        sample(0..=2, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![group_id("not-there")])
        }),
        sample(0..=0, |_| {
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
            let topic = OffsetDeleteRequestTopic::default()
                .with_name(topic_name(subject.topic))
                .with_partitions(vec![partition]);
            OffsetDeleteRequest::default()
                .with_group_id(group_id(subject.group))
                .with_topics(vec![topic])
        }),
        sample(0..=2, |_| DescribeClusterRequest::default()),
        sample(1..=2, |_| AlterReplicaLogDirsRequest::default()),
        sample(1..=4, |_| DescribeLogDirsRequest::default().with_topics(None)),
        vec![describe_log_dirs_5()],
        sample(0..=0, producers),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn configs(subject: &Subject<'_>) -> Vec<Sample> {
    let describe = |_| {
        let resource = |kind, name| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
        };
        DescribeConfigsRequest::default().with_resources(vec![resource(2, subject.topic).with_configuration_keys(None)])
    };
    let alter = |_| {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(Some(text("3600000")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(subject.topic))
            .with_configs(vec![config]);
        AlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(true)
    };
    let incremental = |_| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("cleanup.policy"))
            .with_config_operation(2)
            .with_value(Some(text("delete")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(subject.topic))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    [
        sample(1..=4, describe),
        sample(0..=2, alter),
        sample(0..=1, incremental),
        sample(0..=1, |_| DescribeClientQuotasRequest::default()),
        sample(0..=1, |_| {
            AlterClientQuotasRequest::default().with_entries(vec![alteration(
                &[("client-id", Some("sample"))],
                &[("producer_byte_rate", Some(1e9))],
            )])
        }),
        sample(0..=1, |_| ListConfigResourcesRequest::default()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The APIs that change or show the cluster: samples that change nothing.
fn cluster(subject: &Subject<'_>) -> Vec<Sample> {
    let topic = || topic_name(subject.topic);
    let partitions = |_| {
        let asked = CreatePartitionsTopic::default()
            .with_name(topic())
            .with_count(9)
            .with_assignments(None);
        CreatePartitionsRequest::default()
            .with_topics(vec![asked])
            .with_timeout_ms(30_000)
            .with_validate_only(true)
    };
    let elect = |version| {
        let asked = TopicPartitions::default().with_topic(topic()).with_partitions(vec![0]);
        ElectLeadersRequest::default()
            .with_election_type(i8::from(version >= 1))
            .with_topic_partitions(Some(vec![asked]))
    };
    let reassign = |version| {
        let asked = ReassignablePartition::default().with_replicas(None);
        let asked = ReassignableTopic::default()
            .with_name(topic())
            .with_partitions(vec![asked]);
        AlterPartitionReassignmentsRequest::default()
            .with_allow_replication_factor_change(version == 0)
            .with_topics(vec![asked])
    };
    let quorum = |_| {
        let asked = describe_quorum_request::PartitionData::default().with_partition_index(0);
        let asked = describe_quorum_request::TopicData::default()
            .with_topic_name(topic_name("__cluster_metadata"))
            .with_partitions(vec![asked]);
        DescribeQuorumRequest::default().with_topics(vec![asked])
    };
    let features = |version| {
        let asked = FeatureUpdateKey::default()
            .with_feature(text("not.a.feature"))
            .with_max_version_level(1);
        UpdateFeaturesRequest::default()
            .with_feature_updates(vec![asked])
            .with_validate_only(version >= 1)
    };
    let page = |_| {
        let cursor = describe_topic_partitions_request::Cursor::default()
            .with_topic_name(topic())
            .with_partition_index(0);
        DescribeTopicPartitionsRequest::default()
            .with_topics(vec![TopicRequest::default().with_name(topic())])
            .with_cursor(Some(cursor))
    };
    [
        sample(0..=3, partitions),
        sample(0..=2, elect),
        sample(0..=1, reassign),
        sample(0..=0, |_| {
            ListPartitionReassignmentsRequest::default().with_topics(None)
        }),
        sample(0..=2, quorum),
        sample(0..=2, features),
        sample(0..=0, |_| {
            UnregisterBrokerRequest::default().with_broker_id(BrokerId(4_711))
        }),
        sample(0..=0, page),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The APIs of transactions: nobody has this transactional id, and no partition has the number of the marker.
fn transactions(subject: &Subject<'_>) -> Vec<Sample> {
    let id = || TransactionalId(text("nobody"));
    let partitions = |version| {
        let asked = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(topic_name(subject.topic))
            .with_partitions(vec![0]);
        let request = AddPartitionsToTxnRequest::default();
        if version < 4 {
            return request
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_topics(vec![asked]);
        }
        let transaction = add_partitions_to_txn_request::AddPartitionsToTxnTransaction::default()
            .with_transactional_id(id())
            .with_topics(vec![asked]);
        request.with_transactions(vec![transaction.clone(), transaction.with_verify_only(true)])
    };
    let markers = |_| {
        let topic = write_txn_markers_request::WritableTxnMarkerTopic::default()
            .with_name(topic_name(subject.topic))
            .with_partition_indexes(vec![99]);
        let marker = write_txn_markers_request::WritableTxnMarker::default().with_topics(vec![topic]);
        WriteTxnMarkersRequest::default().with_markers(vec![marker])
    };
    let commit = |_| {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(subject.topic))
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(group_id(subject.group))
            .with_topics(vec![topic])
    };
    let mut samples: Vec<_> = [
        sample(0..=5, partitions),
        sample(0..=4, |_| {
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(id())
                .with_group_id(group_id(subject.group))
        }),
        sample(0..=5, |_| EndTxnRequest::default().with_transactional_id(id())),
        sample(1..=1, markers),
        sample(0..=5, commit),
        sample(0..=0, |_| {
            DescribeTransactionsRequest::default().with_transactional_ids(vec![id()])
        }),
        sample(0..=2, |_| ListTransactionsRequest::default()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let body = markers_2((7, 0), 2, (subject.topic, 99));
    samples.push(by_hand::<WriteTxnMarkersRequest>(2, &body));
    samples
}

/// The body of WriteTxnMarkers version 2 that commits what a producer wrote to a partition.
pub(crate) fn markers_2(producer: (i64, i16), transaction_version: u8, at: (&str, i32)) -> Vec<u8> {
    let mut body = vec![2]; // one marker
    body.extend(producer.0.to_be_bytes());
    body.extend(producer.1.to_be_bytes());
    body.extend([1, 2]); // commit, one topic
    body.extend(compact(at.0));
    body.push(2); // one partition
    body.extend(at.1.to_be_bytes());
    body.push(0); // tagged fields of the topic
    body.extend(0_i32.to_be_bytes()); // the coordinator's epoch
    body.extend([transaction_version, 0, 0]); // then the tagged fields of marker and request
    body
}

/// A version that the library has no codec for. The request is that of version 4; so is the answer, with one boolean per
/// directory behind the sizes of its disk.
fn describe_log_dirs_5() -> Sample {
    let four = encode_request(
        CORRELATION_ID,
        4,
        &DescribeLogDirsRequest::default().with_topics(Some(Vec::new())),
    );
    let mut frame = four.to_vec();
    frame[4 + 3] = 5;
    let check = |frame: Bytes, _| {
        // with one directory and no topic: tag counts of directory and body stand behind the boolean
        let Some((cordoned, rest)) = frame.len().checked_sub(3).map(|at| (frame[at], &frame[at + 1..])) else {
            return Err("too short".to_owned());
        };
        let mut four = frame[..frame.len() - 3].to_vec();
        four.extend_from_slice(rest);
        if cordoned > 1 {
            return Err(format!("{cordoned} is no boolean"));
        }
        check::<DescribeLogDirsRequest>(four.into(), 4)
    };
    Sample {
        key: DescribeLogDirsRequest::KEY,
        version: 5,
        frame: frame.into(),
        check,
    }
}
