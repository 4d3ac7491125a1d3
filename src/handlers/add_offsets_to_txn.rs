//! AddOffsetsToTxn (25), versions 0-4.
//!
//! Adds the partition of the offsets topic that the group belongs to. Versions: 2 PRODUCER_FENCED (90), which older clients
//! see as INVALID_PRODUCER_EPOCH (47); 3 flexible; 4 as 3. Clients of transactions version 2 do not send it: TxnOffsetCommit
//! adds the partition. Source: `KafkaApis.handleAddOffsetsToTxnRequest`.

use std::sync::Arc;

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::coordinator::transaction::api::AddPartitionsRequest;
use crate::handlers::context::RequestContext;
use crate::handlers::end_txn::fenced_for;
use crate::handlers::reply::Reply;
use crate::metadata::topic_name::CONSUMER_OFFSETS;

/// Hands the partition to the coordinator of the transactional id.
pub(super) fn handle(cx: &Arc<RequestContext>, request: AddOffsetsToTxnRequest) -> Reply {
    let version = cx.api_version;
    let partition = cx.services.groups.partition_for(&request.group_id);
    let added = cx.services.transactions.add_partitions(AddPartitionsRequest {
        transactional_id: Arc::from(request.transactional_id.as_str()),
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        partitions: vec![(Arc::from(CONSUMER_OFFSETS), partition)],
        transaction_version: 0,
    });
    cx.later(async move { AddOffsetsToTxnResponse::default().with_error_code(fenced_for(version, added.await).code()) })
}
