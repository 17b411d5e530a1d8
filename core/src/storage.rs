//! How much memory an aggregator has, and where it lies.

use crate::{
    Buckets, EventInfo, Moments, OpenSpan, TimeUnit, Unit, WindowSpec,
    aggregator::Staged,
    bucket_counts,
    counter_width::CountWord,
    exemplars::Exemplar,
    histogram::Count,
    in_flight::Pairs,
    packed_moments::PackedMoments,
    sample_buffer::{Evicted, NO_SCRATCH, Sample, Scratch},
    sla::{NO_RULE, Rule, Silence, Tally},
    window::Window,
};

/// How much an aggregator keeps: a value, from which everything else follows.
///
/// ```
/// use tailwatch_core::{Shape, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// const SHAPE: Shape = Shape { samples: 64, ..Shape::small(Trading::ALL, &WINDOWS) };
/// // Counters of 16 bits; 8 events, all zero: it lies in `.bss`.
/// static STORAGE: storage!(SHAPE, u16) = <storage!(SHAPE, u16)>::new();
/// assert!(size_of_val(&STORAGE) < 128 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// How many events.
    pub events: usize,
    /// One more than the largest id among them.
    pub ids: usize,
    /// How many windows.
    pub windows: usize,
    /// How many slices all windows of an event have together.
    pub slices: usize,
    /// How many of an event's newest samples are kept, to tell exact quantiles. Where registers have 32 bits, 65,536 at the most; and
    /// there the slices of all windows must be numbered in 16 bits, of which a window of up to 7 slices takes 3, of up to 15 4.
    pub samples: usize,
    /// Into 2^scale buckets the histograms cut each power of two.
    pub scale: u8,
    /// How many powers of two the histograms cover; with 0 there are none: what is not exact is only told between its extremes.
    pub octaves: u8,
    /// Those of durations begin at 2^lowest units of time; those of plain numbers at 1.
    pub lowest: u8,
    /// The unit of time inside.
    pub unit: TimeUnit,
    /// How many places the table of open spans has: a power of two, of which seven eighths are used, or 0.
    pub in_flight: usize,
    /// How many of the slowest samples are kept, in each slice and since the start.
    pub slowest: usize,
    /// How many events have an expected interval, and so a second summary.
    pub corrected: usize,
    /// How many events are measured in plain numbers.
    pub numbers: usize,
    /// How many limits on quantiles can be watched.
    pub limits: usize,
    /// Into how many slices a limit's window is cut at the most.
    pub limit_slices: usize,
    /// How many events can have a longest silence: all of them, or none. [`small`](Self::small) has room if an event declares one.
    pub silences: usize,
}

impl Shape {
    /// For a server: 512 exact samples an event; histograms at scale 5 (±1.09 %) from 0.23 ns to 256 s; the slowest 4; room for
    /// twice as many limits as are declared, two an event, and its silence. 198 KiB an event and the default windows; 373 KiB an event that has an
    /// expected interval. Where registers have 32 bits, times are counted in the coarse unit, so that the histograms begin at 0.93 ns.
    pub const fn server(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let counted = Self::counted(events, windows);
        // In the fine unit, a sample of 44 bits would be 16 s at the most.
        let (unit, lowest, octaves) = if cfg!(target_pointer_width = "64") {
            (TimeUnit::Fine, 8, 40)
        } else {
            (TimeUnit::Coarse, 0, 38)
        };
        Self {
            samples: 512,
            scale: 5,
            octaves,
            lowest,
            unit,
            in_flight: 1_024,
            slowest: 4,
            limits: 2 * (counted.limits + events.len()),
            limit_slices: if counted.limit_slices < 12 { 12 } else { counted.limit_slices },
            silences: events.len(),
            ..counted
        }
    }

    /// For a microcontroller: 64 exact samples an event; histograms at scale 3 (±4.4 %) from 1 µs to 16 s; the slowest one; room
    /// for the limits that are declared.
    pub const fn small(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        Self {
            samples: 64,
            scale: 3,
            octaves: 24,
            lowest: 10,
            unit: TimeUnit::Coarse,
            in_flight: 16,
            slowest: 1,
            ..Self::counted(events, windows)
        }
    }

