//! The classic protocol, told as scripts: lines at the margin are events, indented lines what must follow from them.
//!
//! Members are called M1, M2, … in the order in which their ids are made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;

use crate::coordinator::group::api::{
    CommitPartition, CommitRequest, CommitTopic, HeartbeatRequest, JoinReply, LeaveRequest, LeavingMember, Reply,
    ReplyToken, Request, SyncRequest,
};
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::record::Record;
use crate::coordinator::group::testing::{Entry, World, in_transaction, join_request, options, protocol};
use crate::coordinator::runtime::machine::Machine;

mod transactional_commits;

struct Script {
    world: World,
    ids: BTreeMap<String, Arc<str>>,
    labels: BTreeMap<ReplyToken, String>,
}

/// Runs the events of `script` and compares everything that follows with what it says.
fn check(script: &str) {
    check_with(GroupConfig::default(), script);
}

fn check_with(config: GroupConfig, script: &str) {
    check_in(World::new(config), script);
}

fn check_in(world: World, script: &str) {
    let mut run = Script {
        world,
        ids: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    let lines: Vec<&str> = script
        .lines()
        .map(|line| line.strip_prefix("        ").unwrap_or(line))
        .collect();
    let expected: Vec<&str> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
    let mut transcript = Vec::new();
    for line in expected.iter().filter(|line| !line.starts_with(' ')) {
        transcript.push((*line).to_owned());
        transcript.extend(run.step(line).into_iter().map(|effect| format!("    {effect}")));
    }
    assert_eq!(
        transcript.join("\n"),
        expected.join("\n"),
        "\n--- got ---\n{}\n",
        transcript.join("\n")
    );
}

impl Script {
    fn step(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (answers, records) = (self.world.answered.len(), self.world.log.len());
        let mut effects = Vec::new();
        match words[..] {
            ["state"] => effects.push(self.state()),
            ["restart"] => self.world.restart(),
            ["wait", ms] => self.world.advance(ms.parse().expect("milliseconds")),
            ["appends", "fail", code] => {
                self.world.append_error = Some(code.parse().ok().and_then(ErrorCode::from_code).expect("error code"));
            }
            ["appends", "succeed"] => self.world.append_error = None,
            [who, command, ref rest @ ..] => {
                let request = self.request(command, who, rest);
                self.labels
                    .insert(ReplyToken(self.world.next_token), format!("{who} {command}"));
                self.world.request(&request);
            }
            _ => panic!("unknown event {line:?}"),
        }
        for entry in self.world.log.clone().split_off(records) {
            match entry {
                Entry::Record(None, record) => effects.push(self.tell_record(&record)),
                Entry::Record(Some(producer_id), record) => {
                    effects.push(format!("transaction {producer_id}, {}", self.tell_record(&record)));
                }
                Entry::Marker(..) => {}
            }
        }
        for (token, reply) in self.world.answered.clone().split_off(answers) {
            let label = self.labels[&token].clone();
            effects.push(format!("{label}: {}", self.tell_reply(&reply)));
        }
        if !matches!(words[..], ["state"]) {
            assert_eq!(
                *self.world.shard.hard(),
                self.world.fold_log(),
                "hard state is the fold of the log"
            );
        }
        effects
    }

    fn request(&self, command: &str, who: &str, rest: &[&str]) -> Request {
        let options = options(rest);
        let option = |key: &str| options.get(key).map(String::as_str);
        let number = |key: &str, default: i32| option(key).map_or(default, |text| text.parse().expect("a number"));
        let member_id = self
            .ids
            .get(who)
            .cloned()
            .unwrap_or_else(|| Arc::from(if who.starts_with("new") { "" } else { who }));
        let group_instance_id: Option<Arc<str>> = option("instance").map(Arc::from);
        let (group_id, generation_id) = (Arc::from("g"), number("gen", -1));
        match command {
            "join" => {
                let mut join = join_request("g", &member_id);
                join.group_instance_id = group_instance_id;
                join.session_timeout_ms = number("session", 10_000);
                join.rebalance_timeout_ms = number("rebalance", 60_000);
                join.requires_known_member_id = number("v", 9) >= 4;
                join.supports_skip_assignment = number("v", 9) >= 9;
                join.protocol_type = Arc::from(option("type").unwrap_or("consumer"));
                let protocols = option("protocols").unwrap_or("range:m").split(',');
                let pairs = protocols.filter_map(|pair| pair.split_once(':'));
                join.protocols = pairs.map(|(name, metadata)| protocol(name, metadata)).collect();
                Request::Join(join)
            }
            "sync" => {
                let assign = option("assign")
                    .unwrap_or("")
                    .split(',')
                    .filter_map(|pair| pair.split_once(':'));
                let assignments = assign.map(|(who, assignment)| self.assignment(who, assignment));
                Request::Sync(SyncRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    protocol_type: option("type").map(Arc::from),
                    protocol_name: option("protocol").map(Arc::from),
                    assignments: assignments.collect(),
                })
            }
            "heartbeat" => Request::Heartbeat(HeartbeatRequest {
                group_id,
                generation_id,
                member_id,
                group_instance_id,
            }),
            "leave" => {
                let members = vec![LeavingMember {
                    member_id,
                    group_instance_id,
                    reason: None,
                }];
                Request::Leave(LeaveRequest { group_id, members })
            }
            "commit" | "txn-commit" => {
                let commit = CommitRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    retention_time_ms: None,
                    knows_group_id_not_found: number("v", 9) >= 9,
                    topics: vec![one_offset()],
                };
                commit_request(command, commit)
            }
            "describe" => Request::Describe(vec![group_id]),
            _ => panic!("unknown request {command:?}"),
        }
    }

    fn assignment(&self, who: &str, assignment: &str) -> (Arc<str>, Bytes) {
        let member_id = self.ids.get(who).cloned().unwrap_or_else(|| Arc::from(who));
        (member_id, Bytes::copy_from_slice(assignment.as_bytes()))
    }

    fn alias(&mut self, member_id: &Arc<str>) -> String {
        let Some((_, number)) = member_id.rsplit_once('-').filter(|_| member_id.len() > 36) else {
            return if member_id.is_empty() {
                "-".to_owned()
            } else {
                member_id.to_string()
            };
        };
        let alias = format!("M{}", number.trim_start_matches('0'));
        self.ids.insert(alias.clone(), Arc::clone(member_id));
        alias
    }

    fn tell_reply(&mut self, reply: &Reply) -> String {
        match reply {
            Reply::Join(join) => self.tell_join(join),
            Reply::Sync(sync) if sync.error == ErrorCode::None => {
                let protocol_name = sync.protocol_name.as_deref().unwrap_or("-");
                format!("{protocol_name} {:?}", String::from_utf8_lossy(&sync.assignment))
            }
            Reply::Sync(sync) => sync.error.name().to_owned(),
            Reply::Heartbeat(error) => error.name().to_owned(),
            Reply::Leave(leave) => leave.members[0].error.name().to_owned(),
            Reply::Commit(commit) => commit.error.name().to_owned(),
            Reply::Describe(groups) => match &groups[0] {
                None => "no such group".to_owned(),
                Some(group) => {
                    let members = group.members.iter().map(|member| {
                        let (metadata, assignment) = (
                            String::from_utf8_lossy(&member.metadata),
                            String::from_utf8_lossy(&member.assignment),
                        );
                        format!("{}:{metadata:?}:{assignment:?}", self.alias(&member.member_id))
                    });
                    let members: Vec<String> = members.collect();
                    format!(
                        "{} {:?} {:?} [{}]",
                        group.state,
                        group.protocol_type,
                        group.protocol_name,
                        members.join(" ")
                    )
                }
            },
            Reply::Fetch(_) | Reply::List(_) | Reply::DeleteGroups(_) | Reply::DeleteOffsets(_) => {
                panic!("not asked for in scripts")
            }
        }
    }

    fn tell_join(&mut self, join: &JoinReply) -> String {
        if join.error != ErrorCode::None {
            let member_id = self.alias(&join.member_id);
            return format!("{} {member_id}", join.error.name());
        }
        let mut text = format!("{} generation {}", self.alias(&join.member_id), join.generation_id);
        let protocol_name = join.protocol_name.as_deref().unwrap_or("-").to_owned();
        let leader = self.alias(&join.leader);
        write!(text, " {protocol_name} leader {leader}").expect("to a string");
        if join.skip_assignment {
            text.push_str(" skip");
        }
        for member in &join.members {
            let alias = self.alias(&member.member_id);
            write!(text, " {alias}={}", String::from_utf8_lossy(&member.metadata)).expect("to a string");
        }
        text
    }

    fn tell_record(&mut self, record: &Record) -> String {
        match record {
            Record::GroupMetadata { value: None, .. } => "record: group removed".to_owned(),
            Record::GroupMetadata { value: Some(group), .. } => {
                let members: Vec<String> = group
                    .members
                    .iter()
                    .map(|member| {
                        format!(
                            "{}={}",
                            self.alias(&member.member_id),
                            String::from_utf8_lossy(&member.assignment)
                        )
                    })
                    .collect();
                let leader = group
                    .leader
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |leader| self.alias(leader));
                format!(
                    "record: generation {} leader {leader} [{}]",
                    group.generation_id,
                    members.join(" ")
                )
            }
            Record::OffsetCommit {
                topic,
                partition,
                value,
                ..
            } => match value {
                Some(value) => format!("record: {topic}-{partition} at {}", value.committed_offset),
                None => format!("record: {topic}-{partition} removed"),
            },
        }
    }

    fn state(&mut self) -> String {
        let Some(group) = self.world.shard.soft.groups.get("g") else {
            return "no group".to_owned();
        };
        let state = group.state.name();
        let (generation_id, leader) = (group.generation_id, group.leader.clone());
        let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
        let leader = leader.map_or_else(|| "-".to_owned(), |leader| self.alias(&leader));
        let members: Vec<String> = members.iter().map(|member_id| self.alias(member_id)).collect();
        format!(
            "{state} generation {generation_id} leader {leader} [{}]",
            members.join(" ")
        )
    }
}

