//! ListPartitionReassignments (46), version 0.
//!
//! Partitions live on the only broker there is, so none is ever on its way elsewhere. Topics and partitions that are
//! named are not told whether they exist, as in Kafka.

use std::sync::Arc;

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Answers that there is none.
pub(super) fn handle(cx: &Arc<RequestContext>, _request: ListPartitionReassignmentsRequest) -> Reply {
    cx.reply(&ListPartitionReassignmentsResponse::default().with_error_message(None))
}
