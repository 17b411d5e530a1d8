//! The capacities of an aggregator.

use super::EventState;
use crate::{
    Buckets, EventInfo, TimeUnit, Unit, WindowSpec, bucket_counts,
    counter_width::CountWord,
    exemplars::Exemplar,
    in_flight::OpenSpan,
    packed_moments::PackedMoments,
    sample_buffer::{Sample, Scratch},
    sla::{Rule, Silence, Tally},
    window::Window,
};

/// The capacities of an aggregator, from which the lengths of all its arrays follow.
///
/// Start from [`server`](Self::server) or [`small`](Self::small) and change single fields:
///
/// ```
/// use tailwatch_core::{Shape, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// const SHAPE: Shape = Shape { samples: 64, ..Shape::small(Trading::ALL, &WINDOWS) };
/// // 8 events with 16-bit counters. An empty storage is all zero, so the static is in `.bss`.
/// static STORAGE: storage!(SHAPE, u16) = <storage!(SHAPE, u16)>::new();
/// assert!(size_of_val(&STORAGE) < 128 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// The number of events.
    pub events: usize,
    /// One more than the largest event id.
    pub ids: usize,
    /// The number of windows.
    pub windows: usize,
    /// The number of slices in all windows of one event together.
    pub slices: usize,
    /// The number of samples in an event's sample buffer, which gives exact quantiles.
    ///
    /// On 32-bit targets this is at most 65,536, and the slice numbers of all windows must fit into
    /// 16 bits together. A window takes 3 bits for up to 7 slices, 4 bits for up to 15, and so on.
    pub samples: usize,
    /// The scale of the histograms: each power of two is cut into 2^scale buckets.
    pub scale: u8,
    /// The number of powers of two that a histogram covers.
    ///
    /// With 0 there are no histograms. Quantiles that are not exact are then only known to lie
    /// between the smallest and the largest sample.
    pub octaves: u8,
    /// The histograms of durations begin at 2^lowest units of time. Those of plain numbers begin at
    /// 1.
    pub lowest: u8,
    /// The internal unit of time.
    pub unit: TimeUnit,
    /// The number of entries in the table of open spans, of which seven eighths are used: a power
    /// of two, or 0 for no table.
    pub in_flight: usize,
    /// The number of exemplars in each slice and since the start.
    pub slowest: usize,
    /// The number of events that have an expected interval, and therefore a second, corrected
    /// summary.
    pub corrected: usize,
    /// The number of events that are measured in plain numbers.
    pub numbers: usize,
    /// The number of quantile limits that can be watched, over all events.
    pub limits: usize,
    /// The largest number of slices that the window of a limit is cut into.
    pub limit_slices: usize,
    /// The number of events that can have a limit on silence: all events, or 0.
    pub silences: usize,
}

impl Shape {
    /// Returns a shape for a server.
    ///
    /// - 512 samples per event for exact quantiles
    /// - histograms at scale 5 (an error of at most 1.09 %) from 0.23 ns to 256 s
    /// - the 4 slowest samples
    /// - a table of open spans with 1,024 entries
    /// - twice as many quantile limits as the events declare, two more per event, and a limit on
    ///   the silence of each event
    ///
    /// With the default windows and `u32` counters, this takes about 197 KiB for each event, or
    /// 371 KiB if it has an expected interval, and 46 KiB once. On 32-bit targets, durations are
    /// counted in the coarse unit of 2^-30 s, so the histograms begin at 0.93 ns.
    pub const fn server(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let minimal = Self::minimal(events, windows);
        // On 32-bit targets a sample has 44 bits. In the fine unit it could be at most 16 s.
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
            limits: 2 * (minimal.limits + events.len()),
            limit_slices: if minimal.limit_slices < 12 { 12 } else { minimal.limit_slices },
            silences: events.len(),
            ..minimal
        }
    }

    /// Returns a shape for a microcontroller.
    ///
    /// - 64 samples per event for exact quantiles
    /// - histograms at scale 3 (an error of at most 4.43 %) from 1 µs to 16 s
    /// - the slowest sample
    /// - a table of open spans with 16 entries
    /// - the quantile limits that the events declare, and limits on silence if an event declares
    ///   one
    pub const fn small(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        Self {
            samples: 64,
            scale: 3,
            octaves: 24,
            lowest: 10,
            unit: TimeUnit::Coarse,
            in_flight: 16,
            slowest: 1,
            ..Self::minimal(events, windows)
        }
    }

    /// Returns the smallest shape for these events and windows, without samples, histograms,
    /// exemplars and a table of open spans.
    pub(crate) const fn minimal(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
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

    /// Returns the buckets of the histograms for events of this unit. Does not check them: creating
    /// an aggregator does.
    #[inline(always)]
    pub(crate) const fn buckets(&self, unit: Unit) -> Buckets {
        let lowest = match unit {
            Unit::Time => self.lowest,
            Unit::One => 0,
        };
        Buckets { scale: self.scale, lowest, octaves: self.octaves }
    }

    /// Returns the number of places in a histogram, or 0 if there are no histograms.
    ///
    /// # Panics
    /// If the scale or the range is impossible. In a constant, this is a compile-time error.
    #[inline(always)]
    pub const fn places(&self) -> usize {
        match Buckets::new(self.scale, self.lowest, self.octaves) {
            Some(_) if self.octaves == 0 => 0,
            Some(buckets) => buckets.places(),
            None => panic!("the scale must be at most 8, and lowest + octaves at most 64"),
        }
    }

    /// Returns the number of counters for a histogram in memory: [`places`](Self::places), rounded
    /// up so that several counters can be processed at once.
    #[inline(always)]
    pub const fn room(&self) -> usize {
        bucket_counts::padded(self.places())
    }

    /// Returns the number of rows: one for each event, and one for each corrected summary.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.events + self.corrected
    }

    /// Returns the number of slices of all rows.
    #[inline(always)]
    pub const fn all_slices(&self) -> usize {
        self.rows() * self.slices
    }

    /// Returns the number of bucket counters of all slices.
    #[inline(always)]
    pub const fn all_counts(&self) -> usize {
        self.all_slices() * self.room()
    }

    /// Returns the number of bucket counters outside the slices: those of each row since the start,
    /// and those of each event's staged samples.
    #[inline(always)]
    pub const fn all_totals(&self) -> usize {
        (self.rows() + self.events) * self.room()
    }

    /// Returns the length of the sample buffer of all events.
    #[inline(always)]
    pub const fn all_samples(&self) -> usize {
        self.events * self.samples
    }

    /// Returns the number of exemplar lists of an event: one for each slice, one since the start,
    /// and one for the staged samples.
    #[inline(always)]
    pub(crate) const fn lists(&self) -> usize {
        self.slices + 2
    }

    /// Returns the number of exemplars in all lists of all events.
    #[inline(always)]
    pub const fn all_slowest(&self) -> usize {
        self.events * self.lists() * self.slowest
    }

    /// Returns the number of slices of all quantile limits.
    #[inline(always)]
    pub const fn all_tallies(&self) -> usize {
        self.limits * self.limit_slices
    }

    /// Packs the fields that do not follow from the lengths of the arrays into a number.
    #[doc(hidden)]
    pub const fn histogram(&self) -> usize {
        self.scale as usize
            | (self.lowest as usize) << 8
            | (self.octaves as usize) << 16
            | (self.unit as usize) << 24
    }

    /// Returns the size in bytes of a storage of this shape whose slices count in the type `C`.
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
