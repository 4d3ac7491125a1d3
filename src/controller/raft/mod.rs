//! The metadata log on openraft: opening (or founding) it, proposing, closing.
//!
//! Founding a cluster of one writes the log that an election of the only voter would have left behind (membership,
//! committed vote, leader's blank entry) together with the first commands as one file, with one sync; openraft then
//! finds itself leader. A restart finds the committed vote and leads at once. No timer runs while there is one voter.
//!
//! Invariants: a directory that held a metadata log is never founded again; a proposal is acknowledged after
//! `fdatasync`; raft id ≠ broker id.

pub mod frame_file;
pub mod log_store;
pub mod network;
pub mod snapshot_store;
pub mod state_machine;
pub mod types;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{ClientWriteError, Fatal, RaftError};
use openraft::{CommittedLeaderId, Config, EntryPayload, Membership, Raft, ServerState, SnapshotPolicy};
use storage::error::{IoContext, StorageError};
use storage::io::file_system::FileSystem;
use tokio::sync::watch;
use uuid::Uuid;

use self::log_store::{FoundLog, LogIdentity, LogStore};
use self::network::NoPeers;
use self::snapshot_store::SnapshotStore;
use self::state_machine::StateMachine;
use self::types::{Entry, LogId, Proposal, TypeConfig, Vote};
use super::log::{BoxFuture, MetadataLog, ProposeError, Proposed, QuorumState};
use crate::metadata::command::{Command, CommandResult, RegisterBroker};
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_name::CLUSTER_METADATA;

const LOG_FILE: &str = "raft.log";
const SNAPSHOT_FILE: &str = "image.snapshot";
/// The founder's raft id; later voters get the index of the entry that adds them, which is larger.
const FOUNDER_RAFT_ID: u64 = 1;
/// Level of behaviour of a new cluster.
const FEATURE_LEVEL: u32 = 1;
/// openraft wakes up now and then even without a timer; with one voter nothing happens then.
const IDLE_WAKE_MS: u64 = 3_600_000;
/// Longer than any disk takes to answer at a start; what is waited for is in memory by then.
const LEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How to open the metadata log.
#[derive(Debug)]
pub struct OpenMetadataLog {
    /// The file system.
    pub fs: Arc<dyn FileSystem>,
    /// The log directory; the metadata log is a directory in it.
    pub log_dir: PathBuf,
    /// The log directory's id.
    pub directory_id: Uuid,
    /// The cluster id in the log directory's `meta.properties`.
    pub cluster_id: String,
    /// Whether the log directory holds nothing that metadata would have to know: then an absent log is founded.
    pub may_found: bool,
    /// This process.
    pub broker: RegisterBroker,
    /// When to take snapshots.
    pub snapshots: SnapshotRules,
}

/// When the log is cut by a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotRules {
    /// After this many entries.
    pub max_entries: u64,
    /// After this many bytes of entries.
    pub max_bytes: u64,
}

impl Default for SnapshotRules {
    /// 5000 entries or 4 MiB: a restart replays them in some milliseconds.
    fn default() -> Self {
        Self {
            max_entries: 5_000,
            max_bytes: 4 << 20,
        }
    }
}

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log is gone, but what it described is there.
    #[error(
        "{} is missing or empty, but the log directory is in use: without it nobody knows which topics the partitions \
         belong to; bring it back from a copy, or empty the log directory to start a new cluster", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The log belongs to another cluster.
    #[error("{} belongs to cluster {found}, the log directory to cluster {expected}", path.display())]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// In the metadata log.
        found: String,
        /// In the log directory.
        expected: String,
    },
    /// The log starts behind the snapshot.
    #[error("{} lacks the entries between the snapshot and its start; bring both back from the same copy", path.display())]
    Gap {
        /// The file.
        path: PathBuf,
    },
    /// openraft refused to start.
    #[error("the metadata log did not start: {0}")]
    Raft(String),
}

/// See the module.
pub struct RaftMetadataLog {
    raft: Raft<TypeConfig>,
    store: LogStore,
    images: watch::Receiver<Arc<MetadataImage>>,
    broker_epoch: i64,
    max_bytes: u64,
    directory_id: Uuid,
}

impl fmt::Debug for RaftMetadataLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftMetadataLog")
            .field("broker_epoch", &self.broker_epoch)
            .finish_non_exhaustive()
    }
}

