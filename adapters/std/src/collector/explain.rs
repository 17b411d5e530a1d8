//! The text of [`Collector::explain`](crate::Collector::explain): the settings in force and their
//! origins, the limits, the sampling, the clock, the cost of a span, the memory, the drain, and how
//! many spans per second the rings can take.

pub(super) mod limits;

use core::{fmt, time::Duration};
use std::{io, path::Path, thread};

use tailwatch_core::{EventId, EventInfo, Shape, ring::batch};
use tailwatch_record::collecting::OFF;

use self::limits::LimitLines;
use crate::{
    clock::{ClockMode, ClockSource, HostClock},
    drain::sampling::{self, Sampling},
    events::numbers::NamedEvent,
    own_thread::{
        cores,
        placement::{DrainPriority, Placement},
    },
    recording::pool::Pool,
    report::{EventReport, Report, health::Health, memory},
    settings::{ClockSetting, Settings, visible::Visible},
};

/// The settings that a collector was started with, and the sizes that follow from them.
#[derive(Debug)]
pub(crate) struct InForce {
    settings: Settings,
    /// The cores that the process may use, by the operating system's numbers.
    cores: Vec<usize>,
    /// Why the drain's thread runs where the thread runs that started the collector. `None` if it
    /// has its own cores.
    not_moved: Option<String>,
    /// The size of the windows and histograms.
    windows_bytes: usize,
    /// The largest size of a report.
    report_bytes: usize,
}

impl InForce {
    /// Combines the settings with the sizes that follow from `shape`, the capacities of the
    /// collector's aggregator.
    pub(crate) fn new(settings: Settings, shape: &Shape) -> Self {
        Self {
            settings,
            cores: cores::of_process(),
            not_moved: None,
            windows_bytes: shape.bytes::<u32>(),
            report_bytes: memory::max_bytes(shape),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns whether the program makes the passes of the drain, without a drain thread.
    pub(crate) fn is_manual(&self) -> bool {
        self.settings.manual_drain.value
    }

    /// Notes why the drain's thread runs where the thread runs that started the collector, if it
    /// does.
    pub(crate) fn note_not_moved(&mut self, error: Option<&io::Error>) {
        self.not_moved = error.map(ToString::to_string);
    }

    /// Returns the core and priority of the drain thread, or `None` if there is no drain thread.
    pub(crate) fn drain_placement(&self) -> Option<Placement> {
        let Settings { drain_core, drain_priority, .. } = &self.settings;
        (!self.is_manual())
            .then_some(Placement { core: drain_core.value, priority: drain_priority.value })
    }

    /// Returns the text. `report` is the last report, and `sampling` is how each event is sampled
    /// at present: its id, its sampling, and the k of 1 in 2^k.
    pub(crate) fn explain(
        &self,
        pool: &Pool,
        report: &Report,
        sampling: impl Iterator<Item = (EventId, Sampling, u8)>,
    ) -> String {
        Explanation { in_force: self, pool, report, sampling: sampling.collect() }.to_string()
    }
}

/// Returns how many spans per second a ring of this capacity can take without a loss, if the drain
/// pauses for `pause`.
///
/// At least the newest `capacity` − `batch(capacity)` records of a ring can be read, and a span
/// is two records.
fn spans_per_second(capacity: usize, pause: Duration) -> u128 {
    let spans = (capacity.saturating_sub(batch(capacity)) / 2) as u128;
    spans * 1_000_000_000 / pause.as_nanos().max(1)
}

/// Describes the cost of a span, from that of a record to the thread that writes it and to the
/// drain, in nanoseconds. The latter is 0 if the drain has read no record yet.
fn span_cost(record_ns: f64, drain_ns: f64) -> String {
    // A span is two records.
    let [record, drain] = [2.0 * record_ns, 2.0 * drain_ns];
    let recording = format!("a span takes about {record:.0} ns, or less, to record");
    if drain > 0.0 {
        let sum = record + drain;
        format!("{recording}, and {drain:.0} ns to drain at the present rate: {sum:.0} ns together")
    } else {
        format!("{recording}; nothing was drained yet")
    }
}

/// Formats the text of [`InForce::explain`], whose arguments are its fields.
struct Explanation<'a> {
    in_force: &'a InForce,
    pool: &'a Pool,
    report: &'a Report,
    sampling: Vec<(EventId, Sampling, u8)>,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.in_force.settings;
        f.write_str(
            "settings (environment overrides file overrides builder overrides default):\n",
        )?;
        for (key, value, origin) in settings.rows() {
            writeln!(f, "  {key} = {value} ({origin})")?;
        }
        let file = settings.config_file.value.as_deref().unwrap_or(Path::new("none"));
        writeln!(f, "  config_file = {} ({})", Visible(file), settings.config_file.origin)?;
        write!(f, "{}", LimitLines { settings, report: self.report })?;
        self.sampling(f)?;
        let recording = match (self.report.finished, self.report.health.enabled) {
            _ if OFF => "compiled out by the feature `off`",
            (true, _) => "stopped",
            (false, true) => "on",
            (false, false) => "off",
        };
        writeln!(f, "recording: {recording}")?;
        self.clock(f)?;
        self.cost(f)?;
        self.memory(f)?;
        self.sharing(f)?;
        self.cores_and_drain(f)?;
        self.sizing(f)
    }
}

