//! A shard under test with everything around it: time, ids, a log that always accepts, and the tokens.
//!
//! It does what the runtime does, step by step, and checks what must hold at any time: no token is answered twice, and
//! the hard state is the fold of all records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::{Now, ProducerId};
use uuid::Uuid;

use super::api::{
    CommitPartition, CommitReply, CommitRequest, CommitTopic, FetchReply, FetchRequest, FetchTopic, JoinRequest,
    LeaveRequest, LeavingMember, MemberProtocol, Reply, ReplyToken, Request, SyncRequest, TransactionalCommitRequest,
};
use super::config::GroupConfig;
use super::hard::Hard;
use super::record::{Names, Record, decode};
use super::{Cx, GroupEvent, GroupShard, Outcome};
use crate::coordinator::runtime::machine::{HardState, Machine, Sees};

/// Wall clock at the monotonic time 0.
pub(super) const WALL_START_MS: i64 = 1_000_000;

/// What stands at an offset of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A record, of this producer's transaction.
    Record(Option<ProducerId>, Record),
    /// The end of this producer's transaction; committed or not.
    Marker(ProducerId, bool),
}

impl Entry {
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(_, record) => Some(record),
            Self::Marker(..) => None,
        }
    }

    pub(super) fn replay(self, hard: &mut Hard, offset: i64) {
        match self {
            Self::Record(producer_id, record) => hard.replay(offset, producer_id, record),
            Self::Marker(producer_id, committed) => hard.replay_marker(offset, producer_id, committed),
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) shard: GroupShard,
    pub(super) config: GroupConfig,
    pub(super) now_ms: i64,
    pub(super) log: Vec<Entry>,
    /// When set, appends fail with this.
    pub(super) append_error: Option<ErrorCode>,
    pub(super) open_tokens: BTreeSet<ReplyToken>,
    pub(super) answered: Vec<(ReplyToken, Reply)>,
    /// Outcomes of one wake-up of the runtime, whose records are not yet in the log; `None`: each is written at once.
    pub(super) held: Option<Vec<Outcome>>,
    pub(super) next_token: u64,
    /// How many groups may be made by one event.
    pub(super) groups_left: usize,
    next_uuid: u128,
}

impl World {
    pub(super) fn new(config: GroupConfig) -> Self {
        let hard = Hard::default();
        let mut world = Self {
            shard: GroupShard::after_load(hard, &mut test_cx(&config, 0, &mut Uuid::nil)).0,
            config,
            now_ms: 0,
            log: Vec::new(),
            append_error: None,
            open_tokens: BTreeSet::new(),
            answered: Vec::new(),
            held: None,
            next_token: 0,
            groups_left: 100_000,
            next_uuid: 0,
        };
        world.restart();
        world
    }

    /// Hands in a request.
    pub(super) fn request(&mut self, request: &Request) -> ReplyToken {
        if GroupShard::sees(request) == Sees::All {
            self.flush();
        }
        let token = ReplyToken(self.next_token);
        self.next_token += 1;
        self.open_tokens.insert(token);
        let outcome = self.with_cx(|shard, cx| shard.handle(cx, token, request));
        match &mut self.held {
            Some(held) => held.push(outcome),
            None => self.apply(outcome),
        }
        token
    }

    /// Writes what was held back, in order.
    pub(super) fn flush(&mut self) {
        for outcome in self.held.take().unwrap_or_default() {
            self.apply(outcome);
        }
    }

    /// Lets time go on, deadline by deadline.
    pub(super) fn advance(&mut self, ms: i64) {
        self.flush();
        let target_ms = self.now_ms + ms;
        while let Some(deadline_ms) = self
            .shard
            .next_deadline()
            .filter(|deadline_ms| *deadline_ms <= target_ms)
        {
            self.now_ms = self.now_ms.max(deadline_ms);
            let outcomes = self.with_cx(GroupShard::on_deadline);
            for outcome in outcomes {
                self.apply(outcome);
            }
        }
        self.now_ms = target_ms;
    }

