//! A test of the library on the machine on which it runs.

use core::{fmt, time::Duration};
use std::{io, sync::Arc, thread, time::Instant};

use tailwatch_core::{Clock, Outcome, Shape, Trading, WindowSpec};
use tailwatch_record::{collecting::OFF, record_end, record_start_tagged};

use crate::{
    clock::{Anchor, ClockMode, ClockSource, HostClock},
    drain::{Drain, Setup, exclusive, poll_interval::DEFAULT_MAX_PERIOD, sampling::Sampler},
    observer::Observers,
    own_thread::{OwnThread, cores, placement::Placement},
    recording::{
        attachment,
        available_memory::available_bytes,
        pool::Pool,
        process,
        ring_budget::{Purpose, RingBudget},
        ring_memory::RingMemory,
        ring_settings::RingSettings,
    },
    settings::Settings,
    sync::Mutex,
};

/// How many spans the test records: half of what a first ring holds.
const SPANS: u64 = 4_096;

/// The time over which the clock is compared with that of the operating system.
const COMPARED: Duration = Duration::from_millis(50);

/// How far the clock may be off, in parts per million. Over [`COMPARED`], inexact readings
/// account for some hundred.
const MAX_DRIFT_PPM: f64 = 1_000.0;

/// How long a reading of the clock may take. A counter takes 10 to 25 ns; a hypervisor that
/// intercepts the instruction makes it a microsecond or more.
const MAX_READ_NS: f64 = 200.0;

/// What [`self_test`] has found.
#[derive(Debug)]
#[non_exhaustive]
pub struct SelfTest {
    /// Where the clock reads its ticks.
    pub clock: ClockSource,
    /// How long one reading of the clock takes, in nanoseconds, in a loop.
    pub clock_read_ns: f64,
    /// By how much the clock ran faster than that of the operating system, in parts per million,
    /// over 50 ms.
    pub clock_drift_ppm: f64,
    /// How many records were written.
    pub recorded: u64,
    /// How many of them the drain delivered.
    pub delivered: u64,
    /// The cores that the process may use, by the operating system's numbers. Empty if they are
    /// unknown.
    pub cores: Vec<usize>,
    /// What is wrong. Empty if nothing is.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with the machine for measuring, or with the library on it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// The feature `off` compiles recording out, so nothing was recorded.
    CompiledOut,
    /// The processor's counter is missing or does not run at a constant rate.
    NoCounter,
    /// Reading the clock takes long.
    SlowClock {
        /// How long one reading takes, in nanoseconds.
        read_ns: f64,
    },
    /// The clock does not run at its rate.
    Drift {
        /// By how much the clock ran faster than that of the operating system, in parts per
        /// million.
        ppm: f64,
    },
    /// Records are missing, or were counted wrongly: a bug of the library.
    Records {
        /// How many records were written.
        recorded: u64,
        /// How many of them the drain delivered.
        delivered: u64,
        /// How many it counted as overwritten.
        overwritten: u64,
        /// How many samples the statistics have.
        samples: u64,
    },
    /// The operating system provides no memory or no thread for the test.
    Refused(io::Error),
    /// The operating system does not lock a ring in memory, so it may swap rings out.
    NotLocked {
        /// The size of the ring in bytes.
        bytes: usize,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The process may use only one core, so the drain takes time from the measured threads.
    OneCore,
    /// The control group of the process grants less processor time than it has cores.
    Quota {
        /// The number of cores that the process may use.
        cores: usize,
        /// How many threads can run at once.
        at_once: usize,
    },
    /// The machine, or the control group of the process, has less memory left than a collector may
    /// take for its rings with default settings.
    LittleMemory {
        /// The bytes that are left.
        available: u64,
        /// The bytes that all rings may take.
        max_ring_bytes: usize,
    },
}

impl SelfTest {
    /// Returns whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Tests the library on this machine: records spans and drains them, and checks that none is
/// missing, that the clock agrees with that of the operating system, and that the memory of a ring
/// can be locked. Finds out what makes the machine unfit for measuring.
///
/// Takes 0.1 s, and up to 0.3 s at the first use of the clock in a process. Blocks until then. Uses
/// a thread, a ring and statistics of its own, so a collector of the program is not disturbed. No
/// result is an error: the machine may be fit for a purpose that needs less.
///
/// ```
/// let test = tailwatch::self_test();
/// println!("{test}"); // one line per fact, then one per finding
/// assert_eq!(test.delivered, test.recorded);
/// ```
pub fn self_test() -> SelfTest {
    let clock = match process::clock_source() {
        Some(ClockSource::Monotonic) => HostClock::monotonic(),
        _ => HostClock::new(ClockMode::default()),
    };
    let mut test = SelfTest {
        clock: clock.source(),
        clock_read_ns: 0.0,
        clock_drift_ppm: 0.0,
        recorded: 0,
        delivered: 0,
        cores: cores::of_process(),
        findings: Vec::new(),
    };
    if OFF {
        test.findings.push(Finding::CompiledOut);
        return test;
    }
    test.check_clock(clock);
    if let Err(error) = test.check_records(clock) {
        test.findings.push(Finding::Refused(error));
    }
    test.check_lock();
    test.check_machine();
    test
}

impl SelfTest {
    fn check_clock(&mut self, clock: HostClock) {
        const READINGS: u32 = 100;
        let before = Anchor::take(&clock);
        // The quickest of several rounds: other threads may interrupt the others.
        let round = |_| {
            let begun = Instant::now();
            for _ in 0..READINGS {
                core::hint::black_box(clock.end());
            }
            begun.elapsed()
        };
        let quickest = (0..20).map(round).min().unwrap_or_default();
        self.clock_read_ns = quickest.as_secs_f64() * 1e9 / f64::from(READINGS);
        thread::sleep(COMPARED);
        let (drift_ns, elapsed) = Anchor::take(&clock).drift_since(&before, clock.rate());
        #[expect(clippy::cast_precision_loss, reason = "the drift of some milliseconds")]
        let drift_ns = drift_ns as f64;
        self.clock_drift_ppm = drift_ns / (elapsed.as_secs_f64() * 1e9) * 1e6;

        if clock.source() == ClockSource::Monotonic
            && HostClock::new(ClockMode::default()).source() == ClockSource::Monotonic
        {
            self.findings.push(Finding::NoCounter);
        }
        if self.clock_read_ns > MAX_READ_NS {
            self.findings.push(Finding::SlowClock { read_ns: self.clock_read_ns });
        }
        if self.clock_drift_ppm.abs() > MAX_DRIFT_PPM {
            self.findings.push(Finding::Drift { ppm: self.clock_drift_ppm });
        }
    }

