use super::*;
use crate::record::BatchBuilder;

fn limits() -> ProduceLimits {
    ProduceLimits {
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        now_ms: 1_800_000_000_000,
        require_keys: false,
        allow_zstd: true,
        full_validation: false,
        max_decompressed_bytes: 1 << 20,
    }
}

#[test]
fn a_built_batch_is_valid() {
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(TimestampType::CreateTime, compression);
        builder.append(1_000, Some(b"k"), Some(b"v"), &[("h", None), ("h", Some(b"2"))]);
        builder.append(999, None, None, &[]);
        let bytes = builder.build_bytes();
        let limits = ProduceLimits {
            full_validation: true,
            ..limits()
        };
        let batch = ValidatedBatch::for_produce(bytes.clone(), &limits).expect("a valid batch");
        assert_eq!(batch.to_bytes(), bytes);
    }
}
