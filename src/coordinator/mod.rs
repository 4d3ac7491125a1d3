//! The group coordinator: consumer groups and their committed offsets.
//!
//! Groups are spread over the partitions of `__consumer_offsets` by a hash of their id; the leader of a partition
//! coordinates its groups. `group` is the pure machine of one partition, `runtime` the task that owns it; this file is
//! what handlers call.
//!
//! Invariants: the coordinator never reads a clock or makes an id by itself; every call hands its request on before it
//! returns, so the order of calls is the order in which the shard sees the requests. Source: `GroupCoordinatorService`.

pub mod group;
pub mod markers;
pub mod partition_log;
pub mod runtime;
pub mod start;
pub mod transaction;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::error_code::ErrorCode;
use tokio::sync::oneshot;
use uuid::Uuid;

use self::group::api::{CommitReply, CommitRequest, DeleteOffsetsReply, DeleteOffsetsRequest, FetchReply};
use self::group::api::{FetchRequest, GroupDescription, HeartbeatRequest};
use self::group::api::{JoinReply, JoinRequest, LeaveReply, LeaveRequest, ListRequest, ListedGroup};
use self::group::api::{Reply, Request, SyncReply, SyncRequest, TransactionalCommitRequest};
use self::group::{GroupEvent, GroupShard};
use self::runtime::{Answer, Parts, Shards};
use self::start::StartGroups;
use crate::partition::marker::Marker;

/// Ids that go into the key of a record: their length is an int16 there.
const MAX_GROUP_ID_BYTES: usize = i16::MAX as usize;

/// What a member says of itself reaches other members and tools, whose versions of the protocol may have int16 lengths.
/// A member id is made of the longest of it, a dash and a UUID.
const MAX_MEMBER_TEXT_BYTES: usize = i16::MAX as usize - 37;

/// The groups that this broker coordinates.
#[derive(Debug)]
pub struct GroupCoordinator {
    shards: Shards<GroupShard>,
    is_active: AtomicBool,
}

/// A description asked for: the group, and what is known of it (`None`: there is no such group).
pub type DescribedGroup = (Arc<str>, Result<Option<GroupDescription>, ErrorCode>);

/// A group to delete, and how it went.
pub type DeletedGroup = (Arc<str>, ErrorCode);

type Pending = Result<oneshot::Receiver<Answer<Reply>>, ErrorCode>;

impl GroupCoordinator {
    /// A coordinator without partitions; they come with [`Self::on_elected`].
    pub fn start(parts: StartGroups) -> Arc<Self> {
        let StartGroups {
            config,
            limits,
            log,
            clock,
            entropy,
            runtime,
        } = parts;
        let shards = Shards::new(Parts {
            config,
            limits,
            log,
            clock,
            entropy,
            runtime,
            perform: Arc::new(|effect, _| match effect {}),
        });
        Arc::new(Self {
            shards,
            is_active: AtomicBool::new(true),
        })
    }

    /// The partition of the offsets topic that the group belongs to. Tools that read the topic compute it as well.
    pub fn partition_for(&self, group_id: &str) -> i32 {
        partition_of(group_id, self.shards.config().offsets_topic_num_partitions)
    }

    /// This broker became leader of a partition of the offsets topic, under this epoch.
    pub fn on_elected(&self, partition: i32, leader_epoch: i32) {
        if self.is_active.load(Ordering::Acquire) {
            self.shards.on_elected(partition, leader_epoch);
        }
    }

    /// This broker leads a partition of the offsets topic no longer.
    pub fn on_resigned(&self, partition: i32) {
        self.shards.on_resigned(partition);
    }

    /// Topics (name and id) were deleted; their offsets go too.
    pub fn on_topics_deleted(&self, topics: &[(Arc<str>, Uuid)]) {
        self.shards.tell_all(&GroupEvent::TopicsDeleted(Arc::from(topics)));
    }

    /// Stops: what waits is answered NOT_COORDINATOR, what comes later COORDINATOR_NOT_AVAILABLE.
    pub async fn shutdown(&self) {
        self.is_active.store(false, Ordering::Release);
        self.shards.shutdown().await;
    }

