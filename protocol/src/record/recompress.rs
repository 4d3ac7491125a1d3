//! Compressing a checked batch anew, for topics whose `compression.type` names a codec.
//!
//! Invariants: only the codec bits, the length, the CRC and the packing of the body change: records with their offsets,
//! timestamps and headers (the same key twice included), producer, epoch and sequence stay to the bit; a batch that has
//! the codec already, whatever its level, and a control batch stay as they are; no more is unpacked than the limit allows.
//! Source: Kafka's `LogValidator.validateMessagesAndAssignOffsetsCompressed`, `BrokerCompressionType.targetCompression`.

use super::{BATCH_HEADER_BYTES, BatchError, BatchView, Compression, LOG_OVERHEAD_BYTES, ValidatedBatch};
use crate::compress;

/// How batches are to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recompression {
    /// The codec; none unpacks.
    pub compression: Compression,
    /// The codec's level; `None` is its library's own.
    pub level: Option<i32>,
}

impl Recompression {
    /// Whether a batch of this codec has to be packed anew.
    pub fn changes(&self, compression: Option<Compression>) -> bool {
        compression != Some(self.compression)
    }
}

impl ValidatedBatch {
    /// The batch in another codec. `max_message_bytes` holds for the outcome as well.
    ///
    /// # Errors
    /// When the batch cannot be unpacked within `max_decompressed_bytes`, or has become too large.
    pub fn recompressed(
        self,
        target: Recompression,
        max_message_bytes: usize,
        max_decompressed_bytes: usize,
    ) -> Result<Self, BatchError> {
        let mut header = *self.header();
        if header.attributes.is_control() || !target.changes(header.attributes.compression()) {
            return Ok(self);
        }
        // the codec bits of the bytes as they came are those of the header: nothing corrects them
        let view = BatchView::parse(self.bytes())?;
        let records = view.records(max_decompressed_bytes)?;
        let body = compress::compress_with(target.compression, target.level, records.payload());
        let size_bytes = BATCH_HEADER_BYTES + body.len();
        if size_bytes > max_message_bytes {
            return Err(BatchError::TooLarge {
                size_bytes,
                max_bytes: max_message_bytes,
            });
        }
        header.attributes = header.attributes.with_compression(target.compression);
        header.batch_length = i32::try_from(size_bytes - LOG_OVERHEAD_BYTES).map_err(|_| BatchError::TooLarge {
            size_bytes,
            max_bytes: max_message_bytes,
        })?;
        header.crc = header.compute_crc(&body);
        let mut bytes = Vec::with_capacity(size_bytes);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&body);
        Ok(Self::built(header, bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{BatchBuilder, TimestampType};

    const PLENTY: usize = 1 << 24;

    fn batch(compression: Compression, values: &[Vec<u8>]) -> ValidatedBatch {
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, compression).with_producer(7, 3, 11);
        for (index, value) in (0_i64..).zip(values) {
            let headers = [("h", Some(&b"1"[..])), ("h", None), ("h", Some(&b"2"[..]))];
            builder.append(1_000 - index, Some(b"key"), Some(value), &headers);
        }
        builder.build()
    }

    fn to(compression: Compression, level: Option<i32>) -> Recompression {
        Recompression { compression, level }
    }

    fn unpacked(batch: &ValidatedBatch) -> Vec<u8> {
        let bytes = batch.to_bytes();
        let view = BatchView::parse(&bytes).expect("a batch");
        view.verify_crc().expect("the CRC is right");
        view.records(PLENTY).expect("unpacks").payload().to_vec()
    }

    proptest! {
        #[test]
        fn records_and_producer_stay_whatever_the_codecs(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            from in prop::sample::select(&Compression::ALL[..]),
            into in prop::sample::select(&Compression::ALL[..]),
        ) {
            let before = batch(from, &values);
            let after = before.clone().recompressed(to(into, None), PLENTY, PLENTY).expect("fits");
            let (old, new) = (*before.header(), *after.header());
            prop_assert_eq!(new.attributes.compression(), Some(into));
            prop_assert_eq!(unpacked(&before), unpacked(&after));
            prop_assert_eq!(new.size_bytes(), after.bytes().len());
            let same = crate::record::BatchHeader {
                batch_length: new.batch_length,
                crc: new.crc,
                attributes: new.attributes,
                ..old
            };
            prop_assert_eq!(new, same);
            prop_assert_eq!(new.attributes.with_compression(from), old.attributes);
            prop_assert!(ValidatedBatch::from_log(after.to_bytes()).is_ok());
        }
    }

    #[test]
    fn a_batch_in_the_codec_is_not_touched() {
        let before = batch(Compression::Zstd, &[b"abc".repeat(100)]);
        let address = before.bytes().as_ptr();
        let after = before
            .recompressed(to(Compression::Zstd, Some(19)), 1, 1)
            .expect("as it was, whatever the limits");
        assert_eq!(after.bytes().as_ptr(), address);
    }

    #[test]
    fn the_outcome_keeps_the_limits() {
        let values = [b"abc".repeat(10_000)];
        let packed = batch(Compression::Gzip, &values);
        let refused = packed.clone().recompressed(to(Compression::None, None), 20_000, PLENTY);
        assert!(matches!(refused, Err(BatchError::TooLarge { max_bytes: 20_000, size_bytes }) if size_bytes > 30_000));
        let refused = packed.recompressed(to(Compression::None, None), PLENTY, 20_000);
        assert!(matches!(
            refused,
            Err(BatchError::DecompressedTooLarge { max_bytes: 20_000 })
        ));
    }

    #[test]
    fn levels_count() {
        let text: Vec<u8> = (0..60_000_u32)
            .flat_map(|number| (number % 977).to_be_bytes())
            .collect();
        let size = |compression, level| {
            let plain = batch(Compression::None, std::slice::from_ref(&text));
            let packed = plain.recompressed(to(compression, level), PLENTY, PLENTY);
            packed.expect("fits").size_bytes()
        };
        assert!(size(Compression::Gzip, Some(9)) < size(Compression::Gzip, Some(1)));
        assert!(size(Compression::Zstd, Some(19)) < size(Compression::Zstd, Some(-50)));
        assert_eq!(size(Compression::Zstd, Some(3)), size(Compression::Zstd, None));
    }
}
