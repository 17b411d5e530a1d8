//! Turns drained records into summaries and SLA states.
//!
//! [`Aggregator`] connects the other parts of the crate: it pairs STARTs with ENDs, collects
//! samples in sliding windows and evaluates limits.

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

/// Flags, in [`StorageParts::rows`], an event whose unit is [`Unit::One`].
const UNIT_ONE: u16 = 0x8000;

/// How far a record's tick may lie ahead of the drain's clock, in nanoseconds, before it counts as
/// a clock anomaly. Clocks of unsynchronised cores differ by less; a corrupted tick is usually off
/// by more.
const TOLERANCE_NANOS: u64 = 10_000_000;

/// How long an uncertain span stays open, in nanoseconds, before it counts as abandoned.
const ABANDON_AFTER_NANOS: u64 = 60_000_000_000;

/// Counts records and samples that could not be processed normally, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Counters {
    /// Samples that were drained after their window had ended, be it a window of the aggregator or
    /// of a limit. They are missing there, but are part of the total.
    pub late: u64,
    /// Clock readings that cannot be right: spans that ended before they began, records from the
    /// future (samples count in the total only, STARTs are ignored), STARTs from before the
    /// aggregator was created (ignored), and passes at which the drain's clock had stepped back.
    pub clock_anomalies: u64,
    /// Durations and values that are too large. They produce no sample and count in no limit.
    ///
    /// Spans must be shorter than 2^46 ticks. Durations measured elsewhere (in ticks) and plain
    /// numbers must be below 2^46 − 1. Besides, every duration must be below 2^60 internal units
    /// of time. On 32-bit targets, durations in internal units and plain numbers must be below
    /// 2^44; for durations, this is 4.5 hours in the coarse unit and 16 s in the fine one.
    pub saturated: u64,
    /// Records of kind 0 or event 0, of a kind that does not match the event's unit, or with an
    /// unknown reason for a FORGET.
    pub invalid: u64,
    /// Records of an event that was not passed to [`Aggregator::new`].
    pub unknown_events: u64,
    /// The weight that did not fit into full histogram counters. Count, mean and limits still
    /// include it, and the accuracy of quantiles allows for it.
    ///
    /// On 32-bit targets also the weight that did not fit into the sums of a slice, which hold
    /// 2^32 − 1. The slice's mean and weight then saturate at the largest representable number.
    pub full_counters: u64,
}

/// How an event's spans ended. On 32-bit targets, each count saturates at 2^32 − 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outcomes {
    /// Spans whose work succeeded.
    pub ok: u64,
    /// Spans whose work failed.
    pub error: u64,
    /// Spans whose work was given up.
    pub cancelled: u64,
}

/// Turns the records of all rings into summaries and SLA states.
///
/// It pairs STARTs with ENDs, sorts samples into windows, and evaluates limits. It allocates
/// nothing: all its memory is the `storage` that it is created with.
///
/// One *pass* over the rings consists of these steps:
///
/// 1. Read the clock (this is `as_of` below), then call [`refresh`](crate::Consumer::refresh) on
///    every ring.
/// 2. Read the clock again and call [`begin_pass`](Self::begin_pass) with it.
/// 3. [`drain`](Self::drain) every ring.
/// 4. Call [`expire_orphans`](Self::expire_orphans), then [`evaluate_limits`](Self::evaluate_limits) with `as_of`.
///
/// Only the time passed to `begin_pass` advances the windows, so a corrupted tick in a record
/// cannot empty one.
///
/// ```
/// use tailwatch_core::{
///     Accuracy, Aggregator, Event, Outcome, Record, Ring, Scope, Shape, Slot, TickRate, Trading,
///     WindowSpec, storage,
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
///     // The clock makes one tick per nanosecond.
///     producer.push(Record::end(n * 1_000, event, 0, Outcome::Ok, n * 100));
/// }
///
/// let as_of = 20_000; // the clock before the ring is refreshed
/// consumer.refresh();
/// aggregator.begin_pass(20_001); // the clock after it
/// aggregator.drain(0, &mut consumer, |_, _| ());
/// aggregator.expire_orphans(aggregator.pass());
/// aggregator.evaluate_limits(as_of, |change| println!("{:?}", change.status)); // none: p95 < 20 ms
/// let summary = aggregator.summary(event, Scope::Window(0)).unwrap(); // the last second
/// assert_eq!((summary.count, summary.p50, summary.max), (10, 500, 1_000));
/// assert_eq!(summary.accuracy, Accuracy::Exact);
/// assert!(aggregator.summary(Trading::OrderFill.id(), Scope::Total).is_none()); // no samples
/// ```
#[derive(Debug)]
pub struct Aggregator<S> {
    storage: S,
    rate: TickRate,
    time: TimeScale,
    tolerance: u64,
    started: u64,
    now: u64,
    /// The first tick at which a span can begin: `started` less the tolerance.
    earliest: u64,
    /// The last tick that is not in the future: `now` plus the tolerance.
    latest: u64,
    /// One more than the last tick at which records were reported lost; 0 if none were.
    lost_until: u64,
    /// The number of passes that have begun.
    pass: u64,
    occupancy: Occupancy,
    /// How long an uncertain span stays open, in ticks, before it counts as abandoned.
    abandon_after: u64,
    counters: Counters,
}

