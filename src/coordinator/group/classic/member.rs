//! A live member of a classic group.
//!
//! Invariant: at most one JoinGroup and one SyncGroup of a member are parked; a token leaves the member exactly when its
//! reply is emitted. Source: `ClassicGroupMember`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::api::{JoinRequest, MemberProtocol, ReplyToken};
use crate::coordinator::group::record::MemberMetadata;

/// A member and what it waits for.
#[derive(Debug)]
pub(in crate::coordinator::group) struct Member {
    pub(in crate::coordinator::group) member_id: Arc<str>,
    pub(super) group_instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(in crate::coordinator::group) session_timeout_ms: i32,
    /// What the member supports, best first.
    pub(super) protocols: Vec<MemberProtocol>,
    pub(super) assignment: Bytes,
    pub(super) awaiting_join: Option<ReplyToken>,
    pub(super) awaiting_sync: Option<ReplyToken>,
    /// Has not got its first JoinGroup answer: it cannot send heartbeats yet.
    pub(super) is_new: bool,
}

impl Member {
    /// A member that joins now for the first time.
    pub(super) fn joining(member_id: Arc<str>, request: &JoinRequest, token: ReplyToken) -> Self {
        Self {
            member_id,
            group_instance_id: request.group_instance_id.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        }
    }

    /// A member of a loaded group. Only its metadata for the chosen protocol was persisted.
    pub(super) fn from_metadata(member: &MemberMetadata, protocol_name: &Arc<str>) -> Self {
        Self {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: vec![MemberProtocol {
                name: Arc::clone(protocol_name),
                metadata: member.subscription.clone(),
            }],
            assignment: member.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// The member as it is persisted, with `assignment`.
    pub(super) fn to_metadata(&self, protocol_name: Option<&str>, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: Arc::clone(&self.member_id),
            group_instance_id: self.group_instance_id.clone(),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol_name),
            assignment,
        }
    }

    /// Its metadata for a protocol; empty for one that it does not support.
    pub(super) fn metadata(&self, protocol_name: Option<&str>) -> Bytes {
        let protocol = self
            .protocols
            .iter()
            .find(|protocol| Some(&*protocol.name) == protocol_name);
        protocol.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    /// Whether a silent member is fine: it waits for us. A new one is not, its client may be gone.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// The names it supports, each once: a client may repeat one.
    pub(super) fn protocol_names(&self) -> BTreeSet<Arc<str>> {
        self.protocols
            .iter()
            .map(|protocol| Arc::clone(&protocol.name))
            .collect()
    }
}
