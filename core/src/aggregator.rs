//! Turns drained records into summaries of events and states of limits.
//!
//! [`Aggregator`] connects the other parts of the crate: it pairs STARTs with ENDs, collects
//! samples in sliding windows and evaluates limits.
//!
//! These words are used in all files of this module:
//!
//! - A *pass* is one round of the drain, the loop that reads all rings.
//! - A *row* is the index of an event in the arrays of the storage, or that of a further summary:
//!   the events come first, then the summaries that are corrected for coordinated omission, then
//!   those of failed spans.
//! - A *slice* is a part of a window, not a Rust slice. Each window consists of a fixed number of
//!   slices, of which the oldest expires when a new one begins.
//! - Samples are *staged* per event first, and later *committed* together to the total and to the
//!   slices: see `accumulate`.
//! - A *rule* is a limit on a quantile or error rate, as it is stored and evaluated. A *tally* is
//!   what a rule has counted in one slice of its window.

mod accumulate;
mod coordinated_omission;
pub(crate) mod counters;
pub(crate) mod distribution;
mod drain;
pub(crate) mod error;
mod failed_spans;
mod limits;
mod more_events;
pub(crate) mod summarize;
mod tags;
mod usage;
mod whole_spans;

use core::marker::PhantomData;

use crate::{
    clock::{OptionalTick, TickRate, TimeScale, nanos_from_duration},
    declaration::{CoveredOutcomes, EventInfo},
    event::{EventId, Unit},
    record::{Kind, MAX_PAYLOAD, Record},
    repr::{Repr, StoredSample},
    sla::LimitError,
    spans::{
        exemplars,
        in_flight::{Occupancy, OpenSpanTable},
    },
    statistics::{
        histogram::count::Count, moments::Moments, select::WeightedSample, window::WindowSpec,
    },
    storage::{
        Storage, StorageParts,
        row::{Row, StorageExt, UNIT_ONE},
        row_state::{LAST_LINK, RowState},
        shape::Shape,
    },
};

use self::tags::Neighbours;
pub use self::{
    counters::{Counters, Outcomes},
    distribution::{Distribution, DistributionData},
    error::ConfigError,
    summarize::Scope,
};

/// The counter in which a storage stores a sum of weights, or a count of an event.
type Counter<S> = <<S as Storage>::Repr as Repr>::Counter;

/// The moments of samples in a storage.
type MomentsOf<S> = Moments<<<S as Storage>::Repr as Repr>::Sum>;

/// How far a record's tick may lie ahead of the time of the pass, in nanoseconds, before it counts
/// as a clock anomaly. The clocks of unsynchronised cores differ by less than this. A corrupted
/// tick is usually off by more.
const TOLERANCE_NANOS: u64 = 10_000_000;

/// How long a span stays open after it has become uncertain, in nanoseconds, before it counts as
/// abandoned. A span becomes uncertain when records are lost, because its END may be among them.
const ABANDON_AFTER_NANOS: u64 = 60_000_000_000;

