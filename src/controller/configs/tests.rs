//! Plans against what Apache Kafka 4.3 answers.

use proptest::prelude::*;

use super::*;
use crate::metadata::apply::tests::{creation_of, image_of, start_of};

fn image() -> MetadataImage {
    image_of(&[start_of(1, 9, true), creation_of("t", 5, 1), creation_of("u", 6, 1)])
}

fn entry(name: &str, operation: i8, value: Option<&str>) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        operation,
        value: value.map(str::to_owned),
    }
}

fn altering(resource_type: i8, name: &str, entries: &[(&str, i8, Option<&str>)]) -> ConfigAlteration {
    let entries = entries
        .iter()
        .map(|(name, operation, value)| entry(name, *operation, *value));
    ConfigAlteration {
        resource_type,
        resource_name: name.to_owned(),
        replaces_all: false,
        entries: entries.collect(),
    }
}

fn replacing(resource_type: i8, name: &str, values: &[(&str, &str)]) -> ConfigAlteration {
    let entries: Vec<_> = values.iter().map(|(name, value)| (*name, SET, Some(*value))).collect();
    ConfigAlteration {
        replaces_all: true,
        ..altering(resource_type, name, &entries)
    }
}

/// Plans one request on top of the image; code and message of each resource.
fn ask(image: &mut MetadataImage, config: &BrokerConfig, request: &[ConfigAlteration]) -> Vec<(i16, String)> {
    let rules = ConfigRules {
        at_start: config,
        current: config,
    };
    let outcomes = plan_alterations(image, request, rules).outcomes();
    let told = outcomes.into_iter().map(|outcome| match outcome {
        Ok(()) => (0, String::new()),
        Err(failure) => (failure.code.code(), failure.message),
    });
    told.collect()
}

fn outcome(request: ConfigAlteration) -> (i16, String) {
    ask(&mut image(), &BrokerConfig::default(), &[request]).remove(0)
}

fn values(image: &MetadataImage, resource: &ConfigResource) -> Vec<(String, String)> {
    let values = image.configs.get(resource).iter();
    values.map(|(name, text)| (name.clone(), text.clone())).collect()
}

fn topic() -> ConfigResource {
    ConfigResource::Topic("t".to_owned())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    pairs.collect()
}

/// Type and name of a resource, what is asked of it, code and sentence.
type Refused = (
    i8,
    &'static str,
    &'static [(&'static str, i8, Option<&'static str>)],
    i16,
    &'static str,
);

#[rustfmt::skip] // a table
const REFUSED: &[Refused] = &[
    (TOPIC, "t", &[("bogus", SET, Some("1"))], 40, "Unknown topic config name: bogus"),
    (TOPIC, "t", &[("segment.bytes", APPEND, Some("1"))], 40, "Can't APPEND to key segment.bytes because its type is not LIST."),
    (TOPIC, "t", &[("segment.bytes", SUBTRACT, Some("1"))], 40, "Can't SUBTRACT to key segment.bytes because its type is not LIST."),
    (TOPIC, "t", &[("retention.ms", SET, Some("x"))], 40, "Invalid value x for configuration retention.ms: Not a number of type LONG"),
    (TOPIC, "t", &[("min.compaction.lag.ms", SET, Some("9")), ("max.compaction.lag.ms", SET, Some("5"))], 40,
        "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (5)"),
    (TOPIC, "t", &[("retention.ms", 7, Some("1"))], 42, "Unknown operations type 7"),
    (TOPIC, "zz", &[], 3, "The topic 'zz' does not exist."),
    (TOPIC, "", &[], 42, "Default topic resources are not allowed."),
    (BROKER, "x", &[], 42, "Node id must be an integer, but it is: x"),
    (BROKER, "5", &[], 42, "Unexpected broker id, expected 1, but received 5"),
    (BROKER, "1", &[("node.id", SET, Some("5"))], 42, "Cannot update these configs dynamically: [node.id]"),
    (BROKER, "1", &[("listeners", SET, Some("PLAINTEXT://:1"))], 42, "Cannot update these configs dynamically: [listeners]"),
    (BROKER, "", &[("max.connections", SET, Some("x"))], 42, "Invalid value x for configuration max.connections: Not a number of type INT"),
    (BROKER, "", &[("max.connections", APPEND, Some("1"))], 40, "Config value append is not allowed for config key: max.connections"),
    (BROKER, "", &[("nope", SUBTRACT, Some("1"))], 40, "Unknown config name: nope"),
    (BROKER, "1", &[("num.io.threads", SET, Some("100"))], 42,
        "Dynamic thread count update validation failed for num.io.threads=100, value should not be greater than double the current value 8"),
    (GROUP, "", &[], 42, "Default group resources are not allowed."),
    (GROUP, "g", &[("nope", SET, Some("1"))], 40, "Unknown group config name: nope"),
    (CLIENT_METRICS, "", &[], 42, "Subscription name can't be empty"),
    (CLIENT_METRICS, "m", &[("nope", SET, Some("1"))], 42, "Unknown client metrics configuration: nope"),
    (CLIENT_METRICS, "m", &[("match", SET, Some("x"))], 40, "Illegal client matching pattern: x"),
];

