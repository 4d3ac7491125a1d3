//! The durable form of commands and of batches of them: what a metadata log entry holds.
//!
//! A batch is `version, count, commands`; a command is `kind, body length, body`. Invariants: kinds are never reused;
//! a field is only ever added behind the others, with a raised [`BATCH_VERSION`]; unknown versions and kinds are
//! refused, never skipped, because a node that skips a command has another image than its peers.

use std::collections::BTreeMap;

use protocol::types::BrokerId;

use super::codec::{CodecError, Reader, Writer};
use super::command::{
    Command, ConfigChange, ConfigResource, CreatePartitions, CreateTopics, Endpoint, FeatureLevel, NewPartitions,
    NewTopic, RegisterBroker, TopicLimits,
};

/// Version of the batch and of every body in it.
pub const BATCH_VERSION: u64 = 1;

const SET_CLUSTER_ID: u8 = 1;
const REGISTER_BROKER: u8 = 2;
const CREATE_TOPICS: u8 = 3;
const DELETE_TOPICS: u8 = 4;
const ALLOCATE_PRODUCER_IDS: u8 = 5;
const ALTER_CONFIGS: u8 = 6;
const CREATE_PARTITIONS: u8 = 8;
const UPDATE_FEATURES: u8 = 9;

/// Writes a batch.
pub fn encode_batch(commands: &[Command], out: &mut Writer) {
    out.u64(BATCH_VERSION);
    out.list(commands, |out, command| {
        let mut body = Writer::new();
        out.u8(encode_command(command, &mut body));
        out.bytes(&body.into_bytes());
    });
}

/// Reads a batch.
pub fn decode_batch(input: &mut Reader<'_>) -> Result<Vec<Command>, CodecError> {
    match input.u64()? {
        BATCH_VERSION => input.list(|input| {
            let kind = input.u8()?;
            let mut body = Reader::new(input.bytes()?);
            let command = decode_command(kind, &mut body)?;
            body.finish()?;
            Ok(command)
        }),
        found => Err(CodecError::Unknown {
            what: "a batch of commands",
            found,
        }),
    }
}

/// Bytes of a command in its durable form, to keep batches below the size of an entry.
pub fn encoded_len(command: &Command) -> usize {
    let mut body = Writer::new();
    encode_command(command, &mut body);
    body.into_bytes().len()
}

fn encode_command(command: &Command, out: &mut Writer) -> u8 {
    match command {
        Command::SetClusterId {
            cluster_id,
            feature_level,
        } => {
            out.str(cluster_id);
            out.u64(u64::from(*feature_level));
            SET_CLUSTER_ID
        }
        Command::RegisterBroker(broker) => {
            out.i32(broker.broker_id);
            out.uuid(broker.incarnation);
            out.list(&broker.endpoints, encode_endpoint);
            out.option(broker.rack.as_deref(), Writer::str);
            out.bool(broker.clean_shutdown);
            REGISTER_BROKER
        }
        Command::CreateTopics(create) => {
            out.list(&create.topics, encode_new_topic);
            out.u64(u64::from(create.limits.max_topics));
            out.u64(u64::from(create.limits.max_partitions));
            CREATE_TOPICS
        }
        Command::DeleteTopics { topic_ids } => {
            out.list(topic_ids, |out, id| out.uuid(*id));
            DELETE_TOPICS
        }
        Command::AllocateProducerIds { broker_id, count } => {
            out.i32(*broker_id);
            out.u64(u64::from(*count));
            ALLOCATE_PRODUCER_IDS
        }
        Command::AlterConfigs { changes } => {
            out.list(changes, |out, change| {
                encode_resource(out, &change.resource);
                out.list(&change.values, |out, (name, value)| {
                    out.str(name);
                    out.option(value.as_deref(), Writer::str);
                });
            });
            ALTER_CONFIGS
        }
        Command::CreatePartitions(create) => {
            out.list(&create.topics, encode_new_partitions);
            out.u64(u64::from(create.max_partitions));
            CREATE_PARTITIONS
        }
        Command::UpdateFeatures { updates } => {
            out.list(updates, |out, update| {
                out.str(&update.name);
                out.option(update.replaces, encode_level);
                encode_level(out, update.level);
            });
            UPDATE_FEATURES
        }
    }
}

