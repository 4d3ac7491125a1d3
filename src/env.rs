//! The only door to the outside: clock, entropy, file system. Built once by the composition root and handed down.
//!
//! Invariants: `mono_ms` never falls; code that decides something by time or chance gets the value as an argument,
//! so that a test with [`ManualClock`] and [`SeededEntropy`] repeats exactly.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::types::Now;
use storage::io::file_system::FileSystem;
use uuid::Uuid;

/// Clock, entropy and file system. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    fs: Arc<dyn FileSystem>,
}

impl Env {
    /// Puts the three doors together.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, fs: Arc<dyn FileSystem>) -> Self {
        Self { clock, entropy, fs }
    }

    /// The system's clock and entropy over the given file system.
    pub fn system(fs: Arc<dyn FileSystem>) -> Self {
        Self::new(Arc::new(SystemClock::default()), Arc::new(SystemEntropy), fs)
    }

    /// The time; read it once per event and pass it on.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// A fresh random (version 4) UUID; never nil.
    pub fn uuid(&self) -> Uuid {
        self.entropy.uuid()
    }

    /// The disk.
    pub fn fs(&self) -> Arc<dyn FileSystem> {
        Arc::clone(&self.fs)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Now;
}

/// Where ids that nobody can guess come from.
pub trait Entropy: Send + Sync + Debug {
    /// A fresh UUID, never nil.
    fn uuid(&self) -> Uuid;
}

/// The system's clocks: monotonic since this value was made, wall since the Unix epoch.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = self.start.elapsed().as_millis();
        // A wall clock before 1970 is a misconfigured machine; 0 keeps every computation valid.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        Now {
            mono_ms: i64::try_from(mono).expect("a process does not live 292 million years"),
            wall_ms: i64::try_from(wall).unwrap_or(i64::MAX),
        }
    }
}

/// The operating system's entropy.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// A clock that moves only when told: for tests and simulation.
#[derive(Debug)]
pub struct ManualClock {
    mono_ms: AtomicI64,
    wall_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `wall_ms` and a monotonic time of 0.
    pub fn new(wall_ms: i64) -> Self {
        Self {
            mono_ms: AtomicI64::new(0),
            wall_ms: AtomicI64::new(wall_ms),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, ms: i64) {
        assert!(ms >= 0, "the monotonic clock never goes back");
        self.mono_ms.fetch_add(ms, Ordering::SeqCst);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, in any direction, as an administrator or NTP would.
    pub fn set_wall(&self, wall_ms: i64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now {
            mono_ms: self.mono_ms.load(Ordering::SeqCst),
            wall_ms: self.wall_ms.load(Ordering::SeqCst),
        }
    }
}

/// Entropy that repeats for a seed: for tests and simulation.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// SplitMix64: an add per draw, so that concurrent draws need no lock.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(1_000);
        assert_eq!(
            clock.now(),
            Now {
                mono_ms: 0,
                wall_ms: 1_000
            }
        );
        clock.advance(7);
        clock.set_wall(5);
        assert_eq!(clock.now(), Now { mono_ms: 7, wall_ms: 5 });
    }

    #[test]
    fn seeded_uuids_repeat_and_differ_among_themselves() {
        let draw = |seed| {
            let entropy = SeededEntropy::new(seed);
            (0..100).map(|_| entropy.uuid()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let distinct: std::collections::BTreeSet<_> = draw(3).into_iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(distinct.iter().all(|id| id.get_version_num() == 4));
    }

    #[test]
    fn the_system_clock_is_after_2020_and_its_monotonic_side_does_not_fall() {
        let clock = SystemClock::default();
        let first = clock.now();
        let second = clock.now();
        assert!(first.wall_ms > 1_577_836_800_000);
        assert!(second.mono_ms >= first.mono_ms);
    }
}
