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
