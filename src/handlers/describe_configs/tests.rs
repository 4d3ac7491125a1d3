//! Answers and refusals as Apache Kafka 4.3.1 gave them, in every version.

use std::collections::BTreeMap;

use protocol::encode::encode_response;
use uuid::Uuid;

use super::*;
use crate::config::load::{Sources, load};
use crate::metadata::apply::{alter_configs, apply};
use crate::metadata::command::{Command, ConfigChange, CreateTopics, NewTopic, RegisterBroker, TopicLimits};

fn image() -> MetadataImage {
    let mut image = MetadataImage::default();
    let register = RegisterBroker {
        broker_id: 1,
        incarnation: Uuid::from_u128(1),
        endpoints: Vec::new(),
        rack: None,
        clean_shutdown: true,
    };
    apply(&mut image, 1, &Command::RegisterBroker(register));
    let topic = NewTopic {
        name: "t".to_owned(),
        topic_id: Uuid::from_u128(2),
        replicas: vec![vec![1]],
        configs: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
    };
    let limits = TopicLimits {
        max_topics: 10,
        max_partitions: 10,
    };
    apply(
        &mut image,
        2,
        &Command::CreateTopics(CreateTopics {
            topics: vec![topic],
            limits,
        }),
    );
    assert!(image.topic("t").is_some(), "the topic was made");
    for (resource, name, value) in [
        (
            ConfigResource::Group("own".to_owned()),
            "consumer.session.timeout.ms",
            "50000",
        ),
        (ConfigResource::ClientMetrics("own".to_owned()), "interval.ms", "1000"),
    ] {
        let values = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
        alter_configs(&mut image, &ConfigChange { resource, values }).expect("nothing to miss");
    }
    image
}

fn config(pairs: &[(&str, &str)]) -> BrokerConfig {
    let overrides = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load(&Sources {
        overrides,
        ..Sources::default()
    })
    .expect("valid")
    .config
}

fn resource(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    let keys = keys.map(|keys| {
        keys.iter()
            .map(|key| StrBytes::from_string((*key).to_owned()))
            .collect()
    });
    DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(keys)
}

/// Describes with everything included, and holds that every version can be encoded.
fn ask(config: &BrokerConfig, resources: &[DescribeConfigsResource]) -> Vec<DescribeConfigsResult> {
    let image = image();
    let describer = |version| Describer {
        config,
        image: &image,
        node_id: 1,
        version,
        include_synonyms: true,
        include_documentation: true,
    };
    for version in 0..=4 {
        let results = describer(version).describe_all(resources.to_vec());
        let response = DescribeConfigsResponse::default().with_results(results);
        encode_response(32, version, 1, &response).expect("only fields that the version has are set");
    }
    describer(4).describe_all(resources.to_vec())
}

fn outcome(resources: &[DescribeConfigsResource]) -> Vec<(i16, String, usize)> {
    let results = ask(&config(&[]), resources);
    let outcome = |result: DescribeConfigsResult| {
        let message = result.error_message.expect("never null");
        (result.error_code, message.to_string(), result.configs.len())
    };
    results.into_iter().map(outcome).collect()
}

#[test]
fn null_and_no_keys_ask_for_all() {
    assert_eq!(outcome(&[resource(TOPIC, "t", None)]), [(0, String::new(), 33)]);
    assert_eq!(outcome(&[resource(TOPIC, "t", Some(&[]))]), [(0, String::new(), 33)]);
}

#[test]
fn unknown_and_repeated_keys_are_passed_over() {
    let once = resource(TOPIC, "t", Some(&["retention.ms", "retention.ms", "nope"]));
    assert_eq!(outcome(&[once]), [(0, String::new(), 1)]);
}

#[test]
fn a_resource_is_answered_once() {
    let twice = || "Each resource must appear at most once.".to_owned();
    let key = Some(&["retention.ms"][..]);
    assert_eq!(
        outcome(&[
            resource(TOPIC, "t", key),
            resource(TOPIC, "t", None),
            resource(GROUP, "t", None)
        ]),
        [(0, String::new(), 1), (42, twice(), 0), (0, String::new(), 17)]
    );
    let key = Some(&["node.id"][..]);
    assert_eq!(
        outcome(&[
            resource(BROKER, "1", key),
            resource(BROKER, "+01", key),
            resource(BROKER, "", key)
        ]),
        [(0, String::new(), 1), (42, twice(), 0), (0, String::new(), 0)]
    );
}

