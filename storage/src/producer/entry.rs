//! What one producer id has written to one partition.
//!
//! Pure. Invariant: at most [`RETAINED_BATCHES`] batches are remembered, all of the current producer epoch, oldest
//! first. (Kafka's `ProducerStateEntry` and `BatchMetadata`.)

/// Batches per producer id that are recognised when they come again: the most a client keeps in flight.
pub const RETAINED_BATCHES: usize = 5;
/// "No producer epoch known yet".
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// "No sequence number".
pub const NO_SEQUENCE: i32 = -1;

/// Sequence numbers are counted modulo 2^31.
const SEQUENCES: i64 = 1 << 31;

/// `sequence` + `increment`, where 2147483647 is followed by 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    wrap_sequence(i64::from(sequence) + i64::from(increment))
}

/// `sequence` - `decrement`, where 0 is preceded by 2147483647.
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    wrap_sequence(i64::from(sequence) - i64::from(decrement))
}

fn wrap_sequence(sequence: i64) -> i32 {
    i32::try_from(sequence.rem_euclid(SEQUENCES)).expect("the remainder is below 2^31")
}

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last offset minus base offset.
    pub offset_delta: i32,
    /// Its max timestamp.
    pub timestamp_ms: i64,
}

impl WrittenBatch {
    const NONE: Self = Self {
        last_sequence: NO_SEQUENCE,
        last_offset: -1,
        offset_delta: 0,
        timestamp_ms: -1,
    };

    /// Sequence number of its first record.
    pub fn base_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    /// Offset of its first record.
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// State of one producer id in one partition. A plain value: changing a copy and putting it back is the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer id.
    pub producer_id: i64,
    /// Newest epoch seen; [`NO_PRODUCER_EPOCH`] before the first batch.
    pub producer_epoch: i16,
    /// Epoch of the transaction coordinator that wrote the last marker; -1 = no marker yet.
    pub coordinator_epoch: i32,
    /// Max timestamp of the last batch, or the marker's timestamp.
    pub last_timestamp_ms: i64,
    /// First offset of the open transaction.
    pub current_txn_first_offset: Option<i64>,
    batches: [WrittenBatch; RETAINED_BATCHES],
    batch_count: u8,
}

impl ProducerEntry {
    /// A producer id of which nothing is known.
    pub fn new(producer_id: i64) -> Self {
        Self {
            producer_id,
            producer_epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp_ms: -1,
            current_txn_first_offset: None,
            batches: [WrittenBatch::NONE; RETAINED_BATCHES],
            batch_count: 0,
        }
    }

    /// Remembered batches, oldest first.
    pub fn batches(&self) -> &[WrittenBatch] {
        &self.batches[..usize::from(self.batch_count)]
    }

    /// The newest remembered batch.
    pub fn last_batch(&self) -> Option<&WrittenBatch> {
        self.batches().last()
    }

    /// Last sequence number written in the current epoch, [`NO_SEQUENCE`] when none.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The remembered batch of the current epoch with exactly this range of sequence numbers.
    pub fn find_duplicate(&self, producer_epoch: i16, base_sequence: i32, last_sequence: i32) -> Option<&WrittenBatch> {
        if producer_epoch != self.producer_epoch {
            return None;
        }
        self.batches()
            .iter()
            .find(|batch| batch.last_sequence == last_sequence && batch.base_sequence() == base_sequence)
    }

    /// Remembers a batch; a different epoch forgets the batches of the old one.
    pub fn add_batch(&mut self, producer_epoch: i16, batch: WrittenBatch) {
        self.set_epoch(producer_epoch);
        let count = usize::from(self.batch_count);
        if count == RETAINED_BATCHES {
            self.batches.rotate_left(1);
            self.batches[RETAINED_BATCHES - 1] = batch;
        } else {
            self.batches[count] = batch;
            self.batch_count += 1;
        }
        self.last_timestamp_ms = batch.timestamp_ms;
    }

    /// Ends the open transaction, if any.
    pub fn end_transaction(&mut self, producer_epoch: i16, coordinator_epoch: i32, timestamp_ms: i64) {
        self.set_epoch(producer_epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp_ms = timestamp_ms;
        self.current_txn_first_offset = None;
    }

    fn set_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.batches = [WrittenBatch::NONE; RETAINED_BATCHES];
            self.batch_count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last_sequence: i32, last_offset: i64, offset_delta: i32) -> WrittenBatch {
        WrittenBatch {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp_ms: last_offset,
        }
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero() {
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(increment_sequence(5, 7), 12);
        for (sequence, delta) in [(0, 0), (0, 1), (3, 9), (i32::MAX, i32::MAX), (9, 3)] {
            assert_eq!(increment_sequence(decrement_sequence(sequence, delta), delta), sequence);
        }
        assert_eq!(batch(1, 100, 3).base_sequence(), i32::MAX - 1);
    }

    #[test]
    fn remembers_the_last_five_batches_of_the_epoch() {
        let mut entry = ProducerEntry::new(1);
        for n in 0..7 {
            entry.add_batch(0, batch(n * 2 + 1, i64::from(n) * 2 + 1, 1));
        }
        assert_eq!(entry.batches().len(), 5);
        assert!(
            entry.find_duplicate(0, 2, 3).is_none(),
            "the second of seven is forgotten"
        );
        assert_eq!(entry.find_duplicate(0, 4, 5).map(WrittenBatch::base_offset), Some(4));
        assert!(entry.find_duplicate(0, 4, 4).is_none(), "another range is no duplicate");
        assert!(entry.find_duplicate(1, 4, 5).is_none(), "another epoch is no duplicate");
        entry.add_batch(1, batch(0, 50, 0));
        assert_eq!(entry.batches(), [batch(0, 50, 0)]);
    }
}
