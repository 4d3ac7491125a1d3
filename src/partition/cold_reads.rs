//! Reads that wait for the disk: on the blocking pool, `monedula.cold.read.threads` of them at a time.
//!
//! Invariant: nobody waits for the disk on a thread that serves connections; a turn brings at most what one call asks
//! for, so that readers of old data take turns.

use std::io;
use std::sync::Arc;

use storage::log::read_plan::FileSlice;
use tokio::sync::Semaphore;

use crate::config::broker::BrokerConfig;

/// Bytes behind a slice that the system is asked to read as well, for the next fetch: twice the slice, at most this.
const READ_AHEAD_BYTES: u64 = 2 << 20;
/// Bytes read at a time.
const STEP_BYTES: usize = 64 << 10;

/// The turns of reading from the disk.
#[derive(Debug)]
pub struct ColdReads {
    turns: Arc<Semaphore>,
}

impl ColdReads {
    /// As many at a time as configured.
    pub fn configured(config: &BrokerConfig) -> Self {
        Self::new(usize::try_from(config.monedula_cold_read_threads).unwrap_or(1))
    }

    /// So many reads at a time.
    pub fn new(threads: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(threads.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Does `work`, which may wait for the disk, when it is its turn.
    ///
    /// # Panics
    /// When `work` does.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turns = Arc::clone(&self.turns);
        let turn = turns.acquire_owned().await.expect("never closed");
        let read = tokio::task::spawn_blocking(move || {
            // given back by the thread: a client that goes away does not stop its read
            let _turn = turn;
            work()
        });
        read.await.expect("reads do not panic")
    }

    /// Brings a slice into memory, and lets the system read on behind it.
    ///
    /// # Errors
    /// What the system says.
    pub async fn warm(&self, slice: FileSlice) -> io::Result<()> {
        self.run(move || warm(&slice)).await
    }
}

/// As [`ColdReads::warm`], on a thread that may wait for the disk.
///
/// # Errors
/// What the system says.
pub fn warm(slice: &FileSlice) -> io::Result<()> {
    let length = slice.length as u64;
    let wanted = length + READ_AHEAD_BYTES.min(2 * length);
    if let Err(error) = slice.file.advise_will_need(slice.position, wanted) {
        tracing::debug!(%error, "the system takes no hint");
    }
    let mut buffer = vec![0; STEP_BYTES.min(slice.length)];
    let mut done = 0;
    while done < slice.length {
        let step = buffer.len().min(slice.length - done);
        match slice.file.read_at(&mut buffer[..step], slice.position + done as u64)? {
            // who sends it will find the end too
            0 => break,
            read => done += read,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use storage::io::file_system::{FileSystem, OpenMode};
    use storage::io::sim_fs::{Fault, FaultKind, Operation, SimFileSystem};

    use super::*;

    #[tokio::test]
    async fn a_slice_is_read_to_its_end_or_that_of_the_file() {
        let fs = SimFileSystem::new(1);
        let file = fs.open(Path::new("/s"), OpenMode::CreateNew).expect("made");
        file.write_at(&[IoSlice::new(&vec![7; 300_000])], 0).expect("written");
        let slice = |length| FileSlice {
            file: Arc::clone(&file),
            position: 9,
            length,
            recent: false,
        };
        let reads = ColdReads::new(0);
        for length in [1, STEP_BYTES, 200_000, 900_000] {
            reads.warm(slice(length)).await.expect("read");
        }
        let fault = Fault {
            operation: Some(Operation::Read),
            after: 2,
            kind: FaultKind::InputOutput,
            lasting: false,
        };
        fs.inject(fault);
        assert!(reads.warm(slice(200_000)).await.is_err(), "the third step fails");
        assert_eq!(reads.run(|| 5).await, 5, "the turn was given back");
    }
}
