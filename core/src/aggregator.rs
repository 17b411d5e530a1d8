//! The aggregator: the one place where the parts meet. It takes delivered records and tells summaries.

mod correct;
mod error;
mod limits;
mod pass;
mod sample;
mod spans;
mod summarize;

use crate::{
    Buckets, EventId, EventInfo, Kind, MAX_PAYLOAD, Record, TickRate, TimeScale, Unit, WindowSpec,
    clock::nanos_of,
    in_flight::{InFlight, Occupancy},
    kept,
    select::Weighed,
    slowest,
    storage::{EventState, Parts, Shape, Storage},
    window::Window,
    word,
};

pub(crate) use self::sample::Fresh;
pub use self::{
    error::ConfigError,
    summarize::{Known, Period, Values},
};

/// Marks the row of an event of unit 1.
const UNIT_ONE: u16 = 0x8000;

/// By how much a record may be later than the drain's own reading of the clock, in nanoseconds, before it counts as a clock
/// anomaly: unsynchronised cores are off by less, a flipped bit by more.
const TOLERANCE_NANOS: u64 = 10_000_000;

/// After how many nanoseconds a span whose END may be lost is given up.
const ABANDON_AFTER_NANOS: u64 = 60_000_000_000;

/// Records that were not what they should be, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Older than a window, or that of a limit, when they were drained: missing there, but not in the total.
    pub late: u64,
    /// Spans that ended before they began, records from the future (in the total alone), STARTs from the future or before the
    /// beginning (nowhere), a clock of the drain that stepped back.
    pub clock_anomalies: u64,
    /// Values and durations too large to be told exactly: no sample, and in no limit. From 2^46 − 1 ticks on, a plain number too, and
    /// from 2^60 units of time; where registers have 32 bits, from 2^44 units or a plain number of that size: 4.5 hours in the coarse
    /// unit, 16 s in the fine one.
    pub saturated: u64,
    /// Of kind 0 or event 0, or of a kind that their event's unit excludes.
    pub invalid: u64,
    /// Of an event that was not announced.
    pub unknown_events: u64,
    /// What did not fit into a counter of a histogram any more, by weight: count, mean and limits have it, quantiles allow for
    /// it. Where registers have 32 bits also what did not fit into the sums of a slice, 2^32 by weight: then its mean and weight are told
    /// as the largest number there is.
    pub full_counters: u64,
}

/// How an event's spans ended. Where registers have 32 bits, each number is 2^32 − 1 at the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outcomes {
    /// The work was done.
    pub ok: u64,
    /// The work failed.
    pub error: u64,
    /// The work was given up.
    pub cancelled: u64,
}

/// Pairs, counts and sorts into windows what the rings deliver.
///
/// A *pass* is: read the clock, [`look`](crate::Consumer::look) at every ring, read the clock again,
/// [`begin_pass`](Self::begin_pass), then [`drain`](Self::drain) the rings, [`settle`](Self::settle), [`watch`](Self::watch) the
/// limits. Only the time given to `begin_pass` moves windows on: a hostile tick in a record cannot wipe one.
///
/// ```
/// use tailwatch_core::{
///     Accuracy, Aggregator, Event, Outcome, Period, Record, Ring, Shape, Slot, TickRate, Trading, WindowSpec, storage,
/// };
///
/// const SHAPE: Shape = Shape::server(Trading::ALL, &WindowSpec::DEFAULT);
/// let mut storage = Box::new(<storage!(SHAPE)>::new()); // or a `static`
/// let mut aggregator = Aggregator::new(
///     SHAPE, &WindowSpec::DEFAULT, Trading::ALL, TickRate::NANOSECONDS, 0, &mut *storage,
/// ).unwrap();
///
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let event = Trading::OrderPlacement.id();
/// for n in 1..=10 {
///     producer.push(Record::end(n * 1_000, event, 0, Outcome::Ok, n * 100)); // a clock of 1 ns a tick
/// }
///
/// let as_of = 20_000; // what the clock reads now
/// consumer.look();
/// aggregator.begin_pass(20_001); // and now
/// aggregator.drain(0, &mut consumer, |_, _| ());
/// aggregator.settle(aggregator.pass());
/// aggregator.watch(as_of, |transition| println!("{:?}", transition.status)); // p95 < 20 ms is kept
/// let summary = aggregator.summary(event, Period::Window(0)).unwrap(); // 1 s
/// assert_eq!((summary.count, summary.p50, summary.max), (10, 500, 1_000));
/// assert_eq!(summary.accuracy, Accuracy::Exact);
/// assert!(aggregator.summary(Trading::OrderFill.id(), Period::Total).is_none()); // nothing happened
/// ```
#[derive(Debug)]
pub struct Aggregator<S> {
    storage: S,
    shape: Shape,
    rate: TickRate,
    time: TimeScale,
    durations: Buckets,
    numbers: Buckets,
    tolerance: u64,
    started: u64,
    now: u64,
    /// When records were found to be lost last.
    lost_until: Option<u64>,
    /// Passes begun.
    pass: u64,
    occupancy: Occupancy,
    /// After how many ticks a span whose END may be lost is given up.
    abandon_after: u64,
    counters: Counters,
}