#[test]
fn a_row_says_where_its_value_comes_from() {
    let results = ask(
        &config(&[("log.retention.ms", "7")]),
        &[resource(TOPIC, "t", Some(&["retention.ms"]))],
    );
    let row = &results[0].configs[0];
    assert_eq!(
        (row.value.as_deref(), row.config_source, row.config_type),
        (Some("1000"), 1, 5)
    );
    let synonyms: Vec<_> = row
        .synonyms
        .iter()
        .map(|one| (&*one.name, one.value.as_deref(), one.source))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("retention.ms", Some("1000"), 1),
            ("log.retention.ms", Some("7"), 4),
            ("log.retention.hours", Some("168"), 5)
        ]
    );
    assert!(row.documentation.as_ref().is_some_and(|text| !text.is_empty()));
}

#[test]
fn documentation_and_synonyms_come_only_when_asked_for() {
    let (image, config) = (image(), config(&[]));
    let describer = Describer {
        config: &config,
        image: &image,
        node_id: 1,
        version: 4,
        include_synonyms: false,
        include_documentation: false,
    };
    let results = describer.describe_all(vec![resource(TOPIC, "t", Some(&["segment.bytes"]))]);
    assert_eq!(results[0].configs[0].documentation, None);
    assert_eq!(results[0].configs[0].synonyms, []);
    assert_eq!(results[0].configs[0].config_source, 5);
}

#[test]
fn refusals_have_kafkas_codes() {
    let (unknown, invalid_topic, invalid) = (3, 17, 42);
    assert_eq!(outcome(&[resource(TOPIC, "zz", None)]), [(unknown, String::new(), 0)]);
    assert_eq!(outcome(&[resource(TOPIC, "a b", None)])[0].0, invalid_topic);
    assert_eq!(outcome(&[resource(TOPIC, "", None)])[0].0, invalid_topic);
    let other = "Unexpected broker id, expected 1 or empty string, but received 5".to_owned();
    assert_eq!(outcome(&[resource(BROKER, "5", None)]), [(invalid, other, 0)]);
    let word = "Broker id must be an integer, but it is: x".to_owned();
    assert_eq!(outcome(&[resource(BROKER, "x", None)]), [(invalid, word, 0)]);
    for (kind, why) in [
        (BROKER_LOGGER, "Broker id must not be empty"),
        (CLIENT_METRICS, "Client metrics subscription name must not be empty"),
        (GROUP, "Group name must not be empty"),
    ] {
        let results = outcome(&[resource(kind, "", None), resource(TOPIC, "t", Some(&["retention.ms"]))]);
        assert_eq!(
            (results[0].0, &*results[0].1, results[1].0),
            (invalid, why, 0),
            "{kind}"
        );
    }
    let other = "Unexpected broker id, expected 1 but received 5".to_owned();
    assert_eq!(outcome(&[resource(BROKER_LOGGER, "5", None)]), [(invalid, other, 0)]);
    for kind in [0, 1, 99, -1] {
        let results = outcome(&[resource(TOPIC, "t", None), resource(kind, "x", None)]);
        assert_eq!(
            (results[0].0, results[1].0),
            (invalid, invalid),
            "{kind} refuses the whole request"
        );
    }
}

#[test]
fn the_longest_names_are_refused_in_every_version() {
    let longest = "z".repeat(i16::MAX as usize);
    let number = "9".repeat(i16::MAX as usize);
    let resources = [
        (BROKER, &longest),
        (BROKER, &number),
        (TOPIC, &longest),
        (BROKER_LOGGER, &longest),
    ];
    let resources = resources.map(|(kind, name)| resource(kind, name, None));
    assert!(outcome(&resources).iter().all(|(code, ..)| *code != 0));
    let resources = [
        resource(GROUP, &longest, None),
        resource(CLIENT_METRICS, &longest, None),
    ];
    assert!(outcome(&resources).iter().all(|(code, ..)| *code == 0));
}

