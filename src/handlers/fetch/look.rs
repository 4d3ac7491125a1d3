//! Looks at partitions: what is there to read for a fetch, within its limits.
//!
//! Invariants: the sums are those of the last look at each partition; the first partition with data gives at least one
//! whole batch, the others obey the limits (`ReplicaManager.readFromLog`); a look waits for the disk only when it may.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::wire::fetch_response::{AbortedTransaction, EpochEndOffset, FetchedPartition};
use storage::log::read_plan::FileSlice;
use storage::log::watermarks::Watermarks;

use crate::fetch_session::session::{PartitionFetch, PartitionKey};
use crate::partition::cold_reads::warm;
use crate::partition::partition::Partition;
use crate::partition::read::{Isolation, PartitionRead};

/// What is brought into memory with a look that waits for the disk.
const WARM_BYTES: usize = 1 << 20;

/// The look was not made: it would have waited for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cold;

/// What holds for the whole request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) isolation: Isolation,
    pub(super) max_bytes: usize,
    pub(super) min_bytes: usize,
    /// The request came in the name of a replica, of which there are none.
    pub(super) from_replica: bool,
}

/// A partition, and what the last look at it saw.
#[derive(Debug)]
pub(super) struct Looked {
    /// Number of the partition in its session, or in the request.
    pub(super) slot: u32,
    pub(super) key: PartitionKey,
    pub(super) fetch: PartitionFetch,
    pub(super) partition: Result<Arc<Partition>, ErrorCode>,
    /// Whether the partition tells of what happens since before the look.
    pub(super) watched: bool,
    pub(super) answer: FetchedPartition,
    pub(super) records: Option<FileSlice>,
    /// Something lies at or behind the fetch offset.
    pub(super) readable: bool,
    /// There is no such topic or partition, as was known before the wait.
    pub(super) is_unknown: bool,
    /// There is more in the next segment: a wait for more bytes would be in vain, they come with the next fetch.
    goes_on: bool,
}

impl Looked {
    /// Not looked at yet.
    pub(super) fn new(
        slot: u32,
        key: PartitionKey,
        fetch: PartitionFetch,
        partition: Result<Arc<Partition>, ErrorCode>,
    ) -> Self {
        Self {
            slot,
            answer: FetchedPartition::error(key.partition, ErrorCode::None),
            key,
            fetch,
            is_unknown: matches!(
                partition,
                Err(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
            ),
            partition,
            watched: false,
            records: None,
            readable: false,
            goes_on: false,
        }
    }

    /// Forgets what was seen: the partition failed.
    pub(super) fn fail(&mut self, code: ErrorCode) {
        self.answer = FetchedPartition::error(self.key.partition, code);
        if self.is_unknown {
            // what nobody has read has no aborted transactions, in Kafka as here
            self.answer.aborted_transactions = Some(Vec::new());
        }
        self.records = None;
        self.readable = false;
        self.goes_on = false;
    }

    fn size_bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |slice| slice.length)
    }

    /// Something that the client must hear at once: an error, a diverging epoch, the end of a segment. Not what is
    /// unknown: a client that still names a deleted topic among others would ask again and again
    /// (`KafkaApis.handleFetchRequest` reads without it).
    fn is_urgent(&self) -> bool {
        let failed = self.answer.error_code != ErrorCode::None && !self.is_unknown;
        self.goes_on || failed || self.answer.diverging_epoch.is_some()
    }

    fn see(&mut self, limits: &Limits, bytes_before: usize, may_wait: bool) -> Result<(), Cold> {
        match self.try_see(limits, bytes_before, may_wait) {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(Cold),
            Err(code) => {
                self.fail(code);
                Ok(())
            }
        }
    }

    /// `None` when that would wait for the disk and may not.
    fn try_see(&mut self, limits: &Limits, bytes_before: usize, may_wait: bool) -> Result<Option<()>, ErrorCode> {
        let fetch = self.fetch;
        let partition = self.partition.as_ref().map_err(|code| *code)?;
        if limits.from_replica {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        // Any negative epoch is none (`FetchRequest.optionalEpoch`).
        partition
            .check_leader_epoch(fetch.current_leader_epoch.max(-1))
            .map_err(|error| error.error_code())?;
        if let Some(diverging) = diverging_epoch(partition, &fetch)? {
            let watermarks = partition.watermarks();
            self.found(limits, &watermarks);
            self.answer.diverging_epoch = Some(diverging);
            return Ok(Some(()));
        }
        let limit = usize::try_from(fetch.partition_max_bytes).unwrap_or(0);
        let limit = limit.min(limits.max_bytes.saturating_sub(bytes_before));
        let min_one_batch = bytes_before == 0;
        let read = if may_wait {
            let read = partition.read(fetch.fetch_offset, limits.isolation, limit, min_one_batch);
            read.map(Some)
        } else {
            partition.read_nowait(fetch.fetch_offset, limits.isolation, limit, min_one_batch)
        };
        let Some(read) = read.map_err(|error| error.error_code())? else {
            return Ok(None);
        };
        let PartitionRead {
            watermarks,
            records,
            readable,
            goes_on,
            aborted,
        } = read;
        self.found(limits, &watermarks);
        if let Some(told) = &mut self.answer.aborted_transactions {
            told.extend(aborted.iter().map(|txn| AbortedTransaction {
                producer_id: txn.producer_id,
                first_offset: txn.first_offset,
            }));
        }
        self.records = records;
        self.readable = readable;
        self.goes_on = goes_on;
        Ok(Some(()))
    }

    fn found(&mut self, limits: &Limits, watermarks: &Watermarks) {
        self.fail(ErrorCode::None);
        self.answer.high_watermark = watermarks.high_watermark;
        self.answer.last_stable_offset = watermarks.last_stable_offset;
        self.answer.log_start_offset = watermarks.log_start_offset;
        if limits.isolation == Isolation::ReadCommitted {
            self.answer.aborted_transactions = Some(Vec::new());
        }
    }
}

