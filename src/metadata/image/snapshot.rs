//! The durable form of an image.
//!
//! Invariants: canonical (equal images give equal bytes: everything is sorted), so the bytes also compare images of
//! different nodes; a newer version is refused, never half read; what is read satisfies the image's invariants; every
//! older version is read: a field is only ever added behind the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MetadataImage;
use super::brokers::{BrokerImage, BrokersImage};
use super::configs::ConfigsImage;
use super::topics::{PartitionImage, TopicImage, TopicsImage};
use crate::metadata::codec::{CodecError, Reader, Writer};
use crate::metadata::command_codec::{
    decode_brokers, decode_configs, decode_endpoint, decode_level, decode_resource, decode_u32, encode_brokers,
    encode_configs, encode_endpoint, encode_level, encode_resource,
};
use crate::metadata::topic_name;

/// 2 added the levels of features.
const VERSION: u64 = 2;

/// Writes the image.
pub fn encode(image: &MetadataImage, out: &mut Writer) {
    out.u64(VERSION);
    out.str(&image.cluster_id);
    out.u64(u64::from(image.feature_level));
    out.u64(image.applied_index);
    out.i64(image.next_producer_id);
    let brokers: Vec<_> = image.brokers.iter().collect();
    out.list(brokers, |out, broker| {
        out.i32(broker.id);
        out.i64(broker.epoch);
        out.uuid(broker.incarnation);
        out.list(&broker.endpoints, encode_endpoint);
        out.option(broker.rack.as_deref(), Writer::str);
        out.bool(broker.fenced);
    });
    out.list(image.topics.iter(), |out, topic| {
        out.str(&topic.name);
        out.uuid(topic.id);
        out.list(&topic.partitions, encode_partition);
    });
    out.list(image.configs.iter(), |out, (resource, values)| {
        encode_resource(out, resource);
        encode_configs(out, values);
    });
    out.list(&image.features, |out, (name, level)| {
        out.str(name);
        encode_level(out, *level);
    });
}

/// Reads an image.
pub fn decode(input: &mut Reader<'_>) -> Result<MetadataImage, CodecError> {
    let version = input.u64()?;
    if !(1..=VERSION).contains(&version) {
        return Err(CodecError::Unknown {
            what: "a metadata image",
            found: version,
        });
    }
    Ok(MetadataImage {
        cluster_id: Arc::from(input.str()?),
        feature_level: decode_u32(input)?,
        applied_index: input.u64()?,
        next_producer_id: input.i64()?,
        brokers: decode_broker_list(input)?,
        topics: decode_topic_list(input)?,
        configs: decode_config_list(input)?,
        features: if version >= 2 {
            decode_features(input)?
        } else {
            BTreeMap::new()
        },
    })
}

fn decode_broker_list(input: &mut Reader<'_>) -> Result<BrokersImage, CodecError> {
    let mut brokers = BrokersImage::default();
    for broker in input.list(|input| {
        Ok(BrokerImage {
            id: input.i32()?,
            epoch: input.i64()?,
            incarnation: input.uuid()?,
            endpoints: input.list(decode_endpoint)?,
            rack: input.option(|input| input.str().map(str::to_owned))?,
            fenced: input.bool()?,
        })
    })? {
        brokers.insert(broker);
    }
    Ok(brokers)
}

fn decode_topic_list(input: &mut Reader<'_>) -> Result<TopicsImage, CodecError> {
    let mut topics = TopicsImage::default();
    for (name, id, partitions) in
        input.list(|input| Ok((input.str()?.to_owned(), input.uuid()?, input.list(decode_partition)?)))?
    {
        if topics.by_name(&name).is_some() || topics.by_id(&id).is_some() {
            return Err(CodecError::BadValue("a topic, there twice"));
        }
        let internal = topic_name::is_internal(&name);
        topics.insert(TopicImage {
            name: Arc::from(name),
            id,
            internal,
            partitions,
        });
    }
    Ok(topics)
}

fn decode_config_list(input: &mut Reader<'_>) -> Result<ConfigsImage, CodecError> {
    let mut configs = ConfigsImage::default();
    let entries: BTreeMap<_, _> = input
        .list(|input| Ok((decode_resource(input)?, decode_configs(input)?)))?
        .into_iter()
        .collect();
    for (resource, values) in entries {
        configs.set(resource, values);
    }
    Ok(configs)
}

fn decode_features(input: &mut Reader<'_>) -> Result<BTreeMap<String, i16>, CodecError> {
    let levels = input.list(|input| Ok((input.str()?.to_owned(), decode_level(input)?)))?;
    Ok(levels.into_iter().collect())
}

fn encode_partition(out: &mut Writer, partition: &PartitionImage) {
    encode_brokers(out, &partition.replicas);
    encode_brokers(out, &partition.isr);
    out.i32(partition.leader);
    out.i32(partition.leader_epoch);
    out.i32(partition.partition_epoch);
}

fn decode_partition(input: &mut Reader<'_>) -> Result<PartitionImage, CodecError> {
    Ok(PartitionImage {
        replicas: decode_brokers(input)?,
        isr: decode_brokers(input)?,
        leader: input.i32()?,
        leader_epoch: input.i32()?,
        partition_epoch: input.i32()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::apply::tests::{any_command, creation_of, image_of, start_of};
    use crate::metadata::command::{Command, ConfigChange, ConfigResource};

    fn bytes_of(image: &MetadataImage) -> Vec<u8> {
        let mut out = Writer::new();
        encode(image, &mut out);
        out.into_bytes()
    }

    /// Broker 1, topic `t` with two partitions, and a config of the cluster, as version 1 wrote them.
    const VERSION_1: &str = "010000030001020200000000000000000000000000000009000000010174000000000000000000000000000000050201020102020000010201020200000105010c726574656e74696f6e2e6d730131";

    #[test]
    fn version_1_is_read() {
        let bytes: Vec<_> = (0..VERSION_1.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&VERSION_1[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        let set = Command::AlterConfigs {
            changes: vec![ConfigChange {
                resource: ConfigResource::ClusterDefault,
                values: [("retention.ms".to_owned(), Some("1".to_owned()))].into(),
            }],
        };
        let expected = image_of(&[start_of(1, 9, true), creation_of("t", 5, 2), set]);
        let mut input = Reader::new(&bytes);
        assert_eq!(decode(&mut input), Ok(expected));
        assert_eq!(input.finish(), Ok(()));
    }

    #[test]
    fn a_newer_version_is_refused() {
        let newer = CodecError::Unknown {
            what: "a metadata image",
            found: VERSION + 1,
        };
        let mut bytes = bytes_of(&MetadataImage::default());
        bytes[0] = u8::try_from(VERSION + 1).expect("small");
        assert_eq!(decode(&mut Reader::new(&bytes)), Err(newer));
    }

    proptest! {
        #[test]
        fn images_round_trip(commands in proptest::collection::vec(any_command(), 0..20)) {
            let image = image_of(&commands);
            let bytes = bytes_of(&image);
            let mut input = Reader::new(&bytes);
            let read = decode(&mut input).expect("what was written");
            prop_assert_eq!(input.finish(), Ok(()));
            prop_assert_eq!(&read, &image);
            prop_assert_eq!(bytes_of(&read), bytes);
        }

        #[test]
        fn changed_bytes_never_panic(
            commands in proptest::collection::vec(any_command(), 0..8),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = bytes_of(&image_of(&commands));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&mut Reader::new(&bytes));
        }
    }
}
