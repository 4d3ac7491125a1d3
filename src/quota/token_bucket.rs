//! Tokens that come back at a rate, up to a burst, and may be owed.
//!
//! Invariants: never more tokens than the burst; a new bucket is full. Source: Kafka's `TokenBucket`, KIP-599.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::quota::rate::Windows;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct TokenBucket {
    /// Tokens at the time beside them; `None` before the first use, when it is full.
    state: Option<(f64, i64)>,
}

impl TokenBucket {
    /// Takes tokens, also such as are not there.
    pub fn take(&mut self, windows: Windows, rate: f64, tokens: f64, now_ms: i64) {
        let left = self.refill(windows, rate, now_ms) - tokens;
        self.state = Some((left, now_ms));
    }

    /// How long until nothing is owed.
    pub fn throttle_time_ms(&mut self, windows: Windows, rate: f64, now_ms: i64) -> i64 {
        let tokens = self.refill(windows, rate, now_ms);
        if tokens < 0.0 {
            (-tokens / rate * 1_000.0).round() as i64
        } else {
            0
        }
    }

    fn refill(&mut self, windows: Windows, rate: f64, now_ms: i64) -> f64 {
        let burst = rate * windows.samples as f64 * windows.sample_ms as f64 / 1_000.0;
        let tokens = match self.state {
            Some((tokens, at_ms)) => (tokens + rate * (now_ms - at_ms).max(0) as f64 / 1_000.0).min(burst),
            None => burst,
        };
        self.state = Some((tokens, now_ms));
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_full_first_then_owes_and_is_paid() {
        let windows = Windows::new(11, 1);
        let mut bucket = TokenBucket::default();
        bucket.take(windows, 2.0, 22.0, 5);
        assert_eq!(
            bucket.throttle_time_ms(windows, 2.0, 5),
            0,
            "the burst is 11 s of the rate"
        );
        bucket.take(windows, 2.0, 10.0, 5);
        assert_eq!(bucket.throttle_time_ms(windows, 2.0, 5), 5_000);
        assert_eq!(bucket.throttle_time_ms(windows, 2.0, 4_005), 1_000);
        assert_eq!(
            bucket.throttle_time_ms(windows, 2.0, 3_000),
            1_000,
            "time does not run back"
        );
        assert_eq!(bucket.throttle_time_ms(windows, 2.0, 9_000), 0);
        bucket.take(windows, 2.0, 23.0, 1_000_000);
        assert_eq!(
            bucket.throttle_time_ms(windows, 2.0, 1_000_000),
            500,
            "never above the burst"
        );
        assert_eq!(
            bucket.throttle_time_ms(windows, 0.5, 1_000_000),
            2_000,
            "a new rate holds at once"
        );
    }
}
