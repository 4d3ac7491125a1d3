//! Heartbeat (12), versions 0-4.
//!
//! Versions: 3 static members, 4 flexible. While the group's shard is loading the answer is 0, so that its members do not
//! rejoin. KIP-345.

use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::api;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::Reply;

/// Hands the heartbeat to the group's shard.
pub fn handle(cx: &Arc<RequestContext>, request: HeartbeatRequest) -> Reply {
    let text = |text: &StrBytes| Arc::from(text.as_str());
    let answer = cx.services.groups.heartbeat(api::HeartbeatRequest {
        group_id: text(&request.group_id),
        generation_id: request.generation_id,
        member_id: text(&request.member_id),
        group_instance_id: request.group_instance_id.as_ref().map(text),
    });
    cx.later(async move { HeartbeatResponse::default().with_error_code(answer.await.code()) })
}
