//! The static table of APIs, in key order: which handler decodes and answers which request.
//!
//! Invariants: one API per file, named as Kafka names it; the keys here are exactly those of `protocol::api::APIS`
//! (checked by `tests/tidy.rs`); handlers hold no state.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
mod by_topic;
pub mod context;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod reply;
pub mod session;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod unregister_broker;
pub mod update_features;
mod verification;
pub mod write_txn_markers;

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages;
use protocol::decode::decode_request;
use protocol::wire::older::list_offsets::ListOffsetsRequestV0;
use protocol::wire::write_txn_markers::WriteTxnMarkersRequest;

use self::context::RequestContext;
use self::reply::Reply;

/// Decodes the body with the guarded decoder and hands it to the API's handler.
macro_rules! decoded {
    ($cx:expr, $body:expr, $request:ident, $module:ident) => {
        match decode_request::<messages::$request>($cx.api_key, $cx.api_version, $body) {
            Ok(request) => $module::handle($cx, request),
            Err(error) => malformed($cx, &error),
        }
    };
}

/// Whether consecutive requests of this API are better handled together, by [`handle_together`].
pub fn goes_together(api_key: i16) -> bool {
    api_key == protocol::api::PRODUCE
}

/// Handles consecutive requests of one connection and of an API that [`goes_together`]; one reply each, in order, up to
/// the first that closes the connection or holds it up. What stands behind that is not handled.
pub fn handle_together(requests: Vec<(Arc<RequestContext>, Bytes)>) -> Vec<Reply> {
    produce::handle_all(requests)
}

/// Handles one request of a served API and version.
///
/// # Panics
/// When the API is not served: the dispatcher asked the API table before.
pub fn handle(cx: &Arc<RequestContext>, body: Bytes) -> Reply {
    match cx.api_key {
        0 => produce::handle_all(vec![(Arc::clone(cx), body)])
            .pop()
            .expect("one reply per request"),
        1 => fetch::handle(cx, body),
        2 if cx.api_version == 0 => match ListOffsetsRequestV0::read(&body) {
            Ok(request) => list_offsets::v0::handle(cx, request),
            Err(error) => malformed(cx, &error),
        },
        2 => decoded!(cx, body, ListOffsetsRequest, list_offsets),
        3 => decoded!(cx, body, MetadataRequest, metadata),
        8 => decoded!(cx, body, OffsetCommitRequest, offset_commit),
        9 => decoded!(cx, body, OffsetFetchRequest, offset_fetch),
        10 => decoded!(cx, body, FindCoordinatorRequest, find_coordinator),
        11 => decoded!(cx, body, JoinGroupRequest, join_group),
        12 => decoded!(cx, body, HeartbeatRequest, heartbeat),
        13 => decoded!(cx, body, LeaveGroupRequest, leave_group),
        14 => decoded!(cx, body, SyncGroupRequest, sync_group),
        15 => decoded!(cx, body, DescribeGroupsRequest, describe_groups),
        16 => decoded!(cx, body, ListGroupsRequest, list_groups),
        18 => decoded!(cx, body, ApiVersionsRequest, api_versions),
        19 => decoded!(cx, body, CreateTopicsRequest, create_topics),
        20 => decoded!(cx, body, DeleteTopicsRequest, delete_topics),
        21 => decoded!(cx, body, DeleteRecordsRequest, delete_records),
        22 => decoded!(cx, body, InitProducerIdRequest, init_producer_id),
        23 => decoded!(cx, body, OffsetForLeaderEpochRequest, offset_for_leader_epoch),
        24 => decoded!(cx, body, AddPartitionsToTxnRequest, add_partitions_to_txn),
        25 => decoded!(cx, body, AddOffsetsToTxnRequest, add_offsets_to_txn),
        26 => decoded!(cx, body, EndTxnRequest, end_txn),
        27 => match WriteTxnMarkersRequest::read(cx.api_version, &body) {
            Ok(request) => write_txn_markers::handle(cx, request),
            Err(error) => malformed(cx, &error),
        },
        28 => decoded!(cx, body, TxnOffsetCommitRequest, txn_offset_commit),
        32 => decoded!(cx, body, DescribeConfigsRequest, describe_configs),
        33 => decoded!(cx, body, AlterConfigsRequest, alter_configs),
        34 => decoded!(cx, body, AlterReplicaLogDirsRequest, alter_replica_log_dirs),
        35 => decoded!(cx, body, DescribeLogDirsRequest, describe_log_dirs),
        37 => decoded!(cx, body, CreatePartitionsRequest, create_partitions),
        42 => decoded!(cx, body, DeleteGroupsRequest, delete_groups),
        43 => decoded!(cx, body, ElectLeadersRequest, elect_leaders),
        44 => decoded!(cx, body, IncrementalAlterConfigsRequest, incremental_alter_configs),
        45 => decoded!(
            cx,
            body,
            AlterPartitionReassignmentsRequest,
            alter_partition_reassignments
        ),
        46 => decoded!(
            cx,
            body,
            ListPartitionReassignmentsRequest,
            list_partition_reassignments
        ),
        47 => decoded!(cx, body, OffsetDeleteRequest, offset_delete),
        48 => decoded!(cx, body, DescribeClientQuotasRequest, describe_client_quotas),
        49 => decoded!(cx, body, AlterClientQuotasRequest, alter_client_quotas),
        55 => decoded!(cx, body, DescribeQuorumRequest, describe_quorum),
        57 => decoded!(cx, body, UpdateFeaturesRequest, update_features),
        60 => decoded!(cx, body, DescribeClusterRequest, describe_cluster),
        61 => decoded!(cx, body, DescribeProducersRequest, describe_producers),
        64 => decoded!(cx, body, UnregisterBrokerRequest, unregister_broker),
        65 => decoded!(cx, body, DescribeTransactionsRequest, describe_transactions),
        66 => decoded!(cx, body, ListTransactionsRequest, list_transactions),
        74 => decoded!(cx, body, ListConfigResourcesRequest, list_config_resources),
        75 => decoded!(cx, body, DescribeTopicPartitionsRequest, describe_topic_partitions),
        key => unreachable!("API {key} is in the table of served APIs but has no handler"),
    }
}

/// A body that does not parse closes the connection without an answer, as in Kafka (`SocketServer`).
fn malformed(cx: &RequestContext, error: &protocol::decode::DecodeError) -> Reply {
    tracing::debug!(peer = %cx.peer, api_key = cx.api_key, api_version = cx.api_version, %error, "malformed request");
    Reply::Close("malformed request")
}
