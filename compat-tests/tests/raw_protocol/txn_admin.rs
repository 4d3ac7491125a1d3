//! What operators ask of transactions: DescribeTransactions, ListTransactions, DescribeProducers, and where the coordinator of
//! a transactional id is (core's `TransactionStateManager`, KIP-664, KIP-994, KIP-1152).

use std::collections::BTreeMap;

use kafka_protocol::messages::{FindCoordinatorRequest, ListTransactionsRequest, ListTransactionsResponse};

use compat_tests::broker::external_address;
use compat_tests::requests::{
    create_topic, find_coordinator as find_group_coordinator, new_topic, produce_values, unique,
};
use compat_tests::transactions::{
    ADD_OFFSETS, PRODUCE_ADDED, Producer, add_offsets, add_partitions, begin, describe, describe_producers, end,
    end_raising, find_coordinator, new_producer, open, produce_in, settled,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// Producers in all the states that stay: Empty, Ongoing, CompleteCommit, CompleteAbort.
fn producers(connection: &mut Connection, topic: &str, prefix: &str) -> BTreeMap<&'static str, Producer> {
    ["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"]
        .into_iter()
        .map(|state| {
            let id = unique(&format!("{prefix}-{state}"));
            find_coordinator(connection, &id);
            let producer = open(connection, &id, 45_000);
            if state != "Empty" {
                begin(connection, &producer, (topic, 0), 0, &["x"]);
            }
            if state.starts_with("Complete") {
                end(connection, &producer, state == "CompleteCommit");
            }
            (state, producer)
        })
        .collect()
}

#[test]
fn transactions_are_described_in_every_state() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producers = producers(&mut bench, &topic, "describe");
    for (state, producer) in &producers {
        let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
        assert_eq!((known.error_code, known.transaction_state.as_str()), (0, *state));
        assert_eq!(known.transactional_id.0.as_str(), producer.transactional_id);
        assert_eq!(
            (known.producer_id.0, known.producer_epoch),
            (producer.id, producer.epoch)
        );
        assert_eq!(known.transaction_timeout_ms, 45_000);
        let open = known
            .topics
            .iter()
            .map(|one| (one.topic.0.as_str(), &one.partitions[..]));
        let due: &[(&str, &[i32])] = if *state == "Ongoing" { &[(&topic, &[0])] } else { &[] };
        assert_eq!(open.collect::<Vec<_>>(), due, "{state}");
        assert_eq!(known.transaction_start_time_ms > 0, *state != "Empty", "{state}");
        if *state == "Empty" {
            assert_eq!(known.transaction_start_time_ms, -1);
        }
    }
    end(&mut bench, &producers["Ongoing"], true);
}

#[test]
fn every_id_is_described_for_itself() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = new_producer(&mut bench);
    begin(&mut bench, &producer, (&topic, 0), 0, &["x"]);
    let (mine, stranger) = (producer.transactional_id.as_str(), unique("stranger"));
    find_coordinator(&mut bench, &stranger);
    settled(&mut bench, &stranger);
    // Apache Kafka describes twice what is named twice; once is enough.
    let known = describe(&mut bench, &[mine, "", &stranger, mine]);
    let mut told: Vec<_> = known
        .iter()
        .map(|state| {
            let id = state.transactional_id.0.as_str();
            (id, state.error_code, state.transaction_state.as_str())
        })
        .collect();
    told.sort_unstable();
    told.dedup();
    let mut due = [(mine, 0, "Ongoing"), ("", 42, ""), (&stranger, 105, "")];
    due.sort_unstable();
    assert_eq!(told, due);
    assert_eq!(describe(&mut bench, &[]), []);
    end(&mut bench, &producer, true);
}

