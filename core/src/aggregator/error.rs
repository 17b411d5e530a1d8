//! The checks of what an aggregator is created with, and the error that they return.

use core::{error, fmt, ops::RangeInclusive, time::Duration};

use crate::{
    arithmetic,
    clock::nanos_from_duration,
    declaration::EventInfo,
    event::{EventId, Unit},
    repr::{Repr, StoredSample},
    sla::LimitError,
    statistics::{
        histogram::buckets::{Buckets, MAX_SCALE},
        window::{Window, WindowSpec},
    },
    storage::{Storage, row::StorageExt, shape::Shape},
};

/// The error returned when an aggregator cannot be created: windows or events are invalid, or they
/// and the storage, with its shape, do not fit together.
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
    /// A window cannot be cut into this number of slices: their length would not be a whole number
    /// of nanoseconds, or the number is 0.
    SlicesDoNotDivide {
        /// The length of the window.
        length: Duration,
        /// The number of its slices.
        slices: u16,
    },
    /// The slices of a window are shorter than half a step of the clock (a tick), so that they
    /// would be rounded to 0 ticks, or the window is 2^64 ns (584 years) or longer.
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
    /// The expected interval of an event is 0 or at least 2^64 ns, or the event is not measured in
    /// time.
    Interval {
        /// The name of the event.
        name: &'static str,
        /// The expected interval.
        interval: Duration,
    },
    /// The storage is not empty: another aggregator uses it or has used it.
    StorageInUse,
    /// The scale or the range of the shape's histograms is out of bounds.
    Histogram {
        /// The [`scale`](Shape::scale): a power of two is cut into 2^`scale` buckets.
        scale: u8,
        /// The [exponent](Shape::lowest) of the power of two at which the range begins.
        lowest: u8,
        /// How many powers of two the range covers: [`octaves`](Shape::octaves).
        octaves: u8,
    },
    /// The size of the table of open spans is neither 0 nor a power of two.
    InFlight {
        /// The number of entries in the table.
        entries: usize,
    },
    /// The shape does not fit the windows and events.
    Shape {
        /// Which property of the shape does not fit.
        what: &'static str,
        /// The value of this property in the shape.
        given: usize,
        /// A value that fits the windows and events. For the number of ids and the number of slices
        /// per limit, larger values fit, too. 0 summaries of failed spans fit as well, and if no
        /// event has a limit on silence, 0 of those.
        needed: usize,
    },
    /// The shape or the windows ask for more than [compact](crate::Compact) storage supports.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is asked for.
        given: usize,
        /// The largest supported number.
        max: usize,
    },
    /// The storage returns another shape than its constant [`SHAPE`](Storage::SHAPE).
    OtherShape,
    /// The storage does not fit its own shape: its [representation](crate::repr) is not the one
    /// that the shape asks for, or one of its arrays does not have the length that follows from the
    /// shape.
    Storage {
        /// Which property of the storage does not fit.
        what: &'static str,
        /// The value of this property in the storage.
        given: usize,
        /// The value that the shape needs. Most arrays may also be longer.
        needed: usize,
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
                f.write_str("a window has a length of 0 s, but must be longer, such as 1 s")
            }
            Self::SlicesDoNotDivide { length, slices } => write!(
                f,
                "a window of {length:?} cannot be cut into {slices} slices of whole nanoseconds; \
                 for example, a window of 1 s can be cut into 10 slices"
            ),
            Self::SliceTooShort { length, slices, hz } => write!(
                f,
                "a window of {length:?} in {slices} slices is not possible: a slice must last at \
                 least one tick of the clock ({hz} ticks per second), and a window less than 584 \
                 years (2^64 ns)"
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
                "{name}: the expected interval {interval:?} is not possible: an expected interval \
                 must be at least 1 ns and less than 584 years (2^64 ns), and its event must be \
                 measured in time"
            ),
            Self::StorageInUse => f.write_str(
                "the storage is in use or was used before; an aggregator needs an empty storage",
            ),
            Self::Histogram { scale, lowest, octaves } => write!(
                f,
                "a histogram of scale {scale} that covers {octaves} powers of two from 2^{lowest} \
                 on is not possible: the scale must be at most {MAX_SCALE}, and the range must end \
                 at 2^64 or below"
            ),
            Self::InFlight { entries } => write!(
                f,
                "the table of open spans has {entries} entries, but must have 0 or a power of two"
            ),
            Self::Shape { what, given, needed } => write!(
                f,
                "the shape does not fit the windows and events: its {what} is {given}, but the \
                 windows and events need {needed}"
            ),
            Self::TooMany { what, given, max } => {
                write!(f, "{given} {what} are too many: the storage supports at most {max}")
            }
            Self::OtherShape => f.write_str(
                "the storage's function `shape` returns another shape than its constant `SHAPE`; \
                 they must be the same",
            ),
            Self::Storage { what, given, needed } => write!(
                f,
                "the storage does not fit the shape: its {what} is {given}, but the shape needs \
                 {needed}"
            ),
        }
    }
}

impl error::Error for ConfigError {}

