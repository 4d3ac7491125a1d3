//! Why a broker does not start.
//!
//! Invariant: every variant is one sentence that says what to do.

use std::io;

use storage::error::StorageError;

use crate::controller::raft::OpenError;

/// Why the broker does not start; one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be used.
    #[error(
        "cannot listen on {listener}: {source}; end the other program or choose another port with --override listeners=PLAINTEXT://127.0.0.1:PORT"
    )]
    Bind {
        /// The listener as configured.
        listener: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A log directory cannot be used.
    #[error(transparent)]
    LogDir(#[from] StorageError),
    /// The metadata log cannot be used.
    #[error(transparent)]
    Metadata(#[from] OpenError),
    /// The log directories do not belong together.
    #[error(
        "the log directories {first} and {second} belong to different clusters; name the directories of one cluster in log.dirs"
    )]
    MixedClusters {
        /// One.
        first: String,
        /// Another.
        second: String,
    },
    /// A directory that was in use is not among the log directories.
    #[error(
        "the log directory with directory.id {0} is missing: mount it or name it in log.dirs again; to give up what it holds, remove its line from {1}"
    )]
    MissingDir(String, String),
    /// The internal topics cannot be made.
    #[error("cannot create the topic {0}: {1}")]
    InternalTopic(&'static str, String),
}
