//! DescribeClientQuotas and AlterClientQuotas: what is kept and found, not how it acts (metadata's
//! `ClientQuotaControlManager`, `ClientQuotasImage`).
//!
//! All entities are ones of which no connection of these tests is, or with limits that nobody reaches.

use compat_tests::admin::{Entity, alter_quotas, quotas, quotas_filter, quotas_request, sorted};
use compat_tests::requests::{unique, until};
use compat_tests::wire::Connection;

use crate::Bench;

const PRODUCER: &str = "producer_byte_rate";
const CONSUMER: &str = "consumer_byte_rate";
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// What one entity has, as `quotas` shows it.
fn found(entity: &[String], values: &[(&str, f64)]) -> (Vec<String>, Vec<(String, f64)>) {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), *value));
    (entity.to_vec(), values.collect())
}

/// Waits until a user has exactly these quotas.
fn becomes(connection: &mut Connection, user: &str, wanted: &[(&str, f64)]) {
    until(&format!("{user} has {wanted:?}"), || {
        let seen = quotas(connection, &[("user", EXACT, Some(user))], true);
        let due = if wanted.is_empty() {
            vec![]
        } else {
            vec![found(&[format!("user={user}")], wanted)]
        };
        (seen == due).then_some(())
    });
}

#[test]
fn every_version_sets_and_finds() {
    let mut bench = Bench::new();
    let user = unique("user");
    let entity: &Entity<'_> = &[("user", Some(&user))];
    for (version, rate) in [(0, 5_000.0), (1, 6_000.0)] {
        let answer = bench.call(
            version,
            &quotas_request(&[(entity, &[(PRODUCER, Some(rate)), (CONSUMER, Some(1e6))])]),
        );
        let [entry] = &answer.entries[..] else {
            panic!("{answer:?}");
        };
        assert_eq!((entry.error_code, &entry.error_message), (0, &None));
        assert_eq!(
            (&entry.entity[0].entity_type[..], entry.entity[0].entity_name.as_deref()),
            ("user", Some(&user[..]))
        );
        becomes(&mut bench, &user, &[(CONSUMER, 1e6), (PRODUCER, rate)]);
        let described = bench.call(version, &quotas_filter(&[("user", EXACT, Some(&user))], true));
        assert_eq!(
            (described.error_code, described.entries.map(|entries| entries.len())),
            (0, Some(1))
        );
    }
    assert_eq!(alter_quotas(&mut bench, entity, &[(CONSUMER, None)]), 0);
    becomes(&mut bench, &user, &[(PRODUCER, 6_000.0)]);
    assert_eq!(
        alter_quotas(&mut bench, entity, &[(CONSUMER, None)]),
        0,
        "to remove what is not there is fine"
    );
    assert_eq!(
        alter_quotas(&mut bench, entity, &[("no_such", None)]),
        0,
        "also what cannot be there"
    );
    assert_eq!(alter_quotas(&mut bench, entity, &[]), 0);
    assert_eq!(alter_quotas(&mut bench, entity, &[(PRODUCER, None)]), 0);
    becomes(&mut bench, &user, &[]);
}

#[test]
fn filters_match_by_name_default_or_anything() {
    let mut bench = Bench::new();
    let (user, client) = (unique("user"), unique("client"));
    let rate = |rate| [(PRODUCER, Some(rate))];
    let (alone, with, with_any) = (
        [("user", Some(&user[..]))],
        [("user", Some(&user[..])), ("client-id", Some(&client[..]))],
        [("client-id", None), ("user", Some(&user[..]))],
    );
    let answer = bench.call(
        1,
        &quotas_request(&[(&alone, &rate(5e3)), (&with, &rate(6e3)), (&with_any, &rate(7e3))]),
    );
    assert!(answer.entries.iter().all(|entry| entry.error_code == 0), "{answer:?}");
    becomes(&mut bench, &user, &[(PRODUCER, 5e3)]);
    let (of_user, of_client) = (format!("user={user}"), format!("client-id={client}"));
    let one = found(std::slice::from_ref(&of_user), &[(PRODUCER, 5e3)]);
    let two = found(&[of_client, of_user.clone()], &[(PRODUCER, 6e3)]);
    let three = found(&["client-id".to_owned(), of_user], &[(PRODUCER, 7e3)]);
    let by_user = ("user", EXACT, Some(&user[..]));
    let mut find = |components: &[(&str, i8, Option<&str>)], strict| quotas(&mut bench, components, strict);
    assert_eq!(find(&[by_user], false), [three.clone(), two.clone(), one.clone()]);
    assert_eq!(find(&[by_user], true), std::slice::from_ref(&one).to_vec());
    assert_eq!(
        find(&[by_user, ("client-id", ANY, None)], true),
        [three.clone(), two.clone()]
    );
    assert_eq!(
        find(&[by_user, ("client-id", DEFAULT, None)], true),
        std::slice::from_ref(&three).to_vec()
    );
    assert_eq!(
        find(&[by_user, ("client-id", EXACT, Some(&client))], true),
        std::slice::from_ref(&two).to_vec()
    );
    assert_eq!(
        find(&[("client-id", EXACT, Some(&client))], false),
        std::slice::from_ref(&two).to_vec()
    );
    assert_eq!(find(&[("client-id", EXACT, Some(&client))], true), []);
    assert_eq!(find(&[("user", EXACT, Some("nobody"))], false), []);
    assert_eq!(find(&[], true), [], "strictly nothing");
    let all = find(&[], false);
    for wanted in [&one, &two, &three] {
        assert!(all.contains(wanted), "{wanted:?}");
    }
    assert!(find(&[("user", ANY, None)], true).contains(&one));
    for entity in [&alone[..], &with, &with_any] {
        assert_eq!(alter_quotas(&mut bench, entity, &[(PRODUCER, None)]), 0);
    }
    becomes(&mut bench, &user, &[]);
}

