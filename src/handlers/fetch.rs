//! Fetch (1), versions 4-18.
//!
//! Answers when `min_bytes` are there, on any error, or after `max_wait_ms`, woken by the append itself. The first
//! partition with data gives at least one whole batch whatever the limits say; order in the request is priority.
//! Fetch sessions (version 7, KIP-227) are not kept: every full fetch is answered with session id 0, an incremental one
//! with FETCH_SESSION_ID_NOT_FOUND (70), both of which clients know. Versions: 5 log start offset, 9 leader epochs
//! (KIP-320), 12 last fetched epoch and flexible, 13 topic ids. Records of an empty or failed partition are empty, never
//! null. With a quota of its client a response holds no more than the quota has room for, and one that the quota keeps back
//! is answered without topics. A request in the name of a replica gets NOT_LEADER_OR_FOLLOWER (6): this broker has no followers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::wire::fetch_response::{
    EpochEndOffset, FetchResponseHead, FetchResponseWriter, FetchedPartition, Part, RecordChunk,
};
use storage::log::read_plan::FileSlice;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{FramePart, Reply, ResponseFrame};
use crate::partition::fetch_wait::{Look, wait_for_bytes};
use crate::partition::partition::Partition;
use crate::partition::read::{Isolation, PartitionRead};
use crate::partition::registry::HostedTopic;
use crate::quota::clients::FetchCharge;

/// Records below this size are copied into the answer; above, the kernel sends them from the file. One more system
/// call and packet per partition costs more than copying less than this.
const SENDFILE_MIN_BYTES: usize = 16 << 10;
/// No more than this is copied into one answer; the rest is sent from the files however small it is.
const COPY_MAX_BYTES: usize = 4 << 20;
/// What a frame can hold, less what may stand around the records (every partition of the longest request).
const RECORDS_MAX_BYTES: usize = (1 << 31) - (256 << 20);

/// Reads, and waits if that is not enough.
pub fn handle(cx: &Arc<RequestContext>, body: Bytes) -> Reply {
    let request = match FetchRequest::read(cx.api_version, &body) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(peer = %cx.peer, %error, "malformed Fetch request");
            return Reply::Close("malformed Fetch request");
        }
    };
    if !matches!(request.session_epoch, -1 | 0) {
        return Reply::Now(no_topics(cx, ErrorCode::FetchSessionIdNotFound, 0));
    }
    let fetch = Fetch::new(cx, request);
    let read = fetch.read();
    if fetch.look(&read) == Look::Answer || fetch.request.max_wait_ms <= 0 {
        return Reply::Now(fetch.frame(cx, read));
    }
    let context = Arc::clone(cx);
    Reply::Later(Box::pin(async move {
        let max_wait = Duration::from_millis(u64::try_from(fetch.request.max_wait_ms).unwrap_or(0));
        let mut latest = read;
        wait_for_bytes(&fetch.partitions(), max_wait, context.services.stopped(), || {
            latest = fetch.read();
            fetch.look(&latest)
        })
        .await;
        fetch.frame(&context, latest)
    }))
}

/// A request with the topics that it names looked up once.
struct Fetch {
    request: FetchRequest,
    topics: Vec<Option<Arc<HostedTopic>>>,
    isolation: Isolation,
    unknown_topic: ErrorCode,
    max_bytes: usize,
    min_bytes: usize,
}

/// One read pass over all partitions, in the order of the request.
struct ReadPass {
    partitions: Vec<(FetchedPartition, Option<FileSlice>)>,
    bytes: usize,
    /// Something that the client must hear at once: an error, a diverging epoch, the end of a segment.
    urgent: bool,
}

impl Fetch {
    fn new(cx: &RequestContext, request: FetchRequest) -> Self {
        let by_id = cx.api_version >= 13;
        let registry = &cx.services.partitions;
        let find = |topic: &FetchTopic| {
            if by_id {
                registry.topic_by_id(&topic.topic_id)
            } else {
                registry.topic(&topic.name)
            }
        };
        let topics = request.topics.iter().map(find).collect();
        let isolation = match (request.replica_id, request.isolation_level) {
            (-2, _) => Isolation::LogEnd,
            (_, 1) => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let limit = usize::try_from(cx.services.config.fetch_max_bytes).unwrap_or(0);
        let max_bytes = usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(limit)
            .min(RECORDS_MAX_BYTES)
            .min(cx.fetch_quota_bytes());
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes);
        let unknown_topic = if by_id {
            ErrorCode::UnknownTopicId
        } else {
            ErrorCode::UnknownTopicOrPartition
        };
        Self {
            request,
            topics,
            isolation,
            unknown_topic,
            max_bytes,
            min_bytes,
        }
    }