/// What the fetcher's last epoch says about its log: `Some` when it has records that ours has not (KIP-595).
fn diverging_epoch(partition: &Partition, fetch: &PartitionFetch) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if fetch.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end_offset) = partition.end_offset_for_epoch(fetch.last_fetched_epoch);
    if epoch < 0 || end_offset < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverges = epoch < fetch.last_fetched_epoch || end_offset < fetch.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

/// Which partitions are looked at.
#[derive(Debug)]
pub(super) enum Which {
    /// All, in order.
    All,
    /// Those at these places.
    At(Vec<usize>),
}

/// The partitions of a request with what was seen of them.
#[derive(Debug)]
pub(super) struct Looks {
    limits: Limits,
    /// In order of priority.
    pub(super) looked: Vec<Looked>,
    bytes: usize,
    urgent: usize,
}

impl Looks {
    pub(super) fn new(limits: Limits, looked: Vec<Looked>) -> Self {
        Self {
            limits,
            looked,
            bytes: 0,
            urgent: 0,
        }
    }

    /// Other partitions than before, not looked at yet.
    pub(super) fn replace(&mut self, looked: Vec<Looked>) {
        *self = Self::new(self.limits, looked);
    }

    /// Puts a partition that was not looked at yet into the place of what was seen there.
    pub(super) fn replace_at(&mut self, place: usize, looked: Looked) {
        self.forget(place);
        self.looked[place] = looked;
    }

    /// Looks; `Cold` when that would wait for the disk and may not, then the look has to be made again.
    pub(super) fn look(&mut self, which: &Which, may_wait: bool) -> Result<(), Cold> {
        match which {
            Which::All => {
                self.bytes = 0;
                self.urgent = 0;
                for looked in &mut self.looked {
                    looked.fail(ErrorCode::None);
                }
                (0..self.looked.len()).try_for_each(|place| self.look_at(place, may_wait))
            }
            Which::At(places) => places.iter().try_for_each(|place| {
                self.forget(*place);
                self.look_at(*place, may_wait)
            }),
        }
    }

    /// Brings what was found on the disk into memory, a turn's worth of it: the rest is brought when it is sent. To be
    /// called on a thread that may wait.
    pub(super) fn warm(&self) {
        let mut left = WARM_BYTES;
        let found = self.looked.iter().filter_map(|looked| looked.records.as_ref());
        for slice in found.filter(|slice| !slice.recent) {
            let length = slice.length.min(left);
            left -= length;
            if length == 0 {
                break;
            }
            let piece = FileSlice {
                length,
                ..slice.clone()
            };
            if let Err(error) = warm(&piece) {
                // who takes the records will meet it again, and answers for it
                tracing::debug!(%error, "cannot read ahead");
            }
        }
    }

    /// Bytes of all records found.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes a wait has to wait for; `None` when there is nothing to wait for.
    pub(super) fn missing_bytes(&self) -> Option<i64> {
        if self.urgent > 0 || self.bytes >= self.limits.min_bytes {
            return None;
        }
        Some(i64::try_from(self.limits.min_bytes - self.bytes).unwrap_or(i64::MAX))
    }

    fn forget(&mut self, place: usize) {
        let looked = &mut self.looked[place];
        self.bytes -= looked.size_bytes();
        self.urgent -= usize::from(looked.is_urgent());
        looked.fail(ErrorCode::None);
    }

    fn look_at(&mut self, place: usize, may_wait: bool) -> Result<(), Cold> {
        let looked = &mut self.looked[place];
        looked.see(&self.limits, self.bytes, may_wait)?;
        self.bytes += looked.size_bytes();
        self.urgent += usize::from(looked.is_urgent());
        Ok(())
    }
}
