//! The requests of admin clients, with the fields that matter as arguments.
//!
//! **Invariants:** nothing here judges an answer except where a test could not go on without it; answers come back sorted,
//! since no broker promises their order. Waiting for a change to be seen is left to the caller ([`crate::requests::until`]):
//! Apache Kafka answers from its controller before its broker has caught up.

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, BrokerId, CreatePartitionsRequest, DeleteGroupsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClientQuotasRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest,
};

use crate::requests::{self, group_id, topic_name};
use crate::wire::{Connection, text};

/// A topic's configs.
pub const TOPIC: i8 = 2;
/// A broker's configs; without a name the defaults of the whole cluster.
pub const BROKER: i8 = 4;
/// The levels of a broker's loggers.
pub const BROKER_LOGGER: i8 = 8;
/// A subscription of client metrics (KIP-714).
pub const CLIENT_METRICS: i8 = 16;
/// A group's configs.
pub const GROUP: i8 = 32;

/// Operations of IncrementalAlterConfigs.
pub const SET: i8 = 0;
/// Likewise.
pub const DELETE: i8 = 1;
/// Likewise; only for lists.
pub const APPEND: i8 = 2;
/// Likewise; only for lists.
pub const SUBTRACT: i8 = 3;

/// What has configs: a type and a name.
pub type Resource<'a> = (i8, &'a str);
/// One change: key, operation, value.
pub type Change<'a> = (&'a str, i8, Option<&'a str>);
/// A quota's entity: types and names; no name means the default.
pub type Entity<'a> = [(&'a str, Option<&'a str>)];

/// A topic as Metadata shows it; asking makes none.
pub fn describe_topic(connection: &mut Connection, topic: &str) -> MetadataResponseTopic {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    connection.call(12, &request).topics.remove(0)
}

/// The id of the only broker.
pub fn broker_id(connection: &mut Connection) -> BrokerId {
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    connection.call(12, &request).brokers[0].node_id
}

/// A request for more partitions: names and new totals.
pub fn partitions_request(topics: &[(&str, i32)]) -> CreatePartitionsRequest {
    let one = |&(name, count): &(&str, i32)| {
        CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(None)
    };
    CreatePartitionsRequest::default()
        .with_topics(topics.iter().map(one).collect())
        .with_timeout_ms(30_000)
}

/// Asks for more partitions; names and codes.
pub fn create_partitions(connection: &mut Connection, topics: &[(&str, i32)]) -> Vec<(String, i16)> {
    let results = connection.call(3, &partitions_request(topics)).results;
    sorted(
        results
            .iter()
            .map(|result| (result.name.0.to_string(), result.error_code)),
    )
}

/// A request that deletes topics by name.
pub fn delete_topics_request(names: &[&str]) -> DeleteTopicsRequest {
    let one = |&name: &&str| DeleteTopicState::default().with_name(Some(topic_name(name)));
    DeleteTopicsRequest::default()
        .with_topics(names.iter().map(one).collect())
        .with_timeout_ms(30_000)
}

/// A request that deletes records of several topics: names, and partitions with the new first offset.
pub fn delete_records_request(topics: &[(&str, &[(i32, i64)])]) -> DeleteRecordsRequest {
    let mut request = DeleteRecordsRequest::default().with_timeout_ms(30_000);
    for (name, partitions) in topics {
        request
            .topics
            .extend(requests::delete_records_request(name, partitions).topics);
    }
    request
}

/// Deletes records; partitions, low watermarks and codes of all topics.
pub fn delete_records(connection: &mut Connection, topics: &[(&str, &[(i32, i64)])]) -> Vec<(String, i32, i64, i16)> {
    let answer = connection.call(2, &delete_records_request(topics));
    sorted(answer.topics.iter().flat_map(|topic| {
        let name = topic.name.0.to_string();
        topic.partitions.iter().map(move |partition| {
            let code = partition.error_code;
            (name.clone(), partition.partition_index, partition.low_watermark, code)
        })
    }))
}

/// Deletes groups; names and codes.
pub fn delete_groups(connection: &mut Connection, groups: &[&str]) -> Vec<(String, i16)> {
    let request =
        DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|group| group_id(group)).collect());
    let results = connection.call(2, &request).results;
    sorted(
        results
            .iter()
            .map(|result| (result.group_id.0.to_string(), result.error_code)),
    )
}

