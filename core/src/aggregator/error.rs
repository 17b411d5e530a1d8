//! What can be wrong with an aggregator's set-up.

use core::{error, fmt, ops::RangeInclusive, time::Duration};

use crate::{
    Buckets, EventId, EventInfo, LimitError, MAX_SCALE, Unit, WindowSpec,
    clock::nanos_of,
    sample_buffer,
    storage::{Absent, Shape, Storage},
    wide_math,
};

/// Windows, events, shape and storage that do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// There are no windows.
    NoWindows,
    /// There are no events.
    NoEvents,
    /// A window has no length.
    EmptyWindow,
    /// A window's slices do not divide its length into whole nanoseconds.
    SlicesDoNotDivide {
        /// The window's length.
        length: Duration,
        /// Its slices.
        slices: u16,
    },
    /// A slice is shorter than a tick of the clock, or the window longer than 2^64 ns.
    SliceTooShort {
        /// The window's length.
        length: Duration,
        /// Its slices.
        slices: u16,
        /// The clock's ticks a second.
        hz: u64,
    },
    /// Two windows have the same length.
    DuplicateWindow {
        /// That length.
        length: Duration,
    },
    /// Two events have the same number.
    DuplicateEvent {
        /// That number.
        id: EventId,
    },
    /// Two events have the same name.
    DuplicateName {
        /// That name.
        name: &'static str,
    },
    /// A limit of an event cannot be watched.
    Limit {
        /// The event.
        name: &'static str,
        /// What is wrong with the limit.
        error: LimitError,
    },
    /// An expected interval that is no time at all, or longer than 2^64 ns, or of an event that is not measured in time.
    Interval {
        /// The event.
        name: &'static str,
        /// The interval.
        interval: Duration,
    },
    /// The storage was used before.
    StorageInUse,
    /// The histogram's scale or range is impossible.
    Histogram {
        /// The scale.
        scale: u8,
        /// The range's first power of two.
        lowest: u8,
        /// How many powers of two it covers.
        octaves: u8,
    },
    /// The table of open spans has an impossible number of places.
    InFlight {
        /// That number.
        places: usize,
    },
    /// The shape is not that of these windows and events.
    Shape {
        /// What does not fit.
        what: &'static str,
        /// What the shape says.
        given: usize,
        /// What it would have to say.
        needed: usize,
    },
    /// More than can be kept where registers have 32 bits.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many the shape says.
        given: usize,
        /// How many there can be.
        most: usize,
    },
    /// The storage has not exactly this shape, or one of its arrays is not as long as that says.
    Storage {
        /// Of what.
        what: &'static str,
        /// What the storage has.
        given: usize,
        /// What it would have to have.
        needed: usize,
    },
    /// The storage's type says that it has no room for something that its shape has room for.
    Absent {
        /// What the type says.
        told: Absent,
        /// What its shape has no room for.
        shape: Absent,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoWindows => {
                f.write_str("no windows: at least one is needed, such as 60 s in 12 slices")
            }
            Self::NoEvents => f.write_str("no events: at least one is needed"),
            Self::EmptyWindow => f.write_str("a window of 0 s: a window has a length, such as 1 s"),
            Self::SlicesDoNotDivide { length, slices } => write!(
                f,
                "{slices} slices do not divide a window of {length:?} into whole nanoseconds; 10 slices divide 1 s"
            ),
            Self::SliceTooShort { length, slices, hz } => write!(
                f,
                "a window of {length:?} in {slices} slices: at {hz} ticks a second, a slice has to last at least one tick, \
                 and the window less than 584 years"
            ),
            Self::DuplicateWindow { length } => {
                write!(f, "two windows of {length:?}: each length stands once")
            }
            Self::DuplicateEvent { id } => {
                write!(f, "two events have the number {id}: each number stands for one")
            }
            Self::DuplicateName { name } => {
                write!(f, "two events are named {name}: each name stands for one")
            }
            Self::Limit { name, error } => write!(f, "{name}: {error}"),
            Self::Interval { name, interval } => write!(
                f,
                "{name}: expected every {interval:?}; an interval is at least 1 ns and less than 584 years, of an event that is \
                 measured in time"
            ),
            Self::StorageInUse => {
                f.write_str("storage that was used before: an aggregator begins with an empty one")
            }
            Self::Histogram { scale, lowest, octaves } => write!(
                f,
                "a histogram of scale {scale} from 2^{lowest} over {octaves} powers of two: the scale is at most {MAX_SCALE} \
                 and the range ends at 2^64"
            ),
            Self::InFlight { places } => {
                write!(
                    f,
                    "a table of open spans with {places} places: their number is a power of two, or 0"
                )
            }
            Self::Shape { what, given, needed } => {
                write!(f, "a shape of {given} {what}, where windows and events need {needed}")
            }
            Self::TooMany { what, given, most } => write!(f, "{given} {what}: {most} are the most"),
            Self::Storage { what, given, needed } => {
                write!(f, "storage for {given} {what}, where its shape says {needed}")
            }
            Self::Absent { told, shape } => {
                write!(
                    f,
                    "storage whose type tells {told:?}, where by its shape it may tell no more than {shape:?}"
                )
            }
        }
    }
}

impl error::Error for ConfigError {}