/// Where a sample came from: what leads to it if it is among the slowest.
#[derive(Clone, Copy)]
struct Origin {
    start: u64,
    tag: Option<u64>,
    source: u16,
    /// It is a span's whose START was not seen yet.
    awaits_tag: bool,
}

impl<S: Storage> Aggregator<S> {
    /// An aggregator of these events over these windows, at the time `now` of a clock that runs at `rate`: no later than the first
    /// record.
    ///
    /// `storage` is empty and has this `shape`.
    ///
    /// # Errors
    /// If windows, events, shape and storage do not fit each other; the error names the value.
    pub fn new(
        shape: Shape,
        windows: &[WindowSpec],
        events: &[EventInfo],
        rate: TickRate,
        now: u64,
        mut storage: S,
    ) -> Result<Self, ConfigError> {
        error::check(&shape, windows, events, &storage.parts(), S::LACKS)?;
        let refused = ConfigError::Histogram { scale: shape.scale, lowest: shape.lowest, octaves: shape.octaves };
        let durations = Buckets::new(shape.scale, shape.lowest, shape.octaves).ok_or(refused)?;
        let numbers = Buckets::new(shape.scale, 0, shape.octaves).ok_or(refused)?;
        let parts = storage.parts();
        let mut first = 0;
        for (window, spec) in parts.windows.iter_mut().zip(windows) {
            *window = Window::new(*spec, rate, now, first).ok_or(ConfigError::SliceTooShort {
                length: spec.length,
                slices: spec.slices,
                hz: rate.hz(),
            })?;
            first += usize::from(spec.slices);
        }
        kept::number_slices(parts.windows);
        let mut corrected = events.len();
        for (row, info) in events.iter().enumerate() {
            let number = row_number(row) + 1;
            parts.rows[usize::from(info.id.get())] = if info.unit == Unit::One { number | UNIT_ONE } else { number };
            let state = &mut parts.events[row];
            state.id = info.id.get();
            if let Some(interval) = info.expected_interval {
                // Checked above: it is a duration of less than 584 years.
                let nanos = nanos_of(interval).unwrap_or(u64::MAX);
                state.interval_nanos = nanos;
                state.corrected = row_number(corrected);
                corrected += 1;
            }
        }
        let mut aggregator = Self {
            storage,
            shape,
            rate,
            time: TimeScale::new(rate, shape.unit),
            durations,
            numbers,
            tolerance: rate.ticks_in_nanos(TOLERANCE_NANOS),
            started: now,
            now,
            lost_until: None,
            pass: 0,
            occupancy: Occupancy::default(),
            abandon_after: rate.ticks_in_nanos(ABANDON_AFTER_NANOS),
            counters: Counters::default(),
        };
        for info in events {
            aggregator.declare_limits(info).map_err(|error| ConfigError::Limit { name: info.name, error })?;
        }
        Ok(aggregator)
    }

    /// How ticks become time here.
    pub const fn time(&self) -> &TimeScale {
        &self.time
    }

    /// How much it keeps.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Records that were not what they should be.
    pub fn counters(&mut self) -> Counters {
        // What finds no room in a counter is known then.
        self.pour_all();
        self.counters
    }