impl RaftMetadataLog {
    /// Opens or founds the log, becomes its leader and registers this process. Everything that was acknowledged
    /// before is applied when it returns. To be called on the runtime that openraft's tasks shall run on.
    pub async fn open(open: OpenMetadataLog) -> Result<Self, OpenError> {
        let dir = open.log_dir.join(format!("{CLUSTER_METADATA}-0"));
        let log_path = dir.join(LOG_FILE);
        let (snapshots, newest) = SnapshotStore::open(Arc::clone(&open.fs), dir.join(SNAPSHOT_FILE))?;
        let (found, is_new) = match LogStore::open(&open.fs, &log_path)? {
            Some(found) => (found, false),
            None if open.may_found && newest.is_none() => (found_cluster(&open, &dir, &log_path)?, true),
            None => return Err(OpenError::Missing { path: log_path }),
        };
        let FoundLog { store, identity } = found;
        check(
            &open,
            &log_path,
            &store,
            &identity,
            newest.as_ref().and_then(|state| state.last_applied),
        )?;
        let state_machine = StateMachine::new(snapshots, newest);
        let images = state_machine.images();
        let raft = start_raft(identity.raft_id, open.snapshots.max_entries, &store, state_machine).await?;
        let mut log = Self {
            raft,
            store,
            images,
            broker_epoch: -1,
            max_bytes: open.snapshots.max_bytes,
            directory_id: open.directory_id,
        };
        log.broker_epoch = if is_new {
            log.founding_epoch().await?
        } else {
            log.register(open.broker).await?
        };
        Ok(log)
    }

    /// Epoch of this process' registration.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// Waits until openraft has stopped by itself: its disk failed, and the process should end.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        match metrics.wait_for(|metrics| metrics.running_state.is_err()).await {
            Ok(metrics) => metrics
                .running_state
                .as_ref()
                .err()
                .map_or_else(String::new, ToString::to_string),
            Err(_) => "openraft is gone".to_owned(),
        }
    }

    /// The registration stands in the founding file; it is applied as soon as openraft has started.
    async fn founding_epoch(&self) -> Result<i64, OpenError> {
        let last = self.store.last_log_id().map_or(0, |id| id.index);
        let mut images = self.images.clone();
        let applied = images.wait_for(|image| image.applied_index >= last);
        let image = applied
            .await
            .map_err(|_| OpenError::Raft("the state machine is gone".to_owned()))?;
        Ok(image.brokers.iter().next().map_or(-1, |broker| broker.epoch))
    }

    async fn register(&self, broker: RegisterBroker) -> Result<i64, OpenError> {
        let proposed = self.propose_now(vec![Command::RegisterBroker(broker)]).await;
        let proposed = proposed.map_err(|error| OpenError::Raft(error.to_string()))?;
        match proposed.results.as_slice() {
            [CommandResult::BrokerRegistered(Ok(epoch))] => Ok(*epoch),
            other => Err(OpenError::Raft(format!("the registration was refused: {other:?}"))),
        }
    }

    async fn propose_now(&self, commands: Vec<Command>) -> Result<Proposed, ProposeError> {
        let stopped = |why: &dyn fmt::Display| ProposeError::Stopped(why.to_string());
        let written = Box::pin(self.raft.client_write(Proposal { commands }))
            .await
            .map_err(|error| match error {
                RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ProposeError::NotLeader,
                RaftError::APIError(other) => stopped(&other),
                RaftError::Fatal(fatal) => stopped(&fatal),
            })?;
        if self.store.entry_bytes() > self.max_bytes {
            // Fails only when openraft has stopped, which the next proposal tells.
            let _ = self.raft.trigger().snapshot().await;
        }
        Ok(Proposed {
            index: written.log_id.index,
            results: written.data.results,
        })
    }

    async fn close_now(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the metadata log did not stop in order");
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.seal()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the metadata log could not be sealed"),
            Err(error) => tracing::error!(%error, "the metadata log could not be sealed"),
        }
    }
}

impl MetadataLog for RaftMetadataLog {
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Proposed, ProposeError>> {
        Box::pin(self.propose_now(commands))
    }

    fn images(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.images.clone()
    }

