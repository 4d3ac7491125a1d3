//! The load under which exactly once has to hold: stock clients in processes of their own, and what is done to them and to the
//! broker meanwhile.
//!
//! A [`round`] has topics of its own and ends with everything healed, all transactions ended and every record read once more,
//! so that its history can be checked and forgotten: memory and disk do not grow with the length of a run. Broker, producers'
//! transactional ids and the log of the coordinators go on from round to round.
//!
//! - `target` is the broker, `crew` the clients, `worker` one client process (`workers/*.py`), `generator` what clients do;
//! - `nemesis` kills, pauses and restarts; clients that are to come back as zombies stop themselves in mid-transaction
//!   (`crew`), since only they know when that is;
//! - `recorder` writes the history, which `checker` reads.
//!
//! **Invariants:** everything random comes from one seed, though threads make the order of events their own; an outcome that
//! nobody knows is written down as such, and the client is not used any more.

pub mod clock;
pub mod crew;
pub mod generator;
pub mod nemesis;
pub mod random;
pub mod recorder;
pub mod round;
pub mod target;
pub mod worker;

use std::env;

use crate::client::{Client, Unavailable};

/// The libraries whose clients make the load, installed: the newest of two. An error says why they cannot be had.
///
/// # Panics
/// Where `CI=true` is set and one could be installed, but is not.
pub fn libraries() -> Result<Vec<Client>, Unavailable> {
    let known = Client::all();
    let mut libraries = Vec::new();
    for (name, version) in [("confluent-kafka", "2.16.1"), ("kafka-python", "3.0.12")] {
        let library = known
            .iter()
            .find(|client| client.name == name && client.version == version);
        let library = library.unwrap_or_else(|| panic!("clients.txt lacks {name} {version}"));
        if let Err(why) = library.prepare() {
            let required = env::var("CI").is_ok_and(|value| value == "true");
            assert!(!required || matches!(why, Unavailable::Unsupported(_)), "{why}");
            return Err(why);
        }
        libraries.push(library.clone());
    }
    Ok(libraries)
}
