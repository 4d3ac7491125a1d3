//! When the state of a shard is written to its log again, and when what lies before is given up.
//!
//! Invariants: a pass begins only when there is more to give up than [`GARBAGE_FACTOR`] times what it writes, so that
//! rewriting never costs more than a part of what the clients write; the log begins later only when the whole pass is
//! committed and safe on the disk; after a record could not be written the pass counts for nothing. Pure: time comes in.

use super::machine::HardState;

/// How much larger than the state the rest of the log must be.
const GARBAGE_FACTOR: u64 = 3;
/// How often it is asked whether a finished pass is safe on the disk.
const SAFETY_CHECK_MS: i64 = 250;
/// Pause after a pass that failed; it doubles with every failure up to the longest.
const PAUSE_MS: i64 = 30_000;
const LONGEST_PAUSE_MS: i64 = 64 * PAUSE_MS;

/// The rewriting of one shard.
#[derive(Debug)]
pub(super) struct Rewriting<S: HardState> {
    min_garbage_bytes: u64,
    /// Length of the log, as far as it is read at the next start.
    log_bytes: u64,
    /// How much of it the state takes: what the last pass wrote, or an estimate.
    state_bytes: u64,
    /// How long the next pass that fails keeps others waiting.
    pause_ms: i64,
    phase: Phase<S>,
}

#[derive(Debug)]
enum Phase<S: HardState> {
    /// Never: the log holds what is not understood here, and would be lost.
    Off,
    /// Not before this time.
    Idle { not_before_ms: i64 },
    /// A pass is under way.
    Writing {
        rewrite: S::Rewrite,
        log_bytes_before: u64,
        written_bytes: u64,
    },
    /// Everything is written; when safe, the log may begin at `needed_from`.
    Written {
        needed_from: i64,
        end_offset: i64,
        log_bytes_before: u64,
        next_check_ms: i64,
    },
}

impl<S: HardState> Rewriting<S> {
    /// For a log of `log_bytes` whose state takes about `state_bytes`.
    pub(super) fn new(min_garbage_bytes: u64, log_bytes: u64, state_bytes: u64) -> Self {
        Self {
            min_garbage_bytes,
            log_bytes,
            state_bytes,
            pause_ms: PAUSE_MS,
            phase: Phase::Idle {
                not_before_ms: i64::MIN,
            },
        }
    }

    /// For a log that must stay as it is.
    pub(super) fn off() -> Self {
        Self {
            phase: Phase::Off,
            ..Self::new(u64::MAX, 0, 0)
        }
    }

