//! LeaveGroup: members go, or an administrator removes them.
//!
//! Source: `GroupMetadataManager.classicGroupLeaveToClassicGroup`.

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::{ClassicEvent, GroupState};
use crate::coordinator::group::api::{LeaveReply, LeaveRequest, LeavingMember, LeftMember};

impl ClassicEvent<'_, '_> {
    /// A LeaveGroup for this group.
    pub(in crate::coordinator::group) fn on_leave(&mut self, request: &LeaveRequest) -> LeaveReply {
        let mut members = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            let error = self.remove_leaving(leaving).err().unwrap_or(ErrorCode::None);
            members.push(LeftMember {
                member_id: Arc::clone(&leaving.member_id),
                group_instance_id: leaving.group_instance_id.clone(),
                error,
            });
        }
        if members.iter().any(|member| member.error == ErrorCode::None) {
            match self.group.state {
                GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance("a member left"),
                GroupState::PreparingRebalance => self.maybe_complete_join(),
                GroupState::Empty => {}
            }
        }
        LeaveReply {
            error: ErrorCode::None,
            members,
        }
    }

    fn remove_leaving(&mut self, leaving: &LeavingMember) -> Result<(), ErrorCode> {
        let instance_id = leaving.group_instance_id.as_deref();
        let member_id = if leaving.member_id.is_empty() {
            let member_id = instance_id.and_then(|instance_id| self.group.static_members.get(instance_id));
            Arc::clone(member_id.ok_or(ErrorCode::UnknownMemberId)?)
        } else if self.group.pending_members.contains(&leaving.member_id) {
            Arc::clone(&leaving.member_id)
        } else {
            self.group.validate_member(&leaving.member_id, instance_id)?;
            Arc::clone(&leaving.member_id)
        };
        let (group_id, reason) = (&self.group.group_id, leaving.reason.as_deref());
        tracing::info!(%group_id, %member_id, reason, "member leaves the group");
        self.remove_member(&member_id);
        Ok(())
    }
}
