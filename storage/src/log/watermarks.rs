//! Owns the four offsets that bound what is visible of a log, and the cell through which readers see them without a
//! lock.
//!
//! Invariant: `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`. A reader always sees four
//! values that were
//! valid at one moment, never a mixture. One writer at a time (the owner of the log, by `&mut`); any number of readers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

/// The bounds of a log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// End (exclusive) of what a `read_committed` reader may see.
    pub last_stable_offset: i64,
    /// End (exclusive) of what is committed.
    pub high_watermark: i64,
    /// Offset that the next record gets.
    pub log_end_offset: i64,
}

impl Watermarks {
    /// Bounds from offsets of unknown quality (checkpoints): each is pressed between its neighbours, the log end and
    /// start win.
    #[must_use]
    pub fn clamped(
        log_start_offset: i64,
        high_watermark: i64,
        log_end_offset: i64,
        first_unstable: Option<i64>,
    ) -> Self {
        assert!(
            log_start_offset <= log_end_offset,
            "log start {log_start_offset} behind log end {log_end_offset}"
        );
        let high_watermark = high_watermark.clamp(log_start_offset, log_end_offset);
        let last_stable_offset = first_unstable
            .unwrap_or(high_watermark)
            .clamp(log_start_offset, high_watermark);
        Self {
            log_start_offset,
            last_stable_offset,
            high_watermark,
            log_end_offset,
        }
    }

    fn assert_ordered(&self) {
        assert!(
            self.log_start_offset <= self.last_stable_offset
                && self.last_stable_offset <= self.high_watermark
                && self.high_watermark <= self.log_end_offset,
            "bounds of the log out of order: {self:?}"
        );
    }
}

/// The published [`Watermarks`]: a sequence lock made of atomics. Reading costs five loads and never waits for disk or
/// a lock.
#[derive(Debug)]
pub(crate) struct WatermarkCell {
    /// Odd while a store is under way.
    version: AtomicU64,
    values: [AtomicI64; 4],
}

impl WatermarkCell {
    pub(crate) fn new(marks: Watermarks) -> Self {
        marks.assert_ordered();
        Self {
            version: AtomicU64::new(0),
            values: as_array(marks).map(AtomicI64::new),
        }
    }

    /// The bounds as last published.
    pub(crate) fn load(&self) -> Watermarks {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 0 {
                let [log_start_offset, last_stable_offset, high_watermark, log_end_offset] =
                    [0, 1, 2, 3].map(|i: usize| self.values[i].load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return Watermarks {
                        log_start_offset,
                        last_stable_offset,
                        high_watermark,
                        log_end_offset,
                    };
                }
            }
            std::hint::spin_loop();
        }
    }

    /// Publishes new bounds. Must be called by the log's one writer only.
    pub(crate) fn store(&self, marks: Watermarks) {
        marks.assert_ordered();
        let version = self.version.load(Ordering::Relaxed);
        assert!(version & 1 == 0, "two writers publish bounds of one log");
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (cell, value) in self.values.iter().zip(as_array(marks)) {
            cell.store(value, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }
}

fn as_array(marks: Watermarks) -> [i64; 4] {
    [
        marks.log_start_offset,
        marks.last_stable_offset,
        marks.high_watermark,
        marks.log_end_offset,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamps_what_a_checkpoint_said() {
        let marks = Watermarks::clamped(10, 5, 20, None);
        assert_eq!(
            marks,
            Watermarks {
                log_start_offset: 10,
                last_stable_offset: 10,
                high_watermark: 10,
                log_end_offset: 20
            }
        );
        assert_eq!(Watermarks::clamped(10, 99, 20, Some(15)).last_stable_offset, 15);
        assert_eq!(Watermarks::clamped(10, 99, 20, Some(15)).high_watermark, 20);
        assert_eq!(Watermarks::clamped(10, 12, 20, Some(3)).last_stable_offset, 10);
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn refuses_a_high_watermark_behind_the_end() {
        WatermarkCell::new(Watermarks {
            log_start_offset: 0,
            last_stable_offset: 0,
            high_watermark: 2,
            log_end_offset: 1,
        });
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let at = |n: i64| Watermarks {
            log_start_offset: n,
            last_stable_offset: n + 1,
            high_watermark: n + 2,
            log_end_offset: n + 3,
        };
        let cell = WatermarkCell::new(at(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 20_000 {
                        let seen = cell.load();
                        assert_eq!(seen, at(seen.log_start_offset));
                        assert!(seen.log_start_offset >= last);
                        last = seen.log_start_offset;
                    }
                });
            }
            for n in 1..=20_000 {
                cell.store(at(n));
            }
        });
    }
}
