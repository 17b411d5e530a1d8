//! The aggregator: the one place where the parts meet. It takes delivered records and tells summaries.

mod error;
mod summarize;

use crate::{
    Buckets, Consumer, Drained, EventId, EventInfo, Kind, MAX_PAYLOAD, Record, TickRate, TimeScale, Unit, WindowSpec,
    in_flight::{InFlight, Occupancy},
    storage::{Parts, Sample, Shape, Storage},
    window::Window,
};

pub use self::error::ConfigError;

/// Marks the row of an event of unit 1.
const UNIT_ONE: u16 = 0x8000;

/// By how much a record may be later than the drain's own reading of the clock, in nanoseconds, before it counts as a clock
/// anomaly: unsynchronised cores are off by less, a flipped bit by more.
const TOLERANCE_NANOS: u64 = 10_000_000;

/// After how many nanoseconds a span whose END may be lost is given up.
const ABANDON_AFTER_NANOS: u64 = 60_000_000_000;

/// Records that were not what they should be, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Older than a window when they were drained: missing there, but not in the total.
    pub late: u64,
    /// Spans that ended before they began, records from the future (in the total alone), a clock of the drain that stepped
    /// back.
    pub clock_anomalies: u64,
    /// Values and durations too large to be told exactly: no sample.
    pub saturated: u64,
    /// Of kind 0 or event 0, or of a kind that their event's unit excludes.
    pub invalid: u64,
    /// Of an event that was not announced.
    pub unknown_events: u64,
}

/// How an event's spans ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
/// A *pass* is: [`look`](Consumer::look) at every ring, read the clock, [`begin_pass`](Self::begin_pass), then
/// [`drain`](Self::drain) the rings. Only the time given to `begin_pass` moves windows on: a hostile tick in a record
/// cannot wipe one.
///
/// ```
/// use tailwatch_core::{Accuracy, Aggregator, Event, Outcome, Record, Ring, Shape, Slot, TickRate, Trading, WindowSpec, storage};
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
/// consumer.look();
/// aggregator.begin_pass(20_000);
/// aggregator.drain(&mut consumer, |_, _| ());
/// let summary = aggregator.summary(event, 0).unwrap(); // of the first window, 1 s
/// assert_eq!((summary.count, summary.p50, summary.max), (10, 500, 1_000));
/// assert_eq!(summary.accuracy, Accuracy::Exact);
/// assert!(aggregator.summary(Trading::OrderFill.id(), 0).is_none()); // nothing happened
/// ```
#[derive(Debug)]
pub struct Aggregator<S> {
    storage: S,
    shape: Shape,
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

impl<S: Storage> Aggregator<S> {
    /// An aggregator of these events over these windows, at the time `now` of a clock that runs at `rate`.
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
        error::check(&shape, windows, events, &storage.parts())?;
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
        for (number, info) in (1_u16..).zip(events) {
            parts.rows[usize::from(info.id.get())] = if info.unit == Unit::One { number | UNIT_ONE } else { number };
        }
        Ok(Self {
            storage,
            shape,
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
        })
    }

    /// How ticks become time here.
    pub const fn time(&self) -> &TimeScale {
        &self.time
    }

    /// Records that were not what they should be.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Moves the windows on to `now`, which is read after the heads of the rings, so that no record of the pass is newer. A
    /// clock that stepped back is counted; a small step leaves them where they are, and after a large one, as that of a
    /// machine that slept, they begin anew.
    pub fn begin_pass(&mut self, now: u64) {
        self.pass += 1;
        if now < self.now {
            self.counters.clock_anomalies += 1;
            if self.now - now <= self.tolerance {
                return;
            }
            self.begin_anew(now);
        }
        self.now = now;
        if let Some(before) = now.checked_sub(self.abandon_after) {
            self.in_flight().abandon(before);
        }
        let Parts { windows, events, slices, counts, .. } = self.storage.parts();
        let places = self.durations.places();
        for window in windows {
            window.advance(now, |place| {
                for row in 0..events.len() {
                    let slice = row * self.shape.slices + place;
                    if slices[slice].count() > 0 {
                        slices[slice] = crate::Moments::EMPTY;
                        counts[slice * places..][..places].fill(0);
                    }
                }
            });
        }
    }

    /// Leaves the time before behind: its ticks mean nothing on a clock that begins again at `now`.
    fn begin_anew(&mut self, now: u64) {
        self.now = now;
        self.started = self.started.min(now);
        self.lost();
        let Parts { windows, events, slices, counts, samples, .. } = self.storage.parts();
        for window in windows {
            window.begin_anew(now);
        }
        for event in events {
            event.evicted = 0;
        }
        slices.fill(crate::Moments::EMPTY);
        counts.fill(0);
        for sample in samples {
            sample.after = 0;
        }
    }

