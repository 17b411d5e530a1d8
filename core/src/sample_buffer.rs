//! The samples that are kept to tell exact quantiles, and how it is known which of them a window has.
//!
//! Where registers have 64 bits, a sample has its tick beside it. Elsewhere it has 8 bytes in all: 44 bits of the value, and for each
//! window the number of the slice that it belongs to, in as many bits as that needs. When a slice is emptied, its samples leave the window,
//! so that no number is ever that of a later slice.

#[cfg(target_pointer_width = "64")]
pub use self::roomy::Scratch;
#[cfg(target_pointer_width = "64")]
pub(crate) use self::roomy::{
    Evicted, NO_SCRATCH, Since, Slices, When, forget_ticks, leave, limits, number_slices, quantiles,
};
#[cfg(not(target_pointer_width = "64"))]
pub use self::scarce::Scratch;
#[cfg(not(target_pointer_width = "64"))]
pub(crate) use self::scarce::{
    Evicted, NO_SCRATCH, Since, Slices, When, forget_ticks, leave, limits, number_slices, quantiles,
};
use crate::select::WeightedSample;

/// A duration or number that is kept to tell exact quantiles, and when it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sample(Inner);

#[cfg(target_pointer_width = "64")]
type Inner = roomy::StoredSample;
#[cfg(not(target_pointer_width = "64"))]
type Inner = scarce::StoredSample;

impl Sample {
    pub(crate) const NONE: Self = Self(Inner::NONE);

    #[inline(always)]
    pub(crate) fn new(weighted: WeightedSample, when: When) -> Self {
        Self(Inner::new(weighted, when))
    }

    #[inline(always)]
    pub(crate) const fn weighted(self) -> WeightedSample {
        self.0.weighted()
    }

    #[inline(always)]
    pub(crate) const fn when(self) -> When {
        self.0.when()
    }

    /// The value, if that is of one word, and stands for itself alone.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline(always)]
    pub(crate) const fn word(self) -> Option<u32> {
        self.0.word()
    }
}

/// Samples, in no order, each with its weight.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Samples<'a> {
    listed: &'a [WeightedSample],
    /// Those of these numbers among the kept ones.
    #[cfg(not(target_pointer_width = "64"))]
    chosen: (&'a [Sample], &'a [Scratch]),
}

impl<'a> Samples<'a> {
    /// Those of the kept ones that were chosen.
    #[cfg(target_pointer_width = "64")]
    pub(crate) const fn chosen(_: &'a [Sample], scratch: &'a [Scratch]) -> Self {
        Self { listed: scratch }
    }

    /// Those of the kept ones that were chosen.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn chosen(kept: &'a [Sample], scratch: &'a [Scratch]) -> Self {
        Self { listed: &[], chosen: (kept, scratch) }
    }

    /// Each of them.
    #[cfg(target_pointer_width = "64")]
    pub fn iter(&self) -> impl Iterator<Item = WeightedSample> + Clone + use<'a> {
        self.listed.iter().copied()
    }

    /// Each of them.
    #[cfg(not(target_pointer_width = "64"))]
    pub fn iter(&self) -> impl Iterator<Item = WeightedSample> + Clone + use<'a> {
        let (kept, chosen) = self.chosen;
        let chosen = chosen.iter().map(|place| kept[usize::from(*place)].weighted());
        self.listed.iter().copied().chain(chosen)
    }
}

impl<'a> From<&'a [WeightedSample]> for Samples<'a> {
    fn from(listed: &'a [WeightedSample]) -> Self {
        Self {
            listed,
            #[cfg(not(target_pointer_width = "64"))]
            chosen: (&[], &[]),
        }
    }
}

#[cfg(target_pointer_width = "64")]
mod roomy {
    use super::Sample;
    use crate::{
        ConfigError, Quantile, Shape, WindowSpec,
        select::{self, WeightedSample},
        window::Window,
    };

    /// What room to select in consists of.
    pub type Scratch = WeightedSample;

    pub(crate) const NO_SCRATCH: Scratch = WeightedSample::ZERO;

