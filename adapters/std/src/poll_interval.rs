//! The poll interval: how often the drain reads a ring.
//!
//! A drain that polled without a pause would keep taking the ring's cache lines away from the
//! producer, which would make every record slower. The drain therefore leaves a ring alone until
//! the ring holds enough records or its poll interval is over. The interval is the time in which
//! the ring would become a quarter full at the rate seen last. A producer never wakes the drain,
//! because that would be a system call on the hot path.

use core::time::Duration;
use std::time::Instant;

/// The shortest poll interval.
pub(crate) const MIN_PERIOD: Duration = Duration::from_millis(1);
/// The longest poll interval, unless [`Builder::max_period`](crate::Builder::max_period) sets
/// another one.
pub(crate) const DEFAULT_MAX_PERIOD: Duration = Duration::from_millis(100);

/// Returns how many pending records make the drain read a ring before its poll interval is over: a
/// quarter of the capacity, but at most 1,024.
const fn early_drain_threshold(capacity: usize) -> usize {
    let quarter = capacity / 4;
    if quarter < 1_024 { quarter } else { 1_024 }
}

/// The poll interval of one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollInterval {
    last_drain: Instant,
    interval: Duration,
}

impl PollInterval {
    /// Creates the poll interval of a ring that a thread has just taken, whose rate is not known
    /// yet: [`MIN_PERIOD`].
    pub(crate) fn new(now: Instant) -> Self {
        Self { last_drain: now, interval: MIN_PERIOD }
    }

    /// Returns when the interval is over.
    pub(crate) fn due_at(&self) -> Instant {
        self.last_drain + self.interval
    }

    /// Whether a ring of this capacity with so many pending records is due to be drained.
    pub(crate) fn is_due(&self, pending: usize, capacity: usize, now: Instant) -> bool {
        pending >= early_drain_threshold(capacity) || now >= self.due_at()
    }

    /// Begins the next interval, whose length follows from the rate of the `pending` records that
    /// were written since the last drain.
    ///
    /// Does nothing if there are none before the interval is over, because that shows no rate.
    pub(crate) fn update(
        &mut self,
        pending: u64,
        capacity: usize,
        now: Instant,
        max_period: Duration,
    ) {
        if pending == 0 && now < self.due_at() {
            return;
        }
        let elapsed = now.saturating_duration_since(self.last_drain).max(Duration::from_micros(1));
        let quarter = capacity as u64 / 4;
        let max_period = max_period.max(MIN_PERIOD);
        self.interval = match pending {
            // At most twice as long, so that the drain returns soon if the thread pauses only for a
            // moment.
            0 => (self.interval * 2).clamp(MIN_PERIOD, max_period),
            pending => {
                let nanos = elapsed.as_nanos() * u128::from(quarter) / u128::from(pending);
                let fill = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                fill.min(self.interval * 2).clamp(MIN_PERIOD, max_period)
            }
        };
        self.last_drain = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_interval_is_the_time_to_fill_a_quarter() {
        let start = Instant::now();
        let mut interval = PollInterval::new(start);
        // At 1,024 records in 2 ms, a quarter of 16,384 takes 8 ms, which doubling reaches from 1
        // ms.
        let mut now = start;
        for expected in [2, 4, 8, 8] {
            now += 2 * MS;
            interval.update(1_024, 16_384, now, DEFAULT_MAX_PERIOD);
            assert_eq!(interval.due_at(), now + expected * MS);
        }
        // A burst shortens the interval at once.
        now += MS;
        interval.update(100_000, 16_384, now, DEFAULT_MAX_PERIOD);
        assert_eq!(interval.due_at(), now + MS);
    }

    #[test]
    fn the_interval_of_an_idle_ring_grows_to_the_maximum() {
        let mut now = Instant::now();
        let mut interval = PollInterval::new(now);
        for _ in 0..20 {
            now = interval.due_at();
            assert!(interval.is_due(0, 16_384, now));
            interval.update(0, 16_384, now, DEFAULT_MAX_PERIOD);
            assert!(!interval.is_due(0, 16_384, now));
        }
        assert_eq!(interval.due_at(), now + DEFAULT_MAX_PERIOD);
        assert!(interval.is_due(1_024, 16_384, now), "enough records for an early drain");
        assert!(!interval.is_due(1_023, 16_384, now));
        assert!(interval.is_due(16, 64, now));
    }
}
