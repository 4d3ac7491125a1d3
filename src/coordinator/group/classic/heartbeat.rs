//! Heartbeat: the member is alive, and learns whether it must rejoin.
//!
//! Source: `GroupMetadataManager.classicGroupHeartbeatToClassicGroup`.

use protocol::error_code::ErrorCode;

use super::{ClassicEvent, GroupState};
use crate::coordinator::group::api::HeartbeatRequest;

impl ClassicEvent<'_, '_> {
    /// A Heartbeat for this group.
    pub(in crate::coordinator::group) fn on_heartbeat(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(error) = self
            .group
            .validate_member(&request.member_id, request.group_instance_id.as_deref())
        {
            return error;
        }
        if request.generation_id != self.group.generation_id {
            return ErrorCode::IllegalGeneration;
        }
        match self.group.state {
            GroupState::Empty => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                self.renew_session(&request.member_id);
                ErrorCode::RebalanceInProgress
            }
            // In CompletingRebalance members that got their JoinGroup answer already send heartbeats.
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.renew_session(&request.member_id);
                ErrorCode::None
            }
        }
    }
}