    /// Every hosted partition of the request once, however often it is named: each append looks at all who wait.
    fn partitions(&self) -> Vec<Arc<Partition>> {
        let wanted = self.request.topics.iter().zip(&self.topics);
        let mut seen = BTreeSet::new();
        wanted
            .filter_map(|(wanted, topic)| Some((wanted, topic.as_ref()?)))
            .flat_map(|(wanted, topic)| {
                wanted
                    .partitions
                    .iter()
                    .filter_map(|partition| topic.partition(partition.partition).map(Arc::clone))
            })
            .filter(|partition| seen.insert(Arc::as_ptr(partition).addr()))
            .collect()
    }

    fn read(&self) -> ReadPass {
        let mut pass = ReadPass {
            partitions: Vec::new(),
            bytes: 0,
            urgent: false,
        };
        for (wanted, topic) in self.request.topics.iter().zip(&self.topics) {
            for partition in &wanted.partitions {
                let (found, read) = self.read_partition(topic.as_deref(), partition, pass.bytes);
                let (records, goes_on) = read.map_or((None, false), |read| (read.records, read.goes_on));
                pass.bytes += records.as_ref().map_or(0, |slice| slice.length);
                // a wait for more bytes would be in vain where the next segment begins: they come with the next fetch
                pass.urgent |= goes_on || found.error_code != ErrorCode::None || found.diverging_epoch.is_some();
                pass.partitions.push((found, records));
            }
        }
        pass
    }

    fn read_partition(
        &self,
        topic: Option<&HostedTopic>,
        wanted: &FetchPartition,
        bytes_before: usize,
    ) -> (FetchedPartition, Option<PartitionRead>) {
        let read = || {
            let partition = topic.ok_or(self.unknown_topic)?.hosted(wanted.partition)?;
            if self.request.replica_id >= 0 {
                return Err(ErrorCode::NotLeaderOrFollower);
            }
            partition
                .check_leader_epoch(wanted.current_leader_epoch)
                .map_err(|error| error.error_code())?;
            if let Some(diverging) = diverging_epoch(partition, wanted)? {
                return Ok((
                    FetchedPartition {
                        diverging_epoch: Some(diverging),
                        ..self.found(partition, wanted)
                    },
                    None,
                ));
            }
            let limit = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
            let limit = limit.min(self.max_bytes.saturating_sub(bytes_before));
            let read = partition.read(wanted.fetch_offset, self.isolation, limit, bytes_before == 0);
            let read = read.map_err(|error| error.error_code())?;
            let mut found = self.found(partition, wanted);
            found.high_watermark = read.watermarks.high_watermark;
            found.last_stable_offset = read.watermarks.last_stable_offset;
            found.log_start_offset = read.watermarks.log_start_offset;
            Ok((found, Some(read)))
        };
        read().unwrap_or_else(|code| (FetchedPartition::error(wanted.partition, code), None))
    }

    fn found(&self, partition: &Partition, wanted: &FetchPartition) -> FetchedPartition {
        let watermarks = partition.watermarks();
        FetchedPartition {
            high_watermark: watermarks.high_watermark,
            last_stable_offset: watermarks.last_stable_offset,
            log_start_offset: watermarks.log_start_offset,
            aborted_transactions: (self.isolation == Isolation::ReadCommitted).then(Vec::new),
            ..FetchedPartition::error(wanted.partition, ErrorCode::None)
        }
    }

    fn look(&self, pass: &ReadPass) -> Look {
        if pass.urgent || pass.partitions.is_empty() || pass.bytes >= self.min_bytes {
            return Look::Answer;
        }
        Look::Missing(i64::try_from(self.min_bytes - pass.bytes).unwrap_or(i64::MAX))
    }

    fn frame(&self, cx: &RequestContext, pass: ReadPass) -> ResponseFrame {
        let throttle_time_ms = match cx.charge_fetch(pass.bytes) {
            FetchCharge::Send(throttle_time_ms) => throttle_time_ms,
            FetchCharge::Withhold(throttle_time_ms) => return no_topics(cx, ErrorCode::None, throttle_time_ms),
        };
        let head = FetchResponseHead {
            throttle_time_ms,
            error_code: ErrorCode::None,
            session_id: 0,
            topics: self.request.topics.len(),
        };
        let mut writer = match FetchResponseWriter::new(cx.api_version, cx.correlation_id, &head) {
            Ok(writer) => writer,
            Err(error) => return cx.unencodable(&error),
        };
        let mut copy_bytes_left = COPY_MAX_BYTES;
        let mut partitions = pass.partitions.into_iter();
        for topic in &self.request.topics {
            writer.topic(&topic.name, topic.topic_id, topic.partitions.len());
            for (mut partition, slice) in partitions.by_ref().take(topic.partitions.len()) {
                partition.error_code = told(cx.api_version, partition.error_code);
                match slice.map(|slice| Chunk::take(slice, &mut copy_bytes_left)).transpose() {
                    Ok(chunk) => writer.partition(&partition, chunk),
                    Err(error) => {
                        tracing::error!(%error, topic = %topic.name, partition = partition.partition_index, "read failed");
                        let code = told(cx.api_version, ErrorCode::KafkaStorageError);
                        writer.partition(&FetchedPartition::error(partition.partition_index, code), None);
                    }
                }
            }
        }
        into_frame(cx, writer)
    }
}

