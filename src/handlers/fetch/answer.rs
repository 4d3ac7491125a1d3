//! From what was seen to the bytes of the answer.
//!
//! Invariants: records are copied only when they are small and in memory, else they stay in their files until the kernel
//! sends them; a session takes the client to know exactly what stands in the answer; nothing waits for the disk here.

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::TopicId;
use protocol::wire::fetch_response::{
    FetchResponseHead, FetchResponseWriter, LeaderIdAndEpoch, NodeEndpoint, Part, RecordChunk,
};
use storage::log::read_plan::FileSlice;

use super::Fetch;
use super::copies::CopyRoom;
use super::look::Looked;
use super::session::Context;
use crate::fetch_session::cache::FetchSession;
use crate::fetch_session::session::{Seen, Session, TopicKey, WantedPartition};
use crate::fetch_session::source::PartitionSource;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{FramePart, ResponseFrame};
use crate::metadata::image::topics::PartitionImage;
use crate::quota::clients::FetchCharge;

/// Records below this size are copied into the answer; above, the kernel sends them from the file. One more system
/// call and packet per partition costs more than copying less than this.
const SENDFILE_MIN_BYTES: usize = 16 << 10;
/// No more than this is copied into one answer; the rest is sent from the files however small it is.
const COPY_MAX_BYTES: usize = 4 << 20;

/// A partition of the answer.
type Answered = (Looked, Option<Chunk>);

impl Fetch {
    /// The answer to what was seen last.
    pub(super) fn answer(self) -> ResponseFrame {
        let throttle_time_ms = match self.cx.charge_fetch(self.looks.bytes()) {
            FetchCharge::Send(throttle_time_ms) => throttle_time_ms,
            FetchCharge::Withhold(throttle_time_ms) => return self.withhold(throttle_time_ms),
        };
        let cx = self.cx;
        let mut copy_bytes_left = COPY_MAX_BYTES;
        let take = |mut looked: Looked| {
            let chunk = looked.take_records(&mut copy_bytes_left, &cx.services.copies);
            (looked, chunk)
        };
        let mut answered: Vec<Answered> = self.looks.looked.into_iter().map(take).collect();
        let session_id = match self.context {
            Context::Sessionless => 0,
            Context::Full(isolation_level) => new_session(&cx, isolation_level, &answered),
            Context::Incremental(session, epoch) => match settle(&session, epoch, answered) {
                Ok(changed) => {
                    answered = changed;
                    session.id()
                }
                Err(code) => return refuse(&cx, code, session.id()),
            },
        };
        frame(&cx, session_id, throttle_time_ms, answered)
    }

    /// The answer without what was seen: a session goes on, and looks at the same partitions again.
    fn withhold(self, throttle_time_ms: i32) -> ResponseFrame {
        let (code, session_id) = match &self.context {
            Context::Sessionless | Context::Full(_) => (ErrorCode::None, 0),
            Context::Incremental(session, epoch) if session.state().epoch() == *epoch => {
                (ErrorCode::None, session.id())
            }
            Context::Incremental(session, _) => (ErrorCode::InvalidFetchSessionEpoch, session.id()),
        };
        no_topics(&self.cx, code, session_id, throttle_time_ms)
    }
}

impl Looked {
    fn take_records(&mut self, copy_bytes_left: &mut usize, copies: &CopyRoom) -> Option<Chunk> {
        let slice = self.records.clone()?;
        match Chunk::take(slice, copy_bytes_left, copies) {
            Ok(chunk) => Some(chunk),
            Err(error) => {
                tracing::error!(%error, topic = ?self.key.topic, partition = self.key.partition, "read failed");
                self.fail(ErrorCode::KafkaStorageError);
                None
            }
        }
    }
}

/// Makes a session of a full request; its id, or 0 when there is no place for one.
fn new_session(cx: &RequestContext, isolation_level: i8, answered: &[Answered]) -> i32 {
    let partitions = answered.iter().map(|(looked, _)| {
        let wanted = WantedPartition {
            key: looked.key.clone(),
            fetch: looked.fetch,
        };
        let source = looked.partition.as_ref().map(PartitionSource::of).unwrap_or_default();
        (wanted, source, &looked.answer)
    });
    let now_ms = cx.now().mono_ms;
    let size_bytes = answered.iter().map(|(looked, _)| looked.key.size_bytes()).sum();
    if !cx.services.fetch_sessions.has_room(answered.len(), size_bytes, now_ms) {
        return 0;
    }
    let session = Session::new(cx.api_version >= 13, isolation_level, partitions);
    let random = || {
        let [a, b, c, d, ..] = cx.services.env.uuid().into_bytes();
        i32::from_be_bytes([a, b, c, d])
    };
    cx.services.fetch_sessions.insert(session, now_ms, random)
}

