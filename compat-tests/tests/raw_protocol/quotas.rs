//! Quotas as a client meets them: the throttle time that it is told, and the connection that takes no request before.
//!
//! Every test has client ids of its own, so that it disturbs nobody at an external broker. Times are lower bounds only:
//! a wait begins after its request was sent, so that the next answer cannot come sooner than the wait after that.

use std::time::{Duration, Instant};

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, FetchRequest, MetadataRequest, ProduceRequest,
};

use compat_tests::batch::Batch;
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{
    FETCH_BY_NAME, PRODUCE_BY_NAME, alteration, creatable, fetch_request, new_topic, produce, produce_request,
    set_quota, topic_name, unique, until, values,
};
use compat_tests::wire::{Connection, text};

use crate::Bench;

/// One batch of so many bytes and a few more.
fn batch_of(bytes: usize) -> Vec<u8> {
    Batch::of(&[vec![b'x'; bytes]]).encode()
}

fn send_batch(connection: &mut Connection, topic: &str, bytes: usize) -> i32 {
    let request = produce_request(topic, 0, batch_of(bytes), 1);
    let answer = connection.call(PRODUCE_BY_NAME, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    answer.throttle_time_ms
}

fn ask_versions(connection: &mut Connection) -> i32 {
    connection.call(2, &ApiVersionsRequest::default()).throttle_time_ms
}

fn ms(throttle_time_ms: i32) -> Duration {
    Duration::from_millis(throttle_time_ms.try_into().expect("never negative"))
}

/// The quotas of exactly this client id.
fn described(connection: &mut Connection, client_id: &str) -> Vec<(String, f64)> {
    let component = ComponentData::default()
        .with_entity_type(text("client-id"))
        .with_match(Some(text(client_id)));
    let request = DescribeClientQuotasRequest::default()
        .with_components(vec![component])
        .with_strict(true);
    let answer = connection.call(1, &request);
    assert_eq!(answer.error_code, 0);
    let entries = answer.entries.expect("no error");
    let values = entries.into_iter().flat_map(|entry| entry.values);
    let mut values: Vec<_> = values.map(|value| (value.key.to_string(), value.value)).collect();
    values.sort_by(|a, b| a.0.cmp(&b.0));
    values
}

#[test]
fn a_producer_above_its_quota_waits_and_others_do_not() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (held, free) = (unique("held"), unique("free"));
    let entity = [("client-id", Some(held.as_str()))];
    set_quota(&mut bench, &entity, "producer_byte_rate", Some(50_000.0));
    let (mut held, mut free) = (bench.connect().named(&held), bench.connect().named(&free));
    assert_eq!(send_batch(&mut held, &topic, 100), 0, "below the quota");
    let sent = Instant::now();
    let throttle_time_ms = send_batch(&mut held, &topic, 600_000);
    assert!(
        throttle_time_ms >= 1_000,
        "600 KB take 12 s at 50 KB/s, and the window is 10 s to 11 s long: {throttle_time_ms}"
    );
    assert_eq!(send_batch(&mut free, &topic, 600_000), 0);
    assert_eq!(ask_versions(&mut held), 0);
    assert!(sent.elapsed() >= ms(throttle_time_ms), "the channel was not muted");
    set_quota(&mut bench, &entity, "producer_byte_rate", None);
    assert_eq!(send_batch(&mut held, &topic, 600_000), 0, "free at once");
}

#[test]
fn a_producer_without_answers_waits_too() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let client_id = unique("held");
    let entity = [("client-id", Some(client_id.as_str()))];
    set_quota(&mut bench, &entity, "producer_byte_rate", Some(50_000.0));
    let mut held = bench.connect().named(&client_id);
    let sent = Instant::now();
    held.send(PRODUCE_BY_NAME, &produce_request(&topic, 0, batch_of(600_000), 0));
    ask_versions(&mut held);
    assert!(sent.elapsed() >= Duration::from_secs(1));
    set_quota(&mut bench, &entity, "producer_byte_rate", None);
}

