//! Tasks that run as long as the broker does.
//!
//! Invariant: each ends when the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::broker::BrokerConfig;
use crate::controller::raft::RaftMetadataLog;
use crate::partition::hosting::Hosting;

pub(super) async fn checkpoint_regularly(
    hosting: Hosting,
    config: Arc<BrokerConfig>,
    mut stopped: watch::Receiver<bool>,
) {
    let interval_ms = u64::try_from(config.log_flush_offset_checkpoint_interval_ms)
        .unwrap_or(0)
        .max(1_000);
    let mut interval = tokio::time::interval(Duration::from_millis(interval_ms));
    interval.tick().await;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = interval.tick() => {}
        }
        let hosting = hosting.clone();
        let written = tokio::task::spawn_blocking(move || hosting.checkpoint()).await;
        written.expect("checkpoints do not panic");
    }
}

/// Without its metadata log a broker cannot keep its promises: it ends, and a restart tells why.
pub(super) async fn end_with_the_metadata_log(metadata: Arc<RaftMetadataLog>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        // a stop shuts the metadata log down too, which is no failure
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => {}
        why = metadata.failed() => panic!("the metadata log has failed: {why}"),
    }
}
