//! How often the drain looks at a ring.
//!
//! A drain that polls flat out takes the ring's cache lines away from the producer, which then pays for each record. So a
//! ring is left alone until there is enough in it, or its period is over; the period is the time in which it would become a
//! quarter full at the rate just seen. Nobody wakes the drain for a record: that would be a system call on the hot path.

use core::time::Duration;
use std::time::Instant;

/// The shortest period.
pub(crate) const MIN_PERIOD: Duration = Duration::from_millis(1);
/// The longest period, unless the builder sets another.
pub(crate) const MAX_PERIOD: Duration = Duration::from_millis(100);

/// As many pending records are worth a copy before the period is over.
pub(crate) const fn worth_taking(capacity: usize) -> usize {
    let quarter = capacity / 4;
    if quarter < 1_024 { quarter } else { 1_024 }
}

/// The pace at which one ring is drained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollInterval {
    taken: Instant,
    period: Duration,
}

impl PollInterval {
    /// Of a ring that a thread just took: its rate is not known.
    pub(crate) fn new(now: Instant) -> Self {
        Self { taken: now, period: MIN_PERIOD }
    }

    /// When its period is over.
    pub(crate) fn due(&self) -> Instant {
        self.taken + self.period
    }

    /// Whether a ring with so much pending is to be drained now.
    pub(crate) fn takes(&self, pending: usize, capacity: usize, now: Instant) -> bool {
        pending >= worth_taking(capacity) || now >= self.due()
    }

    /// Learns the rate from the records that came since the last time. That none came before the period is over says nothing.
    pub(crate) fn learn(&mut self, came: u64, capacity: usize, now: Instant, longest: Duration) {
        if came == 0 && now < self.due() {
            return;
        }
        let elapsed = now.saturating_duration_since(self.taken).max(Duration::from_micros(1));
        let quarter = capacity as u64 / 4;
        let longest = longest.max(MIN_PERIOD);
        self.period = match came {
            // Twice as long at the most: a thread that rests for a moment keeps the drain near.
            0 => (self.period * 2).clamp(MIN_PERIOD, longest),
            came => {
                let nanos = elapsed.as_nanos() * u128::from(quarter) / u128::from(came);
                let fill = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                fill.min(self.period * 2).clamp(MIN_PERIOD, longest)
            }
        };
        self.taken = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_period_is_the_time_to_fill_a_quarter() {
        let start = Instant::now();
        let mut pace = PollInterval::new(start);
        // 1,024 records in 2 ms: a quarter of 16,384 comes in 8 ms, reached by doubling from 1 ms.
        let mut now = start;
        for expected in [2, 4, 8, 8] {
            now += 2 * MS;
            pace.learn(1_024, 16_384, now, MAX_PERIOD);
            assert_eq!(pace.due(), now + expected * MS);
        }
        // A burst shortens it at once.
        now += MS;
        pace.learn(100_000, 16_384, now, MAX_PERIOD);
        assert_eq!(pace.due(), now + MS);
    }

    #[test]
    fn a_ring_at_rest_is_looked_at_ever_less_often() {
        let mut now = Instant::now();
        let mut pace = PollInterval::new(now);
        for _ in 0..20 {
            now = pace.due();
            assert!(pace.takes(0, 16_384, now));
            pace.learn(0, 16_384, now, MAX_PERIOD);
            assert!(!pace.takes(0, 16_384, now));
        }
        assert_eq!(pace.due(), now + MAX_PERIOD);
        assert!(pace.takes(1_024, 16_384, now), "enough to be worth it");
        assert!(!pace.takes(1_023, 16_384, now));
        assert!(pace.takes(16, 64, now));
    }
}