/// Requests that came together are taken one by one, each after the wait of the one before.
#[test]
fn requests_sent_ahead_wait_as_well() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let client_id = unique("held");
    let entity = [("client-id", Some(client_id.as_str()))];
    set_quota(&mut bench, &entity, "producer_byte_rate", Some(100_000.0));
    let mut held = bench.connect().named(&client_id);
    let request = produce_request(&topic, 0, batch_of(550_000), 1);
    let began = Instant::now();
    let sent: Vec<_> = (0..3).map(|_| held.send(PRODUCE_BY_NAME, &request)).collect();
    let mut waits = Duration::ZERO;
    for correlation_id in sent {
        let answer = held.receive::<ProduceRequest>(PRODUCE_BY_NAME, correlation_id);
        assert!(began.elapsed() >= waits, "answered while the channel was muted");
        waits += ms(answer.throttle_time_ms);
    }
    assert!(waits >= Duration::from_secs(1), "1650 KB at 100 KB/s");
    set_quota(&mut bench, &entity, "producer_byte_rate", None);
}

#[test]
fn a_consumer_above_its_quota_waits_and_gets_everything() {
    // a short window, where the test may have one
    let (rate, window_bytes) = if external_address().is_some() {
        (100_000.0, 1_000_000)
    } else {
        (400_000.0, 800_000)
    };
    let mut bench = Bench::on(Broker::start(&[QUICK, &["quota.window.num=2"]].concat()));
    let topic = new_topic(&mut bench);
    let expected: Vec<String> = (0..8).map(|number| number.to_string().repeat(150_000)).collect();
    for value in &expected {
        produce(&mut bench, &topic, 0, Batch::of(&[value]).encode());
    }
    let client_id = unique("held");
    let entity = [("client-id", Some(client_id.as_str()))];
    set_quota(&mut bench, &entity, "consumer_byte_rate", Some(rate));
    let mut held = bench.connect().named(&client_id);
    let (began, mut waits, mut withheld) = (Instant::now(), Duration::ZERO, 0);
    let mut got: Vec<String> = Vec::new();
    while got.len() < expected.len() {
        let offset = i64::try_from(got.len()).expect("few");
        let request = fetch_request(&topic, 0, offset, 100, 1);
        let mut answer: <FetchRequest as kafka_protocol::protocol::Request>::Response =
            held.call(FETCH_BY_NAME, &request);
        assert_eq!(answer.error_code, 0);
        assert!(began.elapsed() >= waits, "answered while the channel was muted");
        waits += ms(answer.throttle_time_ms);
        if answer.throttle_time_ms > 0 {
            assert!(answer.responses.is_empty(), "what is throttled holds no records");
            withheld += 1;
        } else {
            let data = answer.responses.remove(0).partitions.remove(0);
            let bytes = data.records.as_ref().expect("never null").len();
            assert!(bytes <= window_bytes, "{bytes} bytes are more than the whole window");
            got.extend(values(&data));
        }
    }
    assert!(got == expected, "records are lost or doubled");
    assert!(withheld > 0, "1200 KB are more than the window allows");
    let other = fetch_request(&topic, 0, 0, 0, 1);
    assert_eq!(
        bench.call(FETCH_BY_NAME, &other).throttle_time_ms,
        0,
        "others do not wait"
    );
    set_quota(&mut bench, &entity, "consumer_byte_rate", None);
    assert_eq!(held.call(FETCH_BY_NAME, &other).throttle_time_ms, 0, "free at once");
}