#[test]
fn defaults_and_addresses() {
    let mut bench = Bench::new();
    let (key, limit) = ("connection_creation_rate", 1e6);
    let (named, any): (&Entity<'_>, &Entity<'_>) = (&[("ip", Some("127.9.9.9"))], &[("ip", None)]);
    assert_eq!(alter_quotas(&mut bench, named, &[(key, Some(limit))]), 0);
    assert_eq!(alter_quotas(&mut bench, any, &[(key, Some(limit))]), 0);
    let due = [
        found(&["ip".to_owned()], &[(key, limit)]),
        found(&["ip=127.9.9.9".to_owned()], &[(key, limit)]),
    ];
    until("both are found", || {
        (quotas(&mut bench, &[("ip", ANY, None)], true) == due).then_some(())
    });
    assert_eq!(quotas(&mut bench, &[("ip", DEFAULT, None)], true), due[..1]);
    assert_eq!(quotas(&mut bench, &[("ip", EXACT, Some("127.9.9.9"))], true), due[1..]);
    for entity in [named, any] {
        assert_eq!(alter_quotas(&mut bench, entity, &[(key, None)]), 0);
    }
    until("both are gone", || {
        quotas(&mut bench, &[("ip", ANY, None)], true).is_empty().then_some(())
    });
    let user: &Entity<'_> = &[("user", None)];
    assert_eq!(alter_quotas(&mut bench, user, &[(PRODUCER, Some(1e12))]), 0);
    let due = [found(&["user".to_owned()], &[(PRODUCER, 1e12)])];
    until("the default is found", || {
        (quotas(&mut bench, &[("user", DEFAULT, None)], true) == due).then_some(())
    });
    assert_eq!(alter_quotas(&mut bench, user, &[(PRODUCER, None)]), 0);
}

#[test]
fn values_and_keys_that_are_refused() {
    let mut bench = Bench::new();
    let user = unique("user");
    let (of_user, of_address): (&Entity<'_>, &Entity<'_>) = (&[("user", Some(&user))], &[("ip", Some("127.9.9.8"))]);
    for (key, value) in [
        (PRODUCER, 0.0),
        (PRODUCER, -1.0),
        (PRODUCER, 0.5),
        (PRODUCER, f64::INFINITY),
        (CONSUMER, f64::NEG_INFINITY),
        ("request_percentage", 0.0),
        ("controller_mutation_rate", -0.5),
        ("connection_creation_rate", 5.0),
        ("no_such", 5.0),
        ("", 5.0),
    ] {
        assert_eq!(
            alter_quotas(&mut bench, of_user, &[(key, Some(value))]),
            42,
            "{key} {value}"
        );
    }
    for (key, value) in [
        (PRODUCER, 5.0),
        ("connection_creation_rate", 5.5),
        ("connection_creation_rate", 0.0),
    ] {
        assert_eq!(
            alter_quotas(&mut bench, of_address, &[(key, Some(value))]),
            42,
            "{key} {value}"
        );
    }
    for (key, value) in [("request_percentage", 0.1), ("controller_mutation_rate", 0.5)] {
        assert_eq!(
            alter_quotas(&mut bench, of_user, &[(key, Some(value))]),
            0,
            "{key} {value}"
        );
    }
    becomes(
        &mut bench,
        &user,
        &[("controller_mutation_rate", 0.5), ("request_percentage", 0.1)],
    );
    let both = [(PRODUCER, Some(5e3)), ("no_such", Some(1.0))];
    assert_eq!(
        alter_quotas(&mut bench, of_user, &both),
        42,
        "one bad key spoils its entity"
    );
    let none = [("controller_mutation_rate", None), ("request_percentage", None)];
    assert_eq!(alter_quotas(&mut bench, of_user, &none), 0);
    becomes(&mut bench, &user, &[]);
}

