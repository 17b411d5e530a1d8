//! The checks on an aggregator's set-up, and the error they return.

use core::{error, fmt, ops::RangeInclusive, time::Duration};

use crate::{
    Buckets, EventId, EventInfo, LimitError, MAX_SCALE, Unit, WindowSpec,
    clock::nanos_of,
    sample_buffer,
    storage::{Absent, Shape, Storage},
    wide_math,
};

/// The error returned when windows, events, shape and storage do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of windows is empty.
    NoWindows,
    /// The list of events is empty.
    NoEvents,
    /// A window has a length of 0.
    EmptyWindow,
    /// The slices of a window do not divide its length into whole nanoseconds.
    SlicesDoNotDivide {
        /// The length of the window.
        length: Duration,
        /// The number of its slices.
        slices: u16,
    },
    /// A slice is shorter than one tick of the clock, or a window is 2^64 ns or longer.
    SliceTooShort {
        /// The length of the window.
        length: Duration,
        /// The number of its slices.
        slices: u16,
        /// The clock's rate, in ticks per second.
        hz: u64,
    },
    /// Two windows have the same length.
    DuplicateWindow {
        /// The length of both.
        length: Duration,
    },
    /// Two events have the same id.
    DuplicateEvent {
        /// The id of both.
        id: EventId,
    },
    /// Two events have the same name.
    DuplicateName {
        /// The name of both.
        name: &'static str,
    },
    /// A limit that an event declares cannot be watched.
    Limit {
        /// The name of the event.
        name: &'static str,
        /// What is wrong with the limit.
        error: LimitError,
    },
    /// An expected interval is 0 or at least 2^64 ns, or its event is not measured in time.
    Interval {
        /// The name of the event.
        name: &'static str,
        /// The interval.
        interval: Duration,
    },
    /// The storage is in use or was used before.
    StorageInUse,
    /// The scale or range of the histogram is out of bounds.
    Histogram {
        /// The scale.
        scale: u8,
        /// The exponent of the power of two at which the range begins.
        lowest: u8,
        /// How many powers of two the range covers.
        octaves: u8,
    },
    /// The size of the table of open spans is neither 0 nor a power of two.
    InFlight {
        /// The number of slots in the table.
        places: usize,
    },
    /// The shape does not fit the windows and events.
    Shape {
        /// Which property does not fit.
        what: &'static str,
        /// Its value in the shape.
        given: usize,
        /// Its required value.
        needed: usize,
    },
    /// The shape asks for more than a 32-bit target supports.
    TooMany {
        /// What it has too many of.
        what: &'static str,
        /// How many it asks for.
        given: usize,
        /// The largest supported number.
        max: usize,
    },
    /// The storage does not have the given shape, or one of its arrays does not have the length
    /// that its shape requires.
    Storage {
        /// Which property does not fit.
        what: &'static str,
        /// Its value in the storage.
        given: usize,
        /// Its required value.
        needed: usize,
    },
    /// The storage's type declares something absent ([`Storage::ABSENT`]) that its shape has room
    /// for.
    Absent {
        /// What the type declares absent.
        declared: Absent,
        /// What its shape has no room for.
        shape: Absent,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoWindows => {
                f.write_str("no windows: at least one is required, such as 60 s in 12 slices")
            }
            Self::NoEvents => f.write_str("no events: at least one is required"),
            Self::EmptyWindow => {
                f.write_str("the length of a window is 0 s, but must be longer, such as 1 s")
            }
            Self::SlicesDoNotDivide { length, slices } => write!(
                f,
                "{slices} slices do not divide a window of {length:?} into whole nanoseconds; for \
                 example, 10 slices divide 1 s"
            ),
            Self::SliceTooShort { length, slices, hz } => write!(
                f,
                "a window of {length:?} in {slices} slices is not possible: each slice must last \
                 at least one tick of the clock ({hz} ticks per second), and the window less than \
                 584 years"
            ),
            Self::DuplicateWindow { length } => {
                write!(f, "two windows have the length {length:?}; lengths must be unique")
            }
            Self::DuplicateEvent { id } => {
                write!(f, "two events have the id {id}; ids must be unique")
            }
            Self::DuplicateName { name } => {
                write!(f, "two events have the name {name}; names must be unique")
            }
            Self::Limit { name, error } => write!(f, "{name}: {error}"),
            Self::Interval { name, interval } => write!(
                f,
                "{name}: the expected interval {interval:?} is not possible: it must be at least \
                 1 ns and less than 584 years, and the event must be measured in time"
            ),
            Self::StorageInUse => f.write_str(
                "the storage was used before; an aggregator must begin with an empty one",
            ),
            Self::Histogram { scale, lowest, octaves } => write!(
                f,
                "a histogram of scale {scale} from 2^{lowest} over {octaves} powers of two is not \
                 possible: the scale must be at most {MAX_SCALE}, and the range must end at 2^64 \
                 or below"
            ),
            Self::InFlight { places } => write!(
                f,
                "the table of open spans has {places} slots, but their number must be a power of \
                 two or 0"
            ),
            Self::Shape { what, given, needed } => write!(
                f,
                "the shape does not fit the windows and events: {what} is {given}, but must be \
                 {needed}"
            ),
            Self::TooMany { what, given, max } => {
                write!(f, "{given} {what} are too many: this target supports at most {max}")
            }
            Self::Storage { what, given, needed } => write!(
                f,
                "the storage does not fit its shape: {what} is {given}, but must be {needed}"
            ),
            Self::Absent { declared, shape } => write!(
                f,
                "the storage's type declares {declared:?}, but only what its shape has no room for \
                 may be declared absent: {shape:?}"
            ),
        }
    }
}

impl error::Error for ConfigError {}

