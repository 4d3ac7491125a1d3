//! Random events against what must hold in every state of a group.
//!
//! One leader, who is a member; the generation only grows; in Stable every member can sync and get what the leader gave
//! it; every token is answered once (held by `World`) and none is lost: when everybody has gone, nobody waits. A group
//! after a restart is the one that was persisted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::error_code::ErrorCode;

use super::GroupState;
use crate::coordinator::group::api::{
    HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, Reply, ReplyToken, Request, SyncRequest,
};
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::testing::{World, join_request, protocol};
use crate::coordinator::runtime::machine::Machine;

/// How many clients there are; the last ones are static.
const CLIENTS: usize = 5;
const FIRST_STATIC: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    Join {
        client: usize,
        protocols: u8,
        forgets_id: bool,
        old_version: bool,
    },
    Sync {
        client: usize,
        gives: u8,
    },
    Heartbeat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Wait {
        ms: i64,
    },
    AppendsFail(bool),
    /// What comes next is written together, until time goes on.
    Together,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (client.clone(), 0..4_u8, prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(client, protocols, forgets_id, old_version)| Event::Join { client, protocols, forgets_id, old_version }
        ),
        6 => (client.clone(), any::<u8>()).prop_map(|(client, gives)| Event::Sync { client, gives }),
        2 => client.clone().prop_map(|client| Event::Heartbeat { client }),
        1 => client.prop_map(|client| Event::Leave { client }),
        4 => prop_oneof![Just(1), Just(3_000), Just(9_999), Just(70_000)].prop_map(|ms| Event::Wait { ms }),
        1 => any::<bool>().prop_map(Event::AppendsFail),
        3 => Just(Event::Together),
        1 => Just(Event::Restart),
    ]
}

/// What a client knows.
#[derive(Clone, Default)]
struct Client {
    member_id: String,
    generation_id: i32,
    members: Vec<Arc<str>>,
}

struct Run {
    world: World,
    clients: Vec<Client>,
    asked_by: BTreeMap<ReplyToken, usize>,
    highest_generation: i32,
    /// What leaders gave, by generation and member.
    given: BTreeMap<(i32, Arc<str>), Bytes>,
}

impl Run {
    fn new() -> Self {
        Self {
            world: World::new(GroupConfig {
                group_max_size: 4,
                ..GroupConfig::default()
            }),
            clients: vec![Client::default(); CLIENTS],
            asked_by: BTreeMap::new(),
            highest_generation: 0,
            given: BTreeMap::new(),
        }
    }

    fn step(&mut self, event: &Event) {
        match *event {
            Event::Join {
                client,
                protocols,
                forgets_id,
                old_version,
            } => {
                if forgets_id {
                    self.clients[client] = Client::default();
                }
                let request = self.join(client, protocols, old_version);
                self.ask(client, &Request::Join(request));
            }
            Event::Sync { client, gives } => {
                let request = self.sync(client, gives);
                self.ask(client, &Request::Sync(request));
            }
            Event::Heartbeat { client } => {
                let request = HeartbeatRequest {
                    group_id: Arc::from("g"),
                    generation_id: self.clients[client].generation_id,
                    member_id: Arc::from(&*self.clients[client].member_id),
                    group_instance_id: instance(client),
                };
                self.ask(client, &Request::Heartbeat(request));
            }
            Event::Leave { client } => {
                let member_id = Arc::from(&*self.clients[client].member_id);
                let members = vec![LeavingMember {
                    member_id,
                    group_instance_id: instance(client),
                    reason: None,
                }];
                self.ask(
                    client,
                    &Request::Leave(LeaveRequest {
                        group_id: Arc::from("g"),
                        members,
                    }),
                );
            }
            Event::Wait { ms } => self.world.advance(ms),
            Event::AppendsFail(fail) => {
                self.world.append_error = fail.then_some(ErrorCode::CoordinatorNotAvailable);
            }
            Event::Together => {
                self.world.flush();
                self.world.held = Some(Vec::new());
            }
            Event::Restart => {
                self.world.restart();
                self.highest_generation = self.generation();
                // A generation whose assignment was not persisted is forgotten, and its number used again.
                for client in &mut self.clients {
                    client.generation_id = client.generation_id.min(self.highest_generation);
                }
                let persisted = self.highest_generation;
                self.given.retain(|(generation_id, _), _| *generation_id <= persisted);
            }
        }
        self.take_answers();
        self.check();
    }