    /// What follows from events and windows alone, and room for nothing else.
    pub(crate) const fn counted(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let (mut ids, mut corrected, mut numbers, mut limits, mut silences, mut at) =
            (1, 0, 0, 0, 0, 0);
        while at < events.len() {
            let id = events[at].id.get() as usize;
            if id >= ids {
                ids = id + 1;
            }
            corrected += events[at].expected_interval.is_some() as usize;
            numbers += matches!(events[at].unit, Unit::One) as usize;
            limits += events[at].limits.len();
            if events[at].max_silence.is_some() {
                silences = events.len();
            }
            at += 1;
        }
        let (mut slices, mut limit_slices, mut at) = (0, 1, 0);
        while at < windows.len() {
            let of_window = windows[at].slices as usize;
            slices += of_window;
            if of_window > limit_slices {
                limit_slices = of_window;
            }
            at += 1;
        }
        Self {
            events: events.len(),
            ids,
            windows: windows.len(),
            slices,
            samples: 0,
            scale: 0,
            octaves: 0,
            lowest: 0,
            unit: TimeUnit::Fine,
            in_flight: 0,
            slowest: 0,
            corrected,
            numbers,
            limits,
            limit_slices,
            silences,
        }
    }

    /// The buckets of what is measured in this unit. That they are possible is checked when an aggregator is made.
    #[inline(always)]
    pub(crate) const fn buckets(&self, unit: Unit) -> Buckets {
        let lowest = match unit {
            Unit::Time => self.lowest,
            Unit::One => 0,
        };
        Buckets { scale: self.scale, lowest, octaves: self.octaves }
    }

    /// The places that a histogram counts in; none without one.
    ///
    /// # Panics
    /// If the scale or the range is impossible; in a constant, an error of the compiler.
    #[inline(always)]
    pub const fn places(&self) -> usize {
        match Buckets::new(self.scale, self.lowest, self.octaves) {
            Some(_) if self.octaves == 0 => 0,
            Some(buckets) => buckets.places(),
            None => panic!("a scale is at most 8, and lowest + octaves at most 64"),
        }
    }

    /// The places that a row has room for: some more, so that they can be worked on by several at once.
    #[inline(always)]
    pub const fn room(&self) -> usize {
        bucket_counts::filled(self.places())
    }

    /// Rows: one for each event, and one for each corrected summary.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.events + self.corrected
    }

    /// Slices of all rows.
    #[inline(always)]
    pub const fn all_slices(&self) -> usize {
        self.rows() * self.slices
    }

    /// Counters of all slices.
    #[inline(always)]
    pub const fn all_counts(&self) -> usize {
        self.all_slices() * self.room()
    }

    /// Counters since the start of all rows, and those of each event's fresh sums.
    #[inline(always)]
    pub const fn all_totals(&self) -> usize {
        (self.rows() + self.events) * self.room()
    }

    /// Exact samples of all events.
    #[inline(always)]
    pub const fn all_samples(&self) -> usize {
        self.events * self.samples
    }

    /// Lists of the slowest samples of an event: of each slice, since the start, and of its fresh sums.
    #[inline(always)]
    pub(crate) const fn lists(&self) -> usize {
        self.slices + 2
    }

    /// The slowest samples of all events, in all their lists.
    #[inline(always)]
    pub const fn all_slowest(&self) -> usize {
        self.events * self.lists() * self.slowest
    }

    /// Slices of all limits.
    #[inline(always)]
    pub const fn all_tallies(&self) -> usize {
        self.limits * self.limit_slices
    }

    /// What the lengths of the arrays do not tell of it, in a number.
    #[doc(hidden)]
    pub const fn histogram(&self) -> usize {
        self.scale as usize
            | (self.lowest as usize) << 8
            | (self.octaves as usize) << 16
            | (self.unit as usize) << 24
    }

    /// The bytes that storage of this shape takes, with counters of the type `C` in its slices.
    pub const fn bytes<C>(&self) -> usize {
        self.ids * size_of::<u16>()
            + self.windows * size_of::<Window>()
            + self.rows() * size_of::<EventState>()
            + self.all_slices() * size_of::<PackedMoments>()
            + self.all_counts() * size_of::<C>()
            + self.all_totals() * size_of::<CountWord>()
            + self.room() * size_of::<CountWord>()
            + self.all_samples() * size_of::<Sample>()
            + self.samples * size_of::<Scratch>()
            + self.in_flight * size_of::<OpenSpan>()
            + self.all_slowest() * size_of::<Exemplar>()
            + self.limits * size_of::<Rule>()
            + self.all_tallies() * size_of::<Tally>()
            + self.silences * size_of::<Silence>()
    }
}

