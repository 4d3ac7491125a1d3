//! A rate over a sliding window of samples.
//!
//! Invariants: at most one sample more than the window has, oldest first; a sample is forgotten when nothing was
//! recorded in it for the length of the window; the window is taken to be all its full samples long but one, so that a
//! burst at the start is no high rate. Sources: Kafka's `Rate`, `SampledStat`, `QuotaUtils.throttleTime`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;

/// The window of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// `quota.window.num`
    pub samples: i64,
    /// `quota.window.size.seconds`
    pub sample_ms: i64,
}

impl Windows {
    /// From Kafka's configs.
    pub fn new(samples: i32, sample_seconds: i32) -> Self {
        Self {
            samples: i64::from(samples).max(1),
            sample_ms: i64::from(sample_seconds).max(1) * 1_000,
        }
    }

    /// All samples together.
    pub fn length_ms(self) -> i64 {
        self.samples.saturating_mul(self.sample_ms)
    }

    /// What a bound per second allows in all samples together.
    pub fn capacity(self, bound: f64) -> f64 {
        bound * self.length_ms() as f64 / 1_000.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    start_ms: i64,
    last_ms: i64,
    sum: f64,
}

/// What was recorded lately.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: VecDeque<Sample>,
}

impl Rate {
    /// Adds to the sample of this moment.
    pub fn record(&mut self, windows: Windows, value: f64, now_ms: i64) {
        if let Some(sample) = self.samples.back_mut()
            && now_ms - sample.start_ms < windows.sample_ms
        {
            sample.sum += value;
            sample.last_ms = sample.last_ms.max(now_ms);
            return;
        }
        if self.samples.len() as i64 > windows.samples {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            start_ms: now_ms,
            last_ms: now_ms,
            sum: value,
        });
    }

    /// Takes back what the last call of [`Self::record`] added.
    pub fn take_back(&mut self, value: f64) {
        if let Some(sample) = self.samples.back_mut() {
            sample.sum -= value;
        }
    }

    /// Everything in the window.
    pub fn sum(&mut self, windows: Windows, now_ms: i64) -> f64 {
        self.forget(windows, now_ms);
        self.samples.iter().map(|sample| sample.sum).sum()
    }

    /// How long to record nothing until the rate per second is down at the bound; 0 when it is not above.
    pub fn throttle_time_ms(&mut self, windows: Windows, bound: f64, now_ms: i64) -> i64 {
        let sum = self.sum(windows, now_ms);
        let window_ms = self.window_ms(windows, now_ms) as f64;
        let rate = sum / (window_ms / 1_000.0);
        if rate <= bound {
            return 0;
        }
        // the rate O falls to T when the window W grows by X: O * W / (W + X) = T; a cast of a float saturates
        ((rate - bound) / bound * window_ms).round() as i64
    }

    /// How much may be recorded now, so that the whole window holds no more than the bound allows.
    pub fn room(&mut self, windows: Windows, bound: f64, now_ms: i64) -> f64 {
        (windows.capacity(bound) - self.sum(windows, now_ms)).max(0.0)
    }

    /// How long until there is room for `value`: until enough of the oldest samples have left the window. What is above
    /// the window's capacity has room when it is empty.
    pub fn time_to_room_ms(&mut self, windows: Windows, bound: f64, value: f64, now_ms: i64) -> i64 {
        let mut missing = value - self.room(windows, bound, now_ms);
        let mut wait_ms = 0;
        for sample in &self.samples {
            if missing <= 0.0 {
                break;
            }
            missing -= sample.sum;
            wait_ms = (sample.last_ms + windows.length_ms() - now_ms).max(1);
        }
        wait_ms
    }

    fn forget(&mut self, windows: Windows, now_ms: i64) {
        let length_ms = windows.length_ms();
        self.samples.retain(|sample| now_ms - sample.last_ms < length_ms);
    }

    fn window_ms(&self, windows: Windows, now_ms: i64) -> i64 {
        let oldest_ms = self.samples.front().map_or(now_ms, |sample| sample.start_ms);
        let elapsed_ms = (now_ms - oldest_ms).max(0);
        let missing = (windows.samples - 1 - elapsed_ms / windows.sample_ms).max(0);
        (elapsed_ms + missing.saturating_mul(windows.sample_ms)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KAFKAS: Windows = Windows {
        samples: 11,
        sample_ms: 1_000,
    };

    /// The numbers of Kafka's `ClientQuotaManagerTest`: 500 a second, 11 samples of a second.
    #[test]
    fn waits_are_those_of_kafka() {
        let mut rate = Rate::default();
        let mut now_ms = 0;
        for _ in 0..10 {
            rate.record(KAFKAS, 400.0, now_ms);
            assert_eq!(rate.throttle_time_ms(KAFKAS, 500.0, now_ms), 0);
            now_ms += 1_000;
        }
        // 4000 in 10 s; 2300 more after half a second: (600 - 500) / 500 * 10.5 s
        now_ms += 500;
        rate.record(KAFKAS, 2_300.0, now_ms);
        let wait_ms = rate.throttle_time_ms(KAFKAS, 500.0, now_ms);
        assert_eq!(wait_ms, 2_100);
        rate.take_back(2_300.0);
        assert_eq!(rate.throttle_time_ms(KAFKAS, 500.0, now_ms), 0);
        rate.record(KAFKAS, 2_300.0, now_ms);
        now_ms += wait_ms;
        rate.record(KAFKAS, 0.0, now_ms);
        let rest_ms = rate.throttle_time_ms(KAFKAS, 500.0, now_ms);
        assert_eq!(
            rest_ms, 400,
            "two samples left the window whole, and 10.6 s of it are left"
        );
        now_ms += 11_000;
        assert_eq!(rate.sum(KAFKAS, now_ms), 0.0);
    }

    #[test]
    fn a_burst_out_of_nothing_is_measured_over_the_whole_window() {
        let mut rate = Rate::default();
        assert_eq!(rate.room(KAFKAS, 100.0, 7), 1_100.0);
        rate.record(KAFKAS, 1_000.0, 7);
        assert_eq!(rate.room(KAFKAS, 100.0, 7), 100.0);
        assert_eq!(rate.throttle_time_ms(KAFKAS, 100.0, 7), 0);
        rate.record(KAFKAS, 1.0, 7);
        assert_eq!(rate.throttle_time_ms(KAFKAS, 100.0, 7), 10);
    }

    #[test]
    fn room_comes_when_samples_leave_the_window() {
        let mut rate = Rate::default();
        for (value, now_ms) in [(600.0, 0), (0.0, 900), (300.0, 2_000), (200.0, 5_000)] {
            rate.record(KAFKAS, value, now_ms);
        }
        let mut wait_ms = |value| rate.time_to_room_ms(KAFKAS, 100.0, value, 6_000);
        assert_eq!(wait_ms(0.0), 0, "1100 of 1100 are there");
        assert_eq!(wait_ms(1.0), 5_900);
        assert_eq!(wait_ms(600.0), 5_900);
        assert_eq!(wait_ms(601.0), 7_000);
        assert_eq!(wait_ms(1_100.0), 10_000);
        assert_eq!(wait_ms(9_999.0), 10_000, "it never fits, but then it is alone");
        assert_eq!(rate.room(KAFKAS, 100.0, 11_899), 0.0);
        assert_eq!(rate.room(KAFKAS, 100.0, 11_900), 600.0);
    }

    #[test]
    fn one_sample_is_a_window_too() {
        let one = Windows::new(1, 1);
        let mut rate = Rate::default();
        rate.record(one, 5.0, 3);
        assert_eq!(rate.throttle_time_ms(one, 5.0, 3), 999);
        assert_eq!(rate.throttle_time_ms(one, 5.0, 1_003), 0);
        rate.record(one, 5.0, 1_003);
        assert_eq!(
            rate.throttle_time_ms(one, 1e-300, 1_002),
            i64::MAX,
            "and no wait overflows"
        );
    }

    proptest! {
        /// A client that waits as it is told never gets far above its bound, however it sends.
        #[test]
        fn who_waits_keeps_the_bound(
            bound in 1.0..10_000.0_f64,
            samples in 2_i32..20,
            sends in prop::collection::vec((0.0..3.0_f64, 0_i64..3_000), 1..300),
        ) {
            let windows = Windows::new(samples, 1);
            let mut rate = Rate::default();
            let (mut now_ms, mut sent, mut largest) = (0, 0.0, 0.0_f64);
            for (value, pause_ms) in sends {
                let value = value * bound;
                largest = largest.max(value);
                rate.record(windows, value, now_ms);
                sent += value;
                let allowed = bound * now_ms as f64 / 1_000.0 + 2.0 * bound * f64::from(samples) + 2.0 * largest;
                prop_assert!(sent <= allowed + 1.0, "{} sent at {} ms, {} allowed", sent, now_ms, allowed);
                // rounded to the millisecond, half of one at each wait
                sent -= bound * 0.000_5;
                now_ms += pause_ms.max(rate.throttle_time_ms(windows, bound, now_ms));
            }
            prop_assert!(rate.samples.len() as i64 <= windows.samples + 1);
        }

        /// Who sends no more in any sample than the bound allows never waits.
        #[test]
        fn who_stays_below_never_waits(
            bound in 1.0..10_000.0_f64,
            shares in prop::collection::vec((0.0..1.0_f64, 0_i64..400), 1..300),
        ) {
            let mut rate = Rate::default();
            let mut now_ms = 0;
            for (share, more_ms) in shares {
                rate.record(KAFKAS, share * bound, now_ms);
                prop_assert_eq!(rate.throttle_time_ms(KAFKAS, bound, now_ms), 0);
                now_ms += 1_000 + more_ms;
            }
        }

        /// Time that two threads read in one order and bring in the other changes nothing much, and breaks nothing.
        #[test]
        fn any_times_are_taken(records in prop::collection::vec((-5.0..50.0_f64, -20_000_i64..20_000), 0..100)) {
            let mut rate = Rate::default();
            for (value, now_ms) in records {
                rate.record(KAFKAS, value, now_ms);
                prop_assert!(rate.throttle_time_ms(KAFKAS, 3.0, now_ms) >= 0);
                prop_assert!(rate.samples.len() <= 12);
            }
        }
    }
}