/// A response that is withheld has moved the session's epoch on and nothing else.
#[test]
fn a_session_lives_through_withheld_responses() {
    if external_address().is_some() {
        return; // needs a short window
    }
    let mut bench = Bench::on(Broker::start(&[QUICK, &["quota.window.num=1"]].concat()));
    let topic = new_topic(&mut bench);
    let expected: Vec<String> = (0..4).map(|number| number.to_string().repeat(60_000)).collect();
    let client_id = unique("held");
    set_quota(
        &mut bench,
        &[("client-id", Some(client_id.as_str()))],
        "consumer_byte_rate",
        Some(100_000.0),
    );
    let mut held = bench.connect().named(&client_id);
    let mut request = fetch_request(&topic, 0, 0, 0, 1);
    request.session_epoch = 0;
    let session_id = held.call(FETCH_BY_NAME, &request).session_id;
    assert_ne!(session_id, 0);
    for value in &expected {
        produce(&mut bench, &topic, 0, Batch::of(&[value]).encode());
    }
    let (mut got, mut withheld) = (Vec::new(), 0);
    let asked = request.topics.clone();
    request.session_id = session_id;
    request.topics.clear();
    while got.len() < expected.len() {
        request.session_epoch += 1;
        let mut answer = held.call(FETCH_BY_NAME, &request);
        assert_eq!((answer.error_code, answer.session_id), (0, session_id));
        request.topics.clear();
        if answer.throttle_time_ms > 0 {
            assert!(answer.responses.is_empty());
            withheld += 1;
            continue; // and names nothing again: the session knows what is wanted
        }
        let data = answer.responses.remove(0).partitions.remove(0);
        got.extend(values(&data));
        request.topics = asked.clone();
        request.topics[0].partitions[0].fetch_offset = i64::try_from(got.len()).expect("few");
    }
    assert!(got == expected, "records are lost or doubled");
    assert!(withheld > 0, "240 KB are more than the window of one second allows");
}

/// Unlike at Apache Kafka, where the consumer would never get it.
#[test]
fn a_batch_larger_than_the_quota_ever_allows_is_given_and_paid_for() {
    if external_address().is_some() {
        return;
    }
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    produce(&mut bench, &topic, 0, batch_of(11_000));
    let client_id = unique("held");
    let entity = [("client-id", Some(client_id.as_str()))];
    set_quota(&mut bench, &entity, "consumer_byte_rate", Some(1_000.0));
    let mut held = bench.connect().named(&client_id);
    let answer = held.call(FETCH_BY_NAME, &fetch_request(&topic, 0, 0, 0, 1));
    let data = &answer.responses[0].partitions[0];
    assert_eq!(values(data).len(), 1);
    assert!(answer.throttle_time_ms >= 1_000, "{}", answer.throttle_time_ms);
}

#[test]
fn time_spent_on_requests_is_held_to_a_quota() {
    let mut bench = Bench::new();
    let client_id = unique("held");
    let entity = [("client-id", Some(client_id.as_str()))];
    set_quota(&mut bench, &entity, "request_percentage", Some(0.000_1));
    let mut held = bench.connect().named(&client_id);
    let throttled = |held: &mut Connection| {
        let answer = held.call(12, &MetadataRequest::default().with_topics(None));
        (answer.throttle_time_ms > 0).then_some(answer.throttle_time_ms)
    };
    let sent = Instant::now();
    let throttle_time_ms = until("a wait", || throttled(&mut held));
    assert!(throttle_time_ms <= 1_000, "a sample's length at most");
    until("a wait that is told at the end of its answer's list", || {
        (ask_versions(&mut held) > 0).then_some(())
    });
    assert!(sent.elapsed() >= ms(throttle_time_ms));
    set_quota(&mut bench, &entity, "request_percentage", None);
    assert_eq!(throttled(&mut held), None);
}

