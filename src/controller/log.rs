//! The narrow door to the replicated metadata log: a batch of commands goes in, typed results come out.
//!
//! Two implementations: [`super::raft`] (openraft, one voter or more) and [`super::memory_log`] (a register for tests
//! and simulation). Invariant: when a proposal succeeds, its commands are durable, applied, and in every later image.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use tokio::sync::watch;
use uuid::Uuid;

use crate::metadata::command::{Command, CommandResult};
use crate::metadata::image::MetadataImage;

/// Bytes of commands that one entry may have: bounds what a restart reads at once.
pub const MAX_ENTRY_BYTES: usize = 32 << 20;

/// A boxed future that borrows from its maker.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// See the module.
pub trait MetadataLog: Send + Sync + Debug {
    /// Appends the commands as one entry and waits until it is applied.
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Proposed, ProposeError>>;

    /// Images as they are applied, newest only.
    fn images(&self) -> watch::Receiver<Arc<MetadataImage>>;

    /// Where the log stands.
    fn quorum(&self) -> QuorumState;

    /// Stops; proposals fail from now on. What was acknowledged is durable.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Where the log stands, as its leader sees it. The only voter is this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumState {
    /// Rises with every election.
    pub leader_epoch: u64,
    /// First index that is not known to be committed.
    pub high_watermark: u64,
    /// Index behind the newest entry.
    pub log_end_offset: u64,
    /// The log directory that holds the log.
    pub directory_id: Uuid,
}

/// A proposal that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Where the commands stand; an image with this `applied_index` contains them.
    pub index: u64,
    /// One result per command, in order.
    pub results: Vec<CommandResult>,
}

/// Why a proposal was not acknowledged. Only `Stopped` leaves open whether it will take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another voter leads.
    #[error("this node does not lead the metadata log")]
    NotLeader,
    /// More bytes than one entry may have.
    #[error("a change of {bytes} bytes is larger than the {limit} bytes that one metadata entry may have")]
    TooLarge {
        /// Of the commands.
        bytes: usize,
        /// That an entry may have.
        limit: usize,
    },
    /// The log is closed or its disk failed.
    #[error("the metadata log has stopped: {0}")]
    Stopped(String),
}

impl From<&ProposeError> for ErrorCode {
    fn from(error: &ProposeError) -> Self {
        match error {
            ProposeError::NotLeader => Self::NotController,
            ProposeError::TooLarge { .. } => Self::PolicyViolation,
            ProposeError::Stopped(_) => Self::UnknownServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_propose_error_has_its_code() {
        for (error, code) in [
            (ProposeError::NotLeader, 41),
            (ProposeError::TooLarge { bytes: 2, limit: 1 }, 44),
            (ProposeError::Stopped(String::new()), -1),
        ] {
            assert_eq!(ErrorCode::from(&error).code(), code);
        }
    }
}