/// Turns the records of all rings into [summaries](crate::Summary) of events and
/// [states](crate::SlaState) of limits.
///
/// It pairs STARTs with ENDs, sorts samples into windows, and evaluates limits. It allocates
/// nothing: all its memory is the [`Storage`] that it is created with.
///
/// The caller runs the drain, a loop whose rounds are called *passes*. A pass consists of these
/// steps:
///
/// 1. Read the clock (this tick is `as_of` in step 4), then call
///    [`refresh`](crate::Consumer::refresh) on the consumer of every ring.
/// 2. Read the clock again and call [`begin_pass`](Self::begin_pass) with this tick.
/// 3. Call [`drain`](Self::drain) with the consumer of every ring.
/// 4. Call [`expire_orphans`](Self::expire_orphans) with [`pass`](Self::pass), then
///    [`evaluate_limits`](Self::evaluate_limits) with `as_of`.
///
/// The tick `as_of` precedes every refresh, so each record that was written before it has been
/// drained when limits are evaluated as of it. The second tick follows every refresh, so no drained
/// record lies after it.
///
/// Only the tick passed to `begin_pass` advances the windows. A corrupted tick in a record
/// therefore cannot make the samples of a window expire.
///
/// ```
/// use tailwatch_core::{
///     Accuracy, Aggregator, Event, Outcome, Record, Ring, Scope, Shape, Slot, TickRate, Trading,
///     WindowSpec, storage,
/// };
///
/// const SHAPE: Shape = Shape::server(Trading::ALL, &WindowSpec::DEFAULT);
/// storage!(BotStorage: SHAPE);
/// let mut storage = Box::new(BotStorage::new()); // or a `static`
/// let mut aggregator = Aggregator::new(
///     &WindowSpec::DEFAULT, Trading::ALL, TickRate::NANOSECONDS, 0, &mut *storage,
/// ).unwrap();
///
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let event = Trading::OrderPlacement.id();
/// for n in 1..=10 {
///     // At `TickRate::NANOSECONDS`, a tick is a nanosecond.
///     producer.push(Record::end(n * 1_000, event, 0, Outcome::Ok, n * 100));
/// }
///
/// let as_of = 20_000; // a reading of the clock before the ring is refreshed
/// consumer.refresh();
/// aggregator.begin_pass(20_001); // a reading of the clock after that
/// aggregator.drain(0, &mut consumer, |_, _| ());
/// aggregator.expire_orphans(aggregator.pass());
/// // Prints nothing: the limits of the event, such as a p95 of 20 ms, are not violated.
/// aggregator.evaluate_limits(as_of, |change| println!("{:?}", change.status));
/// let summary = aggregator.summary(event, Scope::Window(0)).unwrap(); // the last second
/// assert_eq!((summary.count, summary.p50, summary.max), (10, 500, 1_000));
/// assert_eq!(summary.accuracy, Accuracy::Exact);
/// assert!(aggregator.summary(Trading::OrderFill.id(), Scope::Total).is_none()); // no samples
/// ```
#[derive(Debug)]
pub struct Aggregator<S> {
    storage: S,
    /// The number of ticks per second.
    rate: TickRate,
    /// Converts ticks to internal units of time.
    time: TimeScale,
    /// [`TOLERANCE_NANOS`] in ticks.
    tolerance: u64,
    /// The tick of the aggregator's creation. If the clock has since stepped back below it, the
    /// tick after that step.
    started: u64,
    /// The time of the current pass, in ticks.
    now: u64,
    /// The first tick at which a span can begin: `started` minus the tolerance.
    earliest: u64,
    /// The last tick that is not in the future: `now` plus the tolerance.
    latest: u64,
    /// The time of the last pass in which records were reported lost.
    lost_until: OptionalTick,
    /// The number of passes that have begun.
    pass: u64,
    /// The state of the table of open spans, except for its entries, which are in the storage.
    occupancy: Occupancy,
    /// [`ABANDON_AFTER_NANOS`] in ticks.
    abandon_after: u64,
    counters: Counters,
    /// The link to the first row in the chain of the rows that have had a sample: the others have
    /// nothing to commit. Compact storage, which has few rows, uses neither this nor the following
    /// fields.
    first_used: u16,
    /// The link to the first row in the chain of the rows that have had a limit.
    first_watched: u16,
    /// The number of rows that are summaries of failed spans and in use.
    failed_rows: usize,
    /// All rules from this index on are unused.
    used_rules: usize,
    /// No slice of a rule ends before this tick, and no evaluation of limits changes anything
    /// unless a record is processed, which sets this to 0.
    limits_settled_until: u64,
    /// Whether any rule has changed: see [`take_changed_limits`](Self::take_changed_limits).
    has_changed_limits: bool,
    /// See [`unrecorded_changes`](Self::unrecorded_changes).
    unrecorded_changes: u64,
}

/// What is stored in an [exemplar](crate::Exemplar) in addition to the sample's value: the facts by
/// which a user finds the span.
#[derive(Clone, Copy)]
struct SpanOrigin {
    /// The tick at which the span began. For a plain number, the tick at which it was recorded.
    start: u64,
    /// The tag of the START, or that of a DURATION. `None` if there is none, if the START is
    /// neither the record before the END nor in the table of open spans, or if the storage has no
    /// such table.
    tag: Option<u64>,
    /// The number of the ring or thread that the record came from, as passed by the caller.
    source: u16,
    /// The kind of the record that has the sample, which shows how a span ended.
    kind: Kind,
    /// Whether the sample is of a span whose tag is not known. If the table of open spans later
    /// gets its START, the tag is added to the exemplar.
    awaits_tag: bool,
}

impl SpanOrigin {
    /// Returns whether the sample is of a span that ended with another outcome than `Ok`.
    #[inline(always)]
    const fn has_failed(&self) -> bool {
        matches!(self.kind, Kind::EndError | Kind::EndCancelled)
    }
}