/// The code as clients of this version know it: KAFKA_STORAGE_ERROR (56) came with version 6 (KIP-112), before that a
/// client that does not know it would fail for good instead of asking again.
fn told(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        code => code,
    }
}

/// What the fetcher's last epoch says about its log: `Some` when it has records that ours has not (KIP-595).
fn diverging_epoch(partition: &Partition, wanted: &FetchPartition) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let (epoch, end_offset) = partition.end_offset_for_epoch(wanted.last_fetched_epoch);
    if epoch < 0 || end_offset < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverges = epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

/// An answer to the whole request: an error, or a quota that keeps the records back.
fn no_topics(cx: &RequestContext, error_code: ErrorCode, throttle_time_ms: i32) -> ResponseFrame {
    let head = FetchResponseHead {
        throttle_time_ms,
        error_code,
        session_id: 0,
        topics: 0,
    };
    match FetchResponseWriter::new(cx.api_version, cx.correlation_id, &head) {
        Ok(writer) => into_frame(cx, writer),
        Err(error) => cx.unencodable(&error),
    }
}

fn into_frame(cx: &RequestContext, writer: FetchResponseWriter<Chunk>) -> ResponseFrame {
    let frame = match writer.finish(&[]) {
        Ok(frame) => frame,
        Err(error) => return cx.unencodable(&error),
    };
    let parts = frame.parts.into_iter().map(|part| match part {
        Part::Bytes(bytes) | Part::Records(Chunk::Memory(bytes)) => FramePart::Memory(bytes),
        Part::Records(Chunk::File(slice)) => FramePart::File(slice),
    });
    ResponseFrame::Parts(parts.collect())
}

/// Records of one partition on their way out.
#[derive(Debug)]
enum Chunk {
    Memory(Bytes),
    File(FileSlice),
}

impl Chunk {
    /// Copies what is small, within `copy_bytes_left` and in memory; nothing waits for the disk here.
    fn take(slice: FileSlice, copy_bytes_left: &mut usize) -> std::io::Result<Self> {
        if slice.length >= SENDFILE_MIN_BYTES || slice.length > *copy_bytes_left {
            return Ok(Self::File(slice));
        }
        let Some(bytes) = slice.read_nowait()? else {
            return Ok(Self::File(slice));
        };
        *copy_bytes_left -= bytes.len();
        Ok(Self::Memory(bytes))
    }
}

impl RecordChunk for Chunk {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(slice) => slice.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use storage::io::file_system::{FileSystem, OpenMode};
    use storage::io::sim_fs::SimFileSystem;

    use super::*;

    #[test]
    fn small_slices_in_memory_are_copied_up_to_a_limit() {
        let fs = SimFileSystem::new(1);
        let file = fs.open(Path::new("/s"), OpenMode::CreateNew).expect("made");
        file.write_at(&[IoSlice::new(&vec![7; 1 << 20])], 0).expect("written");
        let slice = |length| FileSlice {
            file: Arc::clone(&file),
            position: 9,
            length,
        };
        let mut left = SENDFILE_MIN_BYTES + 10;
        let taken = |length, left: &mut usize| {
            let chunk = Chunk::take(slice(length), left).expect("readable");
            assert_eq!(chunk.size_bytes(), length);
            matches!(chunk, Chunk::Memory(_))
        };
        assert!(!taken(SENDFILE_MIN_BYTES, &mut left), "large ones never");
        assert!(taken(SENDFILE_MIN_BYTES - 1, &mut left));
        assert_eq!(left, 11);
        assert!(!taken(12, &mut left), "not beyond the limit");
        fs.set_cold(true);
        assert!(!taken(11, &mut left), "not from the disk");
        fs.set_cold(false);
        assert!(taken(11, &mut left));
        assert_eq!(left, 0);
    }

    #[test]
    fn old_clients_are_not_told_of_storage_errors() {
        for version in 4..=18 {
            let expected = if version <= 5 { 6 } else { 56 };
            assert_eq!(told(version, ErrorCode::KafkaStorageError).code(), expected);
            assert_eq!(told(version, ErrorCode::OffsetOutOfRange), ErrorCode::OffsetOutOfRange);
        }
    }
}