fn decode_command(kind: u8, input: &mut Reader<'_>) -> Result<Command, CodecError> {
    Ok(match kind {
        SET_CLUSTER_ID => Command::SetClusterId {
            cluster_id: input.str()?.to_owned(),
            feature_level: decode_u32(input)?,
        },
        REGISTER_BROKER => Command::RegisterBroker(RegisterBroker {
            broker_id: input.i32()?,
            incarnation: input.uuid()?,
            endpoints: input.list(decode_endpoint)?,
            rack: input.option(|input| input.str().map(str::to_owned))?,
            clean_shutdown: input.bool()?,
        }),
        CREATE_TOPICS => Command::CreateTopics(CreateTopics {
            topics: input.list(decode_new_topic)?,
            limits: TopicLimits {
                max_topics: decode_u32(input)?,
                max_partitions: decode_u32(input)?,
            },
        }),
        DELETE_TOPICS => Command::DeleteTopics {
            topic_ids: input.list(Reader::uuid)?,
        },
        ALLOCATE_PRODUCER_IDS => Command::AllocateProducerIds {
            broker_id: input.i32()?,
            count: decode_u32(input)?,
        },
        ALTER_CONFIGS => Command::AlterConfigs {
            changes: input.list(decode_change)?,
        },
        CREATE_PARTITIONS => Command::CreatePartitions(CreatePartitions {
            topics: input.list(decode_new_partitions)?,
            max_partitions: decode_u32(input)?,
        }),
        UPDATE_FEATURES => Command::UpdateFeatures {
            updates: input.list(|input| {
                Ok(FeatureLevel {
                    name: input.str()?.to_owned(),
                    replaces: input.option(decode_level)?,
                    level: decode_level(input)?,
                })
            })?,
        },
        found => {
            return Err(CodecError::Unknown {
                what: "a command",
                found: u64::from(found),
            });
        }
    })
}

pub(super) fn decode_u32(input: &mut Reader<'_>) -> Result<u32, CodecError> {
    u32::try_from(input.u64()?).map_err(|_| CodecError::BadValue("unsigned 32-bit integer"))
}

pub(super) fn encode_endpoint(out: &mut Writer, endpoint: &Endpoint) {
    out.str(&endpoint.listener);
    out.str(&endpoint.host);
    out.u64(u64::from(endpoint.port));
}

pub(super) fn decode_endpoint(input: &mut Reader<'_>) -> Result<Endpoint, CodecError> {
    Ok(Endpoint {
        listener: input.str()?.to_owned(),
        host: input.str()?.to_owned(),
        port: u16::try_from(input.u64()?).map_err(|_| CodecError::BadValue("port"))?,
    })
}

fn encode_new_topic(out: &mut Writer, topic: &NewTopic) {
    out.str(&topic.name);
    out.uuid(topic.topic_id);
    out.list(&topic.replicas, |out, replicas| encode_brokers(out, replicas));
    encode_configs(out, &topic.configs);
}

fn decode_new_topic(input: &mut Reader<'_>) -> Result<NewTopic, CodecError> {
    Ok(NewTopic {
        name: input.str()?.to_owned(),
        topic_id: input.uuid()?,
        replicas: input.list(decode_brokers)?,
        configs: decode_configs(input)?,
    })
}

fn encode_new_partitions(out: &mut Writer, topic: &NewPartitions) {
    out.uuid(topic.topic_id);
    out.u64(u64::from(topic.partitions_before));
    out.list(&topic.replicas, |out, replicas| encode_brokers(out, replicas));
}

fn decode_new_partitions(input: &mut Reader<'_>) -> Result<NewPartitions, CodecError> {
    Ok(NewPartitions {
        topic_id: input.uuid()?,
        partitions_before: decode_u32(input)?,
        replicas: input.list(decode_brokers)?,
    })
}

pub(super) fn encode_level(out: &mut Writer, level: i16) {
    out.i32(i32::from(level));
}

pub(super) fn decode_level(input: &mut Reader<'_>) -> Result<i16, CodecError> {
    i16::try_from(input.i32()?).map_err(|_| CodecError::BadValue("feature level"))
}

pub(super) fn encode_brokers(out: &mut Writer, brokers: &[BrokerId]) {
    out.list(brokers, |out, broker| out.i32(*broker));
}

pub(super) fn decode_brokers(input: &mut Reader<'_>) -> Result<Vec<BrokerId>, CodecError> {
    input.list(Reader::i32)
}

pub(super) fn encode_configs(out: &mut Writer, configs: &BTreeMap<String, String>) {
    out.list(configs, |out, (name, value)| {
        out.str(name);
        out.str(value);
    });
}

pub(super) fn decode_configs(input: &mut Reader<'_>) -> Result<BTreeMap<String, String>, CodecError> {
    let pairs = input.list(|input| Ok((input.str()?.to_owned(), input.str()?.to_owned())))?;
    Ok(pairs.into_iter().collect())
}

const TOPIC: u8 = 2;
const BROKER: u8 = 4;
const CLUSTER_DEFAULT: u8 = 5;
const CLIENT_METRICS: u8 = 16;
const GROUP: u8 = 32;

pub(super) fn encode_resource(out: &mut Writer, resource: &ConfigResource) {
    match resource {
        ConfigResource::Topic(name) => {
            out.u8(TOPIC);
            out.str(name);
        }
        ConfigResource::Broker(id) => {
            out.u8(BROKER);
            out.i32(*id);
        }
        ConfigResource::ClusterDefault => out.u8(CLUSTER_DEFAULT),
        ConfigResource::Group(id) => {
            out.u8(GROUP);
            out.str(id);
        }
        ConfigResource::ClientMetrics(name) => {
            out.u8(CLIENT_METRICS);
            out.str(name);
        }
    }
}