#[test]
fn entities_that_are_refused() {
    let mut bench = Bench::new();
    let rate = [(PRODUCER, Some(5e3))];
    let refused: [&Entity<'_>; 8] = [
        &[],
        &[("group", Some("x"))],
        &[("", Some("x"))],
        &[("user", Some(""))],
        &[("client-id", Some(""))],
        &[("ip", Some(""))],
        &[("ip", Some("not an address"))],
        &[("ip", Some("127.9.9.9")), ("user", Some("x"))],
    ];
    for entity in refused {
        assert_eq!(alter_quotas(&mut bench, entity, &rate), 42, "{entity:?}");
    }
    let address = [("connection_creation_rate", Some(5.0))];
    assert_eq!(alter_quotas(&mut bench, &[("ip", Some("999.1.1.1"))], &address), 42);
}

#[test]
fn one_bad_entity_does_not_spoil_the_others() {
    let mut bench = Bench::new();
    let (first, last, bad) = (unique("user"), unique("user"), unique("user"));
    let rate: &[(&str, Option<f64>)] = &[(PRODUCER, Some(5e3))];
    type Due<'a> = (&'a Entity<'a>, &'a [(&'a str, Option<f64>)], i16);
    let entities: [Due<'_>; 5] = [
        (&[("user", Some(&first))], rate, 0),
        (&[("group", Some("x"))], rate, 42),
        (&[], rate, 42),
        (&[("user", Some(&bad))], &[("no_such", Some(1.0))], 42),
        (&[("user", Some(&last))], rate, 0),
    ];
    let asked: Vec<_> = entities.iter().map(|(entity, ops, _)| (*entity, *ops)).collect();
    let answer = bench.call(1, &quotas_request(&asked));
    let one = |name: Option<&str>, code| (name.unwrap_or_default().to_owned(), code);
    let codes = answer.entries.iter().map(|entry| {
        one(
            entry.entity.first().and_then(|part| part.entity_name.as_deref()),
            entry.error_code,
        )
    });
    let due = entities
        .iter()
        .map(|(entity, _, code)| one(entity.first().and_then(|part| part.1), *code));
    assert_eq!(sorted(codes), sorted(due));
    for user in [&first, &last] {
        becomes(&mut bench, user, &[(PRODUCER, 5e3)]);
        assert_eq!(
            alter_quotas(&mut bench, &[("user", Some(user))], &[(PRODUCER, None)]),
            0
        );
    }
    assert!(bench.call(1, &quotas_request(&[])).entries.is_empty());
}

#[test]
fn validate_only_sets_nothing() {
    let mut bench = Bench::new();
    let user = unique("user");
    let mut validate = |rate| {
        let request = quotas_request(&[(&[("user", Some(&user))], &[(PRODUCER, Some(rate))])]);
        bench.call(1, &request.with_validate_only(true)).entries[0].error_code
    };
    assert_eq!((validate(5e3), validate(-5e3)), (0, 42));
    let other = unique("user");
    assert_eq!(
        alter_quotas(&mut bench, &[("user", Some(&other))], &[(PRODUCER, Some(5e3))]),
        0
    );
    becomes(&mut bench, &other, &[(PRODUCER, 5e3)]);
    becomes(&mut bench, &user, &[]);
    assert_eq!(
        alter_quotas(&mut bench, &[("user", Some(&other))], &[(PRODUCER, None)]),
        0
    );
}

#[test]
fn filters_that_contradict() {
    let mut bench = Bench::new();
    type Due<'a> = (&'a [(&'a str, i8, Option<&'a str>)], i16);
    let due: [Due<'_>; 8] = [
        (&[("ip", ANY, None), ("user", ANY, None)], 42),
        (&[("user", ANY, None), ("user", EXACT, Some("x"))], 42),
        (&[("group", ANY, None)], 35),
        (&[("", ANY, None)], 42),
        (&[("user", 9, None)], 42),
        (&[("user", EXACT, None)], 42),
        (&[("user", DEFAULT, Some("x"))], 42),
        (&[("user", ANY, Some("x"))], 42),
    ];
    for (components, code) in due {
        for version in 0..=1 {
            let answer = bench.call(version, &quotas_filter(components, false));
            assert_eq!((answer.error_code, answer.entries), (code, None), "{components:?}");
        }
    }
}
