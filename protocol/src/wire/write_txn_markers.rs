//! Reads WriteTxnMarkers requests, versions 1 and 2.
//!
//! Invariants: those of the guard, which accepts the body before. kafka-protocol 0.18 ends with version 1; version 2
//! gives every marker the version of the protocol that its transaction followed (KIP-1228), 0 in version 1.

use bytes::Bytes;
use kafka_protocol::messages::WriteTxnMarkersRequest as TheirRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::protocol::StrBytes;

use super::reader::Reader;
use crate::decode::DecodeError;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId};
use crate::{api, guard};

/// A WriteTxnMarkers request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteTxnMarkersRequest {
    /// The markers, each with the partitions it goes to.
    pub markers: Vec<TxnMarker>,
}

/// A marker in a WriteTxnMarkers request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnMarker {
    /// Whose transaction ends.
    pub producer_id: ProducerId,
    /// The epoch that the marker carries.
    pub producer_epoch: ProducerEpoch,
    /// True commits, false aborts.
    pub transaction_result: bool,
    /// Topics in the order of the request. One can be named twice.
    pub topics: Vec<TxnMarkerTopic>,
    /// Leader epoch of the transaction coordinator's partition.
    pub coordinator_epoch: i32,
    /// Version of the protocol that the transaction followed.
    pub transaction_version: i8,
}

/// A topic of a marker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnMarkerTopic {
    /// Name.
    pub name: StrBytes,
    /// Its partitions in the order of the request.
    pub partition_indexes: Vec<PartitionIndex>,
}

impl WriteTxnMarkersRequest {
    /// Reads a request body.
    pub fn read(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        guard::check(api::WRITE_TXN_MARKERS, version, body)?;
        let mut reader = Reader::new(body, true);
        let markers = reader.struct_count(18)?;
        let request = Self {
            markers: (0..markers)
                .map(|_| read_marker(&mut reader, version))
                .collect::<Result<_, _>>()?,
        };
        reader.no_tagged_fields()?;
        Ok(request)
    }

    /// The request in the fields that kafka-protocol knows.
    pub(super) fn in_their_fields(self) -> TheirRequest {
        let topic = |topic: TxnMarkerTopic| {
            WritableTxnMarkerTopic::default()
                .with_name(topic.name.into())
                .with_partition_indexes(topic.partition_indexes)
        };
        let marker = |marker: TxnMarker| {
            WritableTxnMarker::default()
                .with_producer_id(marker.producer_id.into())
                .with_producer_epoch(marker.producer_epoch)
                .with_transaction_result(marker.transaction_result)
                .with_topics(marker.topics.into_iter().map(topic).collect())
                .with_coordinator_epoch(marker.coordinator_epoch)
        };
        TheirRequest::default().with_markers(self.markers.into_iter().map(marker).collect())
    }
}

fn read_marker(reader: &mut Reader<'_>, version: i16) -> Result<TxnMarker, DecodeError> {
    let mut marker = TxnMarker {
        producer_id: reader.i64()?,
        producer_epoch: reader.i16()?,
        transaction_result: reader.bool()?,
        ..TxnMarker::default()
    };
    let topics = reader.struct_count(3)?;
    marker.topics = (0..topics).map(|_| read_topic(reader)).collect::<Result<_, _>>()?;
    marker.coordinator_epoch = reader.i32()?;
    if version >= 2 {
        marker.transaction_version = reader.i8()?;
    }
    reader.no_tagged_fields()?;
    Ok(marker)
}

fn read_topic(reader: &mut Reader<'_>) -> Result<TxnMarkerTopic, DecodeError> {
    let topic = TxnMarkerTopic {
        name: reader.string()?,
        partition_indexes: reader.i32_array()?,
    };
    reader.no_tagged_fields()?;
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::Encodable;

    use super::*;

    /// Version 1 of the other codec, with the transaction version put before the last tagged fields of the marker.
    #[test]
    fn version_2_is_version_1_with_a_transaction_version() {
        let request = WriteTxnMarkersRequest {
            markers: vec![TxnMarker {
                producer_id: 1 << 40,
                producer_epoch: 7,
                transaction_result: true,
                topics: vec![TxnMarkerTopic {
                    name: StrBytes::from_static_str("orders"),
                    partition_indexes: vec![3, -1],
                }],
                coordinator_epoch: 9,
                transaction_version: 0,
            }],
        };
        let mut body = BytesMut::new();
        request
            .clone()
            .in_their_fields()
            .encode(&mut body, 1)
            .expect("fields fit the version");
        let one = body.freeze();
        assert_eq!(WriteTxnMarkersRequest::read(1, &one), Ok(request.clone()));
        let (before, tags) = one.split_at(one.len() - 2);
        let two = Bytes::from([before, &[2], tags].concat());
        let mut expected = request;
        expected.markers[0].transaction_version = 2;
        assert_eq!(WriteTxnMarkersRequest::read(2, &two), Ok(expected));
    }
}