/// Checks that windows and events are valid, and that `storage` fits them and is empty.
pub(super) fn check<S: Storage>(
    windows: &[WindowSpec],
    events: &[EventInfo],
    storage: &mut S,
) -> Result<(), ConfigError> {
    check_windows_and_events::<S>(windows, events)?;
    let exactly = |needed| needed..=needed;
    let at_least = |needed| needed..=usize::MAX;
    let shape = storage.shape();
    if S::SHAPE.is_some_and(|constant| constant != shape) {
        return Err(ConfigError::OtherShape);
    }
    let check_stored = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Storage { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    let is_compact = usize::from(S::Repr::IS_COMPACT);
    check_stored("compactness (1 or 0)", is_compact, exactly(shape.is_compact.into()))?;
    let Shape { scale, lowest, octaves, .. } = shape;
    if Buckets::new(scale, lowest, octaves).is_none() {
        return Err(ConfigError::Histogram { scale, lowest, octaves });
    }
    if shape.in_flight > 0 && !shape.in_flight.is_power_of_two() {
        return Err(ConfigError::InFlight { entries: shape.in_flight });
    }
    let needed = Shape::minimal(events, windows);
    let check_shape = |what, given, needed: RangeInclusive<usize>| {
        let refused = ConfigError::Shape { what, given, needed: *needed.start() };
        if needed.contains(&given) { Ok(()) } else { Err(refused) }
    };
    // A storage that is not compact may have room for events that are added later.
    let at_least_if_wide =
        |needed| if S::Repr::IS_COMPACT { exactly(needed) } else { at_least(needed) };
    check_shape("number of events", shape.events, at_least_if_wide(needed.events))?;
    check_shape("number of windows", shape.windows, exactly(needed.windows))?;
    check_shape("number of slices", shape.slices, exactly(needed.slices))?;
    check_shape("number of corrected summaries", shape.corrected, exactly(needed.corrected))?;
    check_shape(
        "number of events that measure plain numbers",
        shape.numbers,
        at_least_if_wide(needed.numbers),
    )?;
    // The window of a limit is cut into as many slices as a window of the aggregator with the same
    // length, so there must be room for the largest number of slices.
    let limit_slices = if shape.limits == 0 { 0 } else { needed.limit_slices };
    check_shape("number of ids (the largest event id plus 1)", shape.ids, at_least(needed.ids))?;
    check_shape("number of slices per limit", shape.limit_slices, at_least(limit_slices))?;
    // Either no event has room for a limit on silence, and then none may need it, or every event
    // has.
    let all_or_none = if shape.silences == 0 { needed.silences } else { shape.events };
    check_shape("number of limits on silence", shape.silences, exactly(all_or_none))?;
    let all_or_none = if shape.failed == 0 { 0 } else { shape.events };
    check_shape("number of summaries of failed spans", shape.failed, exactly(all_or_none))?;
    let check_capacity = |what, given, max| {
        if given > max { Err(ConfigError::TooMany { what, given, max }) } else { Ok(()) }
    };
    if shape.samples > 0 {
        let bits = windows.iter().map(|window| Window::number_bits(window.slices)).sum::<u32>();
        let max_bits = <S::Repr as Repr>::Sample::SLICE_BITS;
        check_capacity("samples per event", shape.samples, <S::Repr as Repr>::Sample::MAX_SAMPLES)?;
        check_capacity(
            "bits for the slice numbers of all windows (3 for up to 7 slices, 4 for up to 15)",
            bits as usize,
            max_bits as usize,
        )?;
    }

    let parts = storage.parts();
    if parts.row_of_id.iter().any(|row| *row != 0) {
        return Err(ConfigError::StorageInUse);
    }
    // Most arrays may be longer than needed. Not so those whose surplus elements would be taken for
    // elements in use, and the table of open spans, whose indices wrap around at its end: the
    // surplus elements are never set up.
    check_stored("length of `windows`", parts.windows.len(), exactly(shape.windows))?;
    check_stored("length of `rows`", parts.rows.len(), exactly(shape.rows()))?;
    check_stored("length of `row_of_id`", parts.row_of_id.len(), at_least(shape.ids))?;
    check_stored("length of `slices`", parts.slices.len(), at_least(shape.all_slices()))?;
    check_stored("length of `counts`", parts.counts.len(), at_least(shape.all_counts()))?;
    check_stored("length of `totals`", parts.totals.len(), at_least(shape.all_totals()))?;
    check_stored("length of `samples`", parts.samples.len(), at_least(shape.all_samples()))?;
    check_stored("length of `scratch`", parts.scratch.len(), at_least(shape.samples))?;
    check_stored("length of `in_flight`", parts.in_flight.len(), exactly(shape.in_flight))?;
    check_stored("length of `folded`", parts.folded.len(), at_least(shape.padded_buckets()))?;
    check_stored("length of `slowest`", parts.slowest.len(), at_least(shape.all_slowest()))?;
    check_stored("length of `limits`", parts.limits.len(), at_least(shape.limits))?;
    check_stored("length of `tallies`", parts.tallies.len(), at_least(shape.all_tallies()))?;
    check_stored("length of `silences`", parts.silences.len(), exactly(shape.silences))
}

/// Checks that windows and events are valid, whatever the shape is.
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
        // A length of 2^64 ns or more is refused later, with `SliceTooShort`.
        if slices == 0
            || nanos_from_duration(length)
                .is_some_and(|nanos| arithmetic::div_rem(nanos, slices.into()).1 > 0)
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
        // If no storage of this type has room for a corrected summary, no code is generated for
        // this check. Any expected interval is then refused by the check of the shape.
        if !S::ABSENT.corrected
            && let Some(interval) = *expected_interval
            && (interval.is_zero()
                || nanos_from_duration(interval).is_none()
                || *unit != Unit::Time)
        {
            return Err(ConfigError::Interval { name, interval });
        }
    }
    Ok(())
}