    /// Whether windows and samples are not too many, which they never are.
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere they may be")]
    pub(crate) const fn limits(_: &Shape, _: &[WindowSpec]) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Gives a window its bits: it needs none.
    pub(crate) const fn number_slices(_: &mut Window, shift: u8) -> u8 {
        shift
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(super) struct StoredSample {
        weighted: WeightedSample,
        when: When,
    }

    impl StoredSample {
        pub(super) const NONE: Self = Self { weighted: WeightedSample::ZERO, when: When::NEVER };

        #[inline(always)]
        pub(super) const fn new(weighted: WeightedSample, when: When) -> Self {
            Self { weighted, when }
        }

        #[inline(always)]
        pub(super) const fn weighted(self) -> WeightedSample {
            self.weighted
        }

        #[inline(always)]
        pub(super) const fn when(self) -> When {
            self.when
        }
    }

    /// To which slices a tick belongs: here nobody asks.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Slices;

    impl Slices {
        pub(crate) const NONE: Self = Self;

        #[inline(always)]
        #[expect(clippy::unused_self, reason = "elsewhere it is changed")]
        pub(crate) const fn add(self, _: &Window, _: usize) {}
    }

    /// One more than the tick at which it was measured; 0 of what belongs to no window.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct When(u64);

    impl When {
        pub(crate) const NEVER: Self = Self(0);

        #[inline(always)]
        pub(crate) const fn new(tick: u64, _: Slices) -> Self {
            Self(tick.saturating_add(1))
        }
    }

    /// The latest of the samples that had to make room.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Evicted(u64);

    impl Evicted {
        pub(crate) const NONE: Self = Self(0);

        /// Of a place that was empty it is never.
        #[inline(always)]
        pub(crate) fn note(&mut self, when: When) {
            self.0 = self.0.max(when.0);
        }

        /// Whether a window may lack one of its samples, or the total, of which there were `all` and are kept so many.
        #[inline(always)]
        pub(crate) fn is_in(self, window: Option<Since>, (all, kept): (u64, usize)) -> bool {
            all > kept as u64 && window.is_none_or(|window| self.0 > window.0)
        }
    }

    /// The first tick of a window.
    #[derive(Clone, Copy)]
    pub(crate) struct Since(u64);

    impl Since {
        #[inline(always)]
        pub(crate) const fn of(window: &Window) -> Self {
            Self(window.start())
        }
    }

    /// A slice of a window is emptied: here, ticks tell.
    #[inline(always)]
    pub(crate) const fn leave(_: &mut [Sample], _: Since, _: usize) {}

    /// The clock begins again: the samples belong to no window any more.
    pub(crate) fn forget_ticks(samples: &mut [Sample]) {
        for Sample(kept) in samples {
            kept.when = When::NEVER;
        }
    }

    /// Puts those together that are meant, of which there are `count`; how many they are, their quantiles in `told`.
    #[inline(always)]
    pub(crate) fn quantiles<const K: usize>(
        samples: &[Sample],
        scratch: &mut [Scratch],
        window: Option<Since>,
        (count, is_weighted): (u64, bool),
        (quantiles, told): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let mut found = 0;
        for Sample(StoredSample { weighted, when }) in samples {
            // A total has them all, those of no window included.
            if window.is_none_or(|window| when.0 > window.0) {
                scratch[found] = *weighted;
                found += 1;
            }
        }
        debug_assert_eq!(found as u64, count, "the samples kept are those of the slices");
        let scratch = &mut scratch[..found];
        *told = if is_weighted {
            select::weighted_quantiles(scratch, *quantiles)?
        } else {
            select::quantiles(scratch, *quantiles)?.map(WeightedSample::value)
        };
        Some(found)
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod scarce {
    use super::Sample;
    use crate::{
        ConfigError, Quantile, Shape, WindowSpec,
        select::{self, WeightedSample},
        window::Window,
    };

    /// What room to select in consists of: numbers of samples.
    pub type Scratch = u16;

    pub(crate) const NO_SCRATCH: Scratch = 0;

    const MOST_SAMPLES: usize = 1 << u16::BITS;

    /// Whether windows and samples are not too many.
    pub(crate) fn limits(shape: &Shape, windows: &[WindowSpec]) -> Result<(), ConfigError> {
        if shape.samples > MOST_SAMPLES {
            return Err(ConfigError::TooMany {
                what: "samples of an event",
                given: shape.samples,
                most: MOST_SAMPLES,
            });
        }
        let bits = windows.iter().fold(0, |bits, window| bits + Window::bits(window.slices));
        if shape.samples > 0 && bits > u16::BITS {
            let (given, most) = (bits as usize, u16::BITS as usize);
            return Err(ConfigError::TooMany {
                what: "bits that number the slices of all windows, each window's from 1",
                given,
                most,
            });
        }
        Ok(())
    }

    /// Gives a window its bits, from this one on; the next one behind.
    pub(crate) const fn number_slices(window: &mut Window, shift: u8) -> u8 {
        window.number_slices(shift)
    }

    /// From the top: value, how it was sampled, to which slices it belongs.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(super) struct StoredSample {
        high: u32,
        low: u32,
    }

    const VALUE_SHIFT: u32 = u16::BITS + WeightedSample::SAMPLING_BITS;
    const _: () = assert!(WeightedSample::VALUE_BITS + VALUE_SHIFT == u64::BITS);

    #[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
    impl StoredSample {
        pub(super) const NONE: Self = Self { high: 0, low: 0 };

        #[inline(always)]
        pub(super) const fn new(weighted: WeightedSample, when: When) -> Self {
            let value = weighted.value();
            let marks = (weighted.sampling() as u32) << u16::BITS | when.0 as u32;
            Self { high: ((value >> u32::BITS) as u32) << VALUE_SHIFT | marks, low: value as u32 }
        }

        #[inline(always)]
        pub(super) const fn value(self) -> u64 {
            ((self.high >> VALUE_SHIFT) as u64) << u32::BITS | self.low as u64
        }

        #[inline(always)]
        pub(super) const fn weighted(self) -> WeightedSample {
            WeightedSample::of(self.value(), (self.high >> u16::BITS) as u8 & 0xF)
        }

        #[inline(always)]
        pub(super) const fn word(self) -> Option<u32> {
            if self.high >> u16::BITS == 0 { Some(self.low) } else { None }
        }

        #[inline(always)]
        pub(super) const fn when(self) -> When {
            When(self.high as u16)
        }
    }

    /// For each window, one more than the number of its slice that a tick belongs to, or 0.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Slices(u16);

    impl Slices {
        pub(crate) const NONE: Self = Self(0);

        /// It belongs to the slice at this place, too.
        pub(crate) const fn add(&mut self, window: &Window, place: usize) {
            self.0 |= Since::of(window).mark(place);
        }
    }

    /// To which slices a sample belongs.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct When(u16);

    impl When {
        pub(crate) const NEVER: Self = Self(0);

        #[inline(always)]
        pub(crate) const fn new(_: u64, slices: Slices) -> Self {
            Self(slices.0)
        }
    }

    /// Here it is seen by their number whether a window lacks a sample.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    pub(crate) struct Evicted;

    impl Evicted {
        pub(crate) const NONE: Self = Self;

        #[inline(always)]
        pub(crate) const fn note(self, _: When) {}

        #[inline(always)]
        pub(crate) const fn is_in(self, _: Option<Since>, _: (u64, usize)) -> bool {
            false
        }
    }

    /// Where the number of a window's slice stands.
    #[derive(Clone, Copy)]
    pub(crate) struct Since {
        first: usize,
        shift: u8,
        mask: u16,
    }

    impl Since {
        pub(crate) const fn of(window: &Window) -> Self {
            let (shift, mask) = window.mark();
            Self { first: window.places().start, shift, mask }
        }

        /// Whether the window has the sample.
        const fn has(self, when: When) -> bool {
            when.0 & self.mask != 0
        }

        /// What the samples of the slice at this place have there.
        #[expect(clippy::cast_possible_truncation, reason = "the bits are enough for it")]
        const fn mark(self, place: usize) -> u16 {
            ((place - self.first + 1) as u16) << self.shift
        }
    }

    /// The slice of a window at this place is emptied: its samples leave the window.
    #[inline(never)]
    pub(crate) fn leave(samples: &mut [Sample], window: Since, place: usize) {
        let mark = window.mark(place);
        for Sample(StoredSample { high, .. }) in samples {
            if *high as u16 & window.mask == mark {
                *high &= !u32::from(window.mask);
            }
        }
    }

    /// The clock begins again: here all slices are emptied then, which is enough.
    #[inline(always)]
    pub(crate) const fn forget_ticks(_: &mut [Sample]) {}

    /// Numbers the samples that are meant; how many they are, and what they weigh.
    #[expect(clippy::cast_possible_truncation, reason = "there are no more samples than numbers")]
    fn choose(samples: &[Sample], scratch: &mut [Scratch], window: Option<Since>) -> (usize, u32) {
        let (mut found, mut weight) = (0, 0);
        for (number, sample) in samples.iter().enumerate() {
            if window.is_none_or(|window| window.has(sample.when())) {
                scratch[found] = number as u16;
                found += 1;
                weight += 1 << sample.weighted().sampling();
            }
        }
        (found, weight)
    }

    /// Brings those that were chosen into the order of their values.
    // A frame of its own, where stacks are small.
    fn sort(samples: &[Sample], chosen: &mut [Scratch]) {
        select::sort_by_gaps(chosen, |number| {
            samples.get(usize::from(*number)).map_or(0, |sample| sample.0.value())
        });
    }

    /// Puts those together that are meant, if all of them are there, which are `count`; how many they are, their quantiles in `told`.
    pub(crate) fn quantiles<const K: usize>(
        samples: &[Sample],
        scratch: &mut [Scratch],
        window: Option<Since>,
        (count, _): (u64, bool),
        (quantiles, told): (&[Quantile; K], &mut [u64; K]),
    ) -> Option<usize> {
        let (found, weight) = choose(samples, scratch, window);
        if found as u64 != count {
            return None;
        }
        let chosen = &mut scratch[..found];
        sort(samples, chosen);
        // No rank is 0, and all weigh 2^31 at the most.
        let (mut value, mut reached) = (0, 0_u32);
        let mut rest = chosen.iter();
        for (told, quantile) in told.iter_mut().zip(quantiles) {
            let rank = quantile.rank(weight.into());
            while u64::from(reached) < rank {
                let Some(number) = rest.next() else { break };
                let sample = samples[usize::from(*number)];
                reached += 1 << sample.weighted().sampling();
                value = sample.0.value();
            }
            *told = value;
        }
        Some(found)
    }
}
