//! Requests to the group machine and its replies, as plain data.
//!
//! Invariants: nothing here knows a wire version; strings and byte strings are owned by the values, so no request frame
//! is kept alive by the state of a group.

use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::{ProducerEpoch, ProducerId};
use storage::producer::VerificationGuard;
use uuid::Uuid;

use super::record::OffsetAndMetadata;
pub use crate::coordinator::runtime::machine::ReplyToken;

/// A request to the shard that owns a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take part in the next generation.
    Join(JoinRequest),
    /// Give (leader) and get the assignment.
    Sync(SyncRequest),
    /// Still there.
    Heartbeat(HeartbeatRequest),
    /// Leave, or remove others.
    Leave(LeaveRequest),
    /// Commit offsets.
    Commit(CommitRequest),
    /// Commit offsets in a transaction.
    CommitTransactional(TransactionalCommitRequest),
    /// Read committed offsets.
    Fetch(FetchRequest),
    /// Describe these groups.
    Describe(Vec<Arc<str>>),
    /// List the groups of this shard.
    List(Arc<ListRequest>),
    /// Delete these groups, each named once.
    DeleteGroups(Vec<Arc<str>>),
    /// Delete committed offsets.
    DeleteOffsets(DeleteOffsetsRequest),
}

/// The answer to a [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Join`].
    Join(JoinReply),
    /// To [`Request::Sync`].
    Sync(SyncReply),
    /// To [`Request::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`Request::Leave`].
    Leave(LeaveReply),
    /// To [`Request::Commit`] and [`Request::CommitTransactional`].
    Commit(CommitReply),
    /// To [`Request::Fetch`].
    Fetch(FetchReply),
    /// To [`Request::Describe`], in the order asked; `None` = no such group.
    Describe(Vec<Option<GroupDescription>>),
    /// To [`Request::List`].
    List(Vec<ListedGroup>),
    /// To [`Request::DeleteGroups`], in the order asked.
    DeleteGroups(Vec<ErrorCode>),
    /// To [`Request::DeleteOffsets`].
    DeleteOffsets(DeleteOffsetsReply),
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group to join.
    pub group_id: Arc<str>,
    /// "" for a new member.
    pub member_id: Arc<str>,
    /// Set by static members.
    pub group_instance_id: Option<Arc<str>>,
    /// The client's name for itself: the first part of the member ids that it is given.
    pub client_id: Arc<str>,
    /// Where the client is, as Kafka prints it: "/127.0.0.1".
    pub client_host: Arc<str>,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to rejoin.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", …
    pub protocol_type: Arc<str>,
    /// What the member supports, best first.
    pub protocols: Vec<MemberProtocol>,
    /// The client's own words; only logged.
    pub reason: Option<Arc<str>>,
    /// Whether a new dynamic member is first told its id and must come back with it (JoinGroup version 4 and above).
    pub requires_known_member_id: bool,
    /// Whether the client understands "you lead, but do not assign" (JoinGroup version 9 and above).
    pub supports_skip_assignment: bool,
}

/// A protocol that a member supports and its metadata for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProtocol {
    /// For example the assignor's name.
    pub name: Arc<str>,
    /// Opaque to the broker, except that consumers' subscriptions tell the topics.
    pub metadata: Bytes,
}

/// Answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// How it went.
    pub error: ErrorCode,
    /// The generation joined; -1 on error.
    pub generation_id: i32,
    /// The group's kind.
    pub protocol_type: Option<Arc<str>>,
    /// What the members chose.
    pub protocol_name: Option<Arc<str>>,
    /// Member id of the leader; "" on error.
    pub leader: Arc<str>,
    /// The leader must not compute an assignment, the group keeps the one it has.
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Arc<str>,
    /// All members with their metadata; only the leader gets them.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// An answer that only says what is wrong.
    pub fn error(error: ErrorCode, member_id: impl Into<Arc<str>>) -> Self {
        Self {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// Must equal the group's, if told.
    pub protocol_type: Option<Arc<str>>,
    /// Must equal the group's, if told.
    pub protocol_name: Option<Arc<str>>,
    /// Member id and assignment; from the leader only.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// How it went.
    pub error: ErrorCode,
    /// The group's kind.
    pub protocol_type: Option<Arc<str>>,
    /// What the members chose.
    pub protocol_name: Option<Arc<str>>,
    /// What the leader assigned to this member.
    pub assignment: Bytes,
}

impl SyncReply {
    /// An answer that only says what is wrong.
    pub fn error(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation that the member believes in.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<Arc<str>>,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// A member to remove: by its id, or (administrators) by its instance id with an empty member id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// "" when named by the instance id.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// The client's own words; only logged.
    pub reason: Option<Arc<str>>,
}

/// Answer to a LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveReply {
    /// What is wrong with the whole request.
    pub error: ErrorCode,
    /// How it went for each member, in the order of the request.
    pub members: Vec<LeftMember>,
}

/// How the removal of one member went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: Arc<str>,
    /// As in the request.
    pub group_instance_id: Option<Arc<str>>,
    /// How it went.
    pub error: ErrorCode,
}

