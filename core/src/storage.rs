//! How much memory an aggregator has, and where it lies.

use crate::{Buckets, EventInfo, Flight, Pairing, TimeUnit, WindowSpec, moments::Moments, window::Window};

/// How much an aggregator keeps: a value, from which everything else follows.
///
/// ```
/// use tailwatch_core::{Shape, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// const SHAPE: Shape = Shape { samples: 64, ..Shape::small(Trading::ALL, &WINDOWS) };
/// static STORAGE: storage!(SHAPE) = <storage!(SHAPE)>::new(); // 8 events, zero: it lies in `.bss`
/// assert!(size_of_val(&STORAGE) < 160 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many events.
    pub events: usize,
    /// One more than the largest id among them.
    pub ids: usize,
    /// How many windows.
    pub windows: usize,
    /// How many slices all windows of an event have together.
    pub slices: usize,
    /// How many of an event's newest samples are kept, to tell exact quantiles.
    pub samples: usize,
    /// Into 2^scale buckets the histograms cut each power of two.
    pub scale: u8,
    /// How many powers of two the histograms cover.
    pub octaves: u8,
    /// Those of durations begin at 2^lowest units of time; those of plain numbers at 1.
    pub lowest: u8,
    /// The unit of time inside.
    pub unit: TimeUnit,
    /// How many places the table of open spans has: a power of two, of which seven eighths are used, or 0.
    pub in_flight: usize,
}

impl Shape {
    /// For a server: 512 exact samples an event; histograms at scale 5 (±1.09 %) from 0.23 ns to 256 s. 181 KiB an event and
    /// the default windows.
    pub const fn server(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        Self {
            samples: 512,
            scale: 5,
            octaves: 40,
            lowest: 8,
            unit: TimeUnit::Fine,
            in_flight: 1_024,
            ..Self::counted(events, windows)
        }
    }

    /// For a microcontroller: 64 exact samples an event; histograms at scale 3 (±4.4 %) from 1 µs to 16 s.
    pub const fn small(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        Self {
            samples: 64,
            scale: 3,
            octaves: 24,
            lowest: 10,
            unit: TimeUnit::Coarse,
            in_flight: 16,
            ..Self::counted(events, windows)
        }
    }

    const fn counted(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let (mut ids, mut at) = (1, 0);
        while at < events.len() {
            let id = events[at].id.get() as usize;
            if id >= ids {
                ids = id + 1;
            }
            at += 1;
        }
        let (mut slices, mut at) = (0, 0);
        while at < windows.len() {
            slices += windows[at].slices as usize;
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
        }
    }

    /// The places that a histogram counts in.
    ///
    /// # Panics
    /// If the scale or the range is impossible; in a constant, an error of the compiler.
    pub const fn places(&self) -> usize {
        match Buckets::new(self.scale, self.lowest, self.octaves) {
            Some(buckets) => buckets.places(),
            None => panic!("a scale is at most 8, and lowest + octaves at most 64"),
        }
    }

    /// Slices of all events.
    pub const fn all_slices(&self) -> usize {
        self.events * self.slices
    }

    /// Counters of all slices.
    pub const fn all_counts(&self) -> usize {
        self.all_slices() * self.places()
    }

    /// Counters since the start of all events.
    pub const fn all_totals(&self) -> usize {
        self.events * self.places()
    }

    /// Exact samples of all events.
    pub const fn all_samples(&self) -> usize {
        self.events * self.samples
    }

    /// The bytes that storage of this shape takes.
    pub const fn bytes(&self) -> usize {
        self.ids * size_of::<u16>()
            + self.windows * size_of::<Window>()
            + self.events * size_of::<EventState>()
            + self.all_slices() * size_of::<Moments>()
            + self.all_counts() * size_of::<u32>()
            + self.all_totals() * size_of::<u64>()
            + self.all_samples() * size_of::<Sample>()
            + self.samples * size_of::<u64>()
            + self.in_flight * size_of::<Flight>()
    }
}

/// A duration or number that is kept to tell exact quantiles, and the tick at which it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub(crate) value: u64,
    /// One more than the tick; 0 for a sample that belongs to no window.
    pub(crate) after: u64,
}