#[test]
fn a_description_names_all_partitions() {
    let mut bench = Bench::new();
    let (first, second, group) = (unique("first"), unique("second"), unique("group"));
    create_topic(&mut bench, &first, 3, &[]);
    create_topic(&mut bench, &second, 3, &[]);
    find_group_coordinator(&mut bench, &group);
    let producer = new_producer(&mut bench);
    add_partitions(&mut bench, &producer, &[(&first, 2), (&second, 1), (&first, 0)]);
    assert_eq!(add_offsets(&mut bench, ADD_OFFSETS, &producer, &group), 0);
    let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    let mut named: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for one in known.topics {
        let mut partitions = one.partitions;
        partitions.sort_unstable();
        assert_eq!(
            named.insert(one.topic.0.to_string(), partitions),
            None,
            "each topic once"
        );
    }
    assert_eq!(named.remove(&first), Some(vec![0, 2]));
    assert_eq!(named.remove(&second), Some(vec![1]));
    assert_eq!(
        named.remove("__consumer_offsets").map(|partitions| partitions.len()),
        Some(1)
    );
    assert!(named.is_empty(), "{named:?}");
    let started = known.transaction_start_time_ms;
    add_partitions(&mut bench, &producer, &[(&first, 1)]);
    let known = describe(&mut bench, &[&producer.transactional_id]).remove(0);
    assert_eq!(
        known.transaction_start_time_ms, started,
        "what is added later does not begin it anew"
    );
    end(&mut bench, &producer, false);
}

/// Transactional ids with producer id and state, in the order of ids.
fn listed(answer: &ListTransactionsResponse, prefix: &str) -> Vec<(String, i64, String)> {
    assert_eq!(answer.error_code, 0);
    let mut listed: Vec<_> = answer
        .transaction_states
        .iter()
        .filter(|state| state.transactional_id.0.starts_with(prefix))
        .map(|state| {
            let id = state.transactional_id.0.to_string();
            (id, state.producer_id.0, state.transaction_state.to_string())
        })
        .collect();
    listed.sort_unstable();
    listed
}

/// What is due in a list of these states.
fn due(producers: &BTreeMap<&'static str, Producer>, states: &[&str]) -> Vec<(String, i64, String)> {
    let mut due: Vec<_> = producers
        .iter()
        .filter(|(state, _)| states.contains(state))
        .map(|(state, producer)| (producer.transactional_id.clone(), producer.id, (*state).to_owned()))
        .collect();
    due.sort_unstable();
    due
}

#[test]
fn lists_are_filtered() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let prefix = unique("list");
    let producers = producers(&mut bench, &topic, &prefix);
    let all = due(&producers, &["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"]);
    let states = |names: &[&str]| names.iter().copied().map(text).collect::<Vec<_>>();
    let ask = ListTransactionsRequest::default;
    for version in 0..=2 {
        let mut list = |request: ListTransactionsRequest| bench.call(version, &request);
        assert_eq!(listed(&list(ask()), &prefix), all, "version {version}");
        let answer = list(ask().with_state_filters(states(&["Ongoing", "CompleteAbort"])));
        assert_eq!(listed(&answer, &prefix), due(&producers, &["Ongoing", "CompleteAbort"]));
        assert!(answer.unknown_state_filters.is_empty());
        let answer = list(ask().with_state_filters(states(&["Ongoing", "ongoing", "Nonsense", ""])));
        assert_eq!(listed(&answer, &prefix), due(&producers, &["Ongoing"]));
        let mut unknown: Vec<_> = answer.unknown_state_filters.iter().map(ToString::to_string).collect();
        unknown.sort_unstable();
        assert_eq!(unknown, ["", "Nonsense", "ongoing"]);
        let answer = list(ask().with_state_filters(states(&["Nonsense"])));
        assert_eq!(
            answer.transaction_states,
            [],
            "a filter that fits nothing lets nothing through"
        );
        for state in ["PrepareCommit", "PrepareAbort", "Dead", "PrepareEpochFence"] {
            let answer = list(ask().with_state_filters(states(&[state])));
            assert!(answer.unknown_state_filters.is_empty(), "{state} is a state");
            assert_eq!(listed(&answer, &prefix), []);
        }
        let wanted = [producers["Empty"].id, producers["CompleteCommit"].id, -1, i64::MAX];
        let ids = || wanted.iter().map(|&id| id.into()).collect();
        let answer = list(ask().with_producer_id_filters(ids()));
        assert_eq!(listed(&answer, ""), due(&producers, &["Empty", "CompleteCommit"]));
        let both = ask()
            .with_producer_id_filters(ids())
            .with_state_filters(states(&["Empty"]));
        assert_eq!(
            listed(&list(both), ""),
            due(&producers, &["Empty"]),
            "both filters hold"
        );
    }
    for version in 1..=2 {
        let mut list = |request: ListTransactionsRequest| bench.call(version, &request);
        for none in [-1, -5] {
            assert_eq!(
                listed(&list(ask().with_duration_filter(none)), &prefix),
                all,
                "{none} is no filter"
            );
        }
        let long = list(ask().with_duration_filter(i64::MAX));
        let long_day = list(ask().with_duration_filter(86_400_000));
        assert_eq!(listed(&long, &prefix), []);
        // Without a transaction the time counts from 1970.
        assert_eq!(listed(&long_day, &prefix), due(&producers, &["Empty"]));
    }
    end(&mut bench, &producers["Ongoing"], true);
}