/// OffsetCommit. The topics and partitions are known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// The generation of the member, -1 for a consumer without a group.
    pub generation_id: i32,
    /// "" for a consumer without a group.
    pub member_id: Arc<str>,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// How long to keep the offsets; `None` = as the broker is configured.
    pub retention_time_ms: Option<i64>,
    /// Error for an unknown group with a generation: GROUP_ID_NOT_FOUND (version 9 and above) or ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    /// What to commit.
    pub topics: Vec<CommitTopic>,
}

/// TxnOffsetCommit: offsets that count once the producer's transaction is committed. The topics and partitions are known
/// to exist. Of the commit, what only OffsetCommit has (retention, knowledge of GROUP_ID_NOT_FOUND, topic ids) does not
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalCommitRequest {
    /// Group, member and offsets.
    pub commit: CommitRequest,
    /// The producer's own name.
    pub transactional_id: Arc<str>,
    /// Its producer id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// From the verification with the transaction's coordinator; `None` where the transaction is open already.
    pub guard: Option<VerificationGuard>,
}

/// Offsets of one topic to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id.
    pub topic_id: Uuid,
    /// The offsets.
    pub partitions: Vec<CommitPartition>,
}

/// The offset of one partition to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition_index: i32,
    /// The next offset to read.
    pub committed_offset: i64,
    /// Epoch of the leader of the last read record; -1 = not told.
    pub committed_leader_epoch: i32,
    /// The client's own text; null counts as "".
    pub committed_metadata: Option<Box<str>>,
}

/// Answer to an OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReply {
    /// What is wrong with the whole request; it counts for each partition.
    pub error: ErrorCode,
    /// How it went for each topic and partition, in the order of the request; empty with an `error`.
    pub topics: Vec<CommittedTopic>,
}

impl CommitReply {
    /// An answer that only says what is wrong.
    pub fn error(error: ErrorCode) -> Self {
        Self {
            error,
            topics: Vec::new(),
        }
    }
}

/// How the commit of one topic went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id.
    pub topic_id: Uuid,
    /// Partition and error.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// OffsetFetch of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Which partitions; `None` = all that have an offset.
    pub topics: Option<Vec<FetchTopic>>,
    /// Whether partitions with an open transactional commit answer UNSTABLE_OFFSET_COMMIT.
    pub require_stable: bool,
}

/// Partitions of one topic whose offsets are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id: an offset committed for another incarnation of the topic does not count. Nil = any.
    pub topic_id: Uuid,
    /// The partitions.
    pub partition_indexes: Vec<i32>,
}

/// Answer to an OffsetFetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReply {
    /// What is wrong with the whole request.
    pub error: ErrorCode,
    /// The offsets.
    pub topics: Vec<FetchedTopic>,
}

/// Committed offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The id of the request; nil when all topics were asked for.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// The committed offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition_index: i32,
    /// The next offset to read; -1 = none was committed.
    pub committed_offset: i64,
    /// Epoch of the leader of the last read record; -1 = not known.
    pub committed_leader_epoch: i32,
    /// The client's own text.
    pub metadata: Box<str>,
    /// How it went.
    pub error: ErrorCode,
}

impl FetchedPartition {
    /// A partition that has no offset to tell.
    pub fn none(partition_index: i32, error: ErrorCode) -> Self {
        Self {
            partition_index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Box::from(""),
            error,
        }
    }

    /// A partition with the offset `value`.
    pub fn committed(partition_index: i32, value: &OffsetAndMetadata) -> Self {
        Self {
            partition_index,
            committed_offset: value.committed_offset,
            committed_leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            error: ErrorCode::None,
        }
    }
}

/// OffsetDelete. The topics and partitions are known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    /// The group.
    pub group_id: Arc<str>,
    /// Topics and partitions whose offsets go.
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// Answer to an OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// What is wrong with the whole request.
    pub error: ErrorCode,
    /// How it went for all partitions of each topic, in the order of the request; empty with an `error`.
    pub topics: Vec<ErrorCode>,
}

/// A group as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group's id.
    pub group_id: Arc<str>,
    /// The state's name, shown verbatim by tools.
    pub state: &'static str,
    /// "" when nobody ever joined.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; "" unless stable.
    pub protocol_name: Arc<str>,
    /// The members.
    pub members: Vec<MemberDescription>,
}

/// A member as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// The client's name for itself.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol; empty unless stable.
    pub metadata: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

/// ListGroups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Names of states, in any case; empty = all.
    pub states_filter: Vec<Arc<str>>,
    /// Names of group types, in any case; empty = all.
    pub types_filter: Vec<Arc<str>>,
}

/// A line of the list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group's id.
    pub group_id: Arc<str>,
    /// "" when nobody ever joined.
    pub protocol_type: Arc<str>,
    /// The state's name.
    pub state: &'static str,
    /// The kind of group: "classic".
    pub group_type: &'static str,
}
