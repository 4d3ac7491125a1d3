//! Addresses that are understood, and the sentences for those that contradict each other.

use super::*;
use crate::config::settings::Setting;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (name, text) in pairs {
        settings.set(
            name,
            Setting {
                text: (*text).to_owned(),
                origin: Origin::CommandLine,
            },
        );
    }
    settings
}

fn resolved(pairs: &[(&str, &str)]) -> Vec<(String, Option<(String, u16)>)> {
    let addresses = resolve(&settings(pairs)).expect("valid addresses");
    addresses
        .listeners
        .into_iter()
        .map(|listener| (listener.to_string(), listener.advertised))
        .collect()
}

fn refused(pairs: &[(&str, &str)]) -> Vec<String> {
    resolve(&settings(pairs))
        .expect_err("contradiction")
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn told(host: &str, port: u16) -> Option<(String, u16)> {
    Some((host.to_owned(), port))
}

#[test]
fn without_configuration_only_this_machine_is_served() {
    assert_eq!(resolved(&[]), [("PLAINTEXT://127.0.0.1:9092".to_owned(), None)]);
}

#[test]
fn listeners_are_read_as_kafka_reads_them() {
    let map = (
        "listener.security.protocol.map",
        "internal:PLAINTEXT, EXTERNAL:plaintext",
    );
    assert_eq!(
        resolved(&[("listeners", "internal://[::1]:9092, EXTERNAL://my-host_1.org:0"), map]),
        [
            ("INTERNAL://[::1]:9092".to_owned(), None),
            ("EXTERNAL://my-host_1.org:0".to_owned(), None)
        ]
    );
    assert_eq!(
        resolved(&[("listeners", "PLAINTEXT://:9092")]),
        [("PLAINTEXT://:9092".to_owned(), None)]
    );
}

#[test]
fn each_listener_advertises_its_own_address() {
    let map = ("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT");
    let listeners = ("listeners", "A://:9092,B://:9093");
    assert_eq!(
        resolved(&[listeners, map, ("advertised.listeners", "b://example.org:19093")]),
        [
            ("A://:9092".to_owned(), None),
            ("B://:9093".to_owned(), told("example.org", 19093))
        ]
    );
    assert_eq!(
        resolved(&[listeners, map, ("advertised.listeners", "A://:9092")]),
        [("A://:9092".to_owned(), None), ("B://:9093".to_owned(), None)],
    );
    assert_eq!(
        refused(&[listeners, map, ("advertised.listeners", "A://:19092")]),
        [
            "Invalid value A://:19092 for configuration advertised.listeners: A://:19092 names a port but no host: \
          add the host (--override)"
        ]
    );
}

#[test]
fn advertising_alone_opens_all_interfaces() {
    assert_eq!(
        resolved(&[("advertised.listeners", "PLAINTEXT://example.org:19092")]),
        [("PLAINTEXT://:9092".to_owned(), told("example.org", 19092))]
    );
    let mut from_environment = settings(&[("listener.security.protocol.map", "OUT:PLAINTEXT")]);
    let origin = Origin::Environment("KAFKA_ADVERTISED_LISTENERS".to_owned());
    from_environment.set(
        "advertised.listeners",
        Setting {
            text: "OUT://example.org:19092".to_owned(),
            origin,
        },
    );
    let addresses = resolve(&from_environment).expect("valid addresses");
    assert_eq!(addresses.listeners[0].to_string(), "OUT://:19092");
    assert_eq!(addresses.listeners[0].advertised, told("example.org", 19092));
    assert_eq!(addresses.remarks.len(), 1);
}

#[test]
fn the_controllers_listener_is_not_opened() {
    let pairs = [
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        (
            "advertised.listeners",
            "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        ),
        ("controller.listener.names", "CONTROLLER"),
        ("inter.broker.listener.name", "PLAINTEXT"),
    ];
    assert_eq!(
        resolved(&pairs),
        [("PLAINTEXT://:9092".to_owned(), told("localhost", 9092))]
    );
    let addresses = resolve(&settings(&pairs)).expect("valid addresses");
    assert_eq!(addresses.controller_listeners[0].to_string(), "CONTROLLER://:9093");
    assert_eq!(addresses.remarks.len(), 1, "{:?}", addresses.remarks);
    assert!(
        addresses.remarks[0].contains("CONTROLLER://:9093"),
        "{:?}",
        addresses.remarks
    );
}

#[test]
fn addresses_of_both_families_share_a_port() {
    let map = ("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT");
    assert_eq!(
        resolved(&[("listeners", "A://127.0.0.1:9092,B://[::1]:9092"), map]).len(),
        2
    );
    assert_eq!(
        resolved(&[("listeners", "A://127.0.0.1:0,B://127.0.0.1:0"), map]).len(),
        2
    );
}

fn assert_refused(cases: &[(&[(&str, &str)], &str)]) {
    for (pairs, expected) in cases {
        let errors = refused(pairs);
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{pairs:?}: {errors:?}"
        );
    }
}

const MAP: (&str, &str) = ("listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT,C:SSL");

#[test]
fn malformed_listeners_are_refused() {
    assert_refused(&[
        (&[("listeners", "9092")], "'9092' is not of the form name://host:port"),
        (&[("listeners", "PLAINTEXT://a b:9092")], "is not of the form"),
        (&[("listeners", "PLAINTEXT://::1:9092")], "is not of the form"),
        (&[("listeners", "://:9092")], "is not of the form"),
        (&[("listeners", "PLAINTEXT://:65536")], "is no port: 0 to 65535 are"),
        (&[("listeners", "PLAINTEXT://:-1")], "is no port"),
        (
            &[("listener.security.protocol.map", "A")],
            "'A' is not of the form listener:protocol",
        ),
        (
            &[("listener.security.protocol.map", "A:TLS")],
            "TLS is none of PLAINTEXT, SSL",
        ),
        (
            &[("listener.security.protocol.map", "A:SSL,a:SSL")],
            "listener A is named twice",
        ),
    ]);
}

#[test]
fn listeners_that_contradict_each_other_are_refused_with_what_to_do() {
    assert_refused(&[
        (
            &[("listeners", "A://:9092,B://:9092"), MAP],
            "A and B both want port 9092: give each its own port",
        ),
        (
            &[("listeners", "A://127.0.0.1:9092,B://127.0.0.2:9092"), MAP],
            "both want port 9092",
        ),
        (
            &[("listeners", "A://:9092,a://:9093"), MAP],
            "listener A is named twice: give each its own name",
        ),
        (
            &[("listeners", "C://:9092"), MAP],
            "has the protocol SSL, which this broker does not speak",
        ),
        (&[("listeners", "SASL_SSL://:9092")], "has the protocol SASL_SSL"),
        (
            &[("listeners", "D://:9092"), MAP],
            "add D:PLAINTEXT to listener.security.protocol.map",
        ),
        (
            &[("listeners", "A://:9093"), ("controller.listener.names", "a"), MAP],
            "no listener is left for clients",
        ),
        (
            &[("inter.broker.listener.name", "A")],
            "no listener for clients has this name: choose one of PLAINTEXT",
        ),
        (
            &[
                ("inter.broker.listener.name", "PLAINTEXT"),
                ("security.inter.broker.protocol", "PLAINTEXT"),
            ],
            "leave one of the two out",
        ),
    ]);
}

#[test]
fn what_cannot_be_dialled_is_not_advertised() {
    assert_refused(&[
        (
            &[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")],
            "nobody can dial 0.0.0.0",
        ),
        (
            &[("advertised.listeners", "PLAINTEXT://[::]:9092")],
            "nobody can dial ::",
        ),
        (
            &[("advertised.listeners", "PLAINTEXT://example.org:0")],
            "advertises port 0",
        ),
        (
            &[("advertised.listeners", "A://example.org:9092"), MAP],
            "A is no listener: add it to listeners (PLAINTEXT)",
        ),
    ]);
}