    /// JoinGroup: answered when the next generation is complete.
    pub fn join_group(&self, request: JoinRequest) -> impl Future<Output = JoinReply> + Send + use<> {
        let config = self.shards.config();
        let session_timeouts_ms = config.group_min_session_timeout_ms..=config.group_max_session_timeout_ms;
        let member_id = Arc::clone(&request.member_id);
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id(&group_id).and_then(|()| {
            if !session_timeouts_ms.contains(&request.session_timeout_ms) {
                Err(ErrorCode::InvalidSessionTimeout)
            } else if longest_text(&request) > MAX_MEMBER_TEXT_BYTES {
                Err(ErrorCode::InvalidRequest)
            } else {
                self.ask(&group_id, Request::Join(request))
            }
        });
        async move {
            match wait(pending).await {
                Ok(Reply::Join(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => JoinReply::error(error, member_id),
            }
        }
    }

    /// SyncGroup: answered when the leader's assignment is committed.
    pub fn sync_group(&self, request: SyncRequest) -> impl Future<Output = SyncReply> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id(&group_id).and_then(|()| self.ask(&group_id, Request::Sync(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Sync(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => SyncReply::error(error),
            }
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&self, request: HeartbeatRequest) -> impl Future<Output = ErrorCode> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id(&group_id).and_then(|()| self.ask(&group_id, Request::Heartbeat(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Heartbeat(error)) => error,
                Ok(other) => wrong_kind(&other),
                // Nobody is thrown out while the members are being read; an error would make them all rejoin.
                Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
                Err(error) => error,
            }
        }
    }

    /// LeaveGroup.
    pub fn leave_group(&self, request: LeaveRequest) -> impl Future<Output = LeaveReply> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id(&group_id).and_then(|()| self.ask(&group_id, Request::Leave(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Leave(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => LeaveReply {
                    error,
                    members: Vec::new(),
                },
            }
        }
    }

    /// OffsetCommit of topics and partitions that exist: answered when the offsets are committed. Old clients commit to
    /// the group "".
    pub fn commit_offsets(&self, request: CommitRequest) -> impl Future<Output = CommitReply> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id_length(&group_id).and_then(|()| self.ask(&group_id, Request::Commit(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Commit(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => CommitReply::error(error),
            }
        }
    }

    /// TxnOffsetCommit of topics and partitions that exist: answered when the offsets are in the log for good. They count
    /// when the marker of the transaction's commit is written.
    pub fn commit_transactional(
        &self,
        request: TransactionalCommitRequest,
    ) -> impl Future<Output = CommitReply> + Send + use<> {
        let group_id = Arc::clone(&request.commit.group_id);
        let pending = check_group_id(&group_id)
            .and_then(|()| check_producer(&request))
            .and_then(|()| self.ask(&group_id, Request::CommitTransactional(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::Commit(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => CommitReply::error(error),
            }
        }
    }

    /// Writes the marker that ends a producer's transaction in a partition of the offsets topic; answered when it is
    /// committed. COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE and NOT_COORDINATOR: nothing is known, try again
    /// (here or where the partition is led); other errors are final.
    pub fn write_marker(&self, partition: i32, marker: Marker) -> impl Future<Output = ErrorCode> + Send + use<> {
        let pending = if marker.producer_id < 0 || marker.producer_epoch < 0 {
            // Kafka fails to build such a marker.
            Err(ErrorCode::UnknownServerError)
        } else {
            self.check_active()
                .and_then(|()| self.shards.submit_marker(partition, marker))
        };
        async move {
            match wait(pending).await {
                Ok(()) => ErrorCode::None,
                Err(error) => error,
            }
        }
    }

    /// OffsetFetch of one group.
    pub fn fetch_offsets(&self, request: FetchRequest) -> impl Future<Output = FetchReply> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = self.ask(&group_id, Request::Fetch(request));
        async move {
            match wait(pending).await {
                Ok(Reply::Fetch(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => FetchReply {
                    error,
                    topics: Vec::new(),
                },
            }
        }
    }

    /// DescribeGroups, in the order asked; a group that is named twice is described once.
    pub fn describe_groups(
        &self,
        group_ids: Vec<Arc<str>>,
    ) -> impl Future<Output = Vec<DescribedGroup>> + Send + use<> {
        self.ask_each(group_ids, Request::Describe, |reply| match reply {
            Reply::Describe(groups) => groups,
            other => wrong_kind(&other),
        })
    }

    /// DeleteGroups, in the order asked; a group that is named twice is deleted once. The group "" may be deleted: old
    /// clients commit to it.
    pub fn delete_groups(&self, group_ids: Vec<Arc<str>>) -> impl Future<Output = Vec<DeletedGroup>> + Send + use<> {
        let answer = self.ask_each(group_ids, Request::DeleteGroups, |reply| match reply {
            Reply::DeleteGroups(errors) => errors,
            other => wrong_kind(&other),
        });
        async move {
            let groups = answer.await.into_iter();
            groups
                .map(|(group_id, error)| (group_id, error.unwrap_or_else(|error| error)))
                .collect()
        }
    }

    /// OffsetDelete of topics and partitions that exist: answered when the offsets are gone.
    pub fn delete_offsets(
        &self,
        request: DeleteOffsetsRequest,
    ) -> impl Future<Output = DeleteOffsetsReply> + Send + use<> {
        let group_id = Arc::clone(&request.group_id);
        let pending = check_group_id(&group_id).and_then(|()| self.ask(&group_id, Request::DeleteOffsets(request)));
        async move {
            match wait(pending).await {
                Ok(Reply::DeleteOffsets(reply)) => reply,
                Ok(other) => wrong_kind(&other),
                Err(error) => DeleteOffsetsReply {
                    error,
                    topics: Vec::new(),
                },
            }
        }
    }

    /// Asks each group's shard, one request per shard, and gives the answers in the order asked, one per group.
    fn ask_each<T: Send>(
        &self,
        mut group_ids: Vec<Arc<str>>,
        request: fn(Vec<Arc<str>>) -> Request,
        answers: fn(Reply) -> Vec<T>,
    ) -> impl Future<Output = Vec<(Arc<str>, Result<T, ErrorCode>)>> + Send + use<T> {
        let mut seen = BTreeSet::new();
        group_ids.retain(|group_id| seen.insert(Arc::clone(group_id)));
        let mut by_partition: BTreeMap<i32, Vec<Arc<str>>> = BTreeMap::new();
        for group_id in &group_ids {
            by_partition
                .entry(self.partition_for(group_id))
                .or_default()
                .push(Arc::clone(group_id));
        }
        let mut pending = Vec::new();
        for (partition, group_ids) in by_partition {
            let answer = self.ask_partition(partition, request(group_ids.clone()));
            pending.push((group_ids, answer));
        }
        async move {
            let mut answered: BTreeMap<Arc<str>, Result<T, ErrorCode>> = BTreeMap::new();
            for (group_ids, answer) in pending {
                match wait(answer).await {
                    Ok(reply) => answered.extend(group_ids.into_iter().zip(answers(reply).into_iter().map(Ok))),
                    Err(error) => answered.extend(group_ids.into_iter().map(|group_id| (group_id, Err(error)))),
                }
            }
            let in_order = group_ids
                .into_iter()
                .filter_map(|group_id| answered.remove_entry(&group_id));
            in_order.collect()
        }
    }

    /// ListGroups: the groups of all partitions that are led here. While one of them is loading there is no list, because
    /// it would be incomplete.
    pub fn list_groups(
        &self,
        request: ListRequest,
    ) -> impl Future<Output = Result<Vec<ListedGroup>, ErrorCode>> + Send + use<> {
        let pending = self
            .check_active()
            .and_then(|()| self.shards.submit_to_all(&Request::List(Arc::new(request))));
        async move {
            let mut listed = Vec::new();
            for answer in pending? {
                match wait(Ok(answer)).await {
                    Ok(Reply::List(groups)) => listed.extend(groups),
                    Ok(other) => wrong_kind(&other),
                    // The partition moved meanwhile; its new leader lists it.
                    Err(ErrorCode::NotCoordinator) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(listed)
        }
    }

    fn check_active(&self) -> Result<(), ErrorCode> {
        if self.is_active.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }

    fn ask(&self, group_id: &str, request: Request) -> Pending {
        self.ask_partition(self.partition_for(group_id), request)
    }

    fn ask_partition(&self, partition: i32, request: Request) -> Pending {
        self.check_active()?;
        self.shards.submit(partition, request)
    }
}

/// abs(Java's String.hashCode) modulo the number of partitions, as in Kafka; the hash runs over UTF-16 units.
fn partition_of(group_id: &str, num_partitions: i32) -> i32 {
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The one number without an absolute value counts as 0.
    hash.checked_abs().unwrap_or(0) % num_partitions.max(1)
}

fn check_group_id(group_id: &str) -> Result<(), ErrorCode> {
    if group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        check_group_id_length(group_id)
    }
}

/// A batch of nobody would be in no transaction, and no marker could end it.
fn check_producer(request: &TransactionalCommitRequest) -> Result<(), ErrorCode> {
    if request.producer_id < 0 {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if request.producer_epoch < 0 {
        Err(ErrorCode::InvalidProducerEpoch)
    } else {
        Ok(())
    }
}

fn check_group_id_length(group_id: &str) -> Result<(), ErrorCode> {
    if group_id.len() > MAX_GROUP_ID_BYTES {
        Err(ErrorCode::InvalidGroupId)
    } else {
        Ok(())
    }
}

fn longest_text(request: &JoinRequest) -> usize {
    let own = [
        Some(&request.client_id),
        Some(&request.protocol_type),
        request.group_instance_id.as_ref(),
    ];
    let protocols = request.protocols.iter().map(|protocol| &protocol.name);
    own.into_iter()
        .flatten()
        .chain(protocols)
        .map(|text| text.len())
        .max()
        .unwrap_or(0)
}

/// The answer of a shard; a shard that went away without one has resigned.
async fn wait<R>(pending: Result<oneshot::Receiver<Answer<R>>, ErrorCode>) -> Answer<R> {
    pending?.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

/// The machine answers each request with a reply of its kind.
fn wrong_kind(reply: &Reply) -> ! {
    unreachable!("a request was answered with another kind of reply: {reply:?}")
}