    /// When there is something to do, in monotonic milliseconds; `None`: not before the log has grown.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        match &self.phase {
            Phase::Off => None,
            Phase::Idle { not_before_ms } => self.has_garbage().then_some(*not_before_ms),
            Phase::Writing { .. } => Some(i64::MIN),
            Phase::Written { next_check_ms, .. } => Some(*next_check_ms),
        }
    }

    /// A batch of this size was appended.
    pub(super) fn on_appended(&mut self, size_bytes: u64) {
        self.log_bytes += size_bytes;
    }

    /// A batch could not be appended. Whether it was one of the pass is not asked.
    pub(super) fn on_refused(&mut self, now_ms: i64) {
        if matches!(self.phase, Phase::Writing { .. }) {
            self.phase = Phase::Idle {
                not_before_ms: now_ms + self.pause_ms,
            };
            self.pause_ms = (self.pause_ms * 2).min(LONGEST_PAUSE_MS);
        }
    }

    /// The pass that is under way, or one that begins now because it is time.
    pub(super) fn pass(&mut self, now_ms: i64, log_end_offset: i64) -> Option<&mut S::Rewrite> {
        if matches!(self.phase, Phase::Idle { not_before_ms } if not_before_ms <= now_ms) && self.has_garbage() {
            self.phase = Phase::Writing {
                rewrite: S::begin_rewrite(log_end_offset),
                log_bytes_before: self.log_bytes,
                written_bytes: 0,
            };
        }
        match &mut self.phase {
            Phase::Writing { rewrite, .. } => Some(rewrite),
            _ => None,
        }
    }

    /// The pass wrote so much.
    pub(super) fn on_written(&mut self, size_bytes: u64) {
        if let Phase::Writing { written_bytes, .. } = &mut self.phase {
            *written_bytes += size_bytes;
        }
    }

    /// The pass has ended; all of it stands below `end_offset`.
    pub(super) fn on_end(&mut self, now_ms: i64, end_offset: i64) {
        if let Phase::Writing {
            rewrite,
            log_bytes_before,
            written_bytes,
        } = &self.phase
        {
            self.state_bytes = *written_bytes;
            self.pause_ms = PAUSE_MS;
            self.phase = Phase::Written {
                needed_from: S::needed_from(rewrite),
                end_offset,
                log_bytes_before: *log_bytes_before,
                next_check_ms: now_ms,
            };
        }
    }

    /// Where the log may begin, and up to where it must be safe for that; `None` when there is nothing to ask now.
    pub(super) fn forgettable(&mut self, now_ms: i64) -> Option<(i64, i64)> {
        match &mut self.phase {
            Phase::Written {
                needed_from,
                end_offset,
                next_check_ms,
                ..
            } if *next_check_ms <= now_ms => {
                *next_check_ms = now_ms + SAFETY_CHECK_MS;
                Some((*needed_from, *end_offset))
            }
            _ => None,
        }
    }

    /// The log begins later now.
    pub(super) fn on_forgotten(&mut self) {
        if let Phase::Written { log_bytes_before, .. } = self.phase {
            self.log_bytes -= log_bytes_before;
            self.phase = Phase::Idle {
                not_before_ms: i64::MIN,
            };
        }
    }

    fn has_garbage(&self) -> bool {
        let garbage_bytes = self.log_bytes.saturating_sub(self.state_bytes);
        garbage_bytes >= self.min_garbage_bytes.max(GARBAGE_FACTOR * self.state_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::hard::Hard;

    /// Walks through a pass that writes `state_bytes`.
    fn write(rewriting: &mut Rewriting<Hard>, now_ms: i64, state_bytes: u64) {
        let rewrite = rewriting.pass(now_ms, 100).expect("due");
        assert!(Hard::default().rewrite_next(rewrite, 10, 1_000).is_empty());
        rewriting.on_appended(state_bytes);
        rewriting.on_written(state_bytes);
        rewriting.on_end(now_ms, 150);
    }

    #[test]
    fn a_pass_is_worth_its_cost() {
        for (log_bytes, state_bytes, due) in [
            (999, 0, false),
            (1_000, 0, true),
            (1_200, 300, false),
            (1_300, 300, true),
            (19_999, 5_000, false),
            (20_000, 5_000, true),
        ] {
            let mut rewriting = Rewriting::<Hard>::new(1_000, log_bytes, state_bytes);
            assert_eq!(rewriting.next_deadline().is_some(), due, "{log_bytes} {state_bytes}");
            assert_eq!(rewriting.pass(0, 7).is_some(), due);
        }
        let mut off = Rewriting::<Hard>::off();
        off.on_appended(u64::MAX / 2);
        assert!(off.next_deadline().is_none() && off.pass(0, 7).is_none());
    }

    #[test]
    fn what_lies_before_a_pass_is_given_up_when_the_pass_is_safe() {
        let mut rewriting = Rewriting::<Hard>::new(1_000, 5_000, 0);
        write(&mut rewriting, 10, 400);
        assert!(rewriting.pass(11, 150).is_none(), "one pass at a time");
        assert_eq!(rewriting.forgettable(11), Some((100, 150)));
        assert_eq!(rewriting.forgettable(100), None, "not asked all the time");
        assert_eq!(rewriting.next_deadline(), Some(261));
        assert_eq!(rewriting.forgettable(261), Some((100, 150)));
        rewriting.on_forgotten();
        assert_eq!(rewriting.next_deadline(), None);
        rewriting.on_appended(1_199);
        assert_eq!(rewriting.next_deadline(), None, "1,599 in the log, 400 of it live");
        rewriting.on_appended(1);
        assert!(rewriting.next_deadline().is_some());
    }

    #[test]
    fn a_pass_that_could_not_be_written_counts_for_nothing() {
        let mut rewriting = Rewriting::<Hard>::new(1_000, 5_000, 0);
        assert!(rewriting.pass(10, 100).is_some());
        rewriting.on_refused(20);
        rewriting.on_end(20, 150);
        assert_eq!(rewriting.forgettable(20), None);
        assert_eq!(rewriting.next_deadline(), Some(20 + PAUSE_MS));
        assert!(rewriting.pass(20, 150).is_none());
        assert!(rewriting.pass(20 + PAUSE_MS, 150).is_some(), "later it is tried again");
        for factor in [2, 4, 8, 16, 32, 64, 64, 64] {
            rewriting.on_refused(0);
            assert_eq!(rewriting.next_deadline(), Some(factor * PAUSE_MS));
            assert!(rewriting.pass(factor * PAUSE_MS, 150).is_some());
        }
        rewriting.on_end(0, 150);
        rewriting.on_forgotten();
        rewriting.on_appended(10_000);
        assert!(rewriting.pass(0, 150).is_some());
        rewriting.on_refused(0);
        assert_eq!(
            rewriting.next_deadline(),
            Some(PAUSE_MS),
            "a pass that ended is the last of the failures"
        );
    }
}
