//! Codecs of versions that Kafka 4 and kafka-protocol have dropped and that clients still send: ListOffsets 0,
//! CreateTopics 0-1, DeleteTopics 0, DescribeConfigs 0. Source: the message schemas of Kafka 3.9.
//!
//! Invariants: those of the guard, which accepts a body before it is read here; what a version has no field for is left
//! out of its response, never refused. None of these versions has compact encodings or tagged fields.

mod create_topics;
mod delete_topics;
mod describe_configs;
pub mod list_offsets;

use std::any::Any;

use bytes::Bytes;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest,
    DescribeConfigsResponse, ListOffsetsRequest,
};

use super::writer::FrameWriter;
use crate::api;
use crate::decode::DecodeError;
use crate::encode::EncodeError;

/// Reads the request into `slot`, an `Option` of its type, if that is one of these.
pub(super) fn read(slot: &mut dyn Any, version: i16, body: &Bytes) -> Result<(), DecodeError> {
    if let Some(slot) = slot.downcast_mut::<Option<ListOffsetsRequest>>() {
        *slot = Some(list_offsets::ListOffsetsRequestV0::read(body)?.in_their_fields());
    } else if let Some(slot) = slot.downcast_mut::<Option<CreateTopicsRequest>>() {
        *slot = Some(create_topics::read(version, body)?);
    } else if let Some(slot) = slot.downcast_mut::<Option<DeleteTopicsRequest>>() {
        *slot = Some(delete_topics::read(body)?);
    } else if let Some(slot) = slot.downcast_mut::<Option<DescribeConfigsRequest>>() {
        *slot = Some(describe_configs::read(body)?);
    }
    Ok(())
}

/// The frame of a response in one of these versions; `None` = kafka-protocol writes it.
///
/// A response of ListOffsets 0 has no form in kafka-protocol's type: [`list_offsets`] has its own.
pub(crate) fn write(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    response: &dyn Any,
) -> Result<Option<Bytes>, EncodeError> {
    let start = || FrameWriter::new(api_key, version, correlation_id, 0);
    let writer = match (api_key, version) {
        (api::CREATE_TOPICS, 0..=1) => match response.downcast_ref::<CreateTopicsResponse>() {
            Some(response) => create_topics::write(start()?, version, response),
            None => return Ok(None),
        },
        (api::DELETE_TOPICS, 0) => match response.downcast_ref::<DeleteTopicsResponse>() {
            Some(response) => delete_topics::write(start()?, response),
            None => return Ok(None),
        },
        (api::DESCRIBE_CONFIGS, 0) => match response.downcast_ref::<DescribeConfigsResponse>() {
            Some(response) => describe_configs::write(start()?, response),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    writer.finish().map(Some)
}