#[test]
fn lists_are_filtered_by_patterns() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let prefix = unique("pattern");
    let producers = producers(&mut bench, &topic, &prefix);
    let all = due(&producers, &["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"]);
    let mut list = |pattern: Option<&str>| {
        let request = ListTransactionsRequest::default().with_transactional_id_pattern(pattern.map(text));
        bench.call(2, &request)
    };
    assert_eq!(listed(&list(None), &prefix), all);
    assert_eq!(listed(&list(Some("")), &prefix), all, "an empty pattern is none");
    assert_eq!(listed(&list(Some(&format!("{prefix}.*"))), ""), all);
    assert_eq!(listed(&list(Some(&prefix)), ""), [], "the whole id must match");
    let complete = due(&producers, &["CompleteCommit", "CompleteAbort"]);
    assert_eq!(
        listed(
            &list(Some(&format!("{prefix}-(CompleteCommit|CompleteAbort)-[-0-9]+"))),
            ""
        ),
        complete
    );
    assert_eq!(
        listed(&list(Some(&producers["Empty"].transactional_id)), ""),
        due(&producers, &["Empty"])
    );
    for broken in ["[", "(", "*", "a{2,1}", "\\"] {
        let answer = list(Some(broken));
        assert_eq!(
            (answer.error_code, answer.transaction_states.len()),
            (128, 0),
            "{broken}"
        );
    }
    end(&mut bench, &producers["Ongoing"], true);
}

#[test]
fn partitions_know_their_producers() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce_values(&mut bench, &topic, &["plain"]);
    assert_eq!(describe_producers(&mut bench, &topic, 0).active_producers, []);
    let producer = new_producer(&mut bench);
    let state = |connection: &mut Connection| {
        let answer = describe_producers(connection, &topic, 0);
        assert_eq!((answer.error_code, answer.active_producers.len()), (0, 1));
        let state = &answer.active_producers[0];
        assert_eq!(state.producer_id.0, producer.id);
        (
            state.producer_epoch,
            state.last_sequence,
            state.coordinator_epoch,
            state.current_txn_start_offset,
        )
    };
    let epoch = i32::from(producer.epoch);
    begin(&mut bench, &producer, (&topic, 0), 0, &["a", "b"]);
    assert_eq!(state(&mut bench), (epoch, 1, -1, 1));
    produce_in(&mut bench, PRODUCE_ADDED, &producer, (&topic, 0), 2, &["c"]);
    assert_eq!(state(&mut bench), (epoch, 2, -1, 1), "where it began");
    end(&mut bench, &producer, true);
    let (known_epoch, sequence, coordinator_epoch, start) = state(&mut bench);
    assert_eq!((known_epoch, sequence, start), (epoch, 2, -1));
    assert!(coordinator_epoch >= 0);
    begin(&mut bench, &producer, (&topic, 0), 3, &["d"]);
    assert_eq!(state(&mut bench), (epoch, 3, coordinator_epoch, 5));
    end_raising(&mut bench, &producer, false);
    assert_eq!(
        state(&mut bench),
        (epoch + 1, -1, coordinator_epoch, -1),
        "the marker's epoch, no sequence yet"
    );
}

