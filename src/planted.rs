//! Faults that are put in on purpose, to see that the tests which are to find such faults do. They exist only in builds with
//! the feature `planted-faults`; `MONEDULA_PLANTED_FAULT` in the environment picks one.
//!
//! Invariant: without the feature every function here is a constant `false`, and nothing of this is left in the binary.

#[cfg(feature = "planted-faults")]
mod picked {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// So many markers are written for one that is not.
    const MARKERS: u64 = 60;

    fn is(fault: &str) -> bool {
        static PICKED: OnceLock<Option<String>> = OnceLock::new();
        let picked = PICKED.get_or_init(|| std::env::var("MONEDULA_PLANTED_FAULT").ok());
        picked.as_deref() == Some(fault)
    }

    /// `skip-marker`: some markers of data partitions are not written, and reported as done.
    pub fn skips_marker() -> bool {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        is("skip-marker") && COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(MARKERS)
    }

    /// `forget-last-stable-offset`: readers of committed records are shown all below the high watermark.
    pub fn forgets_last_stable_offset() -> bool {
        is("forget-last-stable-offset")
    }

    /// `forget-fence`: a producer of an old epoch may end the transaction of its successor.
    pub fn forgets_fence() -> bool {
        is("forget-fence")
    }
}

#[cfg(not(feature = "planted-faults"))]
mod picked {
    /// Never.
    pub const fn skips_marker() -> bool {
        false
    }

    /// Never.
    pub const fn forgets_last_stable_offset() -> bool {
        false
    }

    /// Never.
    pub const fn forgets_fence() -> bool {
        false
    }
}

pub use picked::{forgets_fence, forgets_last_stable_offset, skips_marker};