    #[inline]
    fn in_flight(&mut self) -> InFlight<'_> {
        let Parts { in_flight, events, .. } = self.storage.parts();
        InFlight { table: in_flight, occupancy: &mut self.occupancy, events }
    }

    /// Takes in one record, whatever its bits, from the source of this number (a ring, a thread: what the slowest samples are to
    /// lead to): constant time, but for what is corrected for coordinated omission, and but for a sample that belongs to other slices
    /// than its event's last one, which is linear in the places of a histogram. Whether it is a sample, which an END, VALUE or DURATION
    /// is unless something is wrong with it.
    #[inline]
    pub fn record(&mut self, source: u16, record: Record) -> bool {
        let Some(event) = record.event() else {
            self.counters.invalid += 1;
            return false;
        };
        let Some((row, unit)) = row_of(self.storage.parts().rows, event) else {
            self.counters.unknown_events += 1;
            return false;
        };
        match (unit, record.kind()) {
            (Unit::Time, Kind::Start) => {
                self.begin(row, record);
                false
            }
            (Unit::Time, kind @ (Kind::EndOk | Kind::EndError | Kind::EndCancelled)) => {
                self.end(row, record, kind as usize - Kind::EndOk as usize, source)
            }
            (_, kind) => self.record_other(row, unit, record, kind, source),
        }
    }

    /// A span began.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn begin(&mut self, row: usize, record: Record) {
        let (start, tag) = (record.ticks(), record.payload());
        if !self.can_begin(start) {
            self.counters.clock_anomalies += 1;
            return;
        }
        self.see(row, start);
        if self.in_flight().start(row_number(row), start, tag, record.sampling()) {
            self.tell_tag(row, start, tag);
        }
    }

    /// A span ended with the outcome of this number; whether it is a sample.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn end(&mut self, row: usize, record: Record, outcome: usize, source: u16) -> bool {
        let duration = record.payload();
        let start = record.ticks().wrapping_sub(duration);
        word::count(&mut self.storage.parts().events[row].outcomes[outcome], 1);
        self.see(row, record.ticks());
        let tag = self.close(row, start);
        let origin = Origin { start, tag, source, awaits_tag: tag.is_none() };
        let units = self.time.units(duration);
        let weighed = units.and_then(|units| Weighed::new(units, record.sampling()));
        self.sample_if_told(row, Unit::Time, weighed, record.ticks(), &origin)
    }

    /// What is neither a START nor an END; whether it is a sample.
    #[inline(never)]
    fn record_other(&mut self, row: usize, unit: Unit, record: Record, kind: Kind, source: u16) -> bool {
        let payload = record.payload();
        let origin = |start| Origin { start, tag: None, source, awaits_tag: false };
        let (inside, origin) = match (unit, kind) {
            (Unit::Time, Kind::Duration) => {
                let units = if payload < MAX_PAYLOAD { self.time.units(payload) } else { None };
                (units, origin(record.ticks().wrapping_sub(payload)))
            }
            (Unit::One, Kind::Value) => ((payload < MAX_PAYLOAD).then_some(payload), origin(record.ticks())),
            (Unit::Time, Kind::Forget) => {
                self.see(row, record.ticks());
                self.close(row, record.ticks());
                // Why it was closed: see the table in `record.rs`.
                match payload {
                    0 => (),
                    1 => self.counters.clock_anomalies += 1,
                    2 => self.counters.saturated += 1,
                    _ => self.counters.invalid += 1,
                }
                return false;
            }
            _ => {
                self.counters.invalid += 1;
                return false;
            }
        };
        self.see(row, record.ticks());
        let weighed = inside.and_then(|inside| Weighed::new(inside, record.sampling()));
        self.sample_if_told(row, unit, weighed, record.ticks(), &origin)
    }

    /// A sample, unless it is too large; whether it is one.
    #[inline]
    fn sample_if_told(
        &mut self,
        row: usize,
        unit: Unit,
        weighed: Option<Weighed>,
        ticks: u64,
        origin: &Origin,
    ) -> bool {
        if let Some(weighed) = weighed {
            self.sample(row, unit, weighed, ticks, *origin);
        } else {
            self.counters.saturated += 1;
        }
        weighed.is_some()
    }

    /// Whether a span can have begun then. One that began in the future would never be old, and one from before the beginning
    /// would be too old for ever.
    #[inline]
    const fn can_begin(&self, tick: u64) -> bool {
        tick.saturating_add(self.tolerance) >= self.started && tick <= self.now.saturating_add(self.tolerance)
    }

    /// Something of the event was recorded.
    #[inline]
    fn see(&mut self, row: usize, tick: u64) {
        let now = self.now;
        let seen = &mut self.storage.parts().events[row].seen;
        *seen = (*seen).max(tick.min(now).saturating_add(1));
    }

    /// The span that began at `start` is no longer open. Its tag, if its START was seen.
    #[inline]
    fn close(&mut self, row: usize, start: u64) -> Option<u64> {
        let pass = self.pass;
        self.in_flight().end(row_number(row), start, pass)
    }

    /// The START of a span has come whose END was drained before, and that is among the slowest.
    #[cold]
    fn tell_tag(&mut self, row: usize, start: u64, tag: u64) {
        let (k, lists) = (self.shape.slowest, self.shape.lists());
        if k > 0 && !S::LACKS.slowest {
            let of_event = &mut self.storage.parts().slowest[row * lists * k..][..lists * k];
            of_event.chunks_exact_mut(k).for_each(|list| slowest::tell_tag(list, start, tag));
        }
    }

    const fn buckets(&self, unit: Unit) -> Buckets {
        match unit {
            Unit::Time => self.durations,
            Unit::One => self.numbers,
        }
    }
}

/// A row as the table of open spans knows it.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer rows than twice the ids")]
const fn row_number(row: usize) -> u16 {
    row as u16
}

/// The row of an event, and its unit.
#[inline]
fn row_of(rows: &[u16], event: EventId) -> Option<(usize, Unit)> {
    let row = *rows.get(usize::from(event.get()))?;
    let unit = if row & UNIT_ONE == 0 { Unit::Time } else { Unit::One };
    usize::from(row & !UNIT_ONE).checked_sub(1).map(|row| (row, unit))
}

/// The unit of a row's values; a corrected summary has no id, and is of time.
fn unit_of(rows: &[u16], state: &EventState) -> Unit {
    if rows[usize::from(state.id)] & UNIT_ONE == 0 { Unit::Time } else { Unit::One }
}

#[cfg(test)]
mod tests;