    fn ask(&mut self, client: usize, request: &Request) {
        self.asked_by.insert(ReplyToken(self.world.next_token), client);
        self.world.request(request);
    }

    fn join(&self, client: usize, protocols: u8, old_version: bool) -> JoinRequest {
        let mut request = join_request("g", &self.clients[client].member_id);
        request.group_instance_id = instance(client);
        request.requires_known_member_id = !old_version;
        request.supports_skip_assignment = !old_version;
        let names: &[&str] = match protocols {
            0 => &["range"],
            1 => &["range", "sticky"],
            2 => &["sticky", "range"],
            _ => &["sticky"],
        };
        request.protocols = names.iter().map(|name| protocol(name, &format!("{client}"))).collect();
        request
    }

    fn sync(&self, client: usize, gives: u8) -> SyncRequest {
        let known = &self.clients[client];
        let mut assignments = Vec::new();
        for member_id in &known.members {
            assignments.push((
                Arc::clone(member_id),
                Bytes::from(vec![gives, known.generation_id as u8]),
            ));
        }
        SyncRequest {
            group_id: Arc::from("g"),
            generation_id: known.generation_id,
            member_id: Arc::from(&*known.member_id),
            group_instance_id: instance(client),
            protocol_type: None,
            protocol_name: None,
            assignments,
        }
    }

    fn take_answers(&mut self) {
        for (token, reply) in std::mem::take(&mut self.world.answered) {
            let client = self.asked_by.remove(&token).expect("asked by a client");
            match reply {
                Reply::Join(joined) if joined.error == ErrorCode::None => {
                    assert!(
                        joined.generation_id >= self.clients[client].generation_id,
                        "generations grow"
                    );
                    self.clients[client] = Client {
                        member_id: joined.member_id.to_string(),
                        generation_id: joined.generation_id,
                        members: joined.members.into_iter().map(|member| member.member_id).collect(),
                    };
                }
                Reply::Join(joined) if joined.error == ErrorCode::MemberIdRequired => {
                    self.clients[client].member_id = joined.member_id.to_string();
                }
                Reply::Join(joined) if joined.error == ErrorCode::UnknownMemberId => {
                    self.clients[client] = Client::default();
                }
                Reply::Sync(synced) if synced.error == ErrorCode::None => {
                    let known = &self.clients[client];
                    let generation_id = known.generation_id;
                    let own = (generation_id, Arc::from(instance_or_id(client, &known.member_id)));
                    let before = self.given.entry(own).or_insert_with(|| synced.assignment.clone());
                    assert_eq!(*before, synced.assignment, "one assignment per member and generation");
                }
                _ => {}
            }
        }
    }

    fn generation(&self) -> i32 {
        self.world
            .shard
            .soft
            .groups
            .get("g")
            .map_or(0, |group| group.generation_id)
    }

