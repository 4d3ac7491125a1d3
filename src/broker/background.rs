//! Tasks that run as long as the broker does.
//!
//! Invariant: each ends when the broker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::config::broker::BrokerConfig;
use crate::controller::raft::RaftMetadataLog;
use crate::partition::hosting::Hosting;

/// Checkpoints are not written more often, whatever the configuration says.
const SHORTEST_CHECKPOINT: Duration = Duration::from_secs(1);
/// Between two turns of unlinking files: other work on the disk goes first.
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// Starts them all, on the runtime of the caller.
pub(super) fn spawn(
    hosting: &Hosting,
    config: &Arc<BrokerConfig>,
    metadata: &Arc<RaftMetadataLog>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let parts = || (hosting.clone(), Arc::clone(config), stopped.clone());
    let ((hosting_1, config_1, stopped_1), (hosting_2, config_2, stopped_2)) = (parts(), parts());
    let (hosting_3, config_3, stopped_3) = parts();
    vec![
        tokio::spawn(checkpoint_regularly(hosting_1, config_1, stopped_1)),
        tokio::spawn(checkpoint_log_starts_regularly(hosting_2, config_2, stopped_2)),
        tokio::spawn(retain_regularly(hosting_3, config_3, stopped_3)),
        tokio::spawn(end_with_the_metadata_log(Arc::clone(metadata), stopped.clone())),
    ]
}

async fn checkpoint_regularly(hosting: Hosting, config: Arc<BrokerConfig>, mut stopped: watch::Receiver<bool>) {
    let period = milliseconds(config.log_flush_offset_checkpoint_interval_ms.into()).max(SHORTEST_CHECKPOINT);
    let mut interval = tokio::time::interval(period);
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

async fn checkpoint_log_starts_regularly(
    hosting: Hosting,
    config: Arc<BrokerConfig>,
    mut stopped: watch::Receiver<bool>,
) {
    let period = milliseconds(config.log_flush_start_offset_checkpoint_interval_ms.into()).max(SHORTEST_CHECKPOINT);
    let mut interval = from_then_on(&config, period);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = interval.tick() => {}
        }
        let hosting = hosting.clone();
        let written = tokio::task::spawn_blocking(move || hosting.checkpoint_log_starts()).await;
        written.expect("checkpoints do not panic");
    }
}

/// Looks for old segments, and lets their files vanish a few at a time.
async fn retain_regularly(hosting: Hosting, config: Arc<BrokerConfig>, mut stopped: watch::Receiver<bool>) {
    let mut looks = from_then_on(&config, milliseconds(config.log_retention_check_interval_ms));
    loop {
        let next_removal = hosting
            .next_removal_in_ms()
            .map(|ms| Duration::from_millis(ms).max(REMOVAL_PAUSE));
        let removal_is_due = async {
            match next_removal {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        let is_look = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = looks.tick() => true,
            () = removal_is_due => false,
        };
        let hosting = hosting.clone();
        let work = move || {
            if is_look {
                hosting.retain();
            } else {
                hosting.remove_deleted_files();
            }
        };
        tokio::task::spawn_blocking(work)
            .await
            .expect("retention does not panic");
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Ticks once per period, for the first time when the broker has come to rest. A tick that comes late moves all others.
fn from_then_on(config: &BrokerConfig, period: Duration) -> Interval {
    let first = Instant::now() + milliseconds(config.log_initial_task_delay_ms);
    let mut interval = tokio::time::interval_at(first, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Without its metadata log a broker cannot keep its promises: it ends, and a restart tells why.
async fn end_with_the_metadata_log(metadata: Arc<RaftMetadataLog>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        // a stop shuts the metadata log down too, which is no failure
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => {}
        why = metadata.failed() => panic!("the metadata log has failed: {why}"),
    }
}