/// Checks that windows, events, shape and storage fit together.
pub(super) fn check<S: Storage>(
    given: Shape,
    windows: &[WindowSpec],
    events: &[EventInfo],
    storage: &mut S,
) -> Result<(), ConfigError> {
    check_windows_and_events::<S>(windows, events)?;
    let exactly = |needed| needed..=needed;
    let at_least = |needed| needed..=usize::MAX;
    let stored = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Storage { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    let Shape { scale, lowest, octaves, .. } = given;
    if Buckets::new(scale, lowest, octaves).is_none() {
        return Err(ConfigError::Histogram { scale, lowest, octaves });
    }
    // The storage is compared with `given` below. Everything else is checked on the storage's own
    // shape, which is the one that is used from here on.
    let shape = storage.shape();
    let absent = Absent::of(&shape);
    if S::ABSENT.exceeds(absent) {
        return Err(ConfigError::Absent { declared: S::ABSENT, shape: absent });
    }
    stored("number of windows", shape.windows, exactly(given.windows))?;
    stored("number of events", shape.events, exactly(given.events))?;
    stored("number of ids", shape.ids, exactly(given.ids))?;
    stored("number of slices", shape.slices, exactly(given.slices))?;
    stored("number of corrected summaries", shape.corrected, exactly(given.corrected))?;
    stored("number of events in plain numbers", shape.numbers, exactly(given.numbers))?;
    stored("number of samples per event", shape.samples, exactly(given.samples))?;
    stored("size of the table of open spans", shape.in_flight, exactly(given.in_flight))?;
    stored("number of exemplars per list", shape.slowest, exactly(given.slowest))?;
    stored("number of limits", shape.limits, exactly(given.limits))?;
    // Without limits, the number of slices per limit has no effect.
    let cut = if given.limits == 0 { shape.limit_slices } else { given.limit_slices };
    stored("number of slices per limit", shape.limit_slices, exactly(cut))?;
    stored("number of limits on silence", shape.silences, exactly(given.silences))?;
    stored("octaves of a histogram", shape.octaves.into(), exactly(octaves.into()))?;
    stored("lowest exponent of a histogram", shape.lowest.into(), exactly(lowest.into()))?;
    stored("scale of a histogram", shape.scale.into(), exactly(scale.into()))?;
    stored("unit of time (0 fine, 1 coarse)", shape.unit as usize, exactly(given.unit as usize))?;

    if shape.in_flight > 0 && !shape.in_flight.is_power_of_two() {
        return Err(ConfigError::InFlight { places: shape.in_flight });
    }
    let needed = Shape::minimal(events, windows);
    let shaped = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Shape { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    shaped("number of events", shape.events, exactly(needed.events))?;
    shaped("number of windows", shape.windows, exactly(needed.windows))?;
    shaped("number of slices", shape.slices, exactly(needed.slices))?;
    shaped("number of corrected summaries", shape.corrected, exactly(needed.corrected))?;
    shaped("number of events in plain numbers", shape.numbers, exactly(needed.numbers))?;
    // The window of a limit is cut like the one of the same length, so it may need as many slices.
    let cut = if shape.limits == 0 { 0 } else { needed.limit_slices };
    shaped("number of ids", shape.ids, at_least(needed.ids))?;
    shaped("number of slices per limit", shape.limit_slices, at_least(cut))?;
    let all_or_none = if shape.silences == 0 { needed.silences } else { needed.events };
    shaped("number of limits on silence", shape.silences, exactly(all_or_none))?;
    sample_buffer::check_capacity(&shape, windows)?;

    let parts = storage.parts();
    if parts.rows.iter().any(|row| *row != 0) {
        return Err(ConfigError::StorageInUse);
    }
    // Arrays that are walked completely, or in which positions wrap around, must not be longer than
    // needed either: the surplus elements are not set up.
    stored("length of `windows`", parts.windows.len(), exactly(shape.windows))?;
    stored("length of `events`", parts.events.len(), exactly(shape.rows()))?;
    stored("length of `rows`", parts.rows.len(), at_least(shape.ids))?;
    stored("length of `slices`", parts.slices.len(), at_least(shape.all_slices()))?;
    stored("length of `counts`", parts.counts.len(), at_least(shape.all_counts()))?;
    stored("length of `totals`", parts.totals.len(), at_least(shape.all_totals()))?;
    stored("length of `samples`", parts.samples.len(), at_least(shape.all_samples()))?;
    stored("length of `scratch`", parts.scratch.len(), at_least(shape.samples))?;
    stored("length of `in_flight`", parts.in_flight.len(), exactly(shape.in_flight))?;
    stored("length of `folded`", parts.folded.len(), at_least(shape.room()))?;
    stored("length of `slowest`", parts.slowest.len(), at_least(shape.all_slowest()))?;
    stored("length of `limits`", parts.limits.len(), at_least(shape.limits))?;
    stored("length of `tallies`", parts.tallies.len(), at_least(shape.all_tallies()))?;
    stored("length of `silences`", parts.silences.len(), exactly(shape.silences))
}

/// Checks windows and events on their own.
fn check_windows_and_events<S: Storage>(
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
        // A length that does not fit 64 bits is refused later, as too long.
        if slices == 0
            || nanos_of(length).is_some_and(|nanos| wide_math::div_rem(nanos, slices.into()).1 > 0)
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
        // If the storage's type has no room for corrected summaries, the check of the shape refuses
        // the interval.
        if !S::ABSENT.corrected
            && let Some(interval) = *expected_interval
            && (interval.is_zero() || nanos_of(interval).is_none() || *unit != Unit::Time)
        {
            return Err(ConfigError::Interval { name, interval });
        }
    }
    Ok(())
}
