//! Limits that an event is to keep. They are declared with the event; nothing watches them yet.

use core::time::Duration;

use crate::Quantile;

/// A limit on a quantile of an event over a window: "p95 of the last 60 s is at most 20 ms".
///
/// A sample that equals the limit keeps it. Fewer than `min_samples` samples say nothing.
///
/// ```
/// use core::time::Duration;
/// use tailwatch_core::{Quantile, Threshold};
///
/// let limit = Threshold::duration(Quantile::P95, Duration::from_millis(20));
/// assert_eq!((limit.limit, limit.window), (20_000_000, Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Which quantile is limited.
    pub quantile: Quantile,
    /// The largest value that keeps the limit: nanoseconds, or plain numbers for events of unit 1.
    pub limit: u64,
    /// Over which of the configured windows.
    pub window: Duration,
    /// With fewer samples nothing is said.
    pub min_samples: u32,
}

impl Threshold {
    /// A limit on a duration, over 60 s, from the first sample on.
    ///
    /// # Panics
    /// If the duration exceeds 2^64 ns (584 years); in a constant, an error of the compiler.
    pub const fn duration(quantile: Quantile, limit: Duration) -> Self {
        let nanos = limit.as_nanos();
        assert!(nanos <= u64::MAX as u128, "a limit is at most 2^64 - 1 ns");
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        Self::value(quantile, nanos as u64)
    }

    /// A limit on a plain number, over 60 s, from the first sample on.
    pub const fn value(quantile: Quantile, limit: u64) -> Self {
        Self { quantile, limit, window: Duration::from_mins(1), min_samples: 1 }
    }

    /// The same limit over another window.
    pub const fn over(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// The same limit, but fewer than `min_samples` samples say nothing.
    pub const fn min_samples(self, min_samples: u32) -> Self {
        Self { min_samples, ..self }
    }
}
