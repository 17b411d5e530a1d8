//! The capacities of an aggregator.

use super::row_state::RowState;
use crate::{
    clock::TimeUnit,
    declaration::EventInfo,
    event::Unit,
    repr::{Compact, Repr, StoredSample, Wide},
    sla::rule::{Rule, Silence, Tally},
    spans::{exemplars::Exemplar, in_flight::OpenSpan},
    statistics::{
        histogram::buckets::Buckets,
        window::{Window, WindowSpec},
    },
    storage::bucket_counts,
};

/// The largest number of samples in a batch: few enough that all of them are still in the cache
/// when the batch is added up.
pub(crate) const MAX_BATCH: u32 = 64;

/// Returns the number of samples at which a batch is full, for a sample buffer of this length.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most MAX_BATCH")]
pub(crate) const fn max_batch(len: usize) -> u32 {
    if len < MAX_BATCH as usize { len as u32 } else { MAX_BATCH }
}

/// The capacities of an [`Aggregator`](crate::Aggregator), from which the lengths of all the arrays
/// in its [`Storage`](crate::Storage) follow.
///
/// Start from [`server`](Self::server) or [`small`](Self::small) and change single fields:
///
/// ```
/// use tailwatch_core::{Shape, Trading, WindowSpec, storage};
///
/// const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// const SHAPE: Shape = Shape { samples: 64, ..Shape::small(Trading::ALL, &WINDOWS) };
/// // 8 events with 16-bit counters. An empty storage is all zero, so the static is in `.bss`.
/// storage!(BotStorage: SHAPE, u16);
/// static STORAGE: BotStorage = BotStorage::new();
/// assert!(size_of_val(&STORAGE) < 128 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    /// Whether numbers are stored in the representation [`Compact`], for microcontrollers, instead
    /// of [`Wide`].
    pub is_compact: bool,
    /// The number of events.
    pub events: usize,
    /// The length of the table in which the event of a record is looked up by its id: at least the
    /// largest event id plus 1.
    pub ids: usize,
    /// The number of windows.
    pub windows: usize,
    /// The number of slices, the intervals that windows are cut into, in all windows together.
    pub slices: usize,
    /// The number of newest samples that are kept for each event. Quantiles of a window are exact
    /// while all of its samples are among them.
    ///
    /// In compact storage, this is at most 65,536. Each buffered sample stores its slice in every
    /// window there, in 16 bits for all windows together. A window of n slices needs ⌊log2
    /// n⌋ + 1 bits: 3 for 4 to 7 slices, 4 for 8 to 15, and so on.
    /// [`Aggregator::new`](crate::Aggregator::new) returns an error if the windows need more than
    /// 16 bits, unless `samples` is 0.
    pub samples: usize,
    /// The scale of the histograms: each octave, the range from one power of two to the next, has
    /// 2^scale buckets.
    pub scale: u8,
    /// The number of octaves that a histogram covers.
    ///
    /// With 0 there are no histograms. A quantile that is not exact then lies anywhere between the
    /// smallest and the largest sample.
    pub octaves: u8,
    /// The histograms of durations begin at 2^lowest in the `unit` below. Those of plain numbers
    /// begin at 1.
    pub lowest: u8,
    /// The unit in which the aggregator stores durations.
    pub unit: TimeUnit,
    /// The number of entries in the table of open spans: a power of two, or 0 for no table. An
    /// eighth of the entries, and at least one, stay empty, so that searches are short. (In wide
    /// storage, if there are 128 entries or more, events with few open spans may use 1 in 128 of
    /// all entries beyond that.)
    ///
    /// All events share the table. If it is full, the event with the most open spans gives up its
    /// youngest one to make room for an event that has fewer: see
    /// [`Pairing::untracked`](crate::Pairing::untracked).
    pub in_flight: usize,
    /// How many of the slowest samples (exemplars) are kept, with their tags. This many are kept
    /// for each event in every slice of every window, and since the start. A query returns at most
    /// this many.
    pub slowest: usize,
    /// The number of events that have an expected interval. Each has a second summary, which is
    /// corrected for coordinated omission.
    pub corrected: usize,
    /// The number of events whose failed spans have a summary of their own: all events, or 0. (A
    /// span that ended with another [outcome](crate::Outcome) than `Ok` has failed.)
    pub failed: usize,
    /// The number of events that measure plain numbers. If it is the constant 0, no code is
    /// generated for them.
    pub numbers: usize,
    /// The number of limits on quantiles and error rates that all events together can have.
    pub limits: usize,
    /// The largest number of slices that the window of a limit on a quantile or error rate can
    /// have.
    pub limit_slices: usize,
    /// The number of events that can have a limit on silence: all events, or 0.
    pub silences: usize,
}

