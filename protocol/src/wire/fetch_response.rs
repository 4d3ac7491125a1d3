//! Writes Fetch responses, versions 4 to 18, around records that stay where they are.
//!
//! Invariants: the parts of a frame, put one after the other, are one complete frame whose length
//! prefix counts the records too; records are never null, an empty partition has empty records
//! (clients fail on null); a field that the version lacks is left out. The numbers of topics and
//! partitions are announced before they are written; a writer that breaks its promise panics.
//! Versions: 5 log start offset, 7 sessions, 11 preferred read replica (KIP-392), 12 flexible,
//! diverging epoch and current leader (KIP-595, KIP-951), 13 topic ids, 16 node endpoints.

use bytes::Bytes;

use super::writer::FrameWriter;
use crate::api;
use crate::encode::EncodeError;
use crate::error_code::ErrorCode;
use crate::types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId};

/// Some record bytes of known length: a buffer or a stretch of a file.
pub trait RecordChunk {
    /// How many bytes it will send, no more and no less.
    fn size_bytes(&self) -> usize;
}

impl RecordChunk for Bytes {
    fn size_bytes(&self) -> usize {
        self.len()
    }
}

/// A piece of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<F> {
    /// Everything but records.
    Bytes(Bytes),
    /// Records, as the caller gave them.
    Records(F),
}

/// A complete response frame in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponseFrame<F> {
    /// The pieces in order.
    pub parts: Vec<Part<F>>,
    /// The sum of their lengths, with the length prefix.
    pub size_bytes: usize,
}

/// The fields in front of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchResponseHead {
    /// How long the client is throttled.
    pub throttle_time_ms: i32,
    /// Error of the whole request (version 7 and later).
    pub error_code: ErrorCode,
    /// Id of the session; 0 = none (version 7 and later).
    pub session_id: i32,
    /// How many topics follow.
    pub topics: usize,
}

/// What was found out about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Index in the topic.
    pub partition_index: PartitionIndex,
    /// Error of this partition.
    pub error_code: ErrorCode,
    /// High watermark; -1 = unknown.
    pub high_watermark: Offset,
    /// Last stable offset; -1 = unknown.
    pub last_stable_offset: Offset,
    /// Log start offset; -1 = unknown.
    pub log_start_offset: Offset,
    /// Aborted transactions among the records, by first offset; `None` for read uncommitted.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// Where the consumer should rather fetch from; -1 = nowhere else.
    pub preferred_read_replica: BrokerId,
    /// Where the fetcher's log and ours part.
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader that the fetcher should turn to.
    pub current_leader: Option<LeaderIdAndEpoch>,
}

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
}

/// The end of a leader epoch in our log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset behind its last record.
    pub end_offset: Offset,
}

/// A leader and its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderIdAndEpoch {
    /// The leader; -1 = unknown.
    pub leader_id: BrokerId,
    /// Its epoch; -1 = unknown.
    pub leader_epoch: LeaderEpoch,
}

/// Where a leader named in the response can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEndpoint<'a> {
    /// Id of the broker.
    pub node_id: BrokerId,
    /// Its host.
    pub host: &'a str,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<&'a str>,
}

impl FetchedPartition {
    /// A partition that nothing is known about but an error.
    pub const fn error(partition_index: PartitionIndex, error_code: ErrorCode) -> Self {
        Self {
            partition_index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: None,
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
        }
    }
}

/// A Fetch response in the making. `F` stands for records that are read or sent later.
#[derive(Debug)]
pub struct FetchResponseWriter<F> {
    frame: FrameWriter,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
    /// Each with the position in `frame` that it is sent at.
    records: Vec<(usize, F)>,
    records_bytes: usize,
}

impl<F: RecordChunk> FetchResponseWriter<F> {
    /// Starts a response.
    pub fn new(version: i16, correlation_id: i32, head: &FetchResponseHead) -> Result<Self, EncodeError> {
        // Most responses are one topic and a few partitions of less than 100 bytes.
        let mut frame = FrameWriter::new(api::FETCH, version, correlation_id, 480)?;
        frame.i32(head.throttle_time_ms);
        if version >= 7 {
            frame.i16(head.error_code.code());
            frame.i32(head.session_id);
        }
        frame.array_length(Some(head.topics));
        let topics_left = head.topics;
        Ok(Self {
            frame,
            version,
            topics_left,
            partitions_left: 0,
            records: Vec::new(),
            records_bytes: 0,
        })
    }

