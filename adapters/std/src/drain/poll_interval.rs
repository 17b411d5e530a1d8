//! The poll interval of a ring: the pause until the drain reads the ring again.
//!
//! A drain that polled without a pause would keep taking the ring's cache lines away from the
//! producer, the thread that writes into the ring, which would make every record slower. The drain
//! therefore leaves a ring alone until the ring holds enough records or its poll interval is over.
//! The interval is the time in which the ring would become a quarter full at the rate seen last. A
//! producer never wakes the drain, because that would be a system call on the hot path.

use core::time::Duration;
use std::time::Instant;

/// The shortest poll interval.
pub(crate) const MIN_PERIOD: Duration = Duration::from_millis(1);
/// The longest poll interval, unless [`Builder::max_period`](crate::Builder::max_period) sets
/// another one.
///
/// In this time, a thread that suddenly records a million spans per second writes 8,000 records,
/// half of what its first ring holds. The drain has the other half to get a core.
pub(crate) const DEFAULT_MAX_PERIOD: Duration = Duration::from_millis(4);

/// Returns the number of pending records from which the drain reads a ring before its poll interval
/// is over: a quarter of the capacity, but at most 1,024.
const fn early_drain_threshold(capacity: usize) -> usize {
    let quarter = capacity / 4;
    if quarter < 1_024 { quarter } else { 1_024 }
}

/// The poll interval of one ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollInterval {
    /// When the interval began, which is when the ring was last drained.
    last_drain: Instant,
    /// The length of the interval.
    interval: Duration,
}

impl PollInterval {
    /// Creates the poll interval of a ring that a thread has just taken. Its length is
    /// [`MIN_PERIOD`], because the rate of the thread is not known yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last_drain: now, interval: MIN_PERIOD }
    }

    /// Returns the time at which the interval is over.
    pub(crate) fn due_at(&self) -> Instant {
        self.last_drain + self.interval
    }

    /// Returns whether a ring of this capacity with `pending` unread records has to be drained.
    pub(crate) fn is_due(&self, pending: usize, capacity: usize, now: Instant) -> bool {
        pending >= early_drain_threshold(capacity) || now >= self.due_at()
    }

    /// Returns how many records will be written in `time`, at the rate at which the `pending` ones
    /// were written since the last drain. A burst that is shorter than [`MIN_PERIOD`] counts as
    /// the records of this time.
    pub(crate) fn expected_in(&self, time: Duration, pending: usize, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.last_drain).max(MIN_PERIOD);
        let records = time.as_micros() * pending as u128 / elapsed.as_micros();
        usize::try_from(records).unwrap_or(usize::MAX)
    }

    /// Begins the next interval. Its length follows from the rate at which the `pending` records
    /// were written since the last drain, and is at most `max_period`.
    ///
    /// Does nothing if there are no pending records and the present interval is not over: a part of
    /// an interval without records is too short to lengthen the interval for.
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
            // Only twice as long, so that the drain returns soon if the thread paused only for a
            // moment.
            0 => (self.interval * 2).clamp(MIN_PERIOD, max_period),
            pending => {
                let nanos = elapsed.as_nanos() * u128::from(quarter) / u128::from(pending);
                let time_to_fill = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                time_to_fill.min(self.interval * 2).clamp(MIN_PERIOD, max_period)
            }
        };
        self.last_drain = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    #[test]
    fn the_interval_is_the_time_to_fill_a_quarter() {
        let start = Instant::now();
        let mut interval = PollInterval::new(start);
        // At 1,024 records in 2 ms, a quarter of 16,384 takes 8 ms, which doubling reaches from 1
        // ms.
        let mut now = start;
        for expected in [2, 4, 8, 8] {
            now += 2 * MS;
            interval.update(1_024, 16_384, now, LONGEST);
            assert_eq!(interval.due_at(), now + expected * MS);
        }
        // A burst shortens the interval at once.
        now += MS;
        interval.update(100_000, 16_384, now, LONGEST);
        assert_eq!(interval.due_at(), now + MS);
    }

    #[test]
    fn the_expected_records_follow_from_the_rate_and_a_burst_counts_as_a_millisecond() {
        let start = Instant::now();
        let interval = PollInterval::new(start);
        for (time, elapsed, records) in [(40, 2 * MS, 2_000), (4, 2 * MS, 200), (4, MS / 8, 400)] {
            assert_eq!(interval.expected_in(time * MS, 100, start + elapsed), records);
        }
    }

    #[test]
    fn the_interval_of_an_idle_ring_grows_to_the_maximum() {
        let mut now = Instant::now();
        let mut interval = PollInterval::new(now);
        for _ in 0..20 {
            now = interval.due_at();
            assert!(interval.is_due(0, 16_384, now));
            interval.update(0, 16_384, now, LONGEST);
            assert!(!interval.is_due(0, 16_384, now));
        }
        assert_eq!(interval.due_at(), now + LONGEST);
        assert!(interval.is_due(1_024, 16_384, now), "enough records for an early drain");
        assert!(!interval.is_due(1_023, 16_384, now));
        assert!(interval.is_due(16, 64, now));
    }
}
