//! The cost of measuring as a share of one core, for recording and the drain together.
//!
//! The cost of recording is the number of records times the [cost of one](super::record_cost),
//! which is measured when the collector starts. The cost of the drain is the processor time of its
//! own thread, and that of its passes on other threads. Reading the time of a thread is a system
//! call. For the drain's own thread it is made only when a period ends, not in every pass.

use core::time::Duration;
use std::{
    thread::{self, ThreadId},
    time::Instant,
};

use crate::clock::nanos;

/// The shortest period over which the cost is averaged.
const PERIOD: Duration = Duration::from_secs(1);

/// What was counted from the start up to one moment.
#[derive(Clone, Copy, Debug)]
struct Totals {
    at: Instant,
    /// The number of records.
    records: u64,
    /// The processor time of the drain.
    drain: Duration,
}

/// Computes the share of one core that measuring takes, over successive periods.
#[derive(Debug)]
pub(crate) struct Overhead {
    /// The cost of one record, in nanoseconds.
    record_ns: f64,
    /// The drain's own thread and its processor time when it was last read. `None` if the drain has
    /// no thread.
    own_thread: Option<(ThreadId, Duration)>,
    /// The drain's processor time so far. That of its own thread is as of when it was last read.
    drain: Duration,
    /// The totals when the current period began.
    period_start: Totals,
    /// The share of one core, over the last period that has ended.
    ratio: f64,
    /// The drain's time per record in nanoseconds, over the last period that has ended and had any
    /// records. 0 if none had.
    drain_ns: f64,
    /// Whether a period has ended. Until then, `ratio` and `drain_ns` cover the time since the
    /// start.
    is_settled: bool,
}

impl Overhead {
    /// Begins the first period at the time `now`. The cost of one record is `record_ns`
    /// nanoseconds.
    pub(crate) fn new(record_ns: f64, now: Instant) -> Self {
        let period_start = Totals { at: now, records: 0, drain: Duration::ZERO };
        Self {
            record_ns,
            own_thread: None,
            drain: Duration::ZERO,
            period_start,
            ratio: 0.0,
            drain_ns: 0.0,
            is_settled: false,
        }
    }

    /// Makes the current thread the drain's own: from now on, its processor time is a cost of the
    /// drain. Does nothing on systems that do not provide this time.
    pub(crate) fn set_own_thread(&mut self) {
        if cfg!(unix) {
            self.own_thread = Some((thread::current().id(), thread_time()));
        }
    }

    /// Returns whether the current thread is the drain's own.
    pub(crate) fn is_on_own_thread(&self) -> bool {
        self.own_thread.is_some_and(|(id, _)| id == thread::current().id())
    }

    /// Adds what the drain's own thread, which is the current one, took since this was last called.
    fn add_own_thread(&mut self) {
        if let Some((_, counted)) = &mut self.own_thread {
            let now = thread_time();
            self.drain += now.saturating_sub(*counted);
            *counted = now;
        }
    }

    /// Adds the processor time of a pass of the drain.
    pub(crate) fn add_pass(&mut self, time: Duration) {
        self.drain += time;
    }