/// What is kept of a row besides its slices. A row is an event, or the corrected summary of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// In this order: a Cortex-M0 reaches what lies near the beginning for less.
#[repr(C)]
pub struct EventState {
    /// The event's number; 0 of a corrected summary.
    pub(crate) id: u16,
    /// The number of its first rule, or [`NO_RULE`].
    pub(crate) first_rule: u16,
    /// Where the next sample goes, over the oldest one.
    pub(crate) next_sample: usize,
    pub(crate) outcomes: [CountWord; 3],
    pub(crate) pairing: Pairs,
    pub(crate) staged: Staged,
    pub(crate) evicted: Evicted,
    /// One more than the tick of the newest record; 0 if there was none, or where no silence is watched.
    pub(crate) seen: u64,
    /// One more than the tick until which some may have been sampled away; 0 if none were.
    pub(crate) sampled: u64,
    pub(crate) total: Moments,
    /// The interval at which it is expected.
    pub(crate) interval_nanos: u64,
    /// The row of its corrected summary; 0 if it has none, as no event's row is behind another's.
    pub(crate) corrected: u16,
}

impl EventState {
    const EMPTY: Self = Self {
        total: Moments::EMPTY,
        staged: Staged::EMPTY,
        outcomes: [0; 3],
        pairing: Pairs::EMPTY,
        next_sample: 0,
        evicted: Evicted::NONE,
        seen: 0,
        sampled: 0,
        id: 0,
        first_rule: NO_RULE,
        corrected: 0,
        interval_nanos: 0,
    };
}

/// The arrays of a storage, each as long as its [`Shape`] says.
#[derive(Debug)]
pub struct StorageParts<'s, C> {
    /// Of each id, the number of its row.
    pub rows: &'s mut [u16],
    /// The windows, the same for all events.
    pub windows: &'s mut [Window],
    /// A row for each event, then one for each corrected summary.
    pub events: &'s mut [EventState],
    /// The slices of all windows, row after row.
    pub slices: &'s mut [PackedMoments],
    /// The bucket counts of each row's slices: of a few neighbouring places those of one slice after the other, then of the next few.
    pub counts: &'s mut [C],
    /// The bucket counts of each row since the start; behind them those of the fresh sums of each event.
    pub totals: &'s mut [CountWord],
    /// Room to add up the bucket counts of a window.
    pub folded: &'s mut [CountWord],
    /// The newest samples of each event.
    pub samples: &'s mut [Sample],
    /// Room to select among the samples of one event.
    pub scratch: &'s mut [Scratch],
    /// The table of open spans.
    pub in_flight: &'s mut [OpenSpan],
    /// The slowest samples of each event: of its slices, since the start, and of its fresh sums.
    pub slowest: &'s mut [Exemplar],
    /// The limits that are watched.
    pub limits: &'s mut [Rule],
    /// What they counted in the slices of their windows.
    pub tallies: &'s mut [Tally],
    /// The limit on silence of each event; none if no event can have one.
    pub silences: &'s mut [Silence],
}

/// What a storage has no room for.
#[expect(clippy::struct_excessive_bools, reason = "each says something else")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Absent {
    /// There is no corrected summary: no event has an expected interval.
    pub corrected: bool,
    /// There is no limit on a quantile.
    pub limits: bool,
    /// None of the slowest samples is kept.
    pub slowest: bool,
    /// There is no histogram.
    pub histogram: bool,
    /// No event has a longest silence.
    pub silences: bool,
    /// No event is measured in plain numbers.
    pub numbers: bool,
    /// There is no table of open spans.
    pub in_flight: bool,
}