#[test]
fn changes_of_partitions_are_held_to_a_quota() {
    if external_address().is_some() {
        return; // needs a short window
    }
    let settings = [QUICK, &["controller.quota.window.num=1"]].concat();
    let mut bench = Bench::on(Broker::start(&settings));
    set_quota(&mut bench, &[("user", None)], "controller_mutation_rate", Some(2.0));
    let create = |connection: &mut Connection, version: i16, names: &[&str]| {
        let topics = names.iter().map(|name| creatable(name, 4, &[])).collect();
        let request = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(30_000);
        let answer = connection.call(version, &request);
        let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
        (codes, answer.throttle_time_ms)
    };
    let delete = |connection: &mut Connection, version: i16, name: &str| {
        let names = vec![topic_name(name)];
        let request = DeleteTopicsRequest::default()
            .with_topic_names(names)
            .with_timeout_ms(30_000);
        let answer = connection.call(version, &request);
        (answer.responses[0].error_code, answer.throttle_time_ms)
    };
    let sent = Instant::now();
    let (codes, throttle_time_ms) = create(&mut bench, 7, &["a", "b"]);
    assert_eq!(codes, [0, 89], "2 at once, 4 as the first, none as the second");
    assert!(throttle_time_ms > 0);
    let (codes, _) = create(&mut bench, 5, &["c"]);
    assert!(sent.elapsed() >= ms(throttle_time_ms), "the channel was not muted");
    assert_eq!(codes, [0]);
    let (codes, throttle_time_ms) = create(&mut bench, 5, &["d"]);
    assert_eq!(codes, [0], "old clients are not refused");
    assert!(throttle_time_ms > 0, "but have to wait");
    let mut second = bench.connect();
    let (code, throttle_time_ms) = delete(&mut second, 5, "a");
    assert_eq!(code, 89);
    assert!(throttle_time_ms > 0);
    set_quota(&mut bench, &[("user", None)], "controller_mutation_rate", None);
    assert_eq!(delete(&mut bench, 5, "a"), (0, 0));
}

#[test]
fn an_address_may_not_connect_too_often() {
    if external_address().is_some() {
        return; // others come from the same address
    }
    let mut bench = Bench::new();
    let address = bench.broker.address().ip().to_string();
    let entity = [("ip", Some(address.as_str()))];
    set_quota(&mut bench, &entity, "connection_creation_rate", Some(1.0));
    let served = |bench: &Bench| bench.connect().try_call(0, &ApiVersionsRequest::default()).is_ok();
    let mut open = 0;
    while served(&bench) {
        open += 1;
        assert!(open < 200, "a rate of 1 per second");
    }
    assert!(open >= 10, "the window is 10 s long: {open}");
    ask_versions(&mut bench);
    set_quota(&mut bench, &entity, "connection_creation_rate", None);
    assert!(served(&bench), "free at once");
}

#[test]
fn the_broker_and_its_listeners_take_so_many_connections_and_no_more() {
    if external_address().is_some() {
        return;
    }
    for name in [
        "max.connection.creation.rate=1",
        "listener.name.plaintext.max.connection.creation.rate=1",
    ] {
        let bench = Bench::on(Broker::start(&[name]));
        let began = Instant::now();
        for _ in 0..14 {
            ask_versions(&mut bench.connect());
        }
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "{name}: 10 at once, and 1 per second then"
        );
    }
}

#[test]
fn quotas_survive_and_a_stop_does_not_wait_for_who_waits() {
    if external_address().is_some() {
        return; // restarts the broker
    }
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let entity = [("client-id", Some("held"))];
    set_quota(&mut bench, &entity, "producer_byte_rate", Some(10.0));
    set_quota(&mut bench, &entity, "request_percentage", Some(200.5));
    let expected = [
        ("producer_byte_rate".to_owned(), 10.0),
        ("request_percentage".to_owned(), 200.5),
    ];
    let mut held = bench.connect().named("held");
    assert!(send_batch(&mut held, &topic, 100_000) > 1_000_000);
    bench.broker.kill();
    bench.broker.restart();
    let mut connection = bench.connect();
    assert_eq!(described(&mut connection, "held"), expected);
    let mut held = bench.connect().named("held");
    assert!(send_batch(&mut held, &topic, 100_000) > 1_000_000);
    held.send(PRODUCE_BY_NAME, &produce_request(&topic, 0, batch_of(100), 1));
    bench.broker.stop();
    bench.broker.restart();
    bench.bystander = bench.connect();
    let mut connection = bench.connect();
    assert_eq!(described(&mut connection, "held"), expected);
}