/// Whether everything fits.
pub(super) fn check<S: Storage>(
    told: Shape,
    windows: &[WindowSpec],
    events: &[EventInfo],
    storage: &mut S,
) -> Result<(), ConfigError> {
    check_declared::<S>(windows, events)?;
    let exactly = |needed| needed..=needed;
    let at_least = |needed| needed..=usize::MAX;
    let stored = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Storage { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    let Shape { scale, lowest, octaves, .. } = told;
    if Buckets::new(scale, lowest, octaves).is_none() {
        return Err(ConfigError::Histogram { scale, lowest, octaves });
    }
    // What the storage tells is all that is looked at from here on.
    let shape = storage.shape();
    let lacks = Absent::of(&shape);
    if S::ABSENT.exceeds(lacks) {
        return Err(ConfigError::Absent { told: S::ABSENT, shape: lacks });
    }
    stored("windows", shape.windows, exactly(told.windows))?;
    stored("events", shape.events, exactly(told.events))?;
    stored("ids", shape.ids, exactly(told.ids))?;
    stored("slices", shape.slices, exactly(told.slices))?;
    stored("corrected summaries", shape.corrected, exactly(told.corrected))?;
    stored("events in plain numbers", shape.numbers, exactly(told.numbers))?;
    stored("samples of an event", shape.samples, exactly(told.samples))?;
    stored("open spans", shape.in_flight, exactly(told.in_flight))?;
    stored("slowest samples in a list", shape.slowest, exactly(told.slowest))?;
    stored("limits", shape.limits, exactly(told.limits))?;
    // Without limits, none is cut.
    let cut = if told.limits == 0 { shape.limit_slices } else { told.limit_slices };
    stored("slices of a limit", shape.limit_slices, exactly(cut))?;
    stored("limits on silence", shape.silences, exactly(told.silences))?;
    stored("powers of two in a histogram", shape.octaves.into(), exactly(octaves.into()))?;
    stored("as a histogram's lowest power of two", shape.lowest.into(), exactly(lowest.into()))?;
    stored("as a histogram's scale", shape.scale.into(), exactly(scale.into()))?;
    stored("as the unit of time", shape.unit as usize, exactly(told.unit as usize))?;

    if shape.in_flight > 0 && !shape.in_flight.is_power_of_two() {
        return Err(ConfigError::InFlight { places: shape.in_flight });
    }
    let needed = Shape::counted(events, windows);
    let shaped = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Shape { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    shaped("events", shape.events, exactly(needed.events))?;
    shaped("windows", shape.windows, exactly(needed.windows))?;
    shaped("slices", shape.slices, exactly(needed.slices))?;
    shaped("corrected summaries", shape.corrected, exactly(needed.corrected))?;
    shaped("events in plain numbers", shape.numbers, exactly(needed.numbers))?;
    // The windows of limits are cut like the others, if there are any limits.
    let cut = if shape.limits == 0 { 0 } else { needed.limit_slices };
    shaped("ids", shape.ids, at_least(needed.ids))?;
    shaped("slices of a limit", shape.limit_slices, at_least(cut))?;
    let all_or_none = if shape.silences == 0 { needed.silences } else { needed.events };
    shaped("limits on silence", shape.silences, exactly(all_or_none))?;
    sample_buffer::limits(&shape, windows)?;

    let parts = storage.parts();
    if parts.rows.iter().any(|row| *row != 0) {
        return Err(ConfigError::StorageInUse);
    }
    // Those that are walked over or wrapped around in are not longer, either: what is not set up would be counted into.
    stored("windows", parts.windows.len(), exactly(shape.windows))?;
    stored("rows", parts.events.len(), exactly(shape.rows()))?;
    stored("ids", parts.rows.len(), at_least(shape.ids))?;
    stored("slices", parts.slices.len(), at_least(shape.all_slices()))?;
    stored("counts", parts.counts.len(), at_least(shape.all_counts()))?;
    stored("totals", parts.totals.len(), at_least(shape.all_totals()))?;
    stored("samples", parts.samples.len(), at_least(shape.all_samples()))?;
    stored("selected samples", parts.scratch.len(), at_least(shape.samples))?;
    stored("open spans", parts.in_flight.len(), exactly(shape.in_flight))?;
    stored("bucket sums", parts.folded.len(), at_least(shape.room()))?;
    stored("slowest samples", parts.slowest.len(), at_least(shape.all_slowest()))?;
    stored("limits", parts.limits.len(), at_least(shape.limits))?;
    stored("slices of limits", parts.tallies.len(), at_least(shape.all_tallies()))?;
    stored("limits on silence", parts.silences.len(), exactly(shape.silences))
}

/// Whether windows and events are possible.
fn check_declared<S: Storage>(
    windows: &[WindowSpec],
    events: &[EventInfo],
) -> Result<(), ConfigError> {
    if windows.is_empty() {
        return Err(ConfigError::NoWindows);
    }
    if events.is_empty() {
        return Err(ConfigError::NoEvents);
    }
    for (number, window) in windows.iter().enumerate() {
        let WindowSpec { length, slices } = *window;
        if length.is_zero() {
            return Err(ConfigError::EmptyWindow);
        }
        // One that is too long is refused for that.
        if slices == 0
            || nanos_of(length).is_some_and(|nanos| wide_math::divided(nanos, slices.into()).1 > 0)
        {
            return Err(ConfigError::SlicesDoNotDivide { length, slices });
        }
        if windows[..number].iter().any(|other| other.length == length) {
            return Err(ConfigError::DuplicateWindow { length });
        }
    }
    for (number, EventInfo { id, name, unit, expected_interval, .. }) in events.iter().enumerate() {
        for other in &events[..number] {
            if other.id == *id {
                return Err(ConfigError::DuplicateEvent { id: *id });
            }
            if other.name == *name {
                return Err(ConfigError::DuplicateName { name });
            }
        }
        // Where there is no room for a second summary, it is refused for that.
        if !S::ABSENT.corrected
            && let Some(interval) = *expected_interval
            && (interval.is_zero() || nanos_of(interval).is_none() || *unit != Unit::Time)
        {
            return Err(ConfigError::Interval { name, interval });
        }
    }
    Ok(())
}
