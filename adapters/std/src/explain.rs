//! What is in force, and why: for the operator who asks before the market opens.

use core::{fmt, time::Duration};
use std::{path::Path, thread};

use tailwatch_core::{EventId, Shape, ring::batch};

use crate::{
    ClockMode, ClockSetting, ClockSource, DrainPriority, HostClock, Origin, Report, Sampling,
    Settings, drain::report_bytes, drain_thread::DrainPlacement, pool::Pool, sampling,
    thread_recorder::OFF,
};

/// What a collector was started with.
#[derive(Debug)]
pub(crate) struct InForce {
    settings: Settings,
    /// Those that the thread that started it could run on.
    cores: Vec<usize>,
    windows_bytes: usize,
    report_bytes: usize,
}

impl InForce {
    pub(crate) fn new(settings: Settings, cores: Vec<usize>, shape: &Shape) -> Self {
        Self {
            settings,
            cores,
            windows_bytes: shape.bytes::<u32>(),
            report_bytes: report_bytes(shape),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn is_manual(&self) -> bool {
        self.settings.manual_drain.value
    }

    /// Where the drain's thread belongs, if there is one.
    pub(crate) fn seat(&self) -> Option<DrainPlacement> {
        let Settings { drain_core, drain_priority, .. } = &self.settings;
        (!self.is_manual())
            .then_some(DrainPlacement { core: drain_core.value, priority: drain_priority.value })
    }

    pub(crate) fn explain(
        &self,
        pool: &Pool,
        report: &Report,
        sampling: impl Iterator<Item = (EventId, Sampling, u8)>,
    ) -> String {
        Explanation { in_force: self, pool, report, sampling: sampling.collect() }.to_string()
    }
}

/// How many spans a second a ring of this capacity lasts for, if it is drained after `rest`: the newest `capacity` − batch
/// records are always there, and a span has two.
fn spans_a_second(capacity: usize, rest: Duration) -> u128 {
    let spans = (capacity.saturating_sub(batch(capacity)) / 2) as u128;
    spans * 1_000_000_000 / rest.as_nanos().max(1)
}

struct Explanation<'a> {
    in_force: &'a InForce,
    pool: &'a Pool,
    report: &'a Report,
    sampling: Vec<(EventId, Sampling, u8)>,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.in_force.settings;
        f.write_str("settings (environment over file over builder over default):\n")?;
        for (key, value, origin) in settings.rows() {
            writeln!(f, "  {key} = {value} ({origin})")?;
        }
        let file = settings.config_file.value.as_deref().unwrap_or(Path::new("none"));
        writeln!(f, "  config_file = {} ({})", file.display(), settings.config_file.origin)?;
        self.limits(f)?;
        self.sampling(f)?;
        let recording = match (self.report.finished, self.report.health.enabled) {
            _ if OFF => "compiled out, by the feature `off`",
            (true, _) => "stopped",
            (false, true) => "on",
            (false, false) => "off",
        };
        writeln!(f, "recording: {recording}")?;
        self.clock(f)?;
        self.memory(f)?;
        self.place(f)?;
        self.sizing(f)
    }
}

