//! What can be wrong with an aggregator's set-up.

use core::{error, fmt, time::Duration};

use crate::{
    EventId, EventInfo, LimitError, MAX_SCALE, Unit, WindowSpec,
    clock::nanos_of,
    kept,
    storage::{Lacks, Parts, Shape},
    wide,
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
    /// An array of the storage is not as long as the shape says.
    Storage {
        /// Which array.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The length it needs.
        needed: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoWindows => f.write_str("no windows: at least one is needed, such as 60 s in 12 slices"),
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
            Self::DuplicateWindow { length } => write!(f, "two windows of {length:?}: each length stands once"),
            Self::DuplicateEvent { id } => write!(f, "two events have the number {id}: each number stands for one"),
            Self::DuplicateName { name } => write!(f, "two events are named {name}: each name stands for one"),
            Self::Limit { name, error } => write!(f, "{name}: {error}"),
            Self::Interval { name, interval } => write!(
                f,
                "{name}: expected every {interval:?}; an interval is at least 1 ns and less than 584 years, of an event that is \
                 measured in time"
            ),
            Self::StorageInUse => f.write_str("storage that was used before: an aggregator begins with an empty one"),
            Self::Histogram { scale, lowest, octaves } => write!(
                f,
                "a histogram of scale {scale} from 2^{lowest} over {octaves} powers of two: the scale is at most {MAX_SCALE} \
                 and the range ends at 2^64"
            ),
            Self::InFlight { places } => {
                write!(f, "a table of open spans with {places} places: their number is a power of two, or 0")
            }
            Self::Shape { what, given, needed } => {
                write!(f, "a shape of {given} {what}, where windows and events need {needed}")
            }
            Self::TooMany { what, given, most } => write!(f, "{given} {what}: {most} are the most"),
            Self::Storage { what, given, needed } => {
                write!(f, "storage for {given} {what}, where its shape says {needed}")
            }
        }
    }
}

impl error::Error for ConfigError {}

/// Whether everything fits.
pub(super) fn check<C>(
    shape: &Shape,
    windows: &[WindowSpec],
    events: &[EventInfo],
    parts: &Parts<'_, C>,
    lacks: Lacks,
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
        if slices == 0 || nanos_of(length).is_some_and(|nanos| !wide::is_multiple(nanos, slices.into())) {
            return Err(ConfigError::SlicesDoNotDivide { length, slices });
        }
        if windows[..number].iter().any(|other| other.length == length) {
            return Err(ConfigError::DuplicateWindow { length });
        }
    }
    for (number, EventInfo { id, name, .. }) in events.iter().enumerate() {
        if events[..number].iter().any(|other| other.id == *id) {
            return Err(ConfigError::DuplicateEvent { id: *id });
        }
        if events[..number].iter().any(|other| other.name == *name) {
            return Err(ConfigError::DuplicateName { name });
        }
    }
    for EventInfo { name, unit, expected_interval, .. } in events {
        if let Some(interval) = *expected_interval
            && (interval.is_zero() || nanos_of(interval).is_none() || *unit != Unit::Time)
        {
            return Err(ConfigError::Interval { name, interval });
        }
    }
    if parts.rows.iter().any(|row| *row != 0) {
        return Err(ConfigError::StorageInUse);
    }
    let Shape { scale, lowest, octaves, .. } = *shape;
    if scale > MAX_SCALE || u32::from(lowest) + u32::from(octaves) > 64 {
        return Err(ConfigError::Histogram { scale, lowest, octaves });
    }
    if shape.in_flight > 0 && !shape.in_flight.is_power_of_two() {
        return Err(ConfigError::InFlight { places: shape.in_flight });
    }
    let needed = Shape::counted(events, windows);
    for (what, given, needed) in [
        ("events", shape.events, needed.events),
        ("windows", shape.windows, needed.windows),
        ("slices", shape.slices, needed.slices),
        ("corrected summaries", shape.corrected, needed.corrected),
    ] {
        if given != needed {
            return Err(ConfigError::Shape { what, given, needed });
        }
    }
    // The windows of limits are cut like the others, if there are any limits.
    let cut = if shape.limits == 0 { 0 } else { needed.limit_slices };
    for (what, given, needed) in [("ids", shape.ids, needed.ids), ("slices of a limit", shape.limit_slices, cut)] {
        if given < needed {
            return Err(ConfigError::Shape { what, given, needed });
        }
    }
    kept::limits(shape, windows)?;
    // What is lacked by its type, no code is there for.
    for (what, given, is_lacked) in [
        ("corrected summaries", shape.corrected, lacks.corrected),
        ("limits", shape.limits, lacks.limits),
        ("slowest samples", shape.slowest, lacks.slowest),
        ("powers of two in a histogram", shape.octaves.into(), lacks.histogram),
    ] {
        if is_lacked && given > 0 {
            return Err(ConfigError::Storage { what, given: 0, needed: given });
        }
    }
    // Those that are walked over are not longer, either: what is not set up would be counted into.
    for (what, given, needed) in
        [("windows", parts.windows.len(), shape.windows), ("rows", parts.events.len(), shape.rows())]
    {
        if given != needed {
            return Err(ConfigError::Storage { what, given, needed });
        }
    }
    for (what, given, needed) in [
        ("ids", parts.rows.len(), shape.ids),
        ("slices", parts.slices.len(), shape.all_slices()),
        ("counts", parts.counts.len(), shape.all_counts()),
        ("totals", parts.totals.len(), shape.all_totals()),
        ("samples", parts.samples.len(), shape.all_samples()),
        ("selected samples", parts.scratch.len(), shape.samples),
        ("open spans", parts.in_flight.len(), shape.in_flight),
        ("bucket sums", parts.folded.len(), shape.room()),
        ("slowest samples", parts.slowest.len(), shape.all_slowest()),
        ("limits", parts.limits.len(), shape.limits),
        ("slices of limits", parts.tallies.len(), shape.all_tallies()),
    ] {
        if given < needed {
            return Err(ConfigError::Storage { what, given, needed });
        }
    }
    Ok(())
}