impl<S: Storage> Aggregator<S> {
    /// Creates an aggregator that summarises `events` over `windows` and since its creation.
    ///
    /// `now` is a tick that was read before the first record was written, on a clock that makes
    /// `rate` ticks per second. `storage` must be empty.
    ///
    /// # Errors
    ///
    /// Returns an error if windows, events and storage do not fit together. The error names the
    /// value that does not fit.
    pub fn new(
        windows: &[WindowSpec],
        events: &[EventInfo],
        rate: TickRate,
        now: u64,
        mut storage: S,
    ) -> Result<Self, ConfigError> {
        error::check(windows, events, &mut storage)?;
        let shape = storage.shape();
        let parts = storage.parts();
        // The index of a window's first slice, and the lowest of the bits that hold the numbers of
        // its slices in buffered samples.
        let (mut first_slice, mut shift) = (0, 0);
        for (window, spec) in parts.windows.iter_mut().zip(windows) {
            let WindowSpec { length, slices } = *spec;
            if !window.set_up(spec, rate, now, first_slice) {
                return Err(ConfigError::SliceTooShort { length, slices, hz: rate.hz() });
            }
            first_slice += usize::from(spec.slices);
            shift = window.assign_number_bits(shift);
        }
        let has_room_for_limits = shape.limits + shape.silences > 0;
        // Events that are added later have the rows before those of corrected summaries.
        let mut corrected_row = shape.events;
        for (row, info) in events.iter().enumerate() {
            // 0 stands for an unknown event, so an entry is the row plus 1.
            let entry = row_number(row) + 1;
            parts.row_of_id[usize::from(info.id.get())] =
                if !S::ABSENT.numbers && info.unit == Unit::One { entry | UNIT_ONE } else { entry };
            let state = &mut parts.rows[row];
            state.id = info.id.get();
            state.covers_failed = info.outcomes == CoveredOutcomes::Any;
            if !has_room_for_limits
                && info.limits.len() + usize::from(info.max_error_rate.is_some()) > 0
            {
                return Err(ConfigError::Limit {
                    name: info.name,
                    error: LimitError::NoRoom { room: 0 },
                });
            }
            if !S::ABSENT.corrected
                && let Some(interval) = info.expected_interval
            {
                // The fallback is never used: `check` has refused intervals of 2^64 ns or more.
                let nanos = nanos_from_duration(interval).unwrap_or(u64::MAX);
                state.interval_nanos = nanos;
                state.corrected = row_number(corrected_row);
                corrected_row += 1;
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
            lost_until: OptionalTick::NONE,
            pass: 0,
            occupancy: Occupancy::default(),
            abandon_after: rate.ticks_in_nanos(ABANDON_AFTER_NANOS),
            counters: Counters::default(),
            first_used: LAST_LINK,
            first_watched: LAST_LINK,
            failed_rows: 0,
            used_rules: 0,
            limits_settled_until: 0,
            has_changed_limits: false,
            unrecorded_changes: 0,
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

    /// Returns the scale that converts ticks to the aggregator's internal unit of time.
    pub const fn time(&self) -> &TimeScale {
        &self.time
    }

    /// Returns the shape of the storage.
    #[inline(always)]
    pub fn shape(&self) -> Shape {
        self.storage.shape()
    }

    /// Returns the numbers of records and samples that could not be processed normally.
    ///
    /// Takes time linear in the number of events and in the histogram buckets of their staged
    /// samples: those that are not yet in the windows and the total.
    pub fn counters(&mut self) -> Counters {
        // Only committing the staged samples shows whether they fit into the counters.
        self.commit_all();
        self.counters
    }

    /// Borrows the table of open spans together with the counts that it updates.
    #[inline]
    fn in_flight(&mut self) -> OpenSpanTable<'_, S::Repr, RowState<S::Repr>> {
        let StorageParts { in_flight, rows, .. } = self.storage.parts();
        OpenSpanTable { table: in_flight, occupancy: &mut self.occupancy, rows, repr: PhantomData }
    }

    /// Borrows everything that the storage holds of a row, which must exist.
    #[inline(always)]
    fn row(&mut self, row: usize) -> Row<'_, S> {
        Row::new(self.shape(), self.storage.parts(), row)
    }

    /// Returns the state of a row, which must exist.
    #[inline(always)]
    fn state(&mut self, row: usize) -> &mut RowState<S::Repr> {
        // As in `Row::new`.
        let row = if S::Repr::IS_COMPACT { row.min(self.shape().rows() - 1) } else { row };
        &mut self.storage.parts().rows[row]
    }

    /// Returns the row of an event and the unit of its values; `None` for an unknown event.
    #[inline]
    fn row_of(&mut self, event: EventId) -> Option<(usize, Unit)> {
        S::row_of(self.storage.parts().row_of_id, event.get())
    }

    /// Processes one record and returns whether it produced a sample: an END, VALUE or DURATION
    /// does if it is valid and not too large. A record may consist of any bits. If it is invalid,
    /// it is counted in [`Counters`], and it never causes a panic.
    ///
    /// `source` is a number chosen by the caller, such as that of a ring or a thread. It is stored
    /// in the [exemplar](crate::Exemplar) if the sample becomes one.
    ///
    /// A TAG that is passed to this method is taken for a second tag of an open span, because only
    /// [`drain`](Self::drain) knows which record was directly before it.
    ///
    /// Takes time linear in the limits of the event, and otherwise constant on average, except:
    /// linear in the exemplars of the event if a START brings a tag that an exemplar lacks; linear
    /// in the buckets of a histogram and the slices of the windows if a sample lies in other slices
    /// than the event's previous one, and in the slices of a limit if it is older than the newest;
    /// linear in the buckets below a sample that is corrected for coordinated omission; linear in
    /// the windows for a failed span, and like a [`summary`](Self::summary) if it becomes an
    /// exemplar.
    #[inline]
    pub fn record(&mut self, source: u16, record: Record) -> bool {
        self.record_among(source, record, &Neighbours::NONE, 0)
    }

    /// Does the same as [`record`](Self::record) with the first of the last `left` records of a
    /// chunk. If it is a TAG, returns whether it belongs to the DURATION directly before it.
    #[inline]
    fn record_among(
        &mut self,
        source: u16,
        record: Record,
        neighbours: &Neighbours<'_>,
        left: usize,
    ) -> bool {
        if !S::Repr::IS_COMPACT {
            self.limits_settled_until = 0;
        }
        let Some(event) = record.event() else {
            self.counters.invalid += 1;
            return false;
        };
        let Some((row, unit)) = self.row_of(event) else {
            self.counters.unknown_events += 1;
            return false;
        };
        if unit == Unit::Time && record.kind() == Kind::Start {
            self.start_span(row, record);
            return false;
        }
        self.record_non_start(row, unit, record, source, neighbours, left)
    }

    /// Processes a START.
    #[inline]
    fn start_span(&mut self, row: usize, record: Record) {
        let (start, tag) = (record.ticks(), record.payload());
        if !self.can_begin(start) {
            self.counters.clock_anomalies += 1;
            return;
        }
        self.note_activity(row, start);
        // Both ways do the same: `pair` is one function for START and END, which takes less flash.
        let tag_is_awaited = if S::Repr::IS_COMPACT {
            self.pair(row, start, false, tag, record.sampling()).is_some_and(|flag| flag > 0)
        } else {
            self.in_flight().start(row_number(row), start, tag, record.sampling())
        };
        if tag_is_awaited {
            self.set_awaited_tag(row, start, tag);
        }
    }

    /// Processes a record other than a START, as [`record_among`](Self::record_among) does.
    #[inline]
    fn record_non_start(
        &mut self,
        row: usize,
        unit: Unit,
        record: Record,
        source: u16,
        neighbours: &Neighbours<'_>,
        left: usize,
    ) -> bool {
        let (ticks, payload, kind) = (record.ticks(), record.payload(), record.kind());
        let mut origin = SpanOrigin { start: ticks, tag: None, source, kind, awaits_tag: false };
        let value = match (unit, kind) {
            (Unit::Time, Kind::EndOk | Kind::EndError | Kind::EndCancelled) => {
                let outcome = kind as usize - Kind::EndOk as usize;
                self.state(row).outcomes[outcome].increment();
                origin.start = ticks.wrapping_sub(payload);
                origin.tag = self.end_span(row, origin.start);
                origin.awaits_tag = origin.tag.is_none();
                self.time.units(payload)
            }
            (Unit::Time, Kind::Duration) => {
                origin.start = ticks.wrapping_sub(payload);
                // Compact storage finds the sample of every TAG when it processes the TAG, which
                // takes less flash.
                if !S::Repr::IS_COMPACT {
                    origin.tag = neighbours.tag_behind(record, left);
                }
                if payload < MAX_PAYLOAD { self.time.units(payload) } else { None }
            }
            (Unit::One, Kind::Value) => (payload < MAX_PAYLOAD).then_some(payload),
            (Unit::Time, Kind::Forget) => {
                self.discard_span(row, record);
                return false;
            }
            (Unit::Time, Kind::Tag) => {
                return self.takes_tags() && self.tag(row, record, source, neighbours, left);
            }
            _ => {
                self.counters.invalid += 1;
                return false;
            }
        };
        self.note_activity(row, ticks);
        let weighted = value.and_then(|value| Self::weigh(value, record.sampling()));
        if let Some(weighted) = weighted {
            self.add_sample(row, weighted, ticks, &origin);
        } else {
            self.counters.saturated += 1;
        }
        weighted.is_some()
    }

    /// Processes a FORGET, whose tick is that of its START: the span is no longer open and has no
    /// duration. A FORGET of an interval that has no duration closes no span.
    #[cold]
    #[inline(never)]
    fn discard_span(&mut self, row: usize, record: Record) {
        self.note_activity(row, record.ticks());
        if record.closes_no_span() {
            self.counters.negative_differences += 1;
            return;
        }
        self.end_span(row, record.ticks());
        // The numbers are those of `DiscardReason`.
        match record.payload() {
            0 | 3 => (),
            1 => self.counters.clock_anomalies += 1,
            2 => self.counters.saturated += 1,
            _ => self.counters.invalid += 1,
        }
    }

    /// Returns whether a span can have begun at `tick`: not in the future, where it would never
    /// become old enough to count as hung, and not before the aggregator was created, in which case
    /// it might count as hung at once.
    #[inline]
    const fn can_begin(&self, tick: u64) -> bool {
        tick >= self.earliest && !self.is_future(tick)
    }

    /// Returns whether `tick` lies ahead of the time of the pass by more than the tolerance.
    #[inline]
    const fn is_future(&self, tick: u64) -> bool {
        tick > self.latest
    }

    /// Notes that a record of the event has this tick. Silence is measured from the latest one.
    #[inline]
    fn note_activity(&mut self, row: usize, tick: u64) {
        if S::ABSENT.silences {
            return;
        }
        let now = self.now;
        let seen = &mut self.state(row).seen;
        *seen = (*seen).max(OptionalTick::some(tick.min(now)));
    }

    /// Closes the span that began at tick `start`. Returns the span's tag; `None` if its START is
    /// not in the table of open spans.
    #[inline]
    fn end_span(&mut self, row: usize, start: u64) -> Option<u64> {
        let pass = self.pass;
        if S::Repr::IS_COMPACT {
            self.pair(row, start, true, pass, 0)
        } else {
            self.in_flight().end(row_number(row), start, pass)
        }
    }

    /// Pairs a START or END with its counterpart: see [`OpenSpanTable::pair`] for the parameters
    /// and the result. If the storage has no table of open spans, the record counts as unpaired.
    #[inline(never)]
    fn pair(
        &mut self,
        row: usize,
        start: u64,
        is_end: bool,
        tag_or_pass: u64,
        sampling: u8,
    ) -> Option<u64> {
        if S::ABSENT.in_flight {
            self.state(row).pairing.count_unpaired(is_end);
            return None;
        }
        self.in_flight().pair(row_number(row), start, is_end, tag_or_pass, sampling)
    }

    /// Stores `tag` in the exemplars of the span that began at tick `start`. Its END was drained
    /// before its START, so they have no tag yet.
    #[cold]
    fn set_awaited_tag(&mut self, row: usize, start: u64, tag: u64) {
        let mut row = self.row(row);
        for list in 0..row.exemplar_lists() {
            exemplars::set_awaited_tag(row.exemplar_list(list), start, tag);
        }
        exemplars::set_awaited_tag(row.staged_exemplars(), start, tag);
    }

    /// Converts a number of ticks to nanoseconds. Saturates at 2^64 − 1.
    fn nanos(&self, ticks: u64) -> u64 {
        // The unit is also in `self.time`. It is taken from the shape because that is a constant
        // for storage in arrays, which makes the conversion cheaper.
        self.time.units(ticks).map_or(u64::MAX, |units| self.shape().unit.nanos(units))
    }

    /// Returns a sample of this value and the weight 2^`sampling`; `None` if the value is too large
    /// to be stored.
    #[inline(always)]
    const fn weigh(value: u64, sampling: u8) -> Option<WeightedSample> {
        if value >> <S::Repr as Repr>::Sample::VALUE_BITS != 0 {
            return None;
        }
        WeightedSample::new(value, sampling)
    }
}

/// Converts a row to the width in which the table of open spans and the rules store it.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 3 * 2,047 rows")]
const fn row_number(row: usize) -> u16 {
    row as u16
}

#[cfg(test)]
mod tests;
