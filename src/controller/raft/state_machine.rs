//! The replicated state machine: applies committed entries to the metadata image and announces each new image.
//!
//! Invariants: an image is announced after all entries of one call are applied to it; the state lives in memory and is
//! rebuilt from the newest snapshot and the log behind it; a snapshot is taken of an immutable copy, beside the
//! applying.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use tokio::sync::watch;

use super::snapshot_store::{AppliedState, SnapshotStore};
use super::types::{Entry, LogId, ProposalResult, TypeConfig};
use crate::metadata::apply::apply;
use crate::metadata::image::MetadataImage;

/// See the module.
#[derive(Debug)]
pub struct StateMachine {
    state: AppliedState,
    snapshots: SnapshotStore,
    images: watch::Sender<Arc<MetadataImage>>,
}

impl StateMachine {
    /// Starts where the newest snapshot ends, or with nothing.
    pub fn new(snapshots: SnapshotStore, newest: Option<AppliedState>) -> Self {
        let state = newest.unwrap_or_default();
        let images = watch::Sender::new(Arc::new(state.image.clone()));
        Self {
            state,
            snapshots,
            images,
        }
    }

    /// Images as they are applied, newest only.
    pub fn images(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.images.subscribe()
    }

    fn apply_entry(&mut self, entry: Entry) -> ProposalResult {
        let index = entry.log_id.index;
        self.state.last_applied = Some(entry.log_id);
        self.state.image.applied_index = index;
        let mut results = Vec::new();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(proposal) => {
                let image = &mut self.state.image;
                results.extend(proposal.commands.iter().map(|command| apply(image, index, command)));
            }
            EntryPayload::Membership(membership) => {
                self.state.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        ProposalResult { results }
    }

    fn announce(&self) {
        self.images.send_replace(Arc::new(self.state.image.clone()));
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        Ok((self.state.last_applied, self.state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<ProposalResult>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let results = entries.into_iter().map(|entry| self.apply_entry(entry)).collect();
        self.announce();
        Ok(results)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            state: self.state.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let failed = |error: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), error);
        let state = AppliedState::decode(snapshot.get_ref()).map_err(|error| failed(AnyError::new(&error)))?;
        write(&self.snapshots, &state).await.map_err(failed)?;
        self.state = state;
        self.announce();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError<u64>> {
        let snapshots = self.snapshots.clone();
        let read = tokio::task::spawn_blocking(move || snapshots.read()).await;
        let failed = |error: AnyError| StorageIOError::read_snapshot(None, error);
        let state = read
            .map_err(|error| failed(AnyError::new(&error)))?
            .map_err(|error| failed(AnyError::new(&error)))?;
        Ok(state.map(|state| snapshot_of(&state)))
    }
}

/// Takes one snapshot.
#[derive(Debug)]
pub struct SnapshotBuilder {
    state: AppliedState,
    snapshots: SnapshotStore,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<u64>> {
        let written = write(&self.snapshots, &self.state).await;
        written.map_err(|error| StorageIOError::write_snapshot(Some(self.state.meta().signature()), error))?;
        Ok(snapshot_of(&self.state))
    }
}

fn snapshot_of(state: &AppliedState) -> Snapshot<TypeConfig> {
    Snapshot {
        meta: state.meta(),
        snapshot: Box::new(Cursor::new(state.encode())),
    }
}

/// Writes a snapshot on a thread that may wait for the disk.
async fn write(snapshots: &SnapshotStore, state: &AppliedState) -> Result<(), AnyError> {
    let (snapshots, state) = (snapshots.clone(), state.clone());
    let written = tokio::task::spawn_blocking(move || snapshots.write(&state)).await;
    written
        .map_err(|error| AnyError::new(&error))?
        .map_err(|error| AnyError::new(&error))
}