#[test]
fn the_coordinator_of_a_transactional_id_is_found() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..20).map(|_| unique("find")).collect();
    find_coordinator(&mut bench, &ids[0]);
    let address = bench.broker.address();
    for version in 1..=3 {
        for id in ids.iter().map(String::as_str).chain([""]) {
            let request = FindCoordinatorRequest::default().with_key(text(id)).with_key_type(1);
            let answer = bench.call(version, &request);
            assert_eq!((answer.error_code, answer.node_id.0), (0, 1), "version {version}");
            assert_eq!(answer.port, i32::from(address.port()));
            assert_eq!(answer.host.as_str(), "127.0.0.1");
        }
    }
    for version in 4..=6 {
        let keys = ids
            .iter()
            .map(|id| text(id))
            .chain([text(""), text(&ids[0])])
            .collect::<Vec<_>>();
        let request = FindCoordinatorRequest::default()
            .with_key_type(1)
            .with_coordinator_keys(keys.clone());
        let answer = bench.call(version, &request);
        // Apache Kafka answers twice what is named twice; once is enough.
        let mut told: Vec<_> = answer.coordinators.iter().map(|one| one.key.clone()).collect();
        told.truncate(keys.len() - 1);
        assert_eq!(told, keys[..keys.len() - 1], "each key is answered, version {version}");
        for one in &answer.coordinators {
            assert_eq!(
                (one.error_code, one.node_id.0, one.port),
                (0, 1, i32::from(address.port()))
            );
        }
        let none = FindCoordinatorRequest::default().with_key_type(1);
        assert_eq!(bench.call(version, &none).coordinators, []);
    }
}

#[test]
fn kinds_of_coordinators_that_are_none() {
    let mut bench = Bench::new();
    for kind in [3, -1, 100] {
        let request = FindCoordinatorRequest::default()
            .with_key(text("x"))
            .with_key_type(kind);
        let answer = bench.call(3, &request);
        assert_eq!((answer.error_code, answer.node_id.0), (42, -1), "kind {kind}");
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(vec![text("x")]);
        let answer = bench.call(4, &request);
        let codes: Vec<_> = answer.coordinators.iter().map(|one| one.error_code).collect();
        // Apache Kafka answers without any coordinator, or with one in error, or closes in some versions.
        assert!(codes.iter().all(|&code| code == 42), "kind {kind}: {codes:?}");
    }
}

/// What operators see survives a restart.
#[test]
fn a_restart_changes_nothing_for_operators() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let prefix = unique("restart");
    let producers = producers(&mut bench, &topic, &prefix);
    let ids: Vec<_> = producers
        .values()
        .map(|producer| producer.transactional_id.as_str())
        .collect();
    let before = describe(&mut bench, &ids);
    let held = describe_producers(&mut bench, &topic, 0);
    for kill in [true, false] {
        if kill {
            bench.broker.kill();
        } else {
            bench.broker.stop();
        }
        bench.broker.restart();
        bench.connection = bench.broker.connect();
        bench.bystander = bench.broker.connect();
        for id in &ids {
            settled(&mut bench, id);
        }
        assert_eq!(describe(&mut bench, &ids), before, "kill {kill}");
        let answer = bench.call(2, &ListTransactionsRequest::default());
        let all = due(&producers, &["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"]);
        assert_eq!(listed(&answer, &prefix), all);
        let key = |one: &kafka_protocol::messages::describe_producers_response::ProducerState| one.producer_id;
        let mut again = describe_producers(&mut bench, &topic, 0).active_producers;
        again.sort_by_key(key);
        let mut wanted = held.active_producers.clone();
        wanted.sort_by_key(key);
        assert_eq!(again, wanted, "kill {kill}");
    }
    end(&mut bench, &producers["Ongoing"], true);
}