    fn check(&mut self) {
        assert_eq!(
            *self.world.shard.hard(),
            self.world.fold_log(),
            "hard state is the fold of the log"
        );
        let Some(group) = self.world.shard.soft.groups.get("g") else {
            self.highest_generation = 0;
            self.given.clear();
            return;
        };
        assert!(group.generation_id >= self.highest_generation, "generations grow");
        let leads = group.leader.as_ref().map(|leader| group.members.contains_key(leader));
        assert_eq!(
            leads,
            (!group.members.is_empty()).then_some(true),
            "one leader, who is a member"
        );
        match group.state {
            GroupState::Empty => assert!(group.members.is_empty() && group.leader.is_none()),
            // All may have gone while ids that were given out are awaited.
            GroupState::PreparingRebalance => {}
            GroupState::CompletingRebalance | GroupState::Stable => assert!(!group.members.is_empty()),
        }
        let parked = group
            .members
            .values()
            .filter(|member| member.awaiting_join.is_some())
            .count();
        assert_eq!(parked, group.awaiting_join, "parked joins are counted");
        let written = self.world.held.as_ref().is_none_or(Vec::is_empty);
        for member in group.members.values().filter(|_| written) {
            let syncs_wait = group.state == GroupState::CompletingRebalance;
            assert!(
                member.awaiting_sync.is_none() || syncs_wait,
                "syncs wait in CompletingRebalance only"
            );
            assert!(member.awaiting_join.is_none() || group.state == GroupState::PreparingRebalance);
        }
        if matches!(group.state, GroupState::Stable | GroupState::CompletingRebalance) {
            let name = group.protocol_name.as_ref().expect("a chosen protocol");
            assert!(
                group.supported_protocols.get(name) == Some(&group.members.len()),
                "all support the protocol"
            );
        }
        self.highest_generation = group.generation_id;
    }
}

fn instance(client: usize) -> Option<Arc<str>> {
    (client >= FIRST_STATIC).then(|| Arc::from(format!("instance{client}")))
}

/// A static member keeps its assignment under a new id.
fn instance_or_id(client: usize, member_id: &str) -> String {
    instance(client).map_or_else(|| member_id.to_owned(), |instance| instance.to_string())
}

/// The member was told the first assignment, and after the restart the second.
#[test]
fn what_the_leader_gave_first_counts() {
    let sync = |gives| Event::Sync { client: 3, gives };
    let join = Event::Join {
        client: 3,
        protocols: 0,
        forgets_id: false,
        old_version: true,
    };
    let mut run = Run::new();
    let begin = [join, Event::Wait { ms: 3_000 }, Event::Together, sync(0), sync(1)];
    for event in begin.iter().chain(&[Event::Together, Event::Restart, sync(0)]) {
        run.step(event);
    }
    run.world.flush();
    assert!(!run.given.is_empty(), "somebody was given an assignment");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_keeps_its_invariants(events in prop::collection::vec(event(), 1..80)) {
        let mut run = Run::new();
        for event in &events {
            run.step(event);
        }
        run.world.flush();
        // Everybody is silent from now on: all that is parked must be answered, and the group becomes empty.
        run.world.append_error = None;
        for _ in 0..20 {
            run.step(&Event::Wait { ms: 70_000 });
        }
        prop_assert!(run.world.open_tokens.is_empty(), "never answered: {:?}", run.world.open_tokens);
        let members = run.world.shard.soft.groups.get("g").map_or(0, |group| group.members.len());
        prop_assert_eq!(members, 0);
    }

    #[test]
    fn a_restart_gives_what_was_persisted(events in prop::collection::vec(event(), 1..60)) {
        let mut run = Run::new();
        for event in &events {
            run.step(event);
        }
        run.step(&Event::Restart);
        let hard = run.world.fold_log();
        let persisted = hard.group("g").and_then(|group| group.metadata());
        let group = run.world.shard.soft.groups.get("g");
        prop_assert_eq!(group.is_some(), persisted.is_some());
        if let (Some(group), Some(persisted)) = (group, persisted) {
            let assignments = group.members.values().map(|member| (Arc::clone(&member.member_id), member.assignment.clone()));
            prop_assert_eq!(&group.to_metadata(&assignments.collect()), persisted);
            let stable = group.state == GroupState::Stable;
            prop_assert_eq!(stable, !group.members.is_empty());
        }
    }
}
