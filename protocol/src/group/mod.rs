//! The bytes that consumers exchange through the classic group protocol (protocol type "consumer").
//!
//! To a broker these are opaque but for three uses: which topics a group reads, converting a group to the new protocol
//! and back, and tools that show assignments. They come from many client libraries, so reading is tolerant: a version
//! newer than ours is read as far as we know it, and bytes behind the known fields are ignored.
//! Invariants: reading never panics, and allocates no more than the bytes at hand can fill.
//! Sources: Kafka's `ConsumerProtocol`, `ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`.

mod assignment;
mod subscription;
mod wire;

pub use assignment::ConsumerProtocolAssignment;
pub use subscription::ConsumerProtocolSubscription;

/// The newest version of both formats that is known here.
pub const CONSUMER_PROTOCOL_MAX_VERSION: i16 = 3;

/// A topic and some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic's name.
    pub topic: String,
    /// Partition indexes, in the order in which they came.
    pub partitions: Vec<i32>,
}

/// Why bytes are no subscription or assignment, or cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumerProtocolError {
    /// The bytes end within a field, or a length or count is not possible.
    #[error("malformed consumer protocol data: {field}")]
    Malformed {
        /// The field at fault.
        field: &'static str,
    },
    /// A negative version.
    #[error("unsupported consumer protocol version {version}")]
    UnsupportedVersion {
        /// The version found.
        version: i16,
    },
    /// A string or list that does not fit its length field.
    #[error("{field} is too long for the consumer protocol")]
    TooLong {
        /// The field at fault.
        field: &'static str,
    },
}

/// The version in front of a subscription or assignment, `None` if there is none or it is negative.
pub fn consumer_protocol_version(bytes: &[u8]) -> Option<i16> {
    wire::Reader::new(bytes).version().ok()
}

#[cfg(test)]
mod tests;