/// Where a sample came from, as it is stored in an exemplar.
#[derive(Clone, Copy)]
struct SpanOrigin {
    start: u64,
    tag: Option<u64>,
    source: u16,
    /// The sample belongs to a span whose START has not been seen yet.
    awaits_tag: bool,
}

impl<S: Storage> Aggregator<S> {
    /// Creates an aggregator of `events` over `windows`.
    ///
    /// `now` is the current tick of a clock that runs at `rate`, and no later than the first
    /// record. `storage` must be empty and have exactly this `shape`.
    ///
    /// # Errors
    ///
    /// Returns an error if windows, events, shape and storage do not fit together. The error names
    /// the offending value.
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
        let has_room_for_limits = shape.limits + shape.silences > 0;
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
            if !has_room_for_limits && !info.limits.is_empty() {
                return Err(ConfigError::Limit {
                    name: info.name,
                    error: LimitError::NoRoom { room: 0 },
                });
            }
            if !S::ABSENT.corrected
                && let Some(interval) = info.expected_interval
            {
                // `check` has refused intervals of 584 years or more, so the fallback is never
                // used.
                let nanos = nanos_of(interval).unwrap_or(u64::MAX);
                state.interval_nanos = nanos;
                state.corrected = row_number(corrected);
                corrected += 1;
            }
        }
        let tolerance = rate.ticks_in_nanos(TOLERANCE_NANOS);
        let mut created = Ok(Self {
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
        if has_room_for_limits && let Ok(aggregator) = &mut created {
            for info in events {
                aggregator
                    .declare_limits(info)
                    .map_err(|error| ConfigError::Limit { name: info.name, error })?;
            }
        }
        created
    }

    /// Returns the conversion from ticks to internal units of time.
    pub const fn time(&self) -> &TimeScale {
        &self.time
    }

    /// Returns the shape of the storage.
    #[inline(always)]
    pub fn shape(&self) -> Shape {
        self.storage.shape()
    }

    /// Returns the counts of records and samples that could not be processed normally.
    pub fn counters(&mut self) -> Counters {
        // Only committing shows whether the staged samples fit into the counters.
        self.commit_all();
        self.counters
    }

    /// Returns the table of open spans, ready for use.
    #[inline]
    fn in_flight(&mut self) -> OpenSpanTable<'_> {
        let StorageParts { in_flight, events, .. } = self.storage.parts();
        OpenSpanTable { table: in_flight, occupancy: &mut self.occupancy, events }
    }

    /// Processes one record, whatever its bits, and returns whether it produced a sample. A valid
    /// END, VALUE or DURATION does.
    ///
    /// `source` is a number chosen by the caller, such as that of a ring or a thread. Exemplars
    /// refer to it.
    ///
    /// Takes constant time, with two exceptions. A sample that lies in other slices than the
    /// event's previous one takes time linear in the buckets of the histogram; on 32-bit targets
    /// also in the slices of the windows. A sample that is corrected for coordinated omission takes
    /// time linear in the buckets below it.
    #[inline]
    pub fn record(&mut self, source: u16, record: Record) -> bool {
        self.record_with_next(source, &record, None).1
    }

    /// Processes `record`, together with `next` if the two are a whole span. Returns how many of
    /// the two records were processed, and whether the last of these produced a sample.
    #[inline(always)]
    fn record_with_next(
        &mut self,
        source: u16,
        record: &Record,
        next: Option<&Record>,
    ) -> (usize, bool) {
        let Some(event) = record.event() else {
            counter_width::increment(&mut self.counters.invalid);
            return (1, false);
        };
        let Some((row, unit)) = row_of::<S>(self.storage.parts().rows, event) else {
            counter_width::increment(&mut self.counters.unknown_events);
            return (1, false);
        };
        if unit != Unit::Time || record.kind() != Kind::Start {
            return (1, self.record_non_start(row, unit, record, None, source));
        }
        match next {
            Some(end)
                if end.outcome_of(*record).is_some() && self.can_bypass_table(record.ticks()) =>
            {
                (2, self.record_non_start(row, unit, end, Some(record), source))
            }
            _ => {
                self.start_span(row, *record);
                (1, false)
            }
        }
    }

    /// Returns whether a span that begins at `tick`, and whose END is the next record, can be
    /// counted without touching the table of open spans.
    fn can_bypass_table(&mut self, tick: u64) -> bool {
        (S::ABSENT.in_flight || self.in_flight().can_be_bypassed()) && self.can_begin(tick)
    }

    /// Processes a START.
    #[cfg_attr(target_pointer_width = "64", inline)]
    fn start_span(&mut self, row: usize, record: Record) {
        let (start, tag) = (record.ticks(), record.payload());
        if !self.can_begin(start) {
            counter_width::increment(&mut self.counters.clock_anomalies);
            return;
        }
        self.note_activity(row, start);
        let is_awaited = if SHORTCUTS {
            self.in_flight().start(row_number(row), start, tag, record.sampling())
        } else {
            self.pair(row, start, false, tag, record.sampling()).is_some_and(|flag| flag > 0)
        };
        if is_awaited {
            self.set_awaited_tag(row, start, tag);
        }
    }

    /// Processes a record other than a START and returns whether it produced a sample. `start` is
    /// the START if it came immediately before; then it has not been processed on its own.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn record_non_start(
        &mut self,
        row: usize,
        unit: Unit,
        record: &Record,
        start: Option<&Record>,
        source: u16,
    ) -> bool {
        let row = self.bounded_row(row);
        let (ticks, payload, kind) = (record.ticks(), record.payload(), record.kind());
        let mut origin = SpanOrigin { start: ticks, tag: None, source, awaits_tag: false };
        let value = match (unit, kind) {
            (Unit::Time, Kind::EndOk | Kind::EndError | Kind::EndCancelled) => {
                let outcome = kind as usize - Kind::EndOk as usize;
                let state = &mut self.storage.parts().events[row];
                counter_width::add(&mut state.outcomes[outcome], 1);
                origin.start = ticks.wrapping_sub(payload);
                if let Some(start) = start {
                    counter_width::add(&mut state.pairing.paired, 1);
                    // Without a table of open spans, exemplars have no tags. Adjacent pairs are no
                    // exception, so that a tag does not depend on what is recorded in between.
                    origin.tag = (!S::ABSENT.in_flight).then_some(start.payload());
                } else {
                    origin.tag = self.end_span(row, origin.start);
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
                self.discard_span(row, *record);
                return false;
            }
            _ => {
                counter_width::increment(&mut self.counters.invalid);
                return false;
            }
        };
        self.note_activity(row, ticks);
        let weighted = value.and_then(|value| WeightedSample::new(value, record.sampling()));
        if let Some(weighted) = weighted {
            self.add_sample(row, unit, weighted, ticks, &origin);
        } else {
            counter_width::increment(&mut self.counters.saturated);
        }
        weighted.is_some()
    }

    /// Processes a FORGET: the span is no longer open and has no duration.
    #[cold]
    #[inline(never)]
    fn discard_span(&mut self, row: usize, record: Record) {
        self.note_activity(row, record.ticks());
        self.end_span(row, record.ticks());
        // These are the reasons in the table of `record.rs`.
        match record.payload() {
            0 => (),
            1 => counter_width::increment(&mut self.counters.clock_anomalies),
            2 => counter_width::increment(&mut self.counters.saturated),
            _ => counter_width::increment(&mut self.counters.invalid),
        }
    }

    /// Returns whether a span can have begun at `tick`. With a START from the future, a span would
    /// never count as hung. With one from before the aggregator was created, it would at once.
    #[inline]
    const fn can_begin(&self, tick: u64) -> bool {
        tick >= self.earliest && !self.is_future(tick)
    }

    /// Returns whether `tick` lies ahead of the drain's clock by more than the tolerance.
    #[inline]
    const fn is_future(&self, tick: u64) -> bool {
        tick > self.latest
    }

    /// Notes that the event was recorded at `tick`, which ends a silence.
    #[inline]
    fn note_activity(&mut self, row: usize, tick: u64) {
        if S::ABSENT.silences {
            return;
        }
        let now = self.now;
        let seen = &mut self.storage.parts().events[row].seen;
        *seen = (*seen).max(tick.min(now).saturating_add(1));
    }

    /// Closes the span that began at `start`. Returns its tag if its START has been seen.
    #[inline]
    fn end_span(&mut self, row: usize, start: u64) -> Option<u64> {
        let pass = self.pass;
        if SHORTCUTS {
            self.in_flight().end(row_number(row), start, pass)
        } else {
            self.pair(row, start, true, pass, 0)
        }
    }

    /// Pairs a START or END with its counterpart: see [`OpenSpanTable::pair`]. Without a table, the
    /// record only counts as unpaired.
    #[inline(never)]
    fn pair(
        &mut self,
        row: usize,
        start: u64,
        is_end: bool,
        tag_or_pass: u64,
        sampling: u8,
    ) -> Option<u64> {
        let row = self.bounded_row(row);
        if S::ABSENT.in_flight {
            self.storage.parts().events[row].pairing.count_unpaired(is_end);
            return None;
        }
        self.in_flight().pair(row_number(row), start, is_end, tag_or_pass, sampling)
    }

    /// Stores `tag` in the exemplars of a span whose END was drained before its START.
    #[cold]
    fn set_awaited_tag(&mut self, row: usize, start: u64, tag: u64) {
        let (k, lists) = (self.shape().slowest, self.shape().lists());
        if k > 0 && !S::ABSENT.slowest {
            let of_event = &mut self.storage.parts().slowest[row * lists * k..][..lists * k];
            of_event
                .chunks_exact_mut(k)
                .for_each(|list| exemplars::set_awaited_tag(list, start, tag));
        }
    }

    /// Returns `row`, which must be a valid row. On 32-bit targets, the `min` lets the compiler
    /// omit later bounds checks, which saves flash.
    #[inline(always)]
    fn bounded_row(&self, row: usize) -> usize {
        debug_assert!(row < self.shape().rows(), "the row exists");
        if cfg!(target_pointer_width = "64") { row } else { row.min(self.shape().rows() - 1) }
    }

    /// Converts ticks to nanoseconds; saturates at 2^64 − 1.
    fn nanos(&self, ticks: u64) -> u64 {
        // The unit comes from the shape because that is a constant for storage in arrays.
        self.time.units(ticks).map_or(u64::MAX, |units| self.shape().unit.nanos(units))
    }

    /// Returns the histogram buckets for values of this unit.
    #[inline(always)]
    fn buckets(&self, unit: Unit) -> Buckets {
        self.shape().buckets(unit)
    }
}

/// Returns the row in the width that the table of open spans stores.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 2 * 2,047 rows")]
const fn row_number(row: usize) -> u16 {
    row as u16
}

/// Returns the row of an event and the unit of its values; `None` for an unknown event.
#[inline]
fn row_of<S: Storage>(rows: &[u16], event: EventId) -> Option<(usize, Unit)> {
    let row = *rows.get(usize::from(event.get()))?;
    usize::from(row & !UNIT_ONE).checked_sub(1).map(|number| (number, unit_in::<S>(row)))
}

/// Returns the unit of a row's values. The row of a corrected summary has id 0 and holds durations.
fn unit_of<S: Storage>(rows: &[u16], state: &EventState) -> Unit {
    if S::ABSENT.numbers { Unit::Time } else { unit_in::<S>(rows[usize::from(state.id)]) }
}

/// Returns the unit that is encoded in an entry of [`StorageParts::rows`].
#[inline(always)]
const fn unit_in<S: Storage>(row: u16) -> Unit {
    if S::ABSENT.numbers || row & UNIT_ONE == 0 { Unit::Time } else { Unit::One }
}

#[cfg(test)]
mod tests;