    /// Forgets everything but the log and loads it. Open requests are lost with their connections.
    pub(super) fn restart(&mut self) {
        let mut hard = Hard::default();
        for (offset, entry) in (0..).zip(self.log.clone()) {
            if let Some(record) = entry.record() {
                let encoded = record.encode().expect("test records are small");
                let decoded = decode(&mut Names::default(), Some(&encoded.key), encoded.value.as_deref());
                assert_eq!(
                    decoded.as_ref(),
                    Ok(&Some(record.clone())),
                    "the log says what was written"
                );
            }
            entry.replay(&mut hard, offset);
        }
        self.open_tokens.clear();
        self.held = None;
        let (shard, outcomes) = GroupShard::after_load(hard, &mut test_cx(&self.config, self.now_ms, &mut Uuid::nil));
        self.shard = shard;
        for outcome in outcomes {
            self.apply(outcome);
        }
    }

    pub(super) fn topics_deleted(&mut self, topics: &[(Arc<str>, Uuid)]) {
        let event = GroupEvent::TopicsDeleted(topics.into());
        for outcome in self.with_cx(|shard, cx| shard.on_event(cx, event)) {
            self.apply(outcome);
        }
    }

    pub(super) fn with_cx<R>(&mut self, call: impl FnOnce(&mut GroupShard, &mut Cx<'_>) -> R) -> R {
        let next_uuid = &mut self.next_uuid;
        let mut uuid = || {
            *next_uuid += 1;
            Uuid::from_u128(*next_uuid)
        };
        let mut cx = test_cx(&self.config, self.now_ms, &mut uuid);
        cx.keys_left = self.groups_left;
        call(&mut self.shard, &mut cx)
    }

    fn apply(&mut self, outcome: Outcome) {
        let Outcome {
            key,
            records,
            producer,
            before,
            replies,
            on_append,
            ..
        } = outcome;
        before.into_iter().for_each(|outcome| self.apply(outcome));
        let result = if records.is_empty() {
            Ok(())
        } else {
            self.append_error.map_or(Ok(()), Err)
        };
        if result.is_ok() {
            for record in records {
                self.write(Entry::Record(producer.map(|producer| producer.producer_id), record));
            }
        }
        for (token, reply) in replies {
            assert!(
                self.open_tokens.remove(&token),
                "{token:?} answered twice or never asked: {reply:?}"
            );
            self.answered.push((token, reply));
        }
        if let Some(on_append) = on_append {
            let group_id = key.expect("a continuation belongs to a group");
            let outcome = self.with_cx(|shard, cx| shard.on_append(cx, &group_id, on_append, result));
            self.apply(outcome);
        }
    }

    fn write(&mut self, entry: Entry) {
        let offset = i64::try_from(self.log.len()).expect("short log");
        self.log.push(entry.clone());
        entry.replay(self.shard.hard_mut(), offset);
    }

    /// Ends a producer's transaction.
    pub(super) fn marker(&mut self, producer_id: ProducerId, committed: bool) {
        self.flush();
        self.write(Entry::Marker(producer_id, committed));
    }

    /// The records from this place in the log on.
    pub(super) fn records(&self, from: usize) -> Vec<Record> {
        self.log[from..].iter().filter_map(Entry::record).cloned().collect()
    }

    /// The hard state that the log gives.
    pub(super) fn fold_log(&self) -> Hard {
        let mut hard = Hard::default();
        for (offset, entry) in (0..).zip(self.log.clone()) {
            entry.replay(&mut hard, offset);
        }
        hard
    }
}

fn test_cx<'a>(config: &'a GroupConfig, now_ms: i64, uuid: &'a mut dyn FnMut() -> Uuid) -> Cx<'a> {
    let now = Now {
        mono_ms: now_ms,
        wall_ms: WALL_START_MS + now_ms,
    };
    Cx {
        now,
        config,
        uuid,
        keys_left: 0,
        coordinator_epoch: 0,
    }
}

/// `key=value` words of a command.
pub(super) fn options(words: &[&str]) -> BTreeMap<String, String> {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A JoinGroup as a usual consumer sends it.
pub(super) fn join_request(group_id: &str, member_id: &str) -> JoinRequest {
    JoinRequest {
        group_id: Arc::from(group_id),
        member_id: Arc::from(member_id),
        group_instance_id: None,
        client_id: Arc::from("c"),
        client_host: Arc::from("/127.0.0.1"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol("range", "m")],
        reason: None,
        requires_known_member_id: true,
        supports_skip_assignment: true,
    }
}

pub(super) fn protocol(name: &str, metadata: &str) -> MemberProtocol {
    MemberProtocol {
        name: Arc::from(name),
        metadata: Bytes::copy_from_slice(metadata.as_bytes()),
    }
}

/// A commit without a group of one offset by "g".
pub(super) fn commit_of(topic: &str, partition_index: i32, committed_offset: i64) -> CommitRequest {
    let partition = CommitPartition {
        partition_index,
        committed_offset,
        committed_leader_epoch: 3,
        committed_metadata: Some(Box::from("text")),
    };
    CommitRequest {
        group_id: Arc::from("g"),
        generation_id: -1,
        member_id: Arc::from(""),
        group_instance_id: None,
        retention_time_ms: None,
        knows_group_id_not_found: true,
        topics: vec![CommitTopic {
            name: Arc::from(topic),
            topic_id: Uuid::from_u128(1),
            partitions: vec![partition],
        }],
    }
}

/// Commits and gives the answer.
pub(super) fn commit(world: &mut World, request: CommitRequest) -> CommitReply {
    world.request(&Request::Commit(request));
    match world.answered.pop() {
        Some((_, Reply::Commit(reply))) => reply,
        other => panic!("no answer to a commit: {other:?}"),
    }
}

/// The same commit in the transaction of this producer.
pub(super) fn in_transaction(producer_id: ProducerId, commit: CommitRequest) -> TransactionalCommitRequest {
    TransactionalCommitRequest {
        commit,
        transactional_id: Arc::from("transactional"),
        producer_id,
        producer_epoch: 0,
        guard: None,
    }
}

/// Commits in a transaction and gives the answer.
pub(super) fn commit_transactional(world: &mut World, producer_id: ProducerId, request: CommitRequest) -> CommitReply {
    world.request(&Request::CommitTransactional(in_transaction(producer_id, request)));
    match world.answered.pop() {
        Some((_, Reply::Commit(reply))) => reply,
        other => panic!("no answer to a commit: {other:?}"),
    }
}

/// Asks for the offsets of "g".
pub(super) fn fetch(world: &mut World, topics: Option<Vec<FetchTopic>>) -> FetchReply {
    world.request(&Request::Fetch(FetchRequest {
        group_id: Arc::from("g"),
        topics,
        require_stable: false,
    }));
    match world.answered.pop() {
        Some((_, Reply::Fetch(reply))) => reply,
        other => panic!("no answer to a fetch: {other:?}"),
    }
}

/// All offsets of the group, as "topic-partition=offset".
pub(super) fn offsets(world: &mut World) -> Vec<String> {
    let mut offsets = Vec::new();
    for topic in fetch(world, None).topics {
        for partition in topic.partitions {
            offsets.push(format!(
                "{}-{}={}",
                topic.name, partition.partition_index, partition.committed_offset
            ));
        }
    }
    offsets
}

/// Makes a group with one member that subscribes to "read"; gives its id.
pub(super) fn stable_member(world: &mut World) -> Arc<str> {
    let mut join = join_request("g", "");
    join.requires_known_member_id = false;
    join.session_timeout_ms = 1_000_000_000;
    join.protocols = vec![protocol("range", "\0\0\0\0\0\u{1}\0\u{4}read")];
    world.request(&Request::Join(join));
    world.advance(3_000);
    let Some((_, Reply::Join(joined))) = world.answered.pop() else {
        panic!("not joined")
    };
    world.request(&Request::Sync(sync_request("g", &joined.member_id)));
    joined.member_id
}

/// The SyncGroup of a leader that assigns nothing, in the first generation.
pub(super) fn sync_request(group_id: &str, member_id: &Arc<str>) -> SyncRequest {
    SyncRequest {
        group_id: Arc::from(group_id),
        generation_id: 1,
        member_id: Arc::clone(member_id),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    }
}

/// A LeaveGroup of one member.
pub(super) fn leave_request(group_id: &str, member_id: &Arc<str>) -> LeaveRequest {
    LeaveRequest {
        group_id: Arc::from(group_id),
        members: vec![LeavingMember {
            member_id: Arc::clone(member_id),
            group_instance_id: None,
            reason: None,
        }],
    }
}