    /// Records spans on another thread, drains them and checks the numbers.
    fn check_records(&mut self, clock: HostClock) -> io::Result<()> {
        const EVENT: Trading = Trading::OrderPlacement;
        let settings = Settings::default();
        let rings = RingSettings {
            lanes: 1,
            capacity: settings.ring_capacity.value,
            max_capacity: settings.ring_capacity.value,
            max_bytes: settings.max_ring_bytes.value,
            locked: false,
        };
        let pool = Arc::new(Pool::new(rings, clock)?);
        pool.gate().set_enabled(true);
        let (events, windows) = (Trading::ALL.to_vec(), vec![WindowSpec::SECOND]);
        let setup = Setup {
            shape: Shape::server(&events, &windows),
            windows,
            limits: Vec::new(),
            observers: Observers::new(Vec::new(), Vec::new(), &events),
            sampler: Arc::new(Mutex::new(Sampler::new(events.iter().map(|info| info.id)))),
            events,
            max_period: DEFAULT_MAX_PERIOD,
            every_set: false,
            later_events: Arc::default(),
            covers_all_outcomes: false,
            not_shared: None,
            tag_names: None,
        };
        // The set-up is always valid.
        let drain = Drain::new(Arc::clone(&pool), setup)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        let published = drain.published();
        let drain = Mutex::new(drain);
        let recording = OwnThread::spawn("tailwatch-test", Placement::default(), {
            let pool = Arc::clone(&pool);
            move || {
                if !attachment::register(&pool, "self-test") {
                    return 0;
                }
                for tag in 0..SPANS {
                    let token = record_start_tagged(EVENT, tag);
                    record_end(token, Outcome::Ok);
                }
                2 * SPANS
            }
        });
        let recorded = recording.map_err(io::Error::from)?.join();
        pool.stop();
        exclusive::run_last_unless_busy(&drain, &pool);

        let report = published.load();
        let (health, total) =
            (&report.health, report.event(EVENT).and_then(|event| event.total.as_ref()));
        let samples = total.map_or(0, |total| total.summary.count);
        self.recorded = recorded.and_then(Result::ok).unwrap_or(0);
        self.delivered = health.delivered;
        let is_accounted_for = health.produced == health.delivered + health.overwritten
            && (health.produced, health.pending, health.unregistered) == (self.recorded, 0, 0);
        if !is_accounted_for || self.delivered != 2 * SPANS || samples != SPANS {
            self.findings.push(Finding::Records {
                recorded: 2 * SPANS,
                delivered: health.delivered,
                overwritten: health.overwritten,
                samples,
            });
        }
        Ok(())
    }

    fn check_lock(&mut self) {
        let capacity = Settings::default().ring_capacity.value;
        let locked = RingMemory::new(capacity, &RingBudget::new(usize::MAX), Purpose::First)
            .and_then(|ring| ring.lock());
        if let Err(error) = locked {
            let bytes = RingMemory::lockable_bytes(capacity);
            self.findings.push(Finding::NotLocked { bytes, error });
        }
    }