/// A request that asks for configs with their synonyms: of each resource all, or the named ones.
pub fn describe_request(resources: &[(Resource<'_>, Option<&[&str]>)]) -> DescribeConfigsRequest {
    let one = |&((kind, name), keys): &(Resource<'_>, Option<&[&str]>)| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
    };
    DescribeConfigsRequest::default()
        .with_resources(resources.iter().map(one).collect())
        .with_include_synonyms(true)
}

/// One config, as DescribeConfigs shows it.
pub fn config(connection: &mut Connection, resource: Resource<'_>, key: &str) -> Option<DescribeConfigsResourceResult> {
    let mut answer = connection.call(4, &describe_request(&[(resource, Some(&[key]))]));
    let mut result = answer.results.remove(0);
    assert_eq!(result.error_code, 0, "{result:?}");
    result.configs.pop()
}

/// A config's value and source.
pub fn value_of(connection: &mut Connection, resource: Resource<'_>, key: &str) -> (Option<String>, i8) {
    let found = config(connection, resource, key).unwrap_or_else(|| panic!("{resource:?} has no {key}"));
    (found.value.map(|value| value.to_string()), found.config_source)
}

/// A request that changes single configs.
pub fn alter_request(resources: &[(Resource<'_>, &[Change<'_>])]) -> IncrementalAlterConfigsRequest {
    let change = |&(key, operation, value): &Change<'_>| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(operation)
            .with_value(value.map(text))
    };
    let one = |&((kind, name), changes): &(Resource<'_>, &[Change<'_>])| {
        AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(changes.iter().map(change).collect())
    };
    IncrementalAlterConfigsRequest::default().with_resources(resources.iter().map(one).collect())
}

/// Changes configs of several resources; types, names and codes.
pub fn alter_all(connection: &mut Connection, resources: &[(Resource<'_>, &[Change<'_>])]) -> Vec<(i8, String, i16)> {
    let answer = connection.call(1, &alter_request(resources));
    let one =
        |response: &kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse| {
            let name = response.resource_name.to_string();
            (response.resource_type, name, response.error_code)
        };
    sorted(answer.responses.iter().map(one))
}

/// Changes configs of one resource and returns its code.
pub fn alter(connection: &mut Connection, resource: Resource<'_>, changes: &[Change<'_>]) -> i16 {
    let answers = alter_all(connection, &[(resource, changes)]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers[0].2
}

/// An entity with keys and their values; without a value the key is removed.
pub type QuotaChange<'a> = (&'a Entity<'a>, &'a [(&'a str, Option<f64>)]);
/// An entity, each part as `type=name`, with its quotas.
pub type FoundQuotas = (Vec<String>, Vec<(String, f64)>);

/// A request that changes quotas: for each entity keys with values, or without one to remove it.
pub fn quotas_request(entries: &[QuotaChange<'_>]) -> AlterClientQuotasRequest {
    let op = |&(key, value): &(&str, Option<f64>)| {
        OpData::default()
            .with_key(text(key))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    };
    let part = |&(kind, name): &(&str, Option<&str>)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    };
    let one = |&(entity, ops): &QuotaChange<'_>| {
        EntryData::default()
            .with_entity(entity.iter().map(part).collect())
            .with_ops(ops.iter().map(op).collect())
    };
    AlterClientQuotasRequest::default().with_entries(entries.iter().map(one).collect())
}

/// Changes the quotas of one entity and returns its code.
pub fn alter_quotas(connection: &mut Connection, entity: &Entity<'_>, ops: &[(&str, Option<f64>)]) -> i16 {
    let answer = connection.call(1, &quotas_request(&[(entity, ops)]));
    assert_eq!(answer.entries.len(), 1, "{answer:?}");
    answer.entries[0].error_code
}

/// A request for quotas: entity types, how each is to match (0 a name, 1 the default, 2 any), and names.
pub fn quotas_filter(components: &[(&str, i8, Option<&str>)], strict: bool) -> DescribeClientQuotasRequest {
    let one = |&(kind, match_type, name): &(&str, i8, Option<&str>)| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(match_type)
            .with_match(name.map(text))
    };
    DescribeClientQuotasRequest::default()
        .with_components(components.iter().map(one).collect())
        .with_strict(strict)
}

/// What is found: each entity as `type=name` (`type` alone is the default), with its quotas.
pub fn quotas(connection: &mut Connection, components: &[(&str, i8, Option<&str>)], strict: bool) -> Vec<FoundQuotas> {
    let answer = connection.call(1, &quotas_filter(components, strict));
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let mut found: Vec<_> = answer
        .entries
        .expect("entries come with success")
        .iter()
        .map(|entry| {
            let part = |part: &kafka_protocol::messages::describe_client_quotas_response::EntityData| {
                let name = part.entity_name.as_ref().map(|name| format!("={name}"));
                format!("{}{}", part.entity_type, name.unwrap_or_default())
            };
            let entity = sorted(entry.entity.iter().map(part));
            let mut values: Vec<_> = entry
                .values
                .iter()
                .map(|quota| (quota.key.to_string(), quota.value))
                .collect();
            values.sort_by(|left, right| left.0.cmp(&right.0));
            (entity, values)
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

/// A list in order.
pub fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}
