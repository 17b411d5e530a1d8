//! What the measuring itself costs: which share of the time goes into records and the drain.
//!
//! What a record costs is measured when the collector starts: a loop of spans into a ring of its own, on a warm cache and with
//! nothing else to do, so that it is the cost itself and not what the measured program loses of its cache. The drain's share is the
//! processor time of its passes.

use core::time::Duration;
use std::time::Instant;

use tailwatch_core::{Clock, EventId, Gate, Outcome, Recorder};

use crate::{HostClock, clock::nanos, ring_memory::RingMemory};

/// The share of the time is that of at least so long.
const PERIOD: Duration = Duration::from_secs(1);

/// What is added up over time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    records: u64,
    drain: Duration,
}

#[derive(Debug)]
pub(crate) struct Overhead {
    /// What a record costs, in nanoseconds.
    record_ns: f64,
    /// The drain's processor time so far.
    drain: Duration,
    last: Mark,
    ratio: f64,
    /// Whether a whole period is over.
    is_known: bool,
}

impl Overhead {
    pub(crate) fn new(record_ns: f64, now: Instant) -> Self {
        let last = Mark { at: now, records: 0, drain: Duration::ZERO };
        Self { record_ns, drain: Duration::ZERO, last, ratio: 0.0, is_known: false }
    }

    /// A pass took so much of the processor's time.
    pub(crate) fn add_pass(&mut self, time: Duration) {
        self.drain += time;
    }

    /// Takes note that so many records were produced by now. Whether another period is over.
    pub(crate) fn update(&mut self, records: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.last.at);
        let is_over = elapsed >= PERIOD;
        if is_over || !self.is_known {
            let drain = self.drain.saturating_sub(self.last.drain);
            #[expect(clippy::cast_precision_loss, reason = "a ratio is told to a few digits")]
            let [recorded, elapsed, drained] =
                [records.saturating_sub(self.last.records), nanos(elapsed), nanos(drain)]
                    .map(|n| n as f64);
            // Over no time at all there is no share.
            self.ratio = if elapsed > 0.0 {
                recorded.mul_add(self.record_ns, drained) / elapsed
            } else {
                0.0
            };
        }
        if is_over {
            self.is_known = true;
            self.last = Mark { at: now, records, drain: self.drain };
        }
        is_over
    }

    /// Which share of the wall-clock time was spent on measuring, in all threads together: over the last second that is over,
    /// before that since the start. 1 is one core.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// As [`ratio`](Self::ratio), but only once it is of a whole period.
    pub(crate) fn settled_ratio(&self) -> Option<f64> {
        self.is_known.then_some(self.ratio)
    }
}

/// What a record costs on this clock, in nanoseconds: half of the fastest round of spans.
pub(crate) fn record_ns(clock: HostClock) -> f64 {
    const SPANS: u32 = 1_000;
    const ROUNDS: u32 = 20;
    const EVENT: EventId = EventId::new(1).expect("1 is an id");
    let Ok(memory) = RingMemory::new(1_024) else { return 0.0 };
    let gate = Gate::<2>::new();
    let recorder = Recorder::new(memory.ring().attach_producer(), &gate, clock);
    let round = |_| {
        let start = clock.start();
        for tag in 0..SPANS {
            let token = recorder.start(core::hint::black_box(EVENT), u64::from(tag));
            recorder.end(token, Outcome::Ok);
        }
        clock.rate().nanos_in_ticks(clock.end().saturating_sub(start))
    };
    let fastest = (0..ROUNDS).map(round).min().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^52")]
    let fastest = fastest as f64;
    fastest / f64::from(2 * SPANS)
}

/// Tells how much processor time a pass takes. Where the operating system does not say, the time that goes by, which is more.
#[derive(Debug)]
pub(crate) struct Stopwatch(Duration, Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(thread_time(), Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        if cfg!(unix) { thread_time().saturating_sub(self.0) } else { self.1.elapsed() }
    }
}

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
    fn the_ratio_is_that_of_the_last_period() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let close = |overhead: &Overhead, ratio: f64| {
            assert!((overhead.ratio() - ratio).abs() < 1e-12, "{overhead:?}")
        };
        let mut overhead = Overhead::new(10.0, start);
        assert!(!overhead.update(0, start));
        close(&overhead, 0.0);
        // 10,000 records of 10 ns, and 0.1 ms of the drain, in 10 ms.
        overhead.add_pass(Duration::from_micros(100));
        assert!(!overhead.update(10_000, after(10)));
        close(&overhead, 0.02);
        assert_eq!(overhead.settled_ratio(), None);
        assert!(overhead.update(10_000, after(1_000)));
        close(&overhead, 0.0002);
        // What comes does not show until the next period is over.
        overhead.add_pass(Duration::from_millis(500));
        assert!(!overhead.update(10_000, after(1_999)));
        close(&overhead, 0.0002);
        assert!(overhead.update(10_000, after(2_000)));
        close(&overhead, 0.5);
        assert!(overhead.update(10_000, after(4_000)));
        assert_eq!(overhead.settled_ratio(), Some(0.0));
    }

    #[test]
    fn a_record_costs_something() {
        assert!(record_ns(HostClock::monotonic()) > 0.0);
    }

    #[test]
    fn a_pass_takes_no_more_than_the_time_that_goes_by() {
        let (watch, begin) = (Stopwatch::start(), Instant::now());
        while begin.elapsed() < Duration::from_millis(2) {}
        assert!(watch.elapsed() <= begin.elapsed() + Duration::from_millis(1));
    }
}