/// What is kept of an event besides its slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventState {
    pub(crate) total: Moments,
    pub(crate) outcomes: [u64; 3],
    pub(crate) pairing: Pairing,
    /// Where the next sample goes, over the oldest one.
    pub(crate) next_sample: usize,
    /// The largest `after` of a sample that had to make room.
    pub(crate) evicted: u64,
}

impl EventState {
    const EMPTY: Self =
        Self { total: Moments::EMPTY, outcomes: [0; 3], pairing: Pairing::EMPTY, next_sample: 0, evicted: 0 };
}

/// The arrays of a storage, each as long as its [`Shape`] says.
#[derive(Debug)]
pub struct Parts<'s> {
    /// Of each id, the number of its row.
    pub rows: &'s mut [u16],
    /// The windows, the same for all events.
    pub windows: &'s mut [Window],
    /// A row for each event.
    pub events: &'s mut [EventState],
    /// The slices of all windows, event after event.
    pub slices: &'s mut [Moments],
    /// The bucket counts of each slice.
    pub counts: &'s mut [u32],
    /// The bucket counts of each event since the start.
    pub totals: &'s mut [u64],
    /// The newest samples of each event.
    pub samples: &'s mut [Sample],
    /// Room to select among the samples of one event.
    pub scratch: &'s mut [u64],
    /// The table of open spans.
    pub in_flight: &'s mut [Flight],
}

/// Memory for an aggregator: arrays in a `static` ([`storage!`](crate::storage!)), or boxed slices in the std adapter.
///
/// It is all-zero when empty.
pub trait Storage {
    /// The arrays.
    fn parts(&mut self) -> Parts<'_>;
}

/// Storage in arrays, to lie in a `static`; its type is written by [`storage!`](crate::storage!).
#[derive(Debug)]
pub struct Arrays<
    const IDS: usize,
    const WINDOWS: usize,
    const EVENTS: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
> {
    rows: [u16; IDS],
    windows: [Window; WINDOWS],
    events: [EventState; EVENTS],
    slices: [Moments; SLICES],
    counts: [u32; COUNTS],
    totals: [u64; TOTALS],
    samples: [Sample; SAMPLES],
    scratch: [u64; SCRATCH],
    in_flight: [Flight; IN_FLIGHT],
}

/// The type of a storage in arrays that has the [`Shape`] given as a constant.
#[macro_export]
macro_rules! storage {
    ($shape:expr) => {
        $crate::Arrays<
            { $shape.ids },
            { $shape.windows },
            { $shape.events },
            { $shape.all_slices() },
            { $shape.all_counts() },
            { $shape.all_totals() },
            { $shape.all_samples() },
            { $shape.samples },
            { $shape.in_flight },
        >
    };
}

impl<
    const IDS: usize,
    const WINDOWS: usize,
    const EVENTS: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
> Arrays<IDS, WINDOWS, EVENTS, SLICES, COUNTS, TOTALS, SAMPLES, SCRATCH, IN_FLIGHT>
{
    /// Empty storage.
    #[expect(clippy::new_without_default, reason = "`const` is the point of it, and `Default::default` is not")]
    pub const fn new() -> Self {
        Self {
            rows: [0; IDS],
            windows: [Window::EMPTY; WINDOWS],
            events: [EventState::EMPTY; EVENTS],
            slices: [Moments::EMPTY; SLICES],
            counts: [0; COUNTS],
            totals: [0; TOTALS],
            samples: [Sample { value: 0, after: 0 }; SAMPLES],
            scratch: [0; SCRATCH],
            in_flight: [Flight::EMPTY; IN_FLIGHT],
        }
    }
}

impl<
    const IDS: usize,
    const WINDOWS: usize,
    const EVENTS: usize,
    const SLICES: usize,
    const COUNTS: usize,
    const TOTALS: usize,
    const SAMPLES: usize,
    const SCRATCH: usize,
    const IN_FLIGHT: usize,
> Storage for &mut Arrays<IDS, WINDOWS, EVENTS, SLICES, COUNTS, TOTALS, SAMPLES, SCRATCH, IN_FLIGHT>
{
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            rows: &mut self.rows,
            windows: &mut self.windows,
            events: &mut self.events,
            slices: &mut self.slices,
            counts: &mut self.counts,
            totals: &mut self.totals,
            samples: &mut self.samples,
            scratch: &mut self.scratch,
            in_flight: &mut self.in_flight,
        }
    }
}