    /// Takes in what `consumer` has pending since its last [`look`](Consumer::look), and shows each record to `observe`, with
    /// what [`record`](Self::record) said of it.
    pub fn drain(&mut self, consumer: &mut Consumer<'_>, mut observe: impl FnMut(Record, bool)) -> Drained {
        let drained = consumer.drain(|record| {
            let is_sample = self.record(record);
            observe(record, is_sample);
        });
        if drained.overwritten > 0 {
            self.lost();
        }
        drained
    }

    /// Records were lost before now: what covers the time until now is incomplete, and the ENDs of all open spans are uncertain.
    pub fn lost(&mut self) {
        self.lost_until = Some(self.now);
        let now = self.now;
        self.in_flight().lost(now);
    }

    /// The number of the pass that was begun last.
    pub const fn pass(&self) -> u64 {
        self.pass
    }

    /// Every ring was drained, in the pass numbered `pass` or later, as far as it was when that pass began: an END that came
    /// in an earlier pass and has no START by now will have none.
    ///
    /// Whoever drains all rings in each pass calls it at the end of each, with [`pass`](Self::pass).
    pub fn settle(&mut self, pass: u64) {
        self.in_flight().settle(pass);
    }

    fn in_flight(&mut self) -> InFlight<'_> {
        let Parts { in_flight, events, .. } = self.storage.parts();
        InFlight { table: in_flight, occupancy: &mut self.occupancy, events }
    }

    /// Takes in one record, whatever its bits: constant time. Whether it is a sample, which an END, VALUE or DURATION is unless
    /// something is wrong with it.
    #[inline]
    pub fn record(&mut self, record: Record) -> bool {
        let Some(event) = record.event() else {
            self.counters.invalid += 1;
            return false;
        };
        let Some((row, unit)) = row_of(self.storage.parts().rows, event) else {
            self.counters.unknown_events += 1;
            return false;
        };
        let payload = record.payload();
        let inside = match (unit, record.kind()) {
            (Unit::Time, kind @ (Kind::EndOk | Kind::EndError | Kind::EndCancelled)) => {
                let outcome = kind as usize - Kind::EndOk as usize;
                self.storage.parts().events[row].outcomes[outcome] += 1;
                self.close(row, record.ticks().wrapping_sub(payload));
                self.time.units(payload)
            }
            (Unit::Time, Kind::Duration) if payload < MAX_PAYLOAD => self.time.units(payload),
            (Unit::One, Kind::Value) if payload < MAX_PAYLOAD => Some(payload),
            (Unit::Time, Kind::Duration) | (Unit::One, Kind::Value) => None,
            (Unit::Time, Kind::Start) => {
                self.in_flight().start(row_number(row), record.ticks(), payload);
                return false;
            }
            (Unit::Time, Kind::Forget) => {
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
        match inside {
            Some(value) => self.sample(row, unit, value, record),
            None => self.counters.saturated += 1,
        }
        inside.is_some()
    }

    /// The span that began at `start` is no longer open.
    fn close(&mut self, row: usize, start: u64) {
        let pass = self.pass;
        self.in_flight().end(row_number(row), start, pass);
    }

    #[inline]
    fn sample(&mut self, row: usize, unit: Unit, value: u64, record: Record) {
        let place = self.buckets(unit).place(value);
        let places = self.durations.places();
        let sampling = record.sampling();
        let Parts { windows, events, slices, counts, totals, samples, .. } = self.storage.parts();

        let state = &mut events[row];
        state.total.add(value, sampling);
        let total = &mut totals[row * places + place];
        *total = total.saturating_add(1 << sampling);

        let from_the_future = record.ticks() > self.now.saturating_add(self.tolerance);
        self.counters.clock_anomalies += u64::from(from_the_future);
        let tick = record.ticks().min(self.now);
        if !from_the_future {
            let mut late = false;
            for window in &*windows {
                match window.place(tick) {
                    Some(slice) => {
                        let slice = row * self.shape.slices + slice;
                        slices[slice].add(value, sampling);
                        let count = &mut counts[slice * places + place];
                        *count = count.saturating_add(1 << sampling);
                    }
                    None => late = true,
                }
            }
            self.counters.late += u64::from(late);
        }

        let kept = self.shape.samples;
        if let Some(oldest) = samples[row * kept..][..kept].get_mut(state.next_sample) {
            if state.total.count() > kept as u64 {
                state.evicted = state.evicted.max(oldest.after);
            }
            *oldest = Sample { value, after: if from_the_future { 0 } else { tick.saturating_add(1) } };
            state.next_sample = if state.next_sample + 1 == kept { 0 } else { state.next_sample + 1 };
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
#[expect(clippy::cast_possible_truncation, reason = "there are fewer rows than ids")]
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

#[cfg(test)]
mod tests;
