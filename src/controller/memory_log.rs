//! A metadata log without disk and without peers: a register that applies what it is given.
//!
//! Invariant: commands pass through the durable codec, so that what tests and simulations run on is what a restart
//! would read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::log::{BoxFuture, MetadataLog, ProposeError, Proposed, QuorumState};
use crate::metadata::apply::apply;
use crate::metadata::codec::{Reader, Writer};
use crate::metadata::command::Command;
use crate::metadata::command_codec::{decode_batch, encode_batch};
use crate::metadata::image::MetadataImage;

/// See the module.
#[derive(Debug)]
pub struct MemoryMetadataLog {
    state: Mutex<State>,
    images: watch::Sender<Arc<MetadataImage>>,
}

#[derive(Debug, Default)]
struct State {
    image: MetadataImage,
    proposals: usize,
    closed: bool,
}

impl Default for MemoryMetadataLog {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            images: watch::Sender::new(Arc::default()),
        }
    }
}

impl MemoryMetadataLog {
    /// How many proposals were made.
    pub fn proposals(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).proposals
    }

    fn propose_now(&self, commands: &[Command]) -> Result<Proposed, ProposeError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(ProposeError::Stopped("closed".to_owned()));
        }
        let mut bytes = Writer::new();
        encode_batch(commands, &mut bytes);
        let commands = decode_batch(&mut Reader::new(&bytes.into_bytes())).expect("batches round-trip");
        let index = state.image.applied_index + 1;
        let results = commands
            .iter()
            .map(|command| apply(&mut state.image, index, command))
            .collect();
        state.image.applied_index = index;
        state.proposals += 1;
        self.images.send_replace(Arc::new(state.image.clone()));
        Ok(Proposed { index, results })
    }
}

impl MetadataLog for MemoryMetadataLog {
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Proposed, ProposeError>> {
        Box::pin(async move { self.propose_now(&commands) })
    }

    fn images(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.images.subscribe()
    }

    fn quorum(&self) -> QuorumState {
        let end = self.images.borrow().applied_index + 1;
        QuorumState {
            leader_epoch: 1,
            high_watermark: end,
            log_end_offset: end,
            directory_id: Uuid::nil(),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::apply::tests::{creation_of, start_of};

    #[tokio::test]
    async fn proposals_are_applied_and_seen_until_it_is_closed() {
        let log = MemoryMetadataLog::default();
        let proposed = log
            .propose(vec![start_of(1, 1, true), creation_of("t", 2, 1)])
            .await
            .expect("open");
        assert_eq!((proposed.index, proposed.results.len()), (1, 2));
        assert!(log.images().borrow().topic("t").is_some());
        log.close().await;
        assert!(matches!(log.propose(Vec::new()).await, Err(ProposeError::Stopped(_))));
        assert_eq!(log.proposals(), 1);
    }
}