#[test]
fn refusals_have_kafkas_codes_and_sentences() {
    for (kind, name, entries, code, why) in REFUSED {
        let told = outcome(altering(*kind, name, entries));
        assert_eq!(told, (*code, (*why).to_owned()), "{kind} {name} {entries:?}");
    }
    let long = "delete,".repeat(5_000);
    let too_long = "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
    let request = altering(TOPIC, "t", &[("cleanup.policy", SET, Some(&long))]);
    assert_eq!(outcome(request), (40, too_long.to_owned()));
    assert_eq!(outcome(altering(TOPIC, "a b", &[])).0, 17);
    let nobody = [("max.connections.per.ip", SET, Some("0"))];
    assert_eq!(outcome(altering(BROKER, "", &nobody)).0, 42);
}

#[test]
fn what_is_malformed_is_found_before_anything_else() {
    let good = altering(TOPIC, "u", &[("retention.ms", DELETE, None)]);
    let twice = altering(TOPIC, "t", &[]);
    let keys = altering(BROKER, "1", &[("a", SET, Some("1")), ("a", DELETE, None)]);
    let nulls = altering(
        GROUP,
        "g",
        &[("a", SET, None), ("b", APPEND, None), ("c", DELETE, None)],
    );
    let levels = altering(BROKER_LOGGER, "1", &[]);
    let replaced_levels = replacing(BROKER_LOGGER, "2", &[]);
    let unknown = altering(99, "x", &[]);
    let request = [
        twice.clone(),
        good,
        twice,
        keys,
        nulls,
        levels,
        replaced_levels,
        unknown,
    ];
    let told: Vec<_> = malformed(&request)
        .into_iter()
        .map(|fault| fault.map(|failure| (failure.code.code(), failure.message)))
        .collect();
    let refused = |why: &str| Some((42, why.to_owned()));
    let once = "Each resource must appear at most once.";
    let expected = [
        refused(once),
        None,
        refused(once),
        refused("Error due to duplicate config keys"),
        refused("Null value not supported for : a, b"),
        None,
        refused("Unknown resource type 8"),
        refused("Unknown resource type 99"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn one_that_fails_does_not_hinder_the_others_and_changes_nothing() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let request = [
        altering(
            TOPIC,
            "t",
            &[("retention.ms", SET, Some("1")), ("bogus", SET, Some("1"))],
        ),
        altering(TOPIC, "u", &[("retention.ms", SET, Some("2"))]),
    ];
    let told = ask(&mut image, &config, &request);
    assert_eq!((told[0].0, told[1].0), (40, 0));
    assert_eq!(values(&image, &topic()), []);
    assert_eq!(
        values(&image, &ConfigResource::Topic("u".to_owned())),
        pairs(&[("retention.ms", "2")])
    );
}

#[test]
fn lists_grow_from_their_default_and_shrink() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let policy = |operation, value| altering(TOPIC, "t", &[("cleanup.policy", operation, Some(value))]);
    for (operation, value, expected) in [
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact,delete", "delete,compact"),
        (SUBTRACT, "delete,", "compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
    ] {
        assert_eq!(ask(&mut image, &config, &[policy(operation, value)])[0].0, 0);
        assert_eq!(values(&image, &topic()), pairs(&[("cleanup.policy", expected)]));
    }
}

#[test]
fn requests_of_one_batch_do_not_lose_each_others_changes() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let replicas = |value| {
        let entry = ("leader.replication.throttled.replicas", APPEND, Some(value));
        [altering(TOPIC, "t", &[entry])]
    };
    assert_eq!(ask(&mut image, &config, &replicas("0:1"))[0].0, 0);
    assert_eq!(ask(&mut image, &config, &replicas("1:1"))[0].0, 0);
    assert_eq!(
        values(&image, &topic()),
        pairs(&[("leader.replication.throttled.replicas", "0:1,1:1")])
    );
}

#[test]
fn replacing_removes_what_is_not_named() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let first = replacing(TOPIC, "t", &[("retention.ms", "1"), ("segment.ms", "2")]);
    let second = replacing(TOPIC, "t", &[("segment.ms", "3")]);
    ask(&mut image, &config, &[first]);
    assert_eq!(ask(&mut image, &config, &[second]), [(0, String::new())]);
    assert_eq!(values(&image, &topic()), pairs(&[("segment.ms", "3")]));
    ask(&mut image, &config, &[replacing(TOPIC, "t", &[])]);
    assert_eq!(values(&image, &topic()), []);
}

