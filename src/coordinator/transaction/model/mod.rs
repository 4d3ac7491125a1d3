//! An exhaustive model of transactions: the machine itself, a log that can lose its end, partitions, clients, and a
//! network that loses, repeats and delays, taken through every order of steps.
//!
//! The state of the coordinator is the production [`TransactionMachine`]; only times are left out, so that the states are
//! finite. A search visits every state that can be reached (`search`) and checks each for what must never be:
//! - one transaction committed here and aborted there;
//! - a transaction that was acknowledged as committed and is aborted, or hangs when its coordinator is done with it;
//! - a transaction committed whose client did not ask for it;
//! - records of a client committed after a newer instance was let in;
//! - records decided by the marker of another transaction;
//! - a decided transaction that is not completed although markers get through;
//! - a request that panics, or is not answered exactly once.
//!
//! That the search would find such states is tested by planting mistakes (`Plant`).

mod client;
mod data;
mod search;
mod world;

#[cfg(test)]
mod tests;

use protocol::types::Now;
use uuid::Uuid;

use self::client::Op;
use super::config::TransactionConfig;
use crate::coordinator::runtime::machine::Cx;

const ID: &str = "t";
const TOPIC: &str = "p";
const TIMEOUT_MS: i32 = 60_000;
/// Later than every other deadline.
pub(super) const EXPIRY_MS: i64 = 1_000_000_000;

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Committed in one partition, aborted in the other.
    Torn,
    /// Aborted, though the client was told that it is committed.
    AcknowledgedAborted,
    /// Open in a partition, though the coordinator is done with it.
    Hanging,
    /// Records of two transactions in one.
    Mixed,
    /// Records of a client that was replaced are committed.
    FencedCommit,
    /// Committed, and its client never asked for it.
    NotAsked,
    /// Decided by the marker of another transaction.
    WrongMarker,
    /// Decided, markers get through, and still not completed.
    Stuck,
    /// Not answered exactly once.
    Unanswered,
}

/// A mistake to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    /// The epoch of a request is taken for the right one.
    NoEpochCheck,
    /// Answers and markers go out before their records are committed.
    AnswersTooEarly,
    /// The result of a marker is taken for one of the present transaction, whichever it belongs to.
    AnyResultCounts,
    /// Batches begin a transaction without being verified.
    NoGuard,
    /// Markers that a coordinator owed when it stopped are not sent by the next.
    NothingAfterLoad,
}

/// How much may go wrong in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    /// The coordinator stops at any point; what was not committed may be lost, and another one starts.
    crashes: u8,
    /// The coordinator loads its log again.
    reloads: u8,
    /// A client gives a request up and sends it again.
    give_ups: u8,
    /// An earlier request arrives again.
    duplicates: u8,
    /// A marker is written twice.
    double_markers: u8,
    /// A marker is refused, or written and not answered.
    failed_markers: u8,
    /// The transaction times out.
    timeouts: u8,
    /// The id is forgotten.
    expiries: u8,
}

/// What is searched.
#[derive(Clone, Debug)]
struct Scenario {
    name: &'static str,
    transaction_version: i16,
    programs: Vec<Vec<Op>>,
    budget: Budget,
    /// The epoch that the id has at the start; `None`: it is not known.
    first_epoch: Option<i16>,
    plant: Option<Plant>,
}

fn config() -> TransactionConfig {
    TransactionConfig {
        transaction_remove_expired_transaction_cleanup_interval_ms: EXPIRY_MS,
        transactional_id_expiration_ms: 1,
        ..TransactionConfig::default()
    }
}

/// Calls with a context at this time.
fn with_cx<R>(
    now_ms: i64,
    wall_ms: i64,
    coordinator_epoch: i32,
    uuid: &mut dyn FnMut() -> Uuid,
    call: impl FnOnce(&mut Cx<'_, TransactionConfig>) -> R,
) -> R {
    let config = config();
    call(&mut Cx {
        now: Now {
            mono_ms: now_ms,
            wall_ms,
        },
        coordinator_epoch,
        config: &config,
        uuid,
        keys_left: 1,
    })
}