pub(super) fn decode_resource(input: &mut Reader<'_>) -> Result<ConfigResource, CodecError> {
    Ok(match input.u8()? {
        TOPIC => ConfigResource::Topic(input.str()?.to_owned()),
        BROKER => ConfigResource::Broker(input.i32()?),
        CLUSTER_DEFAULT => ConfigResource::ClusterDefault,
        GROUP => ConfigResource::Group(input.str()?.to_owned()),
        CLIENT_METRICS => ConfigResource::ClientMetrics(input.str()?.to_owned()),
        found => {
            return Err(CodecError::Unknown {
                what: "a config resource",
                found: u64::from(found),
            });
        }
    })
}

fn decode_change(input: &mut Reader<'_>) -> Result<ConfigChange, CodecError> {
    let resource = decode_resource(input)?;
    let values = input.list(|input| {
        let name = input.str()?.to_owned();
        Ok((name, input.option(|input| input.str().map(str::to_owned))?))
    })?;
    Ok(ConfigChange {
        resource,
        values: values.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::apply::tests::any_command;

    fn encoded(commands: &[Command]) -> Vec<u8> {
        let mut out = Writer::new();
        encode_batch(commands, &mut out);
        out.into_bytes()
    }

    #[test]
    fn unknown_versions_and_kinds_are_refused() {
        let batch = |bytes: &[u8]| decode_batch(&mut Reader::new(bytes));
        assert_eq!(
            batch(&[9, 0]),
            Err(CodecError::Unknown {
                what: "a batch of commands",
                found: 9
            })
        );
        assert_eq!(
            batch(&[1, 1, 99, 0]),
            Err(CodecError::Unknown {
                what: "a command",
                found: 99
            })
        );
        assert_eq!(batch(&[1, 1, DELETE_TOPICS, 2, 0, 7]), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn the_bytes_of_a_batch_stay_what_they_are() {
        let id = uuid::Uuid::from_u128(5);
        let commands = [
            Command::DeleteTopics { topic_ids: vec![id] },
            Command::CreatePartitions(CreatePartitions {
                topics: vec![NewPartitions {
                    topic_id: id,
                    partitions_before: 3,
                    replicas: vec![vec![1], vec![1]],
                }],
                max_partitions: 300,
            }),
            Command::UpdateFeatures {
                updates: vec![FeatureLevel {
                    name: "f".to_owned(),
                    replaces: Some(2),
                    level: 1,
                }],
            },
        ];
        let id = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        let mut expected = vec![1, 3];
        expected.extend([DELETE_TOPICS, 17, 1].iter().chain(&id));
        expected.extend([CREATE_PARTITIONS, 25, 1].iter().chain(&id));
        expected.extend([3, 2, 1, 2, 1, 2, 0xac, 2]);
        expected.extend([UPDATE_FEATURES, 6, 1, 1, b'f', 1, 4, 2]);
        assert_eq!(encoded(&commands), expected);
    }

    /// Written by the build before groups and client metrics had configs.
    #[test]
    fn older_batches_of_config_changes_are_read() {
        let bytes = [
            1,
            1,
            ALTER_CONFIGS,
            15,
            3,
            2,
            1,
            b't',
            1,
            1,
            b'a',
            1,
            1,
            b'x',
            5,
            0,
            4,
            2,
            0,
        ];
        let expected = Command::AlterConfigs {
            changes: vec![
                ConfigChange {
                    resource: ConfigResource::Topic("t".to_owned()),
                    values: BTreeMap::from([("a".to_owned(), Some("x".to_owned()))]),
                },
                ConfigChange {
                    resource: ConfigResource::ClusterDefault,
                    values: BTreeMap::new(),
                },
                ConfigChange {
                    resource: ConfigResource::Broker(1),
                    values: BTreeMap::new(),
                },
            ],
        };
        assert_eq!(decode_batch(&mut Reader::new(&bytes)), Ok(vec![expected]));
    }

    proptest! {
        #[test]
        fn batches_round_trip(commands in proptest::collection::vec(any_command(), 0..8)) {
            let bytes = encoded(&commands);
            let mut input = Reader::new(&bytes);
            prop_assert_eq!(decode_batch(&mut input), Ok(commands));
            prop_assert_eq!(input.finish(), Ok(()));
        }

        #[test]
        fn cut_batches_are_errors(commands in proptest::collection::vec(any_command(), 1..4), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&commands);
            let cut = cut.index(bytes.len());
            prop_assert!(decode_batch(&mut Reader::new(&bytes[..cut])).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_batch(&mut Reader::new(&bytes));
        }
    }
}
