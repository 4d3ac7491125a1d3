//! The newest snapshot of the state machine, `<log dir>/__cluster_metadata-0/image.snapshot`.
//!
//! Invariants: replaced as a whole and durable before it is announced; never replaced by an older one; a damaged file
//! is refused by name, because the log in front of it is gone.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::{BasicNode, SnapshotMeta, StoredMembership};
use storage::checkpoint::{read_checked, write_checked};
use storage::error::StorageError;
use storage::io::file_system::FileSystem;

use super::types::{LogId, decode_log_id, decode_stored_membership, encode_log_id, encode_stored_membership};
use crate::metadata::codec::{CodecError, Reader, Writer};
use crate::metadata::image::{MetadataImage, snapshot};

const FORMAT_VERSION: u32 = 1;

/// Where the state machine stands: what a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppliedState {
    /// The newest applied entry.
    pub last_applied: Option<LogId>,
    /// The newest applied membership.
    pub membership: StoredMembership<u64, BasicNode>,
    /// The metadata.
    pub image: MetadataImage,
}

impl AppliedState {
    /// openraft's description of a snapshot of this state.
    pub fn meta(&self) -> SnapshotMeta<u64, BasicNode> {
        let at = self.last_applied.map_or_else(
            || "empty".to_owned(),
            |id| format!("{}-{}", id.leader_id.term, id.index),
        );
        SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
            snapshot_id: at,
        }
    }

    /// The durable form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.option(self.last_applied.as_ref(), |out, id| encode_log_id(id, out));
        encode_stored_membership(&self.membership, &mut out);
        snapshot::encode(&self.image, &mut out);
        out.into_bytes()
    }

    /// Reads the durable form.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let state = Self {
            last_applied: input.option(decode_log_id)?,
            membership: decode_stored_membership(&mut input)?,
            image: snapshot::decode(&mut input)?,
        };
        input.finish()?;
        Ok(state)
    }
}

/// Handle to the file; clones share it.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    /// What the file holds; the lock is held while it is replaced.
    newest: Arc<Mutex<Option<LogId>>>,
}

impl SnapshotStore {
    /// Opens the store and reads the snapshot, if there is one.
    pub fn open(fs: Arc<dyn FileSystem>, path: PathBuf) -> Result<(Self, Option<AppliedState>), StorageError> {
        let store = Self {
            fs,
            path,
            newest: Arc::default(),
        };
        let state = store.read()?;
        *lock(&store.newest) = state.as_ref().and_then(|state| state.last_applied);
        Ok((store, state))
    }

    /// Reads the snapshot from the disk.
    pub fn read(&self) -> Result<Option<AppliedState>, StorageError> {
        let Some(file) = read_checked(self.fs.as_ref(), &self.path)? else {
            return Ok(None);
        };
        let corrupt = |why: String| StorageError::corrupt(&self.path, 0, why);
        if file.version != FORMAT_VERSION {
            return Err(corrupt(format!(
                "version {} is newer than this program knows",
                file.version
            )));
        }
        AppliedState::decode(&file.payload)
            .map(Some)
            .map_err(|error| corrupt(error.to_string()))
    }

    /// Replaces the snapshot, unless it is newer than this one.
    pub fn write(&self, state: &AppliedState) -> Result<(), StorageError> {
        let mut newest = lock(&self.newest);
        if newest.is_some() && *newest >= state.last_applied {
            return Ok(());
        }
        write_checked(self.fs.as_ref(), &self.path, FORMAT_VERSION, &state.encode())?;
        *newest = state.last_applied;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Changed only after the file was replaced, so it is right even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
