//! Owns where the bytes of a sealed segment's index come from: its file, or memory when the file had to be made again
//! and could not be written.
//!
//! Invariant: both answer alike; memory has nothing to be synced, the index is simply made again when it is needed next.

use std::path::Path;
use std::sync::Arc;

use crate::error::{IoContext, StorageError};
use crate::io::file_system::File;
use crate::io::patience::Patience;
use crate::segment::file::read_exact_at;

/// Content of an index file.
#[derive(Debug)]
pub(crate) enum IndexBytes {
    /// On the disk.
    File(Arc<dyn File>),
    /// Only here.
    Memory(Vec<u8>),
}

impl IndexBytes {
    /// Number of bytes.
    pub(crate) fn len(&self, path: &Path) -> Result<u64, StorageError> {
        match self {
            Self::File(file) => file.len().context("read length of", path),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Fills `buffer` from `position`; fewer bytes are an error.
    pub(crate) fn read(&self, path: &Path, buffer: &mut [u8], position: u64) -> Result<(), StorageError> {
        self.read_with(Patience::Disk, path, buffer, position)
    }

    /// As [`Self::read`], with this patience.
    pub(crate) fn read_with(
        &self,
        patience: Patience,
        path: &Path,
        buffer: &mut [u8],
        position: u64,
    ) -> Result<(), StorageError> {
        match self {
            Self::File(file) => read_exact_at(&patience.of(file.as_ref()), path, buffer, position),
            Self::Memory(bytes) => {
                let from = usize::try_from(position).ok();
                let found = from.and_then(|from| bytes.get(from..)?.get(..buffer.len()));
                let found =
                    found.ok_or_else(|| StorageError::corrupt(path, position, "behind the end of the index"))?;
                buffer.copy_from_slice(found);
                Ok(())
            }
        }
    }

    /// Makes the file durable.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), StorageError> {
        match self {
            Self::File(file) => file.sync_data().context("sync", path),
            Self::Memory(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_like_a_file() {
        let path = Path::new("x.index");
        let bytes = IndexBytes::Memory(vec![1, 2, 3, 4]);
        assert_eq!(bytes.len(path).expect("known"), 4);
        let mut buffer = [0; 2];
        bytes.read(path, &mut buffer, 2).expect("inside");
        assert_eq!(buffer, [3, 4]);
        for position in [3, 4, 5, u64::MAX] {
            let error = bytes.read(path, &mut buffer, position).expect_err("behind the end");
            assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        }
    }
}