impl Absent {
    /// It may have room for everything: its type does not tell.
    pub const NOTHING: Self = Self {
        corrected: false,
        limits: false,
        slowest: false,
        histogram: false,
        silences: false,
        numbers: false,
        in_flight: false,
    };

    /// Whether it says more than another one.
    pub(crate) const fn exceeds(self, other: Self) -> bool {
        (self.corrected && !other.corrected)
            || (self.limits && !other.limits)
            || (self.slowest && !other.slowest)
            || (self.histogram && !other.histogram)
            || (self.silences && !other.silences)
            || (self.numbers && !other.numbers)
            || (self.in_flight && !other.in_flight)
    }

    /// What a shape has no room for.
    pub const fn of(shape: &Shape) -> Self {
        Self {
            corrected: shape.corrected == 0,
            limits: shape.limits == 0,
            slowest: shape.slowest == 0,
            histogram: shape.octaves == 0,
            silences: shape.silences == 0,
            numbers: shape.numbers == 0,
            in_flight: shape.in_flight == 0,
        }
    }
}

/// Memory for an aggregator: arrays in a `static` ([`storage!`](crate::storage!)), or boxed slices in the std adapter.
///
/// It is all-zero when empty.
pub trait Storage {
    /// What bucket counts of slices are counted in. One that is full stays full, which makes quantiles less accurate, and they
    /// say so.
    type Count: Count;

    /// What it has no room for, as its type tells: for that no code is generated, which matters where flash is scarce. No more than its
    /// [`shape`](Self::shape) has no room for.
    const ABSENT: Absent = Absent::NOTHING;

    /// Its shape, always the same. Where it is a constant, as of arrays, much that depends on it is computed by the compiler.
    fn shape(&self) -> Shape;

    /// The arrays.
    fn parts(&mut self) -> StorageParts<'_, Self::Count>;
}

/// Storage in arrays, to lie in a `static`; its type is written by [`storage!`](crate::storage!).
#[derive(Debug)]
// What is small, and asked often, lies near the beginning, which a Cortex-M0 reaches for less.
#[repr(C)]
pub struct StaticStorage<
    C,
    const IDS: usize,
    const WINDOWS: usize,
    const ROWS: usize,
    const CORRECTED: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const ROOM: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
    const SLOWEST: usize,
    const LIMITS: usize,
    const TALLIES: usize,
    const SILENCES: usize,
    const NUMBERS: usize,
    const HISTOGRAM: usize,
> {
    windows: [Window; WINDOWS],
    rows: [u16; IDS],
    events: [EventState; ROWS],
    in_flight: [OpenSpan; IN_FLIGHT],
    slices: [PackedMoments; SLICES],
    samples: [Sample; SAMPLES],
    scratch: [Scratch; SCRATCH],
    limits: [Rule; LIMITS],
    tallies: [Tally; TALLIES],
    slowest: [Exemplar; SLOWEST],
    folded: [CountWord; ROOM],
    totals: [CountWord; TOTALS],
    counts: [C; COUNTS],
    silences: [Silence; SILENCES],
}

