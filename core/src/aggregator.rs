//! The aggregator: the one place where the parts meet. It takes delivered records and tells summaries.

mod accumulate;
mod coordinated_omission;
mod drain;
mod error;
mod fast_path;
mod limits;
mod summarize;

use crate::{
    Buckets, EventId, EventInfo, Kind, LimitError, MAX_PAYLOAD, Record, TickRate, TimeScale, Unit,
    WindowSpec,
    clock::nanos_of,
    counter_width, exemplars,
    in_flight::{Occupancy, OpenSpanTable, SHORTCUTS},
    sample_buffer,
    select::WeightedSample,
    storage::{EventState, Shape, Storage, StorageParts},
};

pub(crate) use self::accumulate::Staged;
pub use self::{
    error::ConfigError,
    summarize::{Distribution, DistributionData, Scope},
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
/// A *pass* is: read the clock, [`refresh`](crate::Consumer::refresh) at every ring, read the clock again,
/// [`begin_pass`](Self::begin_pass), then [`drain`](Self::drain) the rings, [`expire_orphans`](Self::expire_orphans), [`watch`](Self::watch) the
/// limits. Only the time given to `begin_pass` moves windows on: a hostile tick in a record cannot wipe one.
///
/// ```
/// use tailwatch_core::{
///     Accuracy, Aggregator, Event, Outcome, Scope, Record, Ring, Shape, Slot, TickRate, Trading, WindowSpec, storage,
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
/// consumer.refresh();
/// aggregator.begin_pass(20_001); // and now
/// aggregator.drain(0, &mut consumer, |_, _| ());
/// aggregator.expire_orphans(aggregator.pass());
/// aggregator.watch(as_of, |change| println!("{:?}", change.status)); // p95 < 20 ms is kept
/// let summary = aggregator.summary(event, Scope::Window(0)).unwrap(); // 1 s
/// assert_eq!((summary.count, summary.p50, summary.max), (10, 500, 1_000));
/// assert_eq!(summary.accuracy, Accuracy::Exact);
/// assert!(aggregator.summary(Trading::OrderFill.id(), Scope::Total).is_none()); // nothing happened
/// ```
#[derive(Debug)]
pub struct Aggregator<S> {
    storage: S,
    rate: TickRate,
    time: TimeScale,
    tolerance: u64,
    started: u64,
    now: u64,
    /// The first tick that a span can begin at: as far before it was started as clocks are apart.
    earliest: u64,
    /// The last tick that is not of the future: as far after now.
    latest: u64,
    /// One more than the tick at which records were found to be lost last; 0 if none were.
    lost_until: u64,
    /// Passes begun.
    pass: u64,
    occupancy: Occupancy,
    /// After how many ticks a span whose END may be lost is given up.
    abandon_after: u64,
    counters: Counters,
}

/// Where a sample came from: what leads to it if it is among the slowest.
#[derive(Clone, Copy)]
struct SpanOrigin {
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
        error::check(shape, windows, events, &mut storage)?;
        let shape = storage.shape();
        let parts = storage.parts();
        let (mut first, mut shift) = (0, 0);
        for (window, spec) in parts.windows.iter_mut().zip(windows) {
            let WindowSpec { length, slices } = *spec;
            if !window.set_up(spec, rate, now, first) {
                return Err(ConfigError::SliceTooShort { length, slices, hz: rate.hz() });
            }
            first += usize::from(spec.slices);
            shift = sample_buffer::number_slices(window, shift);
        }
        let has_room = shape.limits + shape.silences > 0;
        let mut corrected = events.len();
        for (row, info) in events.iter().enumerate() {
            let number = row_number(row) + 1;
            parts.rows[usize::from(info.id.get())] = if !S::ABSENT.numbers && info.unit == Unit::One
            {
                number | UNIT_ONE
            } else {
                number
            };
            let state = &mut parts.events[row];
            state.id = info.id.get();
            if !has_room && !info.limits.is_empty() {
                return Err(ConfigError::Limit {
                    name: info.name,
                    error: LimitError::NoRoom { room: 0 },
                });
            }
            if !S::ABSENT.corrected
                && let Some(interval) = info.expected_interval
            {
                // Checked above: it is a duration of less than 584 years.
                let nanos = nanos_of(interval).unwrap_or(u64::MAX);
                state.interval_nanos = nanos;
                state.corrected = row_number(corrected);
                corrected += 1;
            }
        }
        let tolerance = rate.ticks_in_nanos(TOLERANCE_NANOS);
        let mut made = Ok(Self {
            storage,
            rate,
            time: TimeScale::new(rate, shape.unit),
            tolerance,
            started: now,
            now,
            earliest: now.saturating_sub(tolerance),
            latest: now.saturating_add(tolerance),
            lost_until: 0,
            pass: 0,
            occupancy: Occupancy::default(),
            abandon_after: rate.ticks_in_nanos(ABANDON_AFTER_NANOS),
            counters: Counters::default(),
        });
        if has_room && let Ok(aggregator) = &mut made {
            for info in events {
                aggregator
                    .declare_limits(info)
                    .map_err(|error| ConfigError::Limit { name: info.name, error })?;
            }
        }
        made
    }

    /// How ticks become time here.
    pub const fn time(&self) -> &TimeScale {
        &self.time
    }

    /// How much it keeps.
    #[inline(always)]
    pub fn shape(&self) -> Shape {
        self.storage.shape()
    }

    /// Records that were not what they should be.
    pub fn counters(&mut self) -> Counters {
        // What finds no room in a counter is known then.
        self.commit_all();
        self.counters
    }

    #[inline]
    fn in_flight(&mut self) -> OpenSpanTable<'_> {
        let StorageParts { in_flight, events, .. } = self.storage.parts();
        OpenSpanTable { table: in_flight, occupancy: &mut self.occupancy, events }
    }

    /// Takes in one record, whatever its bits, from the source of this number (a ring, a thread: what the slowest samples are to
    /// lead to): constant time, but for what is corrected for coordinated omission, and but for a sample that belongs to other slices
    /// than its event's last one, which is linear in the places of a histogram. Where registers have 32 bits, that is linear in the
    /// slices of the windows too. Whether it is a sample, which an END, VALUE or DURATION is unless something is wrong with it.
    #[inline]
    pub fn record(&mut self, source: u16, record: Record) -> bool {
        self.take(source, &record, None).1
    }

    /// Takes in a record and, if the two are a whole span, the `next` one; how many these are, and whether the last one is a sample.
    #[inline(always)]
    fn take(&mut self, source: u16, record: &Record, next: Option<&Record>) -> (usize, bool) {
        let Some(event) = record.event() else {
            counter_width::note(&mut self.counters.invalid);
            return (1, false);
        };
        let Some((row, unit)) = row_of::<S>(self.storage.parts().rows, event) else {
            counter_width::note(&mut self.counters.unknown_events);
            return (1, false);
        };
        if unit != Unit::Time || record.kind() != Kind::Start {
            return (1, self.measure(row, unit, record, None, source));
        }
        match next {
            Some(end) if end.outcome_of(*record).is_some() && self.passes_by(record.ticks()) => {
                (2, self.measure(row, unit, end, Some(record), source))
            }
            _ => {
                self.begin(row, *record);
                (1, false)
            }
        }
    }

    /// Whether a span that begins then, and ends before anything else happens, has nothing to do with the table of open spans.
    fn passes_by(&mut self, tick: u64) -> bool {
        (S::ABSENT.in_flight || self.in_flight().passes_by()) && self.can_begin(tick)
    }

    /// A span began.
    #[cfg_attr(target_pointer_width = "64", inline)]
    fn begin(&mut self, row: usize, record: Record) {
        let (start, tag) = (record.ticks(), record.payload());
        if !self.can_begin(start) {
            counter_width::note(&mut self.counters.clock_anomalies);
            return;
        }
        self.see(row, start);
        let awaited = if SHORTCUTS {
            self.in_flight().start(row_number(row), start, tag, record.sampling())
        } else {
            self.pair(row, start, false, tag, record.sampling()).is_some_and(|awaited| awaited > 0)
        };
        if awaited {
            self.tell_tag(row, start, tag);
        }
    }

    /// A record that is no START; whether it is a sample. The END of a whole span comes with its START, of which nothing else knows.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn measure(
        &mut self,
        row: usize,
        unit: Unit,
        record: &Record,
        start: Option<&Record>,
        source: u16,
    ) -> bool {
        let row = self.known_row(row);
        let (ticks, payload, kind) = (record.ticks(), record.payload(), record.kind());
        let mut origin = SpanOrigin { start: ticks, tag: None, source, awaits_tag: false };
        let inside = match (unit, kind) {
            (Unit::Time, Kind::EndOk | Kind::EndError | Kind::EndCancelled) => {
                let outcome = kind as usize - Kind::EndOk as usize;
                let state = &mut self.storage.parts().events[row];
                counter_width::count(&mut state.outcomes[outcome], 1);
                origin.start = ticks.wrapping_sub(payload);
                if let Some(start) = start {
                    counter_width::count(&mut state.pairing.paired, 1);
                    // Without a table, no START is remembered, whether its END is next or not.
                    origin.tag = (!S::ABSENT.in_flight).then_some(start.payload());
                } else {
                    origin.tag = self.close(row, origin.start);
                }
                origin.awaits_tag = origin.tag.is_none();
                self.time.units(payload)
            }
            (Unit::Time, Kind::Duration) => {
                origin.start = ticks.wrapping_sub(payload);
                if payload < MAX_PAYLOAD { self.time.units(payload) } else { None }
            }
            (Unit::One, Kind::Value) => (payload < MAX_PAYLOAD).then_some(payload),
            (Unit::Time, Kind::Forget) => {
                self.forget(row, *record);
                return false;
            }
            _ => {
                counter_width::note(&mut self.counters.invalid);
                return false;
            }
        };
        self.see(row, ticks);
        let weighted = inside.and_then(|inside| WeightedSample::new(inside, record.sampling()));
        if let Some(weighted) = weighted {
            self.sample(row, unit, weighted, ticks, &origin);
        } else {
            counter_width::note(&mut self.counters.saturated);
        }
        weighted.is_some()
    }

    /// A span is no longer open, and has no latency.
    #[cold]
    #[inline(never)]
    fn forget(&mut self, row: usize, record: Record) {
        self.see(row, record.ticks());
        self.close(row, record.ticks());
        // Why it was closed: see the table in `record.rs`.
        match record.payload() {
            0 => (),
            1 => counter_width::note(&mut self.counters.clock_anomalies),
            2 => counter_width::note(&mut self.counters.saturated),
            _ => counter_width::note(&mut self.counters.invalid),
        }
    }

    /// Whether a span can have begun then. One that began in the future would never be old, and one from before the beginning
    /// would be too old for ever.
    #[inline]
    const fn can_begin(&self, tick: u64) -> bool {
        tick >= self.earliest && !self.is_future(tick)
    }

    /// Whether a record is later than clocks are apart.
    #[inline]
    const fn is_future(&self, tick: u64) -> bool {
        tick > self.latest
    }

    /// Something of the event was recorded: it is not silent.
    #[inline]
    fn see(&mut self, row: usize, tick: u64) {
        if S::ABSENT.silences {
            return;
        }
        let now = self.now;
        let seen = &mut self.storage.parts().events[row].seen;
        *seen = (*seen).max(tick.min(now).saturating_add(1));
    }

    /// The span that began at `start` is no longer open. Its tag, if its START was seen.
    #[inline]
    fn close(&mut self, row: usize, start: u64) -> Option<u64> {
        let pass = self.pass;
        if SHORTCUTS {
            self.in_flight().end(row_number(row), start, pass)
        } else {
            self.pair(row, start, true, pass, 0)
        }
    }

    #[inline(never)]
    fn pair(
        &mut self,
        row: usize,
        start: u64,
        is_end: bool,
        told: u64,
        sampling: u8,
    ) -> Option<u64> {
        let row = self.known_row(row);
        if S::ABSENT.in_flight {
            self.storage.parts().events[row].pairing.pair_nothing(is_end);
            return None;
        }
        self.in_flight().pair(row_number(row), start, is_end, told, sampling)
    }

    /// The START of a span has come whose END was drained before, and that is among the slowest.
    #[cold]
    fn tell_tag(&mut self, row: usize, start: u64, tag: u64) {
        let (k, lists) = (self.shape().slowest, self.shape().lists());
        if k > 0 && !S::ABSENT.slowest {
            let of_event = &mut self.storage.parts().slowest[row * lists * k..][..lists * k];
            of_event.chunks_exact_mut(k).for_each(|list| exemplars::tell_tag(list, start, tag));
        }
    }

    /// The number of a row, which is below that of all rows: where flash is scarce it is said once more, which spares checks.
    #[inline(always)]
    fn known_row(&self, row: usize) -> usize {
        debug_assert!(row < self.shape().rows(), "a row that was found");
        if cfg!(target_pointer_width = "64") { row } else { row.min(self.shape().rows() - 1) }
    }

    /// So many ticks in nanoseconds; 2^64 − 1 if there are more.
    fn nanos(&self, ticks: u64) -> u64 {
        // The unit of the shape, which is known to the compiler where the shape is.
        self.time.units(ticks).map_or(u64::MAX, |units| self.shape().unit.nanos(units))
    }

    #[inline(always)]
    fn buckets(&self, unit: Unit) -> Buckets {
        self.shape().buckets(unit)
    }
}

/// A row as the table of open spans knows it.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer rows than twice the ids")]
const fn row_number(row: usize) -> u16 {
    row as u16
}

/// The row of an event, and its unit.
#[inline]
fn row_of<S: Storage>(rows: &[u16], event: EventId) -> Option<(usize, Unit)> {
    let row = *rows.get(usize::from(event.get()))?;
    usize::from(row & !UNIT_ONE).checked_sub(1).map(|number| (number, unit_in::<S>(row)))
}

/// The unit of a row's values; a corrected summary has no id, and is of time.
fn unit_of<S: Storage>(rows: &[u16], state: &EventState) -> Unit {
    if S::ABSENT.numbers { Unit::Time } else { unit_in::<S>(rows[usize::from(state.id)]) }
}

/// The unit that is noted beside the number of a row.
#[inline(always)]
const fn unit_in<S: Storage>(row: u16) -> Unit {
    if S::ABSENT.numbers || row & UNIT_ONE == 0 { Unit::Time } else { Unit::One }
}

#[cfg(test)]
mod tests;
