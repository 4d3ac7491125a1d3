//! Control batches: the markers that end a transaction in a partition (KIP-98).
//!
//! Invariants: a marker is one record in a batch of its own, transactional and control, without a sequence.
//! Key: version and type, both int16. Value: version int16 and the coordinator's epoch int32. Higher versions are read
//! for the fields known here. Sources: Kafka's `ControlRecordType`, `EndTransactionMarker`, `MemoryRecords`.

use super::{BatchBuilder, BatchError, BatchView, Compression, NO_SEQUENCE, TimestampType, ValidatedBatch};

/// Version written into keys and values.
const VERSION: i16 = 0;
const TYPE_ABORT: i16 = 0;
const TYPE_COMMIT: i16 = 1;

/// A marker has some ten bytes; one that claims to unpack to more is none of ours.
const MAX_MARKER_BYTES: usize = 64 * 1024;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    /// Its records are not to be seen.
    Abort,
    /// Its records are to be seen.
    Commit,
}

/// The content of a transaction marker. The producer is in the batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// How the transaction ended.
    pub result: TransactionResult,
    /// Leader epoch of the transaction coordinator that wrote the marker, to fence off older ones.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The batch that ends the transaction of this producer.
    pub fn build(self, producer_id: i64, producer_epoch: i16, timestamp_ms: i64) -> ValidatedBatch {
        let control_type = match self.result {
            TransactionResult::Abort => TYPE_ABORT,
            TransactionResult::Commit => TYPE_COMMIT,
        };
        let [v0, v1] = VERSION.to_be_bytes();
        let [t0, t1] = control_type.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None)
            .with_producer(producer_id, producer_epoch, NO_SEQUENCE)
            .transactional(true)
            .control();
        builder.append(
            timestamp_ms,
            Some(&[v0, v1, t0, t1]),
            Some(&[v0, v1, e0, e1, e2, e3]),
            &[],
        );
        builder.build()
    }

    /// The marker in a batch; `None` if the batch is no control batch or one of another kind, such as a leader change.
    pub fn parse(batch: &BatchView<'_>) -> Result<Option<Self>, BatchError> {
        if !batch.header.attributes.is_control() {
            return Ok(None);
        }
        let records = batch.records(MAX_MARKER_BYTES)?;
        // Compaction may have emptied the batch.
        let Some(record) = records.iter().next().transpose()? else {
            return Ok(None);
        };
        let key = record.key.and_then(|key| key.first_chunk::<4>());
        let Some(&[v0, v1, t0, t1]) = key else {
            return Err(BatchError::invalid("the key of a control record is too short"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(BatchError::invalid(
                "the key of a control record has a negative version",
            ));
        }
        let result = match i16::from_be_bytes([t0, t1]) {
            TYPE_ABORT => TransactionResult::Abort,
            TYPE_COMMIT => TransactionResult::Commit,
            _ => return Ok(None),
        };
        let value = record.value.and_then(|value| value.first_chunk::<6>());
        let Some(&[v0, v1, e0, e1, e2, e3]) = value else {
            return Err(BatchError::invalid("the value of a transaction marker is too short"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(BatchError::invalid(
                "the value of a transaction marker has a negative version",
            ));
        }
        Ok(Some(Self {
            result,
            coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_round_trip() {
        for result in [TransactionResult::Abort, TransactionResult::Commit] {
            let marker = EndTxnMarker {
                result,
                coordinator_epoch: 7,
            };
            let batch = marker.build(42, 3, 1_000);
            let bytes = batch.to_bytes();
            let view = BatchView::parse(&bytes).expect("a whole batch");
            view.verify_crc().expect("a right CRC");
            let header = view.header;
            assert!(header.attributes.is_control() && header.attributes.is_transactional());
            assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (42, 3, -1)
            );
            assert_eq!((header.records_count, header.max_timestamp), (1, 1_000));
            assert_eq!(EndTxnMarker::parse(&view), Ok(Some(marker)));
        }
    }

    #[test]
    fn the_record_has_kafkas_bytes() {
        let marker = EndTxnMarker {
            result: TransactionResult::Commit,
            coordinator_epoch: 0x0102_0304,
        };
        let batch = marker.build(42, 3, 1_000);
        // length 16, attributes, timestamp and offset delta, key of 4, value of 6, no headers
        assert_eq!(batch.body(), [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn other_control_batches_are_no_markers() {
        let build = |key: &[u8], value: Option<&[u8]>| {
            let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None).control();
            builder.append(0, Some(key), value, &[]);
            builder.build_bytes()
        };
        let parse = |bytes: &[u8]| EndTxnMarker::parse(&BatchView::parse(bytes).expect("a whole batch"));
        assert_eq!(parse(&build(&[0, 0, 0, 2], Some(&[0; 8]))), Ok(None), "leader change");
        assert!(parse(&build(&[0, 0, 0], Some(&[0; 6]))).is_err(), "short key");
        assert!(
            parse(&build(&[0xff, 0xff, 0, 1], Some(&[0; 6]))).is_err(),
            "negative key version"
        );
        assert!(parse(&build(&[0, 0, 0, 1], Some(&[0; 5]))).is_err(), "short value");
        assert!(parse(&build(&[0, 0, 0, 1], None)).is_err(), "no value");
        assert!(
            parse(&build(&[0, 0, 0, 1], Some(&[0xff, 0xff, 0, 0, 0, 0]))).is_err(),
            "negative version"
        );
        let newer = parse(&build(&[0, 1, 0, 1, 9], Some(&[0, 1, 0, 0, 0, 5, 9])));
        assert_eq!(
            newer,
            Ok(Some(EndTxnMarker {
                result: TransactionResult::Commit,
                coordinator_epoch: 5
            }))
        );
    }

    #[test]
    fn data_batches_are_no_markers() {
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, Compression::None);
        builder.append(0, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
        let bytes = builder.build_bytes();
        assert_eq!(
            EndTxnMarker::parse(&BatchView::parse(&bytes).expect("a whole batch")),
            Ok(None)
        );
    }
}