    /// Updates the ratio, where `records` is the number of records written since the start. Returns
    /// whether a period has ended. If the drain has a thread of its own, a period ends only there,
    /// because no other thread can read its processor time.
    pub(crate) fn update(&mut self, records: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.period_start.at);
        if elapsed < PERIOD && self.is_settled {
            return false;
        }
        let is_on_own_thread = self.is_on_own_thread();
        let is_over = elapsed >= PERIOD && (is_on_own_thread || self.own_thread.is_none());
        if is_on_own_thread {
            self.add_own_thread();
        }
        if is_over || !self.is_settled {
            let drain = self.drain.saturating_sub(self.period_start.drain);
            #[expect(clippy::cast_precision_loss, reason = "a ratio needs only a few digits")]
            let [recorded, elapsed, drained] =
                [records.saturating_sub(self.period_start.records), nanos(elapsed), nanos(drain)]
                    .map(|n| n as f64);
            // The first update may happen at the very start, where the quotient would be 0 / 0.
            self.ratio = if elapsed > 0.0 {
                recorded.mul_add(self.record_ns, drained) / elapsed
            } else {
                0.0
            };
            if recorded > 0.0 {
                self.drain_ns = drained / recorded;
            }
        }
        if is_over {
            self.is_settled = true;
            self.period_start = Totals { at: now, records, drain: self.drain };
        }
        is_over
    }

    /// Returns the share of one core that measuring took, summed over all threads; 1 is one core.
    /// It covers the last period that has ended, of at least 1 s, or the time since the start if
    /// none has ended yet.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Returns the cost of recording one record, in nanoseconds.
    pub(crate) fn record_ns(&self) -> f64 {
        self.record_ns
    }

    /// Returns the drain's processor time per record, in nanoseconds, over the last period that has
    /// ended and had any records, or since the start if none has ended yet. 0 without records.
    pub(crate) fn drain_ns(&self) -> f64 {
        self.drain_ns
    }

    /// Returns the ratio as [`ratio`](Self::ratio) does, or `None` until the first period has
    /// ended.
    pub(crate) fn settled_ratio(&self) -> Option<f64> {
        self.is_settled.then_some(self.ratio)
    }
}

/// Measures the processor time of the current thread. If the operating system does not provide it,
/// measures the elapsed time instead, which is longer.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// The processor time of the thread at the start.
    thread_time: Duration,
    /// The time at the start.
    instant: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { thread_time: thread_time(), instant: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        if cfg!(unix) {
            thread_time().saturating_sub(self.thread_time)
        } else {
            self.instant.elapsed()
        }
    }
}

/// Returns the processor time of the current thread, or 0 on systems other than Unix.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_covers_the_last_period_that_has_ended() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let assert_ratio = |overhead: &Overhead, ratio: f64| {
            assert!((overhead.ratio() - ratio).abs() < 1e-12, "{overhead:?}");
        };
        let mut overhead = Overhead::new(10.0, start);
        assert!(!overhead.update(0, start));
        assert_ratio(&overhead, 0.0);
        // In 10 ms: 10,000 records of 10 ns each, and 0.1 ms of the drain.
        overhead.add_pass(Duration::from_micros(100));
        assert!(!overhead.update(10_000, after(10)));
        assert_ratio(&overhead, 0.02);
        assert_eq!(overhead.settled_ratio(), None);
        assert!(overhead.update(10_000, after(1_000)));
        assert_ratio(&overhead, 0.0002);
        // Later costs are not included until the next period ends.
        overhead.add_pass(Duration::from_millis(500));
        assert!(!overhead.update(10_000, after(1_999)));
        assert_ratio(&overhead, 0.0002);
        assert!(overhead.update(10_000, after(2_000)));
        assert_ratio(&overhead, 0.5);
        assert!(overhead.update(10_000, after(4_000)));
        assert_eq!(overhead.settled_ratio(), Some(0.0));
    }

    #[test]
    fn the_drain_per_record_covers_the_last_period_with_records() {
        let start = Instant::now();
        let mut overhead = Overhead::new(10.0, start);
        let mut check = |records, micros, seconds, drain_ns: f64| {
            overhead.add_pass(Duration::from_micros(micros));
            overhead.update(records, start + Duration::from_secs(seconds));
            assert!((overhead.drain_ns() - drain_ns).abs() < 1e-9, "{overhead:?}");
            assert!((overhead.record_ns() - 10.0).abs() < 1e-9, "{overhead:?}");
        };
        check(0, 5, 0, 0.0);
        // 100 records since the start.
        check(100, 15, 1, 200.0);
        // 400 more.
        check(500, 40, 2, 100.0);
        // A period without records does not show what one costs.
        check(500, 70, 3, 100.0);
        check(501, 1, 4, 1_000.0);
    }

    #[test]
    fn the_processor_time_is_at_most_the_elapsed_time() {
        let (watch, begin) = (Stopwatch::start(), Instant::now());
        while begin.elapsed() < Duration::from_millis(2) {}
        assert!(watch.elapsed() <= begin.elapsed() + Duration::from_millis(1));
    }
}
