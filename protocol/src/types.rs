//! Names for the integers of the protocol, and the time that pure code is handed.
//!
//! Invariant: nothing in this crate reads a clock; whoever decides something by time takes a [`Now`].

/// Position of a record in a partition's log.
pub type Offset = i64;
/// Number of the leader's term of a partition; -1 = none.
pub type LeaderEpoch = i32;
/// Id of an idempotent or transactional producer; -1 = none.
pub type ProducerId = i64;
/// Incarnation of a producer id; -1 = none.
pub type ProducerEpoch = i16;
/// `node.id` of a broker; -1 = none.
pub type BrokerId = i32;
/// Index of a partition in its topic.
pub type PartitionIndex = i32;
/// Id of a topic; the nil UUID = none.
pub type TopicId = uuid::Uuid;

/// The time, read once per event and handed to every pure call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic milliseconds since an arbitrary start: for deadlines.
    pub mono_ms: i64,
    /// Milliseconds since the Unix epoch: for timestamps that users see.
    pub wall_ms: i64,
}
