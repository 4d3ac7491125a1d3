//! Record batches as a producer or a damaged file could hold them.
//!
//! The first byte says what to repair, so that the fuzzer gets behind the length and the CRC. Must
//! hold: no panic; decompressed records stay below the limit; what is valid for the log can be
//! walked without an error in its framing.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::record::{BATCH_HEADER_BYTES, BatchView, ProduceLimits, TimestampType, ValidatedBatch, batches};

const MAX_DECOMPRESSED_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((options, batch)) = data.split_first() else {
        return;
    };
    let mut batch = batch.to_vec();
    if options & 1 != 0 && batch.len() >= BATCH_HEADER_BYTES {
        let batch_length = (batch.len() - 12) as u32;
        batch[8..12].copy_from_slice(&batch_length.to_be_bytes());
        batch[16] = 2;
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    if let Ok(view) = BatchView::parse(&batch)
        && let Ok(records) = view.records(MAX_DECOMPRESSED_BYTES)
    {
        assert!(records.size_bytes() <= MAX_DECOMPRESSED_BYTES.max(batch.len()));
        for record in records.iter().map_while(Result::ok) {
            let _ = record.headers.iter().count();
        }
    }
    let _ = batches(&batch).take(1000).count();
    let bytes = Bytes::from(batch);
    let limits = ProduceLimits {
        max_message_bytes: 1 << 20,
        timestamp_type: if options & 2 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: if options & 4 != 0 { i64::MAX } else { 3_600_000 },
        now_ms: 1_700_000_000_000,
        require_keys: options & 8 != 0,
        allow_zstd: options & 16 != 0,
        full_validation: options & 32 != 0,
        max_decompressed_bytes: MAX_DECOMPRESSED_BYTES,
    };
    if let Ok(mut valid) = ValidatedBatch::for_produce(bytes.clone(), &limits) {
        valid.assign(7, 3, (options & 2 != 0).then_some(limits.now_ms));
        let written = valid.to_bytes();
        assert_eq!(written.len(), bytes.len());
        ValidatedBatch::from_log(written).expect("what the log is given can be read back");
    }
    let _ = ValidatedBatch::from_log(bytes);
});