#[test]
fn groups_and_subscriptions_have_configs_whether_they_exist_or_not() {
    assert_eq!(outcome(&[resource(GROUP, "g", None)]), [(0, String::new(), 17)]);
    assert_eq!(outcome(&[resource(CLIENT_METRICS, "m", None)]), [(0, String::new(), 3)]);
    let asked = [
        resource(GROUP, "g", Some(&["consumer.session.timeout.ms"])),
        resource(
            GROUP,
            "own",
            Some(&["consumer.session.timeout.ms", "share.isolation.level"]),
        ),
        resource(CLIENT_METRICS, "own", Some(&["interval.ms", "match"])),
    ];
    let results = ask(&config(&[("group.consumer.session.timeout.ms", "46000")]), &asked);
    let told = |result: usize, row: usize| {
        let row = &results[result].configs[row];
        let synonyms = row.synonyms.iter().map(|one| (one.name.to_string(), one.source));
        (
            row.value.clone().map(|value| value.to_string()),
            row.config_source,
            synonyms.collect::<Vec<_>>(),
        )
    };
    let (own, broker) = (
        "consumer.session.timeout.ms".to_owned(),
        "group.consumer.session.timeout.ms".to_owned(),
    );
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(0, 0),
        (value("46000"), 4, vec![(broker.clone(), 4), (broker.clone(), 5)])
    );
    assert_eq!(
        told(1, 0),
        (value("50000"), 8, vec![(own, 8), (broker.clone(), 4), (broker, 5)])
    );
    assert_eq!(
        told(1, 1),
        (
            value("read_uncommitted"),
            5,
            vec![("share.isolation.level".to_owned(), 5)]
        )
    );
    assert_eq!(told(2, 0), (value("1000"), 7, vec![("interval.ms".to_owned(), 7)]));
    assert_eq!(told(2, 1), (value(""), 5, vec![]));
}

#[test]
fn a_broker_answers_for_itself_and_for_what_was_changed_for_all() {
    assert_eq!(outcome(&[resource(BROKER, "", None)]), [(0, String::new(), 0)]);
    assert_eq!(
        outcome(&[resource(BROKER, "+1", Some(&["broker.id"]))]),
        [(0, String::new(), 1)]
    );
    assert!(outcome(&[resource(BROKER, "1", None)])[0].2 > 300);
}

/// Bytes of the rows, and how many resources were answered.
fn size(results: &[DescribeConfigsResult]) -> (usize, usize) {
    let rows = results.iter().flat_map(|result| &result.configs);
    let answered = results.iter().filter(|result| result.error_code == 0).count();
    (rows.map(approximate_bytes).sum(), answered)
}

fn groups(count: usize, keys: Option<&[&str]>) -> Vec<DescribeConfigsResource> {
    let group = |index: usize| resource(GROUP, &index.to_string(), keys);
    (0..count).map(group).collect()
}

#[test]
fn an_answer_does_not_grow_without_bound() {
    let small = config(&[("socket.request.max.bytes", "100000")]);
    let (_, answered) = size(&ask(&small, &groups(500, Some(&["nothing"]))));
    assert!((10..100).contains(&answered), "{answered} answered without a row");
    let results = ask(&small, &groups(500, None));
    let (bytes, answered) = size(&results);
    assert!(bytes <= 100_000 && (10..100).contains(&answered), "{bytes} {answered}");
    let why = results[499].error_message.as_ref().expect("among the first thousand");
    assert!(why.contains("larger than 100000 bytes"), "{why}");

    let results = ask(&config(&[]), &groups(45_000, None));
    let (bytes, answered) = size(&results);
    assert!(
        (MAX_ANSWER_BYTES - 100_000..=MAX_ANSWER_BYTES).contains(&bytes),
        "{bytes}"
    );
    let texts = results
        .iter()
        .filter(|result| result.error_code != 0 && result.error_message.is_some());
    assert_eq!(texts.count(), 1_000.min(45_000 - answered));
}

#[test]
fn one_resource_alone_can_be_too_large() {
    let config = config(&[("socket.request.max.bytes", "40000")]);
    let topic = resource(TOPIC, "t", Some(&["retention.ms"]));
    let asked = [resource(BROKER, "1", None), topic.clone()];
    let codes =
        |results: Vec<DescribeConfigsResult>| results.iter().map(|result| result.error_code).collect::<Vec<_>>();
    assert_eq!(codes(ask(&config, &asked)), [42, 42]);
    let asked = [resource(BROKER, "1", Some(&["node.id"])), topic];
    assert_eq!(codes(ask(&config, &asked)), [0, 0]);
}