#[test]
fn every_entity_is_answered_for_itself() {
    let mut bench = Bench::new();
    let (good, twice) = (unique("good"), unique("twice"));
    let rate = |value| [("producer_byte_rate", Some(value))];
    let entries = vec![
        alteration(&[("client-id", Some(good.as_str()))], &rate(1e9)),
        alteration(&[("topic", Some("t"))], &rate(1e9)),
        alteration(&[], &rate(1e9)),
        alteration(&[("client-id", Some(""))], &rate(1e9)),
        alteration(&[("ip", Some("127.0.0.1")), ("user", None)], &rate(1e9)),
        alteration(
            &[("ip", Some("not a host"))],
            &[("connection_creation_rate", Some(5.0))],
        ),
        alteration(&[("user", Some("zero"))], &rate(0.0)),
        alteration(&[("user", Some("half"))], &rate(0.5)),
        alteration(&[("user", Some("key"))], &[("nonsense", Some(1.0))]),
        alteration(&[("user", Some("none"))], &[("nonsense", None)]),
        alteration(&[("client-id", Some(twice.as_str()))], &rate(1e9)),
        alteration(&[("client-id", Some(twice.as_str()))], &rate(2e9)),
        alteration(
            &[("user", Some("op"))],
            &[("producer_byte_rate", Some(1.0)), ("producer_byte_rate", None)],
        ),
    ];
    let mut request = AlterClientQuotasRequest::default().with_entries(entries);
    for validate_only in [true, false] {
        request.validate_only = validate_only;
        let answer = bench.call(1, &request);
        assert_eq!(answer.entries.len(), 12, "each entity once");
        let refused =
            |entry: &&kafka_protocol::messages::alter_client_quotas_response::EntryData| entry.error_code != 0;
        assert!(
            answer
                .entries
                .iter()
                .filter(refused)
                .all(|entry| entry.error_code == 42)
        );
        let mut passed: Vec<_> = answer
            .entries
            .iter()
            .filter(|entry| entry.error_code == 0)
            .map(|entry| entry.entity[0].entity_name.as_ref().expect("named").to_string())
            .collect();
        passed.sort();
        assert_eq!(passed, [good.as_str(), "none"]);
        let expected: &[_] = if validate_only {
            &[]
        } else {
            &[("producer_byte_rate".to_owned(), 1e9)]
        };
        assert_eq!(described(&mut bench, &good), expected);
    }
    set_quota(
        &mut bench,
        &[("client-id", Some(good.as_str()))],
        "producer_byte_rate",
        None,
    );
    assert_eq!(described(&mut bench, &good), []);
    set_quota(
        &mut bench,
        &[("client-id", Some(twice.as_str()))],
        "producer_byte_rate",
        None,
    );
}

#[test]
fn wrong_filters_are_refused() {
    let mut bench = Bench::new();
    let ask = |bench: &mut Bench, components: &[(&str, i8, Option<&str>)]| {
        let component = |&(kind, match_type, name): &(&str, i8, Option<&str>)| {
            ComponentData::default()
                .with_entity_type(text(kind))
                .with_match_type(match_type)
                .with_match(name.map(text))
        };
        let components = components.iter().map(component).collect();
        let answer = bench.call(1, &DescribeClientQuotasRequest::default().with_components(components));
        assert_eq!(answer.entries.is_none(), answer.error_code != 0);
        answer.error_code
    };
    assert_eq!(ask(&mut bench, &[]), 0);
    assert_eq!(ask(&mut bench, &[("user", 2, None), ("client-id", 1, None)]), 0);
    assert_eq!(ask(&mut bench, &[("topic", 2, None)]), 35);
    assert_eq!(ask(&mut bench, &[("", 2, None)]), 42);
    assert_eq!(ask(&mut bench, &[("user", 0, None)]), 42);
    assert_eq!(ask(&mut bench, &[("user", 1, Some("u"))]), 42);
    assert_eq!(ask(&mut bench, &[("user", 9, None)]), 42);
    assert_eq!(ask(&mut bench, &[("user", 1, None), ("user", 2, None)]), 42);
    assert_eq!(ask(&mut bench, &[("ip", 1, None), ("user", 2, None)]), 42);
}