#[test]
fn what_changes_nothing_is_not_proposed() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let rules = ConfigRules {
        at_start: &config,
        current: &config,
    };
    let request = [
        altering(TOPIC, "t", &[("retention.ms", DELETE, None)]),
        altering(GROUP, "g", &[]),
    ];
    let plan = plan_alterations(&mut image, &request, rules);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.applied(&[]), [Ok(()), Ok(())]);
}

#[test]
fn what_apply_refuses_is_told() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let rules = ConfigRules {
        at_start: &config,
        current: &config,
    };
    let set = |name| altering(TOPIC, name, &[("retention.ms", SET, Some("1"))]);
    let plan = plan_alterations(&mut image, &[set("t"), set("zz"), set("u")], rules);
    let gone = Err(ApplyError::UnknownTopic("u".to_owned()));
    let codes: Vec<_> = plan
        .applied(&[Ok(()), gone])
        .into_iter()
        .map(|outcome| outcome.map_err(|f| f.code.code()))
        .collect();
    assert_eq!(codes, [Ok(()), Err(3), Err(3)]);
}

#[test]
fn brokers_and_all_brokers_have_their_own_values() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let request = [
        altering(
            BROKER,
            "",
            &[("max.connections", SET, Some("5")), ("my.plugin", SET, Some("x"))],
        ),
        altering(BROKER, "+1", &[("max.connections", SET, Some("7"))]),
    ];
    assert_eq!(
        ask(&mut image, &config, &request),
        [(0, String::new()), (0, String::new())]
    );
    assert_eq!(
        values(&image, &ConfigResource::Broker(1)),
        pairs(&[("max.connections", "7")])
    );
    assert_eq!(
        values(&image, &ConfigResource::ClusterDefault),
        pairs(&[("max.connections", "5"), ("my.plugin", "x")])
    );
}

#[test]
fn what_is_stored_and_unusable_hinders_nobody() {
    let (mut image, config) = (image(), BrokerConfig::default());
    let stored = ConfigChange {
        resource: ConfigResource::Broker(1),
        values: BTreeMap::from([("node.id".to_owned(), Some("7".to_owned()))]),
    };
    alter_configs(&mut image, &stored).expect("applies");
    let set = altering(BROKER, "1", &[("max.connections", SET, Some("7"))]);
    assert_eq!(ask(&mut image, &config, &[set])[0].0, 0);
    assert_eq!(
        values(&image, &ConfigResource::Broker(1)),
        pairs(&[("max.connections", "7"), ("node.id", "7")])
    );
    ask(
        &mut image,
        &config,
        &[altering(BROKER, "1", &[("node.id", DELETE, None)])],
    );
    assert_eq!(
        values(&image, &ConfigResource::Broker(1)),
        pairs(&[("max.connections", "7")])
    );
}