impl Explanation<'_> {
    fn sampling(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_default = |sampling: &Sampling| *sampling == Sampling::default();
        let mut any = false;
        for (id, sampling, k) in
            self.sampling.iter().filter(|(_, sampling, _)| !is_default(sampling))
        {
            let name = self.report.event(*id).map_or("unknown", EventReport::static_name);
            let settings = &self.in_force.settings;
            let at_start = settings.sampling.iter().find(|(event, _)| event == id);
            let later =
                || settings.later_events.sampling_of(&NamedEvent::new(&EventInfo::new(*id, name)));
            let set = at_start.map(|(_, setting)| setting).or_else(later);
            let origin =
                set.filter(|setting| setting.value == *sampling).map(|setting| &setting.origin);
            let now = sampling::share(*k).recip();
            write!(f, "sampling: {name}: {sampling}, now 1 in {now:.0} ")?;
            match origin {
                Some(origin) => writeln!(f, "({origin})")?,
                None => writeln!(f, "(set at run time)")?,
            }
            any = true;
        }
        if any { Ok(()) } else { f.write_str("sampling: everything is recorded\n") }
    }

    fn clock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(clock) = &self.report.clock else { return Ok(()) };
        let why = match (clock.source, self.in_force.settings.clock.value) {
            (ClockSource::Tsc, _) => "the processor's counter, which is reliable",
            (ClockSource::Monotonic, ClockSetting::Monotonic)
                if HostClock::new(ClockMode::default()).source() == ClockSource::Tsc =>
            {
                "the operating system's clock, as set; the processor's counter is reliable, too"
            }
            (ClockSource::Monotonic, _) => {
                "the operating system's clock, which is slower to read, because the processor's \
                 counter is missing or not reliable"
            }
        };
        let mode = if clock.ordered { "ordered" } else { "relaxed" };
        writeln!(
            f,
            "clock: {}, {why}; {} Hz, {mode}, drift {:.1} ppm",
            clock.source, clock.hz, clock.drift_ppm
        )
    }

    fn cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Health { record_ns, drain_ns, .. } = self.report.health;
        writeln!(f, "cost: {}", span_cost(record_ns, drain_ns))
    }

    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InForce { settings, windows_bytes, report_bytes, .. } = self.in_force;
        let (rings, budget) = (self.pool.settings(), self.pool.budget());
        write!(f, "rings: {} in use, at most {}", bytes(budget.in_use()), bytes(rings.max_bytes))?;
        if rings.max_bytes < settings.max_ring_bytes.value {
            f.write_str(" (lowered, because the machine or its control group has no more)")?;
        }
        if rings.locked {
            match self.pool.unlocked() {
                0 => f.write_str(", locked")?,
                unlocked => write!(f, ", locked except {unlocked} for which that failed")?,
            }
        }
        writeln!(f)?;
        let in_use = usize::try_from(self.report.health.memory_bytes).unwrap_or(usize::MAX);
        writeln!(f, "memory: {} in use, with the rings", bytes(in_use))?;
        writeln!(f, "memory: windows and histograms take up to {}", bytes(*windows_bytes))?;
        let report = bytes(*report_bytes);
        writeln!(f, "memory: each report that the program keeps takes up to {report}")
    }

    fn sharing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Health { hidden_threads, hidden_records, not_shared, .. } = &self.report.health;
        match (self.pool.share(), not_shared) {
            (Some(share), _) => writeln!(
                f,
                "shared: {}, {} of at most {} in use; {hidden_threads} threads had rings outside \
                 it, with {hidden_records} records; {} records in it lost the name of their thread",
                Visible(share.path()),
                bytes(share.bytes_in_use()),
                bytes(self.in_force.settings.share_bytes.value),
                share.unknown_records(),
            ),
            (None, Some(error)) => writeln!(f, "shared: no: {error}"),
            (None, None) => writeln!(f, "shared: no"),
        }
    }

    fn cores_and_drain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InForce { settings, cores, not_moved, .. } = self.in_force;
        let cores = match cores.as_slice() {
            [] => "unknown".to_owned(),
            cores => cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        };
        write!(f, "cores: {cores}")?;
        // A control group's processor quota can make this less than the number of cores.
        match thread::available_parallelism() {
            Ok(granted) => writeln!(f, "; processors granted to the starting thread: {granted}")?,
            Err(_) => f.write_str("\n")?,
        }
        if self.pool.is_inherited() {
            return f.write_str(
                "drain: none; the collector belongs to the process from which this one was \
                 forked\n",
            );
        }
        let Some(Placement { core, priority }) = self.in_force.drain_placement() else {
            return f.write_str("drain: no thread; the program calls `Collector::drain`\n");
        };
        let origin = &settings.drain_core.origin;
        match (core, not_moved) {
            (Some(core), _) => write!(f, "drain: a thread pinned to core {core} ({origin})"),
            (None, None) => {
                write!(f, "drain: a thread on the cores {cores}, which the process may use")
            }
            (None, Some(error)) => write!(
                f,
                "drain: a thread on the cores of the thread that started it, because the operating \
                 system refused others ({error})"
            ),
        }?;
        write!(f, ", priority {priority}")?;
        f.write_str(match priority {
            DrainPriority::Idle => {
                "; no recording thread may run on the same core, or records are overwritten while \
                 the drain waits for the core\n"
            }
            _ => "\n",
        })
    }

    fn sizing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max_period = self.in_force.settings.max_period.value;
        let rings = self.pool.settings();
        let spans = spans_per_second(rings.capacity, max_period);
        writeln!(
            f,
            "sizing: up to {} threads can record at once; each begins with a ring of {} records",
            rings.max_first_rings(),
            rings.capacity,
        )?;
        writeln!(
            f,
            "sizing: such a ring takes {spans} spans per second without a loss while the drain \
             pauses for {max_period:?}",
        )?;
        writeln!(
            f,
            "sizing: a ring that is too small grows to up to {} records",
            rings.max_capacity
        )?;
        write!(
            f,
            "losses: so far {} records were overwritten, {} were unregistered, and {} larger rings \
             were refused",
            self.report.health.overwritten,
            self.report.health.unregistered,
            self.pool.budget().refused(),
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
    use crate::recording::{
        ring_budget::{Purpose, RingBudget},
        ring_memory::RingMemory,
    };

    #[test]
    fn the_sizing_is_as_documented() {
        assert_eq!(spans_per_second(16_384, Duration::from_millis(100)), 81_600);
        assert_eq!(spans_per_second(131_072, Duration::from_millis(100)), 655_040);
        assert_eq!(spans_per_second(8, Duration::from_secs(1)), 3);
    }

    #[test]
    fn the_cost_of_a_span_is_that_of_two_records_and_includes_the_drain() {
        assert_eq!(
            span_cost(18.4, 5.6),
            "a span takes about 37 ns, or less, to record, and 11 ns to drain at the present rate: \
             48 ns together"
        );
        assert_eq!(
            span_cost(18.4, 0.0),
            "a span takes about 37 ns, or less, to record; nothing was drained yet"
        );
    }

    /// A burst of this size is never overwritten, wherever in the ring it begins.
    #[test]
    fn a_burst_of_the_stated_size_loses_no_record() {
        for capacity in [8, 64, 1_024] {
            let spans =
                usize::try_from(spans_per_second(capacity, Duration::from_secs(1))).unwrap();
            for before in 0..capacity {
                let budget = RingBudget::new(usize::MAX);
                let ring = RingMemory::new(capacity, &budget, Purpose::First).unwrap();
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
