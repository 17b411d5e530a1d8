//! The readings of all clocks at the start and at the last pass, which convert ticks to wall-clock
//! time and show whether the clocks diverge.

use core::time::Duration;

use tailwatch_core::{Clock, TickRate};

use crate::{
    clock::{Anchor, ClockMode, HostClock, nanos},
    report::ClockReport,
};

/// How far wall-clock times that are converted by an anchor may deviate from the wall clock before
/// a newer anchor replaces it.
const WALL_TOLERANCE: Duration = Duration::from_micros(100);

/// The clock of a collector, compared with the clocks of the operating system.
#[derive(Debug)]
pub(super) struct Clocks {
    clock: HostClock,
    /// The readings when the drain was created.
    started: Anchor,
    /// The readings at the current or last pass.
    now: Anchor,
    /// The anchor by which ticks are converted to wall-clock time. It is kept as long as it is
    /// exact enough, so a tick converts to the same time in every pass.
    wall: Anchor,
    /// How often the clock and the operating system's clock diverged between two passes, as after a
    /// suspension of the machine.
    leaps: u64,
}

impl Clocks {
    /// Reads all clocks for the first time.
    pub(super) fn start(clock: HostClock) -> Self {
        let now = Anchor::take(&clock);
        Self { clock, started: now, now, wall: now, leaps: 0 }
    }

    /// Returns the clocks of another process, whose collector started at `started`.
    #[cfg_attr(
        any(not(target_os = "linux"), tailwatch_loom),
        allow(dead_code, reason = "nothing is shared")
    )]
    pub(super) fn of_other_process(clock: HostClock, started: Anchor, now: Anchor) -> Self {
        Self { clock, started, now, wall: now, leaps: 0 }
    }

    /// Reads all clocks for a pass.
    pub(super) fn read(&mut self) {
        self.advance(Anchor::take(&self.clock));
    }

    /// Counts a leap if the clocks diverged between the last pass and `now`, and replaces the
    /// anchor of wall-clock times if it has become inexact.
    pub(super) fn advance(&mut self, now: Anchor) {
        self.leaps += u64::from(now.disagrees_with(&self.now, self.rate()));
        self.now = now;
        if now.unix_ns.abs_diff(self.unix_ns(now.ticks)) > nanos(WALL_TOLERANCE) {
            self.wall = now;
        }
    }

    /// Returns the readings at the current or last pass.
    pub(super) fn now(&self) -> &Anchor {
        &self.now
    }

    /// Returns the anchor by which ticks are converted to wall-clock time.
    pub(super) fn wall(&self) -> &Anchor {
        &self.wall
    }

    /// Returns the rate of the clock.
    pub(super) fn rate(&self) -> TickRate {
        self.clock.rate()
    }

    /// Returns how often the clocks diverged.
    pub(super) fn leaps(&self) -> u64 {
        self.leaps
    }

    /// Returns the time from the start to the current or last pass, by the monotonic clock.
    pub(super) fn uptime(&self) -> Duration {
        self.now.monotonic.saturating_duration_since(self.started.monotonic)
    }

    /// Returns the wall-clock time of the start, in nanoseconds since 1970.
    pub(super) fn started_unix_ns(&self) -> u64 {
        self.started.unix_ns
    }

    /// Converts a tick to wall-clock time, in nanoseconds since 1970.
    pub(super) fn unix_ns(&self, ticks: u64) -> u64 {
        self.wall.unix_ns(self.rate(), ticks)
    }

    /// Returns the time from a tick to the current or last pass, in nanoseconds.
    pub(super) fn age_ns(&self, ticks: u64) -> u64 {
        self.rate().nanos_in_ticks(self.now.ticks - ticks)
    }

    /// Returns the report on the clock.
    pub(super) fn report(&self) -> ClockReport {
        let (drift, elapsed) = self.now.drift_since(&self.started, self.rate());
        #[expect(clippy::cast_precision_loss, reason = "a drift needs only a few digits")]
        let drift_ppm =
            if elapsed.is_zero() { 0.0 } else { drift as f64 * 1e6 / nanos(elapsed) as f64 };
        ClockReport {
            source: self.clock.source(),
            ordered: self.clock.mode() == ClockMode::Ordered,
            hz: self.rate().hz(),
            drift_ppm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the readings after this time, in which the wall clock advanced by `wall_lead_ns`
    /// nanoseconds more than the others.
    fn after(first: &Anchor, time: Duration, wall_lead_ns: u64) -> Anchor {
        Anchor {
            ticks: first.ticks + nanos(time),
            monotonic: first.monotonic + time,
            unix_ns: first.unix_ns + nanos(time) + wall_lead_ns,
        }
    }

    #[test]
    fn a_tick_converts_to_the_same_time_until_that_is_inexact() {
        let mut clocks = Clocks::start(HostClock::monotonic());
        let first = *clocks.now();
        clocks.advance(after(&first, Duration::from_secs(1), 100_000));
        assert_eq!(clocks.unix_ns(first.ticks + 5), first.unix_ns + 5);
        clocks.advance(after(&first, Duration::from_secs(2), 100_001));
        assert_eq!(clocks.unix_ns(first.ticks + 5), first.unix_ns + 5 + 100_001);
        assert_eq!(clocks.leaps(), 0, "the wall clock may be set");
        assert_eq!(clocks.uptime(), Duration::from_secs(2));
        assert_eq!(clocks.age_ns(first.ticks + 7), 2_000_000_000 - 7);
    }

    #[test]
    fn the_report_on_the_clock_has_its_drift_since_the_start() {
        let mut clocks = Clocks::start(HostClock::monotonic());
        let first = *clocks.now();
        assert!(clocks.report().drift_ppm.abs() < f64::EPSILON);
        let now = after(&first, Duration::from_secs(10), 0);
        clocks.advance(Anchor { ticks: now.ticks + 50_000, ..now });
        assert!((clocks.report().drift_ppm - 5.0).abs() < 1e-9, "50 us in 10 s");
        assert_eq!(clocks.leaps(), 0);
        // The machine is suspended for 3 s, in which the clock stands still.
        let now = after(&first, Duration::from_secs(14), 0);
        clocks.advance(Anchor { ticks: now.ticks - 3_000_000_000, ..now });
        assert_eq!(clocks.leaps(), 1);
    }
}