#[test]
fn resources_and_bytes_are_limited() {
    let mut config = BrokerConfig::default();
    (config.monedula_config_max_resources, config.monedula_config_max_bytes) = (2, 60);
    let mut image = image();
    let group = |id, value| altering(GROUP, id, &[("consumer.session.timeout.ms", SET, Some(value))]);
    let told = ask(
        &mut image,
        &config,
        &[group("a", "50000"), group("b", "50000"), group("c", "50000")],
    );
    assert_eq!((told[0].0, told[1].0, told[2].0), (0, 44, 44), "{told:?}");
    assert!(told[1].1.contains("monedula.config.max.bytes"), "33 bytes each");
    config.monedula_config_max_bytes = 1_000;
    let told = ask(&mut image, &config, &[group("b", "50000"), group("c", "50000")]);
    assert_eq!((told[0].0, told[1].0), (0, 44));
    assert!(told[1].1.contains("monedula.config.max.resources"));
    config.monedula_config_max_bytes = 1;
    let smaller = altering(GROUP, "a", &[("consumer.session.timeout.ms", DELETE, None)]);
    assert_eq!(ask(&mut image, &config, &[smaller])[0].0, 0, "less is always allowed");
    let topic = BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]);
    assert!(validate_new_topic(&image, &topic, &config).is_err());
    assert_eq!(validate_new_topic(&image, &BTreeMap::new(), &config), Ok(()));
}

#[test]
fn the_names_of_a_brokers_configs_are_limited() {
    let names: Vec<_> = (0..=MAX_BROKER_CONFIGS).map(|index| format!("n{index}")).collect();
    let named: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    for broker in ["", "1"] {
        let mut image = image();
        let config = BrokerConfig::default();
        let mut codes = |alteration| ask(&mut image, &config, &[alteration])[0].0;
        assert_eq!(codes(replacing(BROKER, broker, &named)), 44);
        assert_eq!(codes(replacing(BROKER, broker, &named[1..])), 0);
        assert_eq!(codes(altering(BROKER, broker, &[("n0", SET, Some("1"))])), 44);
        assert_eq!(codes(altering(BROKER, broker, &[("n1", SET, Some("2"))])), 0);
        assert_eq!(codes(altering(BROKER, broker, &[("n1", DELETE, None)])), 0);
        assert_eq!(codes(altering(BROKER, broker, &[("n0", SET, Some("1"))])), 0);
    }
}

#[test]
fn the_longest_lists_are_worked_out() {
    let list = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("{number}")).collect::<Vec<_>>().join(",");
    let (old, more) = (list(0..6_000), list(3_000..9_000));
    assert_eq!(list_after(&old, APPEND, &more), list(0..9_000));
    assert_eq!(list_after(&old, SUBTRACT, &more), list(0..3_000));
}

/// One element after the other, as Kafka does.
fn slow_list_after(old: &str, operation: i8, named: &str) -> String {
    let mut parts: Vec<_> = old.split(',').filter(|part| !part.is_empty()).collect();
    for part in named.trim_end_matches(',').split(',') {
        match (operation, parts.iter().position(|known| *known == part)) {
            (APPEND, None) => parts.push(part),
            (SUBTRACT, Some(at)) => _ = parts.remove(at),
            _ => {}
        }
    }
    parts.join(",")
}

proptest! {
    #[test]
    fn lists_change_as_if_element_by_element(old in "[a-c,]{0,12}", named in "[a-d,]{0,12}", append in any::<bool>()) {
        let operation = if append { APPEND } else { SUBTRACT };
        prop_assert_eq!(list_after(&old, operation, &named), slow_list_after(&old, operation, &named));
    }

    /// Appending and removing are set operations on what stands there, whatever the order of requests.
    #[test]
    fn lists_behave_as_sets(steps in prop::collection::vec((any::<bool>(), 0_u8..5), 0..20)) {
        let (mut image, config) = (image(), BrokerConfig::default());
        let mut expected: Vec<String> = Vec::new();
        for (append, number) in steps {
            let part = format!("{number}:1");
            let operation = if append { APPEND } else { SUBTRACT };
            let request = altering(TOPIC, "t", &[("follower.replication.throttled.replicas", operation, Some(&part))]);
            prop_assert_eq!(ask(&mut image, &config, &[request])[0].0, 0);
            if !append {
                expected.retain(|known| *known != part);
            } else if !expected.contains(&part) {
                expected.push(part);
            }
            let stored = values(&image, &topic());
            prop_assert_eq!(stored.first().map_or("", |(_, text)| text), expected.join(","));
        }
    }
}