fn commit_request(command: &str, commit: CommitRequest) -> Request {
    match command {
        "commit" => Request::Commit(commit),
        _ => Request::CommitTransactional(in_transaction(7, commit)),
    }
}

/// What a commit of a script commits.
fn one_offset() -> CommitTopic {
    let partition = CommitPartition {
        partition_index: 0,
        committed_offset: 5,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    CommitTopic {
        name: Arc::from("t"),
        topic_id: uuid::Uuid::nil(),
        partitions: vec![partition],
    }
}

/// M1 leads, M2 follows; both have an assignment of generation 1.
const TWO_STABLE_MEMBERS: &str = "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3
        wait 3000
        wait 3000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M2 sync gen=1
        M1 sync gen=1 assign=M1:a,M2:b
            record: generation 1 leader M1 [M1=a M2=b]
            M1 sync: range \"a\"
            M2 sync: range \"b\"
        state
            Stable generation 1 leader M1 [M1 M2]
";

fn check_stable(script: &str) {
    check(&format!("{TWO_STABLE_MEMBERS}{script}"));
}

#[test]
fn current_clients_come_back_with_the_id_that_they_are_given() {
    check(
        "
        new join
            record: generation 0 leader - []
            new join: MEMBER_ID_REQUIRED M1
        state
            Empty generation 0 leader - []
        M1 join
        state
            PreparingRebalance generation 0 leader M1 [M1]
        wait 2999
        wait 1
            M1 join: M1 generation 1 range leader M1 M1=m
        M1 heartbeat gen=1
            M1 heartbeat: NONE
        M1 sync gen=1 assign=M1:all
            record: generation 1 leader M1 [M1=all]
            M1 sync: range \"all\"
        ",
    );
}

#[test]
fn an_id_that_never_comes_back_is_forgotten_and_holds_nobody_up_for_ever() {
    check(
        "
        newA join session=10000
            record: generation 0 leader - []
            newA join: MEMBER_ID_REQUIRED M1
        newB join v=3
        wait 9999
            newB join: M2 generation 1 range leader M2 M2=m
        wait 1
        M1 join
            M1 join: UNKNOWN_MEMBER_ID M1
        ",
    );
}

#[test]
fn the_first_rebalance_is_extended_while_members_keep_coming() {
    check(
        "
        newA join v=3 rebalance=8000
            record: generation 0 leader - []
        wait 2000
        newB join v=3 rebalance=8000
        wait 3000
        newC join v=3 rebalance=8000
        wait 2999
        wait 1
            newA join: M1 generation 1 range leader M1 M1=m M2=m M3=m
            newB join: M2 generation 1 range leader M1
            newC join: M3 generation 1 range leader M1
        ",
    );
}

#[test]
fn a_member_that_joins_a_stable_group_makes_all_rejoin() {
    check_stable(
        "
        newC join v=3
        M1 heartbeat gen=1
            M1 heartbeat: REBALANCE_IN_PROGRESS
        M1 sync gen=1
            M1 sync: REBALANCE_IN_PROGRESS
        M1 commit gen=1
            record: t-0 at 5
            M1 commit: NONE
        M1 join
        M2 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m M3=m
            M2 join: M2 generation 2 range leader M1
            newC join: M3 generation 2 range leader M1
        M1 commit gen=2
            M1 commit: REBALANCE_IN_PROGRESS
        M1 heartbeat gen=1
            M1 heartbeat: ILLEGAL_GENERATION
        M1 heartbeat gen=2
            M1 heartbeat: NONE
        ",
    );
}

#[test]
fn who_does_not_rejoin_in_time_is_out() {
    check_stable(
        "
        M1 join rebalance=5000
        M2 heartbeat gen=1
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 9000
        M2 heartbeat gen=1
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 9000
        M2 heartbeat gen=1
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 10000
            M1 join: M1 generation 2 range leader M1 M1=m
        M2 join
            M2 join: UNKNOWN_MEMBER_ID M2
        ",
    );
}

#[test]
fn when_the_leader_does_not_rejoin_another_one_leads() {
    check_stable(
        "
        newC join v=3
        M2 join
        wait 10000
            M2 join: M2 generation 2 range leader M2 M2=m M3=m
            newC join: M3 generation 2 range leader M2
        ",
    );
}

#[test]
fn rejoining_a_stable_group_rebalances_for_leaders_and_for_changes_only() {
    check_stable(
        "
        M2 join
            M2 join: M2 generation 1 range leader M1
        M1 join
        M2 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
            M2 join: M2 generation 2 range leader M1
        M1 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
        M2 join protocols=range:changed
        M1 join
            M1 join: M1 generation 3 range leader M1 M1=m M2=changed
            M2 join: M2 generation 3 range leader M1
        ",
    );
}

#[test]
fn a_rebalance_fails_the_syncs_that_wait_for_the_leader() {
    check(
        "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M2 sync gen=1
        newC join v=3
            M2 sync: REBALANCE_IN_PROGRESS
        state
            PreparingRebalance generation 1 leader M1 [M1 M2 M3]
        ",
    );
}

#[test]
fn a_waiting_member_is_not_expired_but_its_session_runs_after_the_answer() {
    check(
        "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3 session=30000
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M1 sync gen=1 assign=M1:a,M2:b
            record: generation 1 leader M1 [M1=a M2=b]
            M1 sync: range \"a\"
        M2 sync gen=1
            M2 sync: range \"b\"
        M2 join protocols=range:n session=30000
        wait 9999
        state
            PreparingRebalance generation 1 leader M1 [M1 M2]
        wait 1
            M2 join: M2 generation 2 range leader M2 M2=n
        ",
    );
}

#[test]
fn a_silent_member_loses_its_session() {
    check_stable(
        "
        wait 9999
        M1 heartbeat gen=1
            M1 heartbeat: NONE
        wait 1
        state
            PreparingRebalance generation 1 leader M1 [M1]
        M2 heartbeat gen=1
            M2 heartbeat: UNKNOWN_MEMBER_ID
        M1 join
            M1 join: M1 generation 2 range leader M1 M1=m
        ",
    );
}

#[test]
fn a_commit_counts_as_heartbeat() {
    check_stable(
        "
        wait 9999
        M1 commit gen=1
            record: t-0 at 5
            M1 commit: NONE
        M2 commit gen=1
            record: t-0 at 5
            M2 commit: NONE
        wait 9999
        state
            Stable generation 1 leader M1 [M1 M2]
        ",
    );
}

#[test]
fn a_group_whose_members_all_fall_silent_is_empty() {
    check_stable(
        "
        wait 10000
            record: generation 2 leader - []
        state
            Empty generation 2 leader - []
        M1 heartbeat gen=2
            M1 heartbeat: UNKNOWN_MEMBER_ID
        M1 join
            M1 join: UNKNOWN_MEMBER_ID M1
        new commit
            record: t-0 at 5
            new commit: NONE
        M1 commit gen=1
            M1 commit: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn a_new_member_whose_client_vanished_goes_after_five_minutes() {
    check(
        "
        newA join v=3 rebalance=600000 session=600000
            record: generation 0 leader - []
        newB join v=3 rebalance=600000 session=600000
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        newC join v=3 rebalance=600000 session=600000
        wait 299999
        state
            PreparingRebalance generation 1 leader M1 [M1 M2 M3]
        wait 1
            newC join: UNKNOWN_MEMBER_ID -
        state
            PreparingRebalance generation 1 leader M1 [M1 M2]
        ",
    );
}

#[test]
fn members_that_never_sync_are_removed() {
    check(
        "
        newA join v=3 rebalance=20000 session=60000
            record: generation 0 leader - []
        newB join v=3 rebalance=20000 session=60000
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M1 sync gen=1 assign=M1:a,M2:b
            record: generation 1 leader M1 [M1=a M2=b]
            M1 sync: range \"a\"
        wait 19999
        state
            Stable generation 1 leader M1 [M1 M2]
        wait 1
        state
            PreparingRebalance generation 1 leader M1 [M1]
        ",
    );
}

#[test]
fn the_protocol_is_the_one_that_most_members_prefer() {
    check(
        "
        newA join v=3 protocols=range:a,sticky:b
            record: generation 0 leader - []
        newB join v=3 protocols=sticky:c,only:x,range:d
        newC join v=3 protocols=sticky:e,range:f
        newD join v=3 protocols=other:x
            newD join: INCONSISTENT_GROUP_PROTOCOL -
        newD join v=3 type=connect
            newD join: INCONSISTENT_GROUP_PROTOCOL -
        wait 6000
            newA join: M1 generation 1 sticky leader M1 M1=b M2=c M3=e
            newB join: M2 generation 1 sticky leader M1
            newC join: M3 generation 1 sticky leader M1
        ",
    );
}

#[test]
fn a_group_is_not_made_by_a_member_without_protocols() {
    check(
        "
        new join protocols=
            new join: INCONSISTENT_GROUP_PROTOCOL -
        new join type=
            new join: INCONSISTENT_GROUP_PROTOCOL -
        state
            no group
        ",
    );
}

#[test]
fn sync_checks_what_the_member_says_of_the_group() {
    check_stable(
        "
        M1 sync gen=1 protocol=sticky
            M1 sync: INCONSISTENT_GROUP_PROTOCOL
        M1 sync gen=1 type=connect protocol=range
            M1 sync: INCONSISTENT_GROUP_PROTOCOL
        M1 sync gen=1 type=consumer protocol=range
            M1 sync: range \"a\"
        M1 sync gen=2
            M1 sync: ILLEGAL_GENERATION
        who sync gen=1
            who sync: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn members_that_the_leader_forgot_get_nothing() {
    check(
        "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M1 sync gen=1 assign=M1:a,stranger:b
            record: generation 1 leader M1 [M1=a M2=]
            M1 sync: range \"a\"
        M2 sync gen=1
            M2 sync: range \"\"
        ",
    );
}

#[test]
fn an_assignment_that_cannot_be_persisted_begins_a_new_rebalance() {
    check(
        "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M2 sync gen=1
        appends fail 15
        M1 sync gen=1 assign=M1:a,M2:b
            M1 sync: COORDINATOR_NOT_AVAILABLE
            M2 sync: COORDINATOR_NOT_AVAILABLE
        appends succeed
        M1 join
        M2 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
            M2 join: M2 generation 2 range leader M1
        ",
    );
}

#[test]
fn leaving_members_are_removed_at_once() {
    check_stable(
        "
        who leave
            who leave: UNKNOWN_MEMBER_ID
        M2 leave
            M2 leave: NONE
        state
            PreparingRebalance generation 1 leader M1 [M1]
        M1 leave
            record: generation 2 leader - []
            M1 leave: NONE
        state
            Empty generation 2 leader - []
        ",
    );
}

#[test]
fn a_leaving_leader_is_followed_by_another() {
    check_stable(
        "
        M1 leave
            M1 leave: NONE
        M2 join
            M2 join: M2 generation 2 range leader M2 M2=m
        ",
    );
}

#[test]
fn an_unknown_group_knows_no_members() {
    check(
        "
        who join
            who join: UNKNOWN_MEMBER_ID who
        who sync gen=1
            who sync: UNKNOWN_MEMBER_ID
        who heartbeat gen=1
            who heartbeat: UNKNOWN_MEMBER_ID
        who leave
            who leave: UNKNOWN_MEMBER_ID
        who commit gen=1
            who commit: GROUP_ID_NOT_FOUND
        who commit gen=1 v=8
            who commit: ILLEGAL_GENERATION
        g describe
            g describe: no such group
        new commit
            record: t-0 at 5
            new commit: NONE
        g describe
            g describe: Empty \"\" \"\" []
        who commit gen=1
            who commit: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn strangers_cannot_commit_into_a_live_group() {
    check_stable(
        "
        new commit
            new commit: UNKNOWN_MEMBER_ID
        who commit gen=1
            who commit: UNKNOWN_MEMBER_ID
        M1 commit gen=0
            M1 commit: ILLEGAL_GENERATION
        M1 commit gen=1 instance=i
            M1 commit: UNKNOWN_MEMBER_ID
        ",
    );
}

/// M1 (instance a) leads, M2 (instance b) follows.
const TWO_STATIC_MEMBERS: &str = "
        newA join instance=a
            record: generation 0 leader - []
        newB join instance=b
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M2 sync gen=1
        M1 sync gen=1 assign=M1:x,M2:y
            record: generation 1 leader M1 [M1=x M2=y]
            M1 sync: range \"x\"
            M2 sync: range \"y\"
";

fn check_static(script: &str) {
    check(&format!("{TWO_STATIC_MEMBERS}{script}"));
}

#[test]
fn a_static_member_takes_its_slot_over_without_a_rebalance() {
    check_static(
        "
        newB join instance=b
            record: generation 1 leader M1 [M1=x M3=y]
            newB join: M3 generation 1 range leader M1
        M2 heartbeat gen=1 instance=b
            M2 heartbeat: FENCED_INSTANCE_ID
        M2 commit gen=1 instance=b
            M2 commit: FENCED_INSTANCE_ID
        M2 join instance=b
            M2 join: FENCED_INSTANCE_ID M2
        M3 sync gen=1 instance=b
            M3 sync: range \"y\"
        state
            Stable generation 1 leader M1 [M1 M3]
        ",
    );
}

#[test]
fn a_static_leader_that_comes_back_is_told_not_to_assign() {
    check_static(
        "
        newA join instance=a
            record: generation 1 leader M3 [M3=x M2=y]
            newA join: M3 generation 1 range leader M3 skip M3=m M2=m
        newA join instance=a v=8
            record: generation 1 leader M4 [M4=x M2=y]
            newA join: M4 generation 1 range leader M3
        ",
    );
}

#[test]
fn a_static_swap_that_cannot_be_persisted_is_undone() {
    check_static(
        "
        appends fail 16
        newB join instance=b protocols=range:other
            newB join: NOT_COORDINATOR -
        appends succeed
        M2 heartbeat gen=1 instance=b
            M2 heartbeat: NONE
        g describe
            g describe: Stable \"consumer\" \"range\" [M1:\"m\":\"x\" M2:\"m\":\"y\"]
        ",
    );
}

#[test]
fn a_static_member_that_changes_the_choice_of_protocol_rebalances() {
    check_static(
        "
        M1 join instance=a protocols=range:m,sticky:s
        M2 join instance=b protocols=range:m,sticky:s
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
            M2 join: M2 generation 2 range leader M1
        M1 sync gen=2 instance=a assign=M1:x,M2:y
            record: generation 2 leader M1 [M1=x M2=y]
            M1 sync: range \"x\"
        M2 sync gen=2 instance=b
            M2 sync: range \"y\"
        newA join instance=a protocols=sticky:s
        M2 join instance=b protocols=range:m,sticky:s
            newA join: M3 generation 3 sticky leader M3 M3=s M2=s
            M2 join: M2 generation 3 sticky leader M3
        ",
    );
}

#[test]
fn a_static_member_that_comes_back_while_the_leader_assigns_rebalances() {
    check_static(
        "
        M1 join instance=a
        M2 join instance=b
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
            M2 join: M2 generation 2 range leader M1
        M2 sync gen=2 instance=b
        newB join instance=b
            M2 sync: FENCED_INSTANCE_ID
        state
            PreparingRebalance generation 2 leader M1 [M1 M3]
        newB join instance=b
            newB join: FENCED_INSTANCE_ID M3
        M1 join instance=a
            M1 join: M1 generation 3 range leader M1 M1=m M4=m
            newB join: M4 generation 3 range leader M1
        ",
    );
}

#[test]
fn a_static_member_that_was_taken_over_in_a_join_phase_is_waited_with() {
    check(
        "
        newA join instance=a rebalance=100000 session=100000
            record: generation 0 leader - []
        newB join instance=b rebalance=100000 session=10000
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        newC join instance=c rebalance=100000 session=10000
        newC join instance=c rebalance=100000 session=10000
            newC join: FENCED_INSTANCE_ID M3
        wait 9000
        M2 heartbeat gen=1 instance=b
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 9000
        state
            PreparingRebalance generation 1 leader M1 [M1 M2 M4]
        ",
    );
}

#[test]
fn a_static_member_that_was_taken_over_before_it_synced_syncs_under_its_new_id() {
    check(
        "
        newA join instance=a session=1000000
            record: generation 0 leader - []
        newB join instance=b session=1000000
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        M1 sync gen=1 assign=M1:x,M2:y
            record: generation 1 leader M1 [M1=x M2=y]
            M1 sync: range \"x\"
        newB join instance=b session=1000000
            record: generation 1 leader M1 [M1=x M3=y]
            newB join: M3 generation 1 range leader M1
        M3 sync gen=1 instance=b
            M3 sync: range \"y\"
        wait 100000
        state
            Stable generation 1 leader M1 [M1 M3]
        ",
    );
}

#[test]
fn static_members_are_waited_for_until_their_session_ends() {
    check_static(
        "
        M1 join instance=a session=120000
        M2 heartbeat gen=1 instance=b
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 9999
        M2 heartbeat gen=1 instance=b
            M2 heartbeat: REBALANCE_IN_PROGRESS
        wait 10000
            M1 join: M1 generation 2 range leader M1 M1=m
        ",
    );
}

#[test]
fn administrators_remove_static_members_by_their_instance() {
    check_static(
        "
        new leave instance=nobody
            new leave: UNKNOWN_MEMBER_ID
        new leave instance=b
            new leave: NONE
        state
            PreparingRebalance generation 1 leader M1 [M1]
        ",
    );
}

#[test]
fn a_full_group_turns_new_members_away() {
    let config = GroupConfig {
        group_max_size: 2,
        ..GroupConfig::default()
    };
    check_with(
        config,
        "
        newA join v=3
            record: generation 0 leader - []
        newB join v=3
        newC join v=3
            newC join: GROUP_MAX_SIZE_REACHED -
        wait 6000
            newA join: M1 generation 1 range leader M1 M1=m M2=m
            newB join: M2 generation 1 range leader M1
        newC join v=3
            newC join: GROUP_MAX_SIZE_REACHED -
        M2 join protocols=range:n
        M1 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=n
            M2 join: M2 generation 2 range leader M1
        ",
    );
}

#[test]
fn ids_are_given_out_up_to_a_limit() {
    let config = GroupConfig {
        group_max_pending_members: 1,
        ..GroupConfig::default()
    };
    check_with(
        config,
        "
        newA join
            record: generation 0 leader - []
            newA join: MEMBER_ID_REQUIRED M1
        newB join
            newB join: GROUP_MAX_SIZE_REACHED -
        wait 10000
        newB join
            newB join: MEMBER_ID_REQUIRED M3
        ",
    );
}

#[test]
fn groups_are_made_up_to_a_limit() {
    let mut world = World::new(GroupConfig::default());
    world.groups_left = 0;
    check_in(
        world,
        "
        newA join
            newA join: GROUP_MAX_SIZE_REACHED -
        new commit
            new commit: POLICY_VIOLATION
        ",
    );
}

#[test]
fn a_stable_group_survives_a_restart() {
    check_stable(
        "
        restart
        wait 9000
        M1 heartbeat gen=1
            M1 heartbeat: NONE
        M2 sync gen=1
            M2 sync: range \"b\"
        M2 heartbeat gen=1
            M2 heartbeat: NONE
        M1 commit gen=1
            record: t-0 at 5
            M1 commit: NONE
        wait 9999
        state
            Stable generation 1 leader M1 [M1 M2]
        wait 1
            record: generation 2 leader - []
        ",
    );
}

#[test]
fn an_unfinished_rebalance_does_not_survive_a_restart() {
    check_stable(
        "
        newC join v=3
        M1 join
        restart
        state
            Stable generation 1 leader M1 [M1 M2]
        M3 join
            M3 join: UNKNOWN_MEMBER_ID M3
        ",
    );
}

#[test]
fn a_client_that_asks_twice_gets_both_answers() {
    check_stable(
        "
        M1 join
        M1 join
            M1 join: REBALANCE_IN_PROGRESS M1
        M2 join
            M1 join: M1 generation 2 range leader M1 M1=m M2=m
            M2 join: M2 generation 2 range leader M1
        M2 sync gen=2
        M2 sync gen=2
            M2 sync: REBALANCE_IN_PROGRESS
        ",
    );
}

#[test]
fn metadata_is_described_in_stable_only() {
    check_stable(
        "
        g describe
            g describe: Stable \"consumer\" \"range\" [M1:\"m\":\"a\" M2:\"m\":\"b\"]
        M1 join
        g describe
            g describe: PreparingRebalance \"consumer\" \"\" [M1:\"\":\"a\" M2:\"\":\"b\"]
        ",
    );
}