impl Shape {
    /// Returns a shape for a server: [wide](Wide), with room for:
    ///
    /// - 512 samples per event for exact quantiles
    /// - histograms at scale 5 (an error of at most 1.09 %, plus rounding): for durations from
    ///   0.23 ns to 18.2 hours, for plain numbers from 1 to 2^48
    /// - the 4 slowest samples of each event in a window, and the 4 since the start
    /// - a table of open spans with 1,024 entries
    /// - twice as many limits on quantiles and error rates as the events declare, and two more per
    ///   event; the window of a limit can have 12 slices, or as many as the given window with the
    ///   most slices if that is more
    /// - a limit on the silence of each event
    /// - a summary of the failed spans of each event
    ///
    /// Every plain number that a record can carry is in this range, and every duration, if the
    /// clock has at least 2^30 ticks per second. Longer durations of slower clocks, and those from
    /// 18.2 to 19.5 hours at 1 GHz, share a bucket. The [accuracy](crate::Accuracy) of a quantile
    /// among them says how wide it is.
    ///
    /// With [`WindowSpec::DEFAULT`] and `u32` counters, this takes about 441 KiB for each event, or
    /// 649 KiB if it has an expected interval, and 48 KiB once. The counts of buckets are most of
    /// it. In a storage of zeroed pages, the operating system assigns those that are used: about
    /// half of it, unless spans of the event fail.
    pub const fn server(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let minimal = Self::minimal(events, windows);
        Self {
            samples: 512,
            scale: 5,
            octaves: 48,
            lowest: 8,
            unit: TimeUnit::Fine,
            in_flight: 1_024,
            slowest: 4,
            limits: 2 * (minimal.limits + events.len()),
            // A limit may be over a window that is not in `windows`, so there is room for 12
            // slices.
            limit_slices: if minimal.limit_slices < 12 { 12 } else { minimal.limit_slices },
            silences: events.len(),
            failed: events.len(),
            ..minimal
        }
    }

