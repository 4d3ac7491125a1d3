//! `advertised.listeners`, changed while the broker runs: what clients are told at once, and after a restart.

use compat_tests::broker::Broker;
use compat_tests::wire::text;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, MetadataRequest};

const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const INVALID_REQUEST: i16 = 42;

fn told(broker: &Broker) -> (String, i32) {
    let answer = broker.connect().call(9, &MetadataRequest::default().with_topics(None));
    (answer.brokers[0].host.to_string(), answer.brokers[0].port)
}

/// Error code of the change, for one broker or, without a name, for all.
fn change(broker: &Broker, name: &str, operation: i8, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text("advertised.listeners"))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    broker.connect().call(1, &request).responses[0].error_code
}

#[test]
fn a_running_broker_can_be_told_where_it_is_reached() {
    let mut broker = Broker::start(&["advertised.listeners=PLAINTEXT://first.example:1"]);
    assert_eq!(told(&broker), ("first.example".to_owned(), 1));
    let second = Some("PLAINTEXT://second.example:2");
    assert_eq!(change(&broker, "1", SET, second), 0);
    assert_eq!(told(&broker), ("second.example".to_owned(), 2));
    assert_eq!(change(&broker, "", SET, second), INVALID_REQUEST, "of one broker only");
    for unusable in ["OTHER://third.example:3", "PLAINTEXT://0.0.0.0:3", "third.example:3"] {
        assert_eq!(change(&broker, "1", SET, Some(unusable)), INVALID_REQUEST, "{unusable}");
    }
    broker.stop();
    broker.restart();
    assert_eq!(told(&broker), ("second.example".to_owned(), 2));
    assert_eq!(change(&broker, "1", DELETE, None), 0);
    assert_eq!(told(&broker), ("first.example".to_owned(), 1));
}