/// Keeps what the client has to be told, in the session's order.
///
/// # Errors
/// INVALID_FETCH_SESSION_EPOCH (71) when another request has used the session meanwhile.
fn settle(session: &FetchSession, epoch: i32, mut answered: Vec<Answered>) -> Result<Vec<Answered>, ErrorCode> {
    let mut state = session.state();
    if state.epoch() != epoch {
        return Err(ErrorCode::InvalidFetchSessionEpoch);
    }
    // a wait appends what told of itself meanwhile
    answered.sort_by_key(|(looked, _)| state.order(looked.slot));
    answered.retain(|(looked, chunk)| {
        let seen = Seen {
            partition: &looked.answer,
            has_records: chunk.is_some(),
            readable: looked.readable,
            watched: looked.watched,
        };
        state.settle(looked.slot, seen)
    });
    Ok(answered)
}

fn frame(cx: &RequestContext, session_id: i32, throttle_time_ms: i32, answered: Vec<Answered>) -> ResponseFrame {
    let same_topic = |one: &Answered, next: &Answered| one.0.key.topic == next.0.key.topic;
    let head = FetchResponseHead {
        throttle_time_ms,
        error_code: ErrorCode::None,
        session_id,
        topics: answered.chunk_by(same_topic).count(),
    };
    let mut writer = match FetchResponseWriter::new(cx.api_version, cx.correlation_id, &head) {
        Ok(writer) => writer,
        Err(error) => return cx.unencodable(&error),
    };
    let sizes: Vec<usize> = answered.chunk_by(same_topic).map(<[Answered]>::len).collect();
    let mut names_this_broker = false;
    let mut answered = answered.into_iter().peekable();
    for size in sizes {
        let (first, _) = answered.peek().expect("no topic without partitions");
        match &first.key.topic {
            TopicKey::Name(name) => writer.topic(name, TopicId::nil(), size),
            TopicKey::Id(topic_id) => writer.topic("", *topic_id, size),
        }
        for (mut looked, chunk) in answered.by_ref().take(size) {
            looked.answer.error_code = told(cx.api_version, looked.answer.error_code);
            names_this_broker |= name_leader(cx, &mut looked);
            writer.partition(&looked.answer, chunk);
        }
    }
    if !names_this_broker {
        return into_frame(cx, writer, &[]);
    }
    let (host, port) = cx.advertised_endpoint();
    let this_broker = NodeEndpoint {
        node_id: cx.services.node_id,
        host: &host,
        port,
        rack: cx.services.config.at_start().broker_rack.as_deref(),
    };
    into_frame(cx, writer, &[this_broker])
}

/// Tells a client that turned to the wrong broker, or in the wrong epoch, who leads (KIP-951). True when that is this
/// broker.
fn name_leader(cx: &RequestContext, looked: &mut Looked) -> bool {
    let code = looked.answer.error_code;
    if cx.api_version < 16 || !matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return false;
    }
    let image = cx.services.publisher.current();
    let topic = match &looked.key.topic {
        TopicKey::Name(name) => image.topic(name),
        TopicKey::Id(topic_id) => image.topic_by_id(topic_id),
    };
    let leader = topic.and_then(|topic| topic.partition(looked.key.partition));
    looked.answer.current_leader = leader.map(|partition: &PartitionImage| LeaderIdAndEpoch {
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
    });
    leader.is_some_and(|partition| partition.leader == cx.services.node_id)
}

/// The code as clients of this version know it: KAFKA_STORAGE_ERROR (56) came with version 6 (KIP-112), before that a
/// client that does not know it would fail for good instead of asking again.
fn told(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
        code => code,
    }
}

/// An answer with an error for the whole request.
pub(super) fn refuse(cx: &RequestContext, error_code: ErrorCode, session_id: i32) -> ResponseFrame {
    no_topics(cx, error_code, session_id, 0)
}

fn no_topics(cx: &RequestContext, error_code: ErrorCode, session_id: i32, throttle_time_ms: i32) -> ResponseFrame {
    let head = FetchResponseHead {
        throttle_time_ms,
        error_code,
        session_id,
        topics: 0,
    };
    match FetchResponseWriter::new(cx.api_version, cx.correlation_id, &head) {
        Ok(writer) => into_frame(cx, writer, &[]),
        Err(error) => cx.unencodable(&error),
    }
}

fn into_frame(
    cx: &RequestContext,
    writer: FetchResponseWriter<Chunk>,
    endpoints: &[NodeEndpoint<'_>],
) -> ResponseFrame {
    let frame = match writer.finish(endpoints) {
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
    /// Copies what is small and in memory, within `copy_bytes_left` and the room for copies; nothing waits for the disk.
    fn take(slice: FileSlice, copy_bytes_left: &mut usize, copies: &CopyRoom) -> std::io::Result<Self> {
        if slice.length >= SENDFILE_MIN_BYTES || slice.length > *copy_bytes_left || !copies.has(slice.length) {
            return Ok(Self::File(slice));
        }
        let Some(bytes) = slice.read_nowait()?.and_then(|bytes| copies.hold(bytes)) else {
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
    use std::sync::Arc;

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
            recent: false,
        };
        let copies = CopyRoom::new(1 << 20);
        let mut left = SENDFILE_MIN_BYTES + 10;
        let taken = |length, left: &mut usize| {
            let chunk = Chunk::take(slice(length), left, &copies).expect("readable");
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
        let chunk = Chunk::take(slice(11), &mut 11, &CopyRoom::new(10)).expect("readable");
        assert!(matches!(chunk, Chunk::File(_)), "not without room");
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