    fn check_machine(&mut self) {
        let cores = self.cores.len();
        // Asked on a thread of the library, because the current one may be pinned.
        let ask = || thread::available_parallelism().map_or(usize::MAX, usize::from);
        let asking = OwnThread::spawn("tailwatch-test", Placement::default(), ask);
        let answer = asking.ok().and_then(|mut asking| asking.join());
        let at_once = answer.and_then(Result::ok).unwrap_or(usize::MAX);
        if cores == 1 {
            self.findings.push(Finding::OneCore);
        } else if at_once < cores {
            self.findings.push(Finding::Quota { cores, at_once });
        }
        let max_ring_bytes = Settings::default().max_ring_bytes.value;
        if let Some(available) = available_bytes()
            && available < max_ring_bytes as u64
        {
            self.findings.push(Finding::LittleMemory { available, max_ring_bytes });
        }
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "clock: {}, {:.1} ns per reading, {:+.1} ppm against the operating system's",
            self.clock, self.clock_read_ns, self.clock_drift_ppm
        )?;
        writeln!(f, "records: {} written, {} delivered", self.recorded, self.delivered)?;
        writeln!(f, "cores: {:?}", self.cores)?;
        if self.is_ok() {
            return f.write_str("nothing is wrong");
        }
        for (number, finding) in self.findings.iter().enumerate() {
            write!(f, "{}wrong: {finding}", if number > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CompiledOut => f.write_str(
                "the feature `off` of the crate tailwatch is enabled, by this program or by a \
                 library that it uses, so nothing is recorded; `cargo tree -e features -i \
                 tailwatch` shows who enables it",
            ),
            Self::NoCounter => f.write_str(
                "the processor's counter is missing or does not run at a constant rate (no \
                 invariant TSC), so the operating system's clock is read, which is slower; on a \
                 virtual machine, ask for a type that passes the counter on",
            ),
            Self::SlowClock { read_ns } => write!(
                f,
                "a reading of the clock takes {read_ns:.0} ns, and every span reads it twice; \
                 {MAX_READ_NS} ns would be much already, so a hypervisor probably intercepts it"
            ),
            Self::Drift { ppm } => write!(
                f,
                "the clock is off by {ppm:.0} ppm against that of the operating system, so all \
                 durations are; up to {MAX_DRIFT_PPM} ppm are expected; was the machine suspended \
                 or migrated?"
            ),
            Self::Records { recorded, delivered, overwritten, samples } => write!(
                f,
                "of {recorded} records, {delivered} were delivered and {overwritten} counted as \
                 overwritten, and the statistics have {samples} samples instead of {SPANS}; please \
                 report this bug of tailwatch"
            ),
            Self::Refused(error) => write!(
                f,
                "the operating system provides no memory or no thread for a ring: {error}"
            ),
            Self::NotLocked { bytes, error } => write!(
                f,
                "a ring of {bytes} bytes cannot be locked in memory ({error}), so the operating \
                 system may swap it out; raise RLIMIT_MEMLOCK to what all rings take"
            ),
            Self::OneCore => f.write_str(
                "the process has a single core, so the drain takes time from the measured threads; \
                 let it use a second one",
            ),
            Self::Quota { cores, at_once } => write!(
                f,
                "the process may use {cores} cores, but its control group grants the processor \
                 time of {at_once}, and stops all its threads for a while when that is used up; \
                 raise the processor limit of the container, or remove it"
            ),
            Self::LittleMemory { available, max_ring_bytes } => write!(
                f,
                "{available} bytes of memory are left, and the rings of a collector may take \
                 {max_ring_bytes} unless `max_ring_bytes` is set lower"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_records_of_a_self_test_are_delivered() {
        let test = self_test();
        assert_eq!((test.recorded, test.delivered), (2 * SPANS, 2 * SPANS), "{test}");
        assert!(test.clock_read_ns > 0.0);
        assert!(test.clock_drift_ppm.abs() < 1_000_000.0, "{test}");
        let is_bug =
            |finding: &Finding| matches!(finding, Finding::Records { .. } | Finding::Refused(_));
        assert!(!test.findings.iter().any(is_bug), "{test}");
    }

    #[test]
    fn a_self_test_says_in_words_what_is_wrong() {
        let mut test = SelfTest {
            clock: ClockSource::Tsc,
            clock_read_ns: 11.2,
            clock_drift_ppm: -3.4,
            recorded: 10,
            delivered: 9,
            cores: vec![0, 1],
            findings: Vec::new(),
        };
        let facts = "clock: tsc, 11.2 ns per reading, -3.4 ppm against the operating system's\n\
             records: 10 written, 9 delivered\n\
             cores: [0, 1]\n";
        assert_eq!(test.to_string(), format!("{facts}nothing is wrong"));
        assert!(test.is_ok());
        let bytes = 262_144;
        test.findings = vec![
            Finding::OneCore,
            Finding::NotLocked { bytes, error: io::ErrorKind::OutOfMemory.into() },
        ];
        let said = test.to_string();
        let lines: Vec<_> = said.strip_prefix(facts).unwrap().lines().collect();
        assert!(lines[0].starts_with("wrong: the process has a single core"), "{said}");
        assert!(lines[1].contains("262144 bytes cannot be locked in memory (out of memory)"));
        assert!(!test.is_ok());
    }
}
