//! Producers with an id: idempotent ones, and transactional ones in both flows.

pub(crate) mod calls;
pub(crate) mod load;

use bytes::Bytes;

use crate::{Failure, frames};

/// How a producer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Without an id.
    Plain,
    Idempotent,
    /// AddPartitionsToTxn 3, Produce 11, EndTxn 3.
    Classic,
    /// KIP-890: Produce 12 adds the partition, EndTxn 5 gives the producer its next epoch.
    V2,
}

impl Flow {
    pub(crate) fn is_transactional(self) -> bool {
        matches!(self, Self::Classic | Self::V2)
    }

    pub(crate) fn produce_version(self) -> i16 {
        if self == Self::V2 { 12 } else { 11 }
    }

    pub(crate) fn end_version(self) -> i16 {
        if self == Self::V2 { 5 } else { 3 }
    }
}

/// Who a producer is to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Identity {
    /// Of a producer without an id.
    pub(crate) const NONE: Self = Self { id: -1, epoch: -1 };
}

/// Writes into a batch's head who sent it, and the CRC over that.
pub(crate) fn stamp(batch: &mut [u8], flow: Flow, identity: Identity, base_sequence: i32) {
    // timestamp type and compression of the generator's batches are 0
    let attributes = u16::from(flow.is_transactional()) << 4;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[43..51].copy_from_slice(&identity.id.to_be_bytes());
    batch[51..53].copy_from_slice(&identity.epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A Produce request of one batch, to be sent again and again under another sequence.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    flow: Flow,
    bytes: Vec<u8>,
    batch_at: usize,
}

impl Template {
    pub(crate) fn new(flow: Flow, name: &str, topic: &str, partition: i32, batch: &Bytes) -> Result<Self, Failure> {
        let name = flow.is_transactional().then_some(name);
        let frame = frames::produce_as(flow.produce_version(), name, topic, &[partition], batch)?;
        // behind the batch stand only the tags of partition, topic and request
        let batch_at = frame.len() - 3 - batch.len();
        Ok(Self {
            flow,
            bytes: frame.to_vec(),
            batch_at,
        })
    }

    /// The request from this producer and sequence on.
    pub(crate) fn at(&mut self, identity: Identity, base_sequence: i32) -> Bytes {
        let end = self.bytes.len() - 3;
        stamp(&mut self.bytes[self.batch_at..end], self.flow, identity, base_sequence);
        Bytes::copy_from_slice(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ProduceRequest, RequestHeader};
    use kafka_protocol::protocol::Decodable;

    #[test]
    fn a_stamped_request_holds_a_whole_batch_of_its_producer() {
        let batch = frames::batch(3, 10, 1_000);
        let mut template = Template::new(Flow::V2, "me", "T", 2, &batch).expect("a request");
        let identity = Identity { id: 77, epoch: 5 };
        let mut frame = template.at(identity, 9).slice(4..);
        RequestHeader::decode(&mut frame, 2).expect("a header");
        let request = ProduceRequest::decode(&mut frame, 12).expect("a request");
        assert!(frame.is_empty() && request.transactional_id.is_some());
        let sent = request.topic_data[0].partition_data[0]
            .records
            .clone()
            .expect("a batch");
        assert_eq!(sent.len(), batch.len());
        assert_eq!(sent[17..21], crc32c::crc32c(&sent[21..]).to_be_bytes());
        assert_eq!(sent[21..23], [0, 0x10]);
        assert_eq!(sent[43..57], [0, 0, 0, 0, 0, 0, 0, 77, 0, 5, 0, 0, 0, 9]);
        assert_eq!(sent[57..], batch[57..]);
    }
}