    fn quorum(&self) -> QuorumState {
        // What is applied is committed; the applied index is read first, so that it never passes the end.
        let high_watermark = self.images.borrow().applied_index + 1;
        QuorumState {
            leader_epoch: self.store.vote().map_or(0, |vote| vote.leader_id.term),
            high_watermark,
            log_end_offset: self.store.last_log_id().map_or(0, |id| id.index + 1),
            directory_id: self.directory_id,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.close_now())
    }
}

/// Writes the log of a new cluster of one.
fn found_cluster(open: &OpenMetadataLog, dir: &Path, log_path: &Path) -> Result<FoundLog, OpenError> {
    open.fs.create_dir_all(dir).context("create", dir)?;
    open.fs
        .sync_dir(&open.log_dir)
        .context("sync directory", &open.log_dir)?;
    let raft_id = FOUNDER_RAFT_ID;
    let voters = vec![BTreeSet::from([raft_id])];
    let first = vec![
        Command::SetClusterId {
            cluster_id: open.cluster_id.clone(),
            feature_level: FEATURE_LEVEL,
        },
        Command::RegisterBroker(open.broker.clone()),
    ];
    let at = |term, index| LogId::new(CommittedLeaderId::new(term, if term == 0 { 0 } else { raft_id }), index);
    let entries = [
        Entry {
            log_id: at(0, 0),
            payload: EntryPayload::Membership(Membership::new(voters, ())),
        },
        Entry {
            log_id: at(1, 1),
            payload: EntryPayload::Blank,
        },
        Entry {
            log_id: at(1, 2),
            payload: EntryPayload::Normal(Proposal { commands: first }),
        },
    ];
    let identity = LogIdentity {
        cluster_id: open.cluster_id.clone(),
        raft_id,
    };
    let vote = Vote::new_committed(1, raft_id);
    let store = LogStore::create(&open.fs, log_path, identity.clone(), Some(vote), &entries)?;
    tracing::info!(cluster_id = open.cluster_id, "founded a cluster of one");
    Ok(FoundLog { store, identity })
}

/// Refuses a log that does not fit the directory or its snapshot.
fn check(
    open: &OpenMetadataLog,
    path: &Path,
    store: &LogStore,
    identity: &LogIdentity,
    snapshot: Option<LogId>,
) -> Result<(), OpenError> {
    let path = || path.to_path_buf();
    if identity.cluster_id != open.cluster_id {
        let (found, expected) = (identity.cluster_id.clone(), open.cluster_id.clone());
        return Err(OpenError::OtherCluster {
            path: path(),
            found,
            expected,
        });
    }
    if store.last_log_id().is_none() || store.vote().is_none() {
        return Err(OpenError::Missing { path: path() });
    }
    if store.last_purged_log_id() > snapshot {
        return Err(OpenError::Gap { path: path() });
    }
    Ok(())
}

/// Starts openraft and waits until this node leads.
async fn start_raft(
    raft_id: u64,
    max_entries: u64,
    store: &LogStore,
    state_machine: StateMachine,
) -> Result<Raft<TypeConfig>, OpenError> {
    let config = Config {
        cluster_name: CLUSTER_METADATA.to_owned(),
        heartbeat_interval: IDLE_WAKE_MS,
        election_timeout_min: 2 * IDLE_WAKE_MS,
        election_timeout_max: 3 * IDLE_WAKE_MS,
        enable_tick: false,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(max_entries),
        max_in_snapshot_log_to_keep: 0,
        ..Config::default()
    };
    let failed = |error: &dyn fmt::Display| OpenError::Raft(error.to_string());
    let config = Arc::new(config.validate().map_err(|error| failed(&error))?);
    let leads = store.vote() == Some(last_vote_of(store, raft_id));
    let started = Box::pin(Raft::new(raft_id, config, NoPeers, store.clone(), state_machine)).await;
    let raft = started.map_err(|error: Fatal<u64>| failed(&error))?;
    if !leads {
        // The node stopped between casting its vote and winning.
        raft.trigger().elect().await.map_err(|error| failed(&error))?;
    }
    let leader = raft
        .wait(Some(LEAD_TIMEOUT))
        .state(ServerState::Leader, "lead the metadata log")
        .await;
    leader.map_err(|error| failed(&error))?;
    Ok(raft)
}

/// The vote of a node that leads in the term of its vote.
fn last_vote_of(store: &LogStore, raft_id: u64) -> Vote {
    Vote::new_committed(store.vote().map_or(0, |vote| vote.leader_id.term), raft_id)
}

#[cfg(test)]
mod tests;