impl Explanation<'_> {
    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = &self.in_force.settings.limits;
        let origin: &dyn fmt::Display = if limits.origin == Origin::Default {
            &"declared with the events"
        } else {
            &limits.origin
        };
        writeln!(f, "limits: {} ({origin}, unless set while running)", self.report.sla.len())
    }

    fn sampling(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everything = |sampling: &Sampling| *sampling == Sampling::default();
        let mut told = false;
        for (id, sampling, k) in
            self.sampling.iter().filter(|(_, sampling, _)| !everything(sampling))
        {
            let name = self.report.event(*id).map_or("unknown", |event| event.name);
            let started = self.in_force.settings.sampling.iter().find(|(event, _)| event == id);
            let origin = started
                .filter(|(_, setting)| setting.value == *sampling)
                .map(|(_, setting)| &setting.origin);
            let now = sampling::share(*k).recip();
            write!(f, "sampling: {name} {sampling:?}, now 1 in {now:.0} ")?;
            match origin {
                Some(origin) => writeln!(f, "({origin})")?,
                None => writeln!(f, "(set while running)")?,
            }
            told = true;
        }
        if told { Ok(()) } else { f.write_str("sampling: everything is recorded\n") }
    }

    fn clock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = &self.report.clock;
        let why = match (clock.source, self.in_force.settings.clock.value) {
            (ClockSource::Tsc, _) => "the processor's counter, invariant and calibrated",
            (ClockSource::Monotonic, ClockSetting::Monotonic)
                if HostClock::new(ClockMode::default()).source() == ClockSource::Tsc =>
            {
                "the operating system's, as asked for; the processor's counter could be trusted"
            }
            (ClockSource::Monotonic, _) => {
                "the operating system's, slower: the processor's counter is missing or not invariant"
            }
        };
        let mode = if clock.ordered { "ordered" } else { "relaxed" };
        writeln!(
            f,
            "clock: {}, {why}; {} Hz, {mode}, off by {:.1} ppm",
            clock.source, clock.hz, clock.drift_ppm
        )
    }

    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InForce { settings, windows_bytes, report_bytes, .. } = self.in_force;
        writeln!(
            f,
            "memory: {} for {} rings of {} records{}, {} for windows and histograms, up to {} for each report that is held",
            bytes(self.pool.bytes()),
            settings.rings.value,
            settings.ring_capacity.value,
            if settings.mlock.value { ", locked" } else { "" },
            bytes(*windows_bytes),
            bytes(*report_bytes),
        )
    }

    fn place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = &self.in_force.cores;
        f.write_str("cores: ")?;
        if cores.is_empty() {
            f.write_str("unknown")?;
        }
        for (number, core) in cores.iter().enumerate() {
            write!(f, "{}{core}", if number > 0 { ", " } else { "" })?;
        }
        // Less than the cores where a group of processes has a quota.
        match thread::available_parallelism() {
            Ok(at_once) => writeln!(f, "; {at_once} at once")?,
            Err(_) => f.write_str("\n")?,
        }
        let Some(DrainPlacement { core, priority }) = self.in_force.seat() else {
            return f.write_str("drain: by whoever calls `drain`\n");
        };
        match core {
            Some(core) => write!(f, "drain: a thread pinned to core {core}, priority {priority}")?,
            None => write!(f, "drain: a thread on any core, priority {priority}")?,
        }
        f.write_str(match priority {
            DrainPriority::Idle => {
                ": let no thread that records run there, or records are overwritten while it waits\n"
            }
            _ => "\n",
        })
    }

    fn sizing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { ring_capacity, rings, max_period, .. } = &self.in_force.settings;
        let spans = spans_a_second(ring_capacity.value, max_period.value);
        write!(
            f,
            "sizing: {} threads can record at once, each {spans} spans a second after a rest of {:?}, before records are \
             overwritten; {} were so far, and {} went into no ring",
            rings.value,
            max_period.value,
            self.report.health.overwritten,
            self.report.health.unregistered,
        )
    }
}

fn bytes(bytes: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let kibibytes = bytes as f64 / 1024.0;
    if kibibytes < 1024.0 {
        format!("{kibibytes:.1} KiB")
    } else {
        format!("{:.1} MiB", kibibytes / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizing_is_that_of_the_readme() {
        assert_eq!(spans_a_second(16_384, Duration::from_millis(100)), 81_600);
        assert_eq!(spans_a_second(131_072, Duration::from_millis(100)), 655_040);
        assert_eq!(spans_a_second(8, Duration::from_secs(1)), 3);
    }

    /// A burst of so many records is never overwritten, however often the ring has gone round before.
    #[test]
    fn a_ring_keeps_as_much_as_it_is_said_to() {
        for capacity in [8, 64, 1_024] {
            let spans = usize::try_from(spans_a_second(capacity, Duration::from_secs(1))).unwrap();
            for before in 0..capacity {
                let ring = crate::ring_memory::RingMemory::new(capacity).unwrap();
                let (producer, mut consumer) =
                    (ring.ring().attach_producer(), ring.ring().attach_consumer());
                let record = tailwatch_core::Record::from_words([1, 1]);
                (0..before).for_each(|_| producer.push(record));
                consumer.refresh();
                consumer.drain(|_| ());
                (0..2 * spans).for_each(|_| producer.push(record));
                consumer.refresh();
                assert_eq!(consumer.drain(|_| ()).overwritten, 0, "{capacity}, {before}");
            }
        }
    }
}