/// How many of so many each has; none where there are none.
const fn of_each(all: usize, each: usize) -> usize {
    match all.checked_div(each) {
        Some(of_each) => of_each,
        None => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest one is meant")]
const fn byte(word: usize) -> u8 {
    word as u8
}

/// The type of a storage in arrays that has the [`Shape`] given as a constant; its slices count in `u32`, or in the type given
/// behind it, `u16` or `u64`.
#[macro_export]
macro_rules! storage {
    ($shape:expr) => {
        $crate::storage!($shape, u32)
    };
    ($shape:expr, $count:ty) => {
        $crate::StaticStorage<
            $count,
            { $shape.ids },
            { $shape.windows },
            { $shape.rows() },
            { $shape.corrected },
            { $shape.all_slices() },
            { $shape.all_counts() },
            { $shape.all_totals() },
            { $shape.room() },
            { $shape.all_samples() },
            { $shape.samples },
            { $shape.in_flight },
            { $shape.all_slowest() },
            { $shape.limits },
            { $shape.all_tallies() },
            { $shape.silences },
            { $shape.numbers },
            { $shape.histogram() },
        >
    };
}

impl<
    C: Count,
    const IDS: usize,
    const WINDOWS: usize,
    const ROWS: usize,
    const CORRECTED: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const ROOM: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
    const SLOWEST: usize,
    const LIMITS: usize,
    const TALLIES: usize,
    const SILENCES: usize,
    const NUMBERS: usize,
    const HISTOGRAM: usize,
>
    StaticStorage<
        C,
        IDS,
        WINDOWS,
        ROWS,
        CORRECTED,
        SLICES,
        COUNTS,
        TOTALS,
        ROOM,
        SAMPLES,
        SCRATCH,
        IN_FLIGHT,
        SLOWEST,
        LIMITS,
        TALLIES,
        SILENCES,
        NUMBERS,
        HISTOGRAM,
    >
{
    /// Its shape: what its lengths were computed from.
    const SHAPE: Shape = {
        let events = ROWS - CORRECTED;
        let slices = of_each(SLICES, ROWS);
        Shape {
            events,
            ids: IDS,
            windows: WINDOWS,
            slices,
            samples: SCRATCH,
            scale: byte(HISTOGRAM),
            lowest: byte(HISTOGRAM >> 8),
            octaves: byte(HISTOGRAM >> 16),
            unit: if HISTOGRAM >> 24 == TimeUnit::Fine as usize {
                TimeUnit::Fine
            } else {
                TimeUnit::Coarse
            },
            in_flight: IN_FLIGHT,
            slowest: of_each(SLOWEST, events * (slices + 2)),
            corrected: CORRECTED,
            numbers: NUMBERS,
            limits: LIMITS,
            limit_slices: of_each(TALLIES, LIMITS),
            silences: SILENCES,
        }
    };

    /// Empty storage.
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        Self {
            rows: [0; IDS],
            windows: [Window::EMPTY; WINDOWS],
            events: [EventState::EMPTY; ROWS],
            slices: [PackedMoments::EMPTY; SLICES],
            counts: [C::ZERO; COUNTS],
            totals: [0; TOTALS],
            folded: [0; ROOM],
            samples: [Sample::NONE; SAMPLES],
            scratch: [NO_SCRATCH; SCRATCH],
            in_flight: [OpenSpan::EMPTY; IN_FLIGHT],
            slowest: [Exemplar::EMPTY; SLOWEST],
            limits: [Rule::EMPTY; LIMITS],
            tallies: [Tally::EMPTY; TALLIES],
            silences: [Silence::EMPTY; SILENCES],
        }
    }
}

impl<
    C: Count,
    const IDS: usize,
    const WINDOWS: usize,
    const ROWS: usize,
    const CORRECTED: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const ROOM: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
    const SLOWEST: usize,
    const LIMITS: usize,
    const TALLIES: usize,
    const SILENCES: usize,
    const NUMBERS: usize,
    const HISTOGRAM: usize,
> Storage
    for &mut StaticStorage<
        C,
        IDS,
        WINDOWS,
        ROWS,
        CORRECTED,
        SLICES,
        COUNTS,
        TOTALS,
        ROOM,
        SAMPLES,
        SCRATCH,
        IN_FLIGHT,
        SLOWEST,
        LIMITS,
        TALLIES,
        SILENCES,
        NUMBERS,
        HISTOGRAM,
    >
{
    type Count = C;

    const ABSENT: Absent = Absent::of(&<Self as core::ops::Deref>::Target::SHAPE);

    #[inline(always)]
    fn shape(&self) -> Shape {
        <Self as core::ops::Deref>::Target::SHAPE
    }

    fn parts(&mut self) -> StorageParts<'_, C> {
        StorageParts {
            rows: &mut self.rows,
            windows: &mut self.windows,
            events: &mut self.events,
            slices: &mut self.slices,
            counts: &mut self.counts,
            totals: &mut self.totals,
            folded: &mut self.folded,
            samples: &mut self.samples,
            scratch: &mut self.scratch,
            in_flight: &mut self.in_flight,
            slowest: &mut self.slowest,
            limits: &mut self.limits,
            tallies: &mut self.tallies,
            silences: &mut self.silences,
        }
    }
}
