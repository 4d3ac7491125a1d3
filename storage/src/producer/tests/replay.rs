//! Random logs, written through the checks: replaying them from any snapshot gives what replaying them whole gives.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A correct batch, or one that is off by `gap` or `retry`.
    Batch {
        producer_id: i64,
        bump_epoch: bool,
        gap: bool,
        retry: bool,
        records: i32,
    },
    Marker {
        producer_id: i64,
        aborted: bool,
    },
    /// Records without a producer id.
    Plain(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..5_i64, prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.2), 1..4)
            .prop_map(|(producer_id, bump_epoch, gap, retry, records)| Step::Batch {
                producer_id, bump_epoch, gap, retry, records
            }),
        3 => (1..5_i64, any::<bool>()).prop_map(|(producer_id, aborted)| Step::Marker { producer_id, aborted }),
        1 => (1..5_i64).prop_map(Step::Plain),
    ];
    prop::collection::vec(step, 1..60)
}

/// What lies in the log.
#[derive(Debug, Clone, Copy)]
enum Logged {
    Batch(ProducerBatch),
    Marker(ProducerMarker),
}

impl Logged {
    fn replay(&self, states: &mut ProducerStates) {
        match self {
            Self::Batch(batch) => states.replay(batch),
            Self::Marker(marker) => {
                states.replay_marker(marker);
            }
        }
    }
}

/// Producers 3 and 4 are transactional. Returns the log and the state of the leader that wrote it.
fn write_log(steps: &[Step]) -> (Vec<(i64, Logged)>, ProducerStates) {
    let mut states = ProducerStates::default();
    let mut log: Vec<(i64, Logged)> = Vec::new();
    let mut offset = 0;
    for step in steps {
        match step {
            Step::Plain(records) => offset += records,
            Step::Marker { producer_id, aborted } => {
                let epoch = states.entry(*producer_id).map_or(0, |entry| entry.producer_epoch);
                let marker = ProducerMarker {
                    producer_epoch: epoch,
                    aborted: *aborted,
                    ..marker(*producer_id, offset)
                };
                append_marker(&mut states, &marker, 0).expect("a marker of the current epoch");
                log.push((offset, Logged::Marker(marker)));
                offset += 1;
            }
            Step::Batch {
                producer_id,
                bump_epoch,
                gap,
                retry,
                records,
            } => {
                let entry = states.entry(*producer_id);
                let epoch = entry.map_or(0, |entry| entry.producer_epoch) + i16::from(*bump_epoch);
                let last = entry
                    .filter(|_| !bump_epoch)
                    .map_or(NO_SEQUENCE, ProducerEntry::last_sequence);
                let next = entry::increment_sequence(last, 1 + i32::from(*gap) * 7);
                let sequence = if *retry { last.max(0) } else { next };
                let attempt = ProducerBatch {
                    producer_id: *producer_id,
                    producer_epoch: epoch,
                    is_transactional: *producer_id > 2,
                    ..batch(sequence, offset, *records)
                };
                if append(&mut states, &attempt) == Ok(Checked::New) {
                    log.push((offset, Logged::Batch(attempt)));
                    offset += i64::from(*records);
                }
            }
        }
    }
    (log, states)
}

/// The documented difference: a snapshot knows only the last batch, and one timestamp for it and the marker behind it.
fn assert_same_but_for_older_batches(loaded: &ProducerStates, whole: &ProducerStates) -> Result<(), TestCaseError> {
    prop_assert_eq!(loaded.first_undecided_offset(), whole.first_undecided_offset());
    prop_assert_eq!(loaded.len(), whole.len());
    for (loaded, whole) in loaded.entries().zip(whole.entries()) {
        let batches = |entry: &ProducerEntry| -> Vec<WrittenBatch> {
            entry
                .batches()
                .iter()
                .map(|batch| WrittenBatch {
                    timestamp_ms: 0,
                    ..*batch
                })
                .collect()
        };
        prop_assert!(batches(whole).ends_with(&batches(loaded)), "{loaded:?} of {whole:?}");
        prop_assert_eq!(loaded.batches().is_empty(), whole.batches().is_empty());
        let scalars = |entry: &ProducerEntry| {
            (
                entry.producer_id,
                entry.producer_epoch,
                entry.coordinator_epoch,
                entry.current_txn_first_offset,
            )
        };
        prop_assert_eq!(scalars(loaded), scalars(whole));
        prop_assert_eq!(loaded.last_timestamp_ms, whole.last_timestamp_ms);
    }
    Ok(())
}

proptest! {
    #[test]
    fn replay_from_any_snapshot_is_replay_from_the_start(steps in steps()) {
        let (log, written) = write_log(&steps);
        let mut whole = ProducerStates::default();
        log.iter().for_each(|(_, logged)| logged.replay(&mut whole));
        prop_assert_eq!(&whole, &written, "the leader's state is what its log says");
        let mut at_snapshot = ProducerStates::default();
        for point in 0..=log.len() {
            let mut loaded = ProducerStates::default();
            for entry in decode_snapshot(&encode_snapshot(&at_snapshot)).expect("own bytes") {
                loaded.load(entry);
            }
            log[point..].iter().for_each(|(_, logged)| logged.replay(&mut loaded));
            assert_same_but_for_older_batches(&loaded, &whole)?;
            if let Some((_, logged)) = log.get(point) {
                logged.replay(&mut at_snapshot);
            }
        }
    }

    #[test]
    fn the_first_unstable_offset_is_that_of_the_oldest_transaction(steps in steps(), watermark in 0..200_i64) {
        let (log, mut states) = write_log(&steps);
        states.on_high_watermark(watermark);
        let mut unstable = Vec::new();
        for (offset, logged) in &log {
            let Logged::Batch(batch) = logged else { continue };
            let ended = log.iter().find_map(|(at, later)| match later {
                Logged::Marker(marker) if marker.producer_id == batch.producer_id && at > offset => Some(*at),
                _ => None,
            });
            if batch.is_transactional && ended.is_none_or(|marker| marker >= watermark) {
                unstable.push(*offset);
            }
        }
        prop_assert_eq!(states.first_unstable_offset(), unstable.first().copied());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sealed = bytes.clone();
        if sealed.len() >= 10 {
            sealed[..2].copy_from_slice(&1_i16.to_be_bytes());
            let entries = i32::try_from((sealed.len() - 10) / 46).expect("small");
            sealed.truncate(10 + 46 * (sealed.len() - 10) / 46);
            sealed[6..10].copy_from_slice(&entries.to_be_bytes());
            let crc = crc32c::crc32c(&sealed[6..]);
            sealed[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        for bytes in [bytes, sealed] {
            let mut states = ProducerStates::default();
            for entry in decode_snapshot(&bytes).unwrap_or_default() {
                let next = ProducerBatch { producer_id: entry.producer_id, ..batch(5, 100, 3) };
                states.load(entry);
                let _ = append(&mut states, &next);
                states.replay(&next);
            }
        }
    }
}