    /// Returns a shape for a microcontroller: [compact](Compact), with room for:
    ///
    /// - 64 samples per event for exact quantiles
    /// - histograms at scale 3 (an error of at most 4.43 %): for durations from 1 µs to 16 s, for
    ///   plain numbers from 1 to 2^24
    /// - the slowest sample of each event in a window, and the one since the start
    /// - a table of open spans with 16 entries
    /// - as many limits on quantiles and error rates as the events declare; the window of a limit
    ///   can have as many slices as the given window with the most slices
    /// - a limit on the silence of each event, if any event declares one
    ///
    /// There are no summaries of failed spans: set [`failed`](Self::failed) for them.
    pub const fn small(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        Self {
            is_compact: true,
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

    /// Returns the smallest shape for these events and windows. It has no buffered samples,
    /// histograms, exemplars or table of open spans, but room for the limits that the events
    /// declare.
    pub(crate) const fn minimal(events: &[EventInfo], windows: &[WindowSpec]) -> Self {
        let (mut ids, mut corrected, mut numbers, mut limits, mut silences, mut index) =
            (1, 0, 0, 0, 0, 0);
        while index < events.len() {
            let id = events[index].id.get() as usize;
            if id >= ids {
                ids = id + 1;
            }
            corrected += events[index].expected_interval.is_some() as usize;
            numbers += matches!(events[index].unit, Unit::One) as usize;
            limits += events[index].limits.len();
            limits += events[index].max_error_rate.is_some() as usize;
            if events[index].max_silence.is_some() {
                silences = events.len();
            }
            index += 1;
        }
        let (mut slices, mut limit_slices, mut index) = (0, 1, 0);
        while index < windows.len() {
            let window_slices = windows[index].slices as usize;
            slices += window_slices;
            if window_slices > limit_slices {
                limit_slices = window_slices;
            }
            index += 1;
        }
        Self {
            is_compact: false,
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
            failed: 0,
            numbers,
            limits,
            limit_slices,
            silences,
        }
    }

    /// Returns the buckets of the histograms for events of this unit. They are not checked here: if
    /// they are impossible, [`Aggregator::new`](crate::Aggregator::new) has returned an error.
    #[inline(always)]
    pub const fn buckets(&self, unit: Unit) -> Buckets {
        let lowest = match unit {
            Unit::Time => self.lowest,
            Unit::One => 0,
        };
        Buckets { scale: self.scale, lowest, octaves: self.octaves }
    }

    /// Returns the number of buckets in a histogram, including those for the value 0 and for values
    /// below and above its range. Returns 0 if there are no histograms.
    ///
    /// # Panics
    ///
    /// Panics if `scale` is greater than 8 or `lowest + octaves` is greater than 64. In a constant,
    /// this is a compile-time error.
    #[inline(always)]
    pub const fn buckets_per_histogram(&self) -> usize {
        match Buckets::new(self.scale, self.lowest, self.octaves) {
            Some(_) if self.octaves == 0 => 0,
            Some(buckets) => buckets.len(),
            None => panic!("the scale must be at most 8, and lowest + octaves at most 64"),
        }
    }

    /// Returns the number of counters that a histogram takes in memory. This is
    /// [`buckets_per_histogram`](Self::buckets_per_histogram), rounded up to a multiple of 16 so
    /// that one instruction can process several counters.
    #[inline(always)]
    pub const fn padded_buckets(&self) -> usize {
        bucket_counts::padded(self.buckets_per_histogram())
    }

    /// Returns the number of rows (see [`StorageParts`](crate::StorageParts)): one for each event,
    /// one for each summary that is corrected for coordinated omission, and one for each summary of
    /// failed spans.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.first_failed_row() + self.failed
    }

    /// Returns the first row that is a summary of failed spans.
    #[inline(always)]
    pub(crate) const fn first_failed_row(&self) -> usize {
        self.events + self.corrected
    }

    /// Returns the number of slices in all rows together: [`rows`](Self::rows) times `slices`.
    #[inline(always)]
    pub const fn all_slices(&self) -> usize {
        self.rows() * self.slices
    }

    /// Returns the number of bucket counters in all slices of all rows together:
    /// [`rows`](Self::rows) times `slices` times [`padded_buckets`](Self::padded_buckets).
    #[inline(always)]
    pub const fn all_counts(&self) -> usize {
        self.all_slices() * self.padded_buckets()
    }

    /// Returns the number of bucket counters outside the slices: those of each row for the time
    /// since the start, and those of each event for the samples that are staged, that is, not yet
    /// added to the slices.
    #[inline(always)]
    pub const fn all_totals(&self) -> usize {
        (self.rows() + self.events) * self.padded_buckets()
    }

    /// Returns the number of buffered samples of all events together.
    #[inline(always)]
    pub const fn all_samples(&self) -> usize {
        self.events * self.samples
    }

    /// Returns the number of exemplar lists of an event, besides that of the staged samples: one
    /// for each slice, and one for the time since the start, in this order.
    #[inline(always)]
    pub(crate) const fn exemplar_lists(&self) -> usize {
        self.slices + 1
    }

    /// Returns the number of exemplars in all lists of an event. The list of the staged samples is
    /// the last one. In wide storage, it has room for every sample of a batch, because the samples
    /// of a mixed batch belong to the lists of different slices.
    #[inline(always)]
    pub(crate) const fn exemplars_per_event(&self) -> usize {
        let batch = max_batch(self.samples) as usize;
        let staged = if self.is_compact || self.slowest == 0 || self.slowest > batch {
            self.slowest
        } else {
            batch
        };
        self.exemplar_lists() * self.slowest + staged
    }

    /// Returns the number of exemplars in all lists of all events together.
    #[inline(always)]
    pub const fn all_slowest(&self) -> usize {
        self.events * self.exemplars_per_event()
    }

    /// Returns the number of *tallies*: one for each slice that the window of each limit on a
    /// quantile can have. A tally holds the number and weight of the samples in the slice, and
    /// the weight of those that exceed the limit.
    #[inline(always)]
    pub const fn all_tallies(&self) -> usize {
        self.limits * self.limit_slices
    }

    /// Returns how many bytes the arrays of a storage of this shape take. `C` is the type of the
    /// bucket counters in slices: `u16`, `u32` or `u64`.
    pub const fn bytes<C>(&self) -> usize {
        self.bytes_once()
            + self.events * self.bytes_per_event::<C>()
            + (self.corrected + self.failed) * self.bytes_per_further_summary::<C>()
    }

    /// Returns how many bytes of the arrays an aggregator uses whatever happens. They contain the
    /// states of all rows, the limits, the table of open spans, and the temporary memory of
    /// queries.
    pub const fn bytes_once(&self) -> usize {
        let stored = if self.is_compact {
            self.stored_once::<Compact>()
        } else {
            self.stored_once::<Wide>()
        };
        stored
            + self.ids * size_of::<u16>()
            + self.windows * size_of::<Window>()
            + self.in_flight * size_of::<OpenSpan>()
            + self.limits * size_of::<Rule>()
            + self.all_tallies() * size_of::<Tally>()
            + self.silences * size_of::<Silence>()
    }

    /// Returns how many bytes of the arrays an aggregator uses from the first sample of an event
    /// on: its slices, bucket counts, buffered samples and exemplars. `C` is as for
    /// [`bytes`](Self::bytes).
    pub const fn bytes_per_event<C>(&self) -> usize {
        let (moments, counter, sample) = self.stored_sizes();
        self.slices * (moments + self.padded_buckets() * size_of::<C>())
            // Those since the start, and those of the staged samples.
            + 2 * self.padded_buckets() * counter
            + self.samples * sample
            + self.exemplars_per_event() * size_of::<Exemplar>()
    }

    /// Returns how many more bytes of the arrays an aggregator uses for each further summary of an
    /// event: its slices and bucket counts. The summary that is corrected for coordinated omission
    /// uses them from the first sample of the event on, and that of failed spans from the first
    /// such span on. `C` is as for [`bytes`](Self::bytes).
    pub const fn bytes_per_further_summary<C>(&self) -> usize {
        let (moments, counter, _) = self.stored_sizes();
        self.slices * (moments + self.padded_buckets() * size_of::<C>())
            + self.padded_buckets() * counter
    }

    /// Returns how many bytes those arrays take that are used whatever happens, and whose elements
    /// depend on the representation.
    const fn stored_once<R: Repr>(&self) -> usize {
        self.rows() * size_of::<RowState<R>>()
            // `folded`, in which a query sums the counts of a window.
            + self.padded_buckets() * size_of::<R::Counter>()
            + self.samples * size_of::<<R::Sample as StoredSample>::Scratch>()
    }

    /// Returns the sizes of the moments of a slice, a counter and a buffered sample.
    const fn stored_sizes(&self) -> (usize, usize, usize) {
        const fn of<R: Repr>() -> (usize, usize, usize) {
            (size_of::<R::Moments>(), size_of::<R::Counter>(), size_of::<R::Sample>())
        }
        if self.is_compact { of::<Compact>() } else { of::<Wide>() }
    }
}