    /// Starts a topic: its name is sent up to version 12, its id from 13 on.
    pub fn topic(&mut self, name: &str, topic_id: TopicId, partitions: usize) {
        assert_eq!(self.partitions_left, 0, "the topic before has all its partitions");
        self.topics_left = self.topics_left.checked_sub(1).expect("no more topics than announced");
        self.partitions_left = partitions;
        if self.version >= 13 {
            self.frame.uuid(topic_id);
        } else {
            self.frame.string(name);
        }
        self.frame.array_length(Some(partitions));
        self.end_topic();
    }

    /// Writes a partition of the topic started last.
    pub fn partition(&mut self, partition: &FetchedPartition, records: impl IntoIterator<Item = F>) {
        self.partitions_left = self
            .partitions_left
            .checked_sub(1)
            .expect("no more partitions than announced");
        let frame = &mut self.frame;
        frame.i32(partition.partition_index);
        frame.i16(partition.error_code.code());
        frame.i64(partition.high_watermark);
        frame.i64(partition.last_stable_offset);
        if self.version >= 5 {
            frame.i64(partition.log_start_offset);
        }
        frame.array_length(partition.aborted_transactions.as_ref().map(Vec::len));
        for aborted in partition.aborted_transactions.iter().flatten() {
            frame.i64(aborted.producer_id);
            frame.i64(aborted.first_offset);
            frame.no_tagged_fields();
        }
        if self.version >= 11 {
            frame.i32(partition.preferred_read_replica);
        }
        self.records(records);
        if self.version >= 12 {
            self.partition_tags(partition);
        }
        self.end_topic();
    }

    fn records(&mut self, records: impl IntoIterator<Item = F>) {
        let first = self.records.len();
        let chunks = records.into_iter().filter(|chunk| chunk.size_bytes() > 0);
        self.records.extend(chunks.map(|chunk| (0, chunk)));
        let length = self.records[first..].iter().map(|(_, chunk)| chunk.size_bytes()).sum();
        self.frame.bytes_length(length);
        self.records_bytes += length;
        for (position, _) in &mut self.records[first..] {
            *position = self.frame.size_bytes();
        }
    }

    fn partition_tags(&mut self, partition: &FetchedPartition) {
        let (diverging, leader) = (partition.diverging_epoch, partition.current_leader);
        self.frame
            .tagged_count(u32::from(diverging.is_some()) + u32::from(leader.is_some()));
        if let Some(diverging) = diverging {
            self.frame.tagged_field(0, |frame| {
                frame.i32(diverging.epoch);
                frame.i64(diverging.end_offset);
                frame.no_tagged_fields();
            });
        }
        if let Some(leader) = leader {
            self.frame.tagged_field(1, |frame| {
                frame.i32(leader.leader_id);
                frame.i32(leader.leader_epoch);
                frame.no_tagged_fields();
            });
        }
    }

    fn end_topic(&mut self) {
        if self.partitions_left == 0 {
            self.frame.no_tagged_fields();
        }
    }

    /// Ends the response. The endpoints of the leaders named in it are sent from version 16 on.
    pub fn finish(mut self, node_endpoints: &[NodeEndpoint<'_>]) -> Result<FetchResponseFrame<F>, EncodeError> {
        assert_eq!(
            (self.topics_left, self.partitions_left),
            (0, 0),
            "what was announced was written"
        );
        if self.version >= 16 && !node_endpoints.is_empty() {
            self.frame.tagged_count(1);
            self.frame
                .tagged_field(0, |frame| write_endpoints(frame, node_endpoints));
        } else {
            self.frame.no_tagged_fields();
        }
        let skeleton = self.frame.finish_with(self.records_bytes)?;
        let size_bytes = skeleton.len() + self.records_bytes;
        let mut parts = Vec::with_capacity(self.records.len() * 2 + 1);
        let mut sent = 0;
        for (position, records) in self.records {
            if position > sent {
                parts.push(Part::Bytes(skeleton.slice(sent..position)));
                sent = position;
            }
            parts.push(Part::Records(records));
        }
        if sent < skeleton.len() {
            parts.push(Part::Bytes(skeleton.slice(sent..)));
        }
        Ok(FetchResponseFrame { parts, size_bytes })
    }
}

fn write_endpoints(frame: &mut FrameWriter, node_endpoints: &[NodeEndpoint<'_>]) {
    frame.array_length(Some(node_endpoints.len()));
    for endpoint in node_endpoints {
        frame.i32(endpoint.node_id);
        frame.string(endpoint.host);
        frame.i32(endpoint.port);
        frame.nullable_string(endpoint.rack);
        frame.no_tagged_fields();
    }
}

#[cfg(test)]
mod tests;
