extern crate std;

use core::time::Duration;
use std::{vec, vec::Vec};

use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;
use crate::{
    clock::{TickRate, TimeUnit},
    statistics::{
        fixed_point::FixedPoint,
        sample_buffer::SliceSet,
        squares,
        window::{Window, WindowSpec},
    },
};

/// What the numbers of a representation can hold.
struct Limits {
    /// The number of bits of a value.
    value_bits: u32,
    /// The largest number in a count or a weight.
    weight: u64,
    /// The largest sum of values.
    sum: u128,
    /// The largest sum of squares that is exact.
    squares: u128,
}

impl Limits {
    fn of<R: Repr>() -> Self {
        let (weight, sum, squares) = if R::IS_COMPACT {
            ((1 << 32) - 1, (1 << 64) - 1, (1 << 96) - 1)
        } else {
            (u64::MAX, u128::MAX, (1 << 127) - 1)
        };
        Self { value_bits: if R::IS_COMPACT { 44 } else { 60 }, weight, sum, squares }
    }

    /// Returns a sample of which only those bits of `value` remain that fit.
    fn sample(&self, value: u64, sampling: u8) -> WeightedSample {
        WeightedSample::new(value >> (u64::BITS - self.value_bits), sampling).unwrap()
    }
}

/// Samples that are added to stored moments.
#[derive(Clone, Debug)]
enum Added {
    /// Samples, as values and binary logarithms of weights. They are added one by one or, if the
    /// flag is set, all at once.
    Samples(Vec<(u64, u8)>, bool),
    /// The moments of this many samples of one value and of weight 2^`sampling`.
    Equal { value: u64, count: u64, sampling: u8 },
}

fn added() -> impl Strategy<Value = Added> {
    let value = (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift);
    let sample = (value.clone(), prop_oneof![2 => Just(0_u8), 1 => 0..16_u8]);
    let count = prop_oneof![
        3 => 0..100_u64,
        1 => (0..34_u32, 0..3_u64).prop_map(|(shift, more)| (1 << shift) - 1 + more),
    ];
    prop_oneof![
        3 => (proptest::collection::vec(sample, 0..20), any::<bool>())
            .prop_map(|(samples, at_once)| Added::Samples(samples, at_once)),
        1 => (value, count, 0..16_u8)
            .prop_map(|(value, count, sampling)| Added::Equal { value, count, sampling }),
    ]
}

/// Adds samples to stored moments, and compares these with sums of integers that do not saturate.
fn check_moments<R: Repr>(added: Vec<Added>) -> Result<(), TestCaseError> {
    let limits = Limits::of::<R>();
    let mut stored = R::Moments::EMPTY;
    // The values and weights of the samples, and how many times each was added.
    let mut all: Vec<(u64, u64, u64)> = vec![];
    for added in added {
        let before = stored.weight();
        let (more, excess) = match added {
            Added::Samples(samples, at_once) => {
                if before > 1 << 31 {
                    // The caller of `add` ensures that the weight is not greater.
                    continue;
                }
                let samples: Vec<_> =
                    samples.iter().map(|(value, k)| limits.sample(*value, *k)).collect();
                let elements: Vec<_> = samples
                    .iter()
                    .map(|sample| R::Sample::new(*sample, Membership::NONE))
                    .collect();
                if at_once {
                    stored.add_all(&elements);
                } else {
                    for sample in elements {
                        stored.add(sample);
                    }
                }
                all.extend(samples.iter().map(|sample| (sample.value(), sample.weight(), 1)));
                (samples.iter().map(|sample| sample.weight()).sum(), 0)
            }
            Added::Equal { value, count, sampling } => {
                let sample = limits.sample(value, sampling);
                let mut moments = Moments::<R::Sum>::EMPTY;
                if count > 0 {
                    // The value minus 0 times something.
                    moments.add_series(sample.value(), sample.value(), count, sampling);
                    all.push((sample.value(), sample.weight(), count));
                }
                (sample.weight() * count, stored.merge(&moments))
            }
        };
        let whole = |term: &dyn Fn(&(u64, u64, u64)) -> u128| -> BigUint {
            all.iter().map(|entry| BigUint::from(term(entry)) * entry.2).sum()
        };
        let at_most = |number: BigUint, max: u128| u128::try_from(number).unwrap_or(max).min(max);
        let count = at_most(whole(&|_| 1), limits.weight.into()) as u64;
        let weight = at_most(whole(&|(_, weight, _)| (*weight).into()), limits.weight.into());
        let weight = weight as u64;
        prop_assert_eq!((stored.count(), stored.weight()), (count, weight));
        prop_assert_eq!(excess, more - (weight - before), "the weight that did not fit");
        // A saturated number may stand for any greater one, so it becomes the largest of its type.
        let moments = stored.moments();
        let is_full = weight == limits.weight;
        prop_assert_eq!(moments.count(), count);
        prop_assert_eq!(moments.weight(), if is_full { u64::MAX } else { weight });
        let sum = at_most(
            whole(&|(value, weight, _)| u128::from(*value) * u128::from(*weight)),
            limits.sum,
        );
        let sum = if is_full { limits.sum } else { sum };
        prop_assert_eq!(moments.sum(), R::Sum::from_wide(sum));
        let squares: BigUint = all
            .iter()
            .map(|(value, weight, count)| BigUint::from(*value).pow(2) * *weight * *count)
            .sum();
        if !R::IS_COMPACT && squares > limits.squares.into() {
            // Each addition rounds to a multiple of 2^48, and so does the sum of a series before it
            // is multiplied by its weight.
            let units = u128::try_from(squares >> 48).unwrap();
            let difference = units.abs_diff(squares::units(moments.squares()));
            prop_assert!(difference <= (all.len() as u128) << 17, "{}", difference);
        } else {
            let squares = at_most(squares, limits.squares);
            let is_full = is_full || squares == limits.squares;
            prop_assert_eq!(moments.squares(), if is_full { u128::MAX } else { squares });
        }
        let values = || all.iter().map(|(value, ..)| *value);
        let extremes = (values().min().unwrap_or(0), values().max().unwrap_or(0));
        prop_assert_eq!((moments.min(), moments.max()), extremes);
    }
    Ok(())
}

/// Returns the values at quantiles by their definition: a sample of weight w counts w times.
fn nearest_rank<const K: usize>(samples: &[WeightedSample], quantiles: &[Quantile; K]) -> [u64; K] {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let weight: u64 = sorted.iter().map(|sample| sample.weight()).sum();
    quantiles.map(|quantile| {
        let rank = (u128::from(quantile.ppm()) * u128::from(weight)).div_ceil(1_000_000).max(1);
        let mut reached = 0_u128;
        let reaches_rank = |sample: &&WeightedSample| {
            reached += u128::from(sample.weight());
            reached >= rank
        };
        sorted.iter().find(reaches_rank).unwrap().value()
    })
}

/// The number of elements in the sample buffer.
const BUFFERED: usize = 12;

/// The time since the previous pass, and the samples of the pass: their ages, values and binary
/// logarithms of weights.
type Pass = (u64, Vec<(u64, u64, u8)>);

/// Fills a sample buffer while two windows advance, and selects the samples of each window and all
/// samples.
fn check_selection<R: Repr>(
    passes: Vec<Pass>,
    quantiles: [Quantile; 3],
) -> Result<(), TestCaseError> {
    let limits = Limits::of::<R>();
    // The slices last 10 ns and 100 ns.
    let specs = [(40, 4), (300, 3)].map(|(nanos, slices)| (Duration::from_nanos(nanos), slices));
    let (mut first_slice, mut shift, mut now) = (0, 0, 1_000_u64);
    let mut windows = specs.map(|(length, slices)| {
        let spec = WindowSpec::new(length, slices);
        let mut window = Window::new(&spec, TickRate::NANOSECONDS, now, first_slice).unwrap();
        first_slice += usize::from(slices);
        shift = window.assign_number_bits(shift);
        window
    });
    let mut buffer = vec![R::Sample::EMPTY; BUFFERED];
    let mut all: Vec<(u64, WeightedSample)> = vec![];
    for (step, samples) in passes {
        now += step;
        for window in &mut windows {
            let expired = window.advance(now, false);
            for slice in window.newest_slices(expired) {
                R::Sample::remove_slice(&mut buffer, WindowFilter::of(window), slice);
            }
        }
        for (age, value, sampling) in samples {
            let (tick, sample) = (now.saturating_sub(age), limits.sample(value, sampling));
            let mut slices = SliceSet::NONE;
            for window in &windows {
                if let Some(slice) = window.slice_index(tick) {
                    slices.add(window, slice);
                }
            }
            let element = R::Sample::new(sample, Membership::new(tick, slices));
            prop_assert_eq!(element.weighted(), sample);
            buffer[all.len() % BUFFERED] = element;
            all.push((tick, sample));
        }
        let buffered = &buffer[..all.len().min(BUFFERED)];
        for window in windows.iter().map(Some).chain([None]) {
            let is_member = |tick| window.is_none_or(|window| tick >= window.start());
            let members: Vec<_> = all
                .iter()
                .filter(|(tick, _)| is_member(*tick))
                .map(|(_, sample)| *sample)
                .collect();
            if members.is_empty() {
                continue;
            }
            let mut scratch = vec![R::Sample::EMPTY_SCRATCH; BUFFERED];
            let is_weighted = members.iter().any(|sample| sample.weight() > 1);
            let mut found = [0; 3];
            let selected = R::Sample::quantiles(
                buffered,
                &mut scratch,
                window.map(WindowFilter::of),
                (members.len() as u64, is_weighted),
                (&quantiles, &mut found),
            );
            let replaced = &all[..all.len() - buffered.len()];
            if replaced.iter().any(|(tick, _)| is_member(*tick)) {
                prop_assert_eq!(selected, None);
                continue;
            }
            prop_assert_eq!(selected, Some(members.len()));
            prop_assert_eq!(found, nearest_rank(&members, &quantiles));
            let mut selected: Vec<_> =
                R::Sample::selected(buffered, &scratch[..members.len()]).iter().collect();
            selected.sort_unstable();
            let mut members = members;
            members.sort_unstable();
            prop_assert_eq!(selected, members);
        }
    }
    Ok(())
}

/// Converts a fixed-point number of units to nanoseconds, and compares it with the exact result.
fn check_conversion<S: Sum + Into<u128>>(number: u64, max: S) -> Result<(), TestCaseError> {
    let number = S::from_wide(number.into());
    for (unit, bits) in [(TimeUnit::Fine, 40), (TimeUnit::Coarse, 30)] {
        let exact = (BigUint::from(number.into()) * 1_000_000_000_u64) >> bits;
        let nanos = u64::try_from(exact).unwrap_or(u64::MAX);
        prop_assert_eq!(number.fixed_nanos(unit), FixedPoint::from_bits(nanos));
        prop_assert_eq!(max.fixed_nanos(unit), None);
    }
    let bits = number.fixed_number().map_or(u64::MAX, FixedPoint::to_bits);
    prop_assert_eq!(u128::from(bits), number.into());
    prop_assert_eq!(max.fixed_number(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn stored_moments_saturate_where_the_sums_exceed_their_limits(
        is_compact in any::<bool>(),
        added in proptest::collection::vec(added(), 1..12),
    ) {
        if is_compact { check_moments::<Compact>(added)? } else { check_moments::<Wide>(added)? }
    }

    #[test]
    fn quantiles_of_a_window_are_those_of_its_buffered_samples(
        is_compact in any::<bool>(),
        passes in proptest::collection::vec(
            (
                prop_oneof![3 => 0..12_u64, 1 => 0..500_u64],
                proptest::collection::vec(
                    (
                        prop_oneof![2 => 0..5_u64, 1 => 0..400_u64],
                        prop_oneof![any::<u64>(), (0..4_u64).prop_map(|n| n << 62)],
                        prop_oneof![3 => Just(0_u8), 1 => 0..16_u8],
                    ),
                    0..6,
                ),
            ),
            1..12,
        ),
        mut ppms in proptest::array::uniform3(0..=1_000_000_u32),
    ) {
        ppms.sort_unstable();
        let quantiles = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
        if is_compact {
            check_selection::<Compact>(passes, quantiles)?;
        } else {
            check_selection::<Wide>(passes, quantiles)?;
        }
    }

    #[test]
    fn a_mean_is_converted_like_a_duration_and_stays_unknown_if_it_is(
        number in (0..u64::MAX, 0..64_u32).prop_map(|(number, shift)| number >> shift),
    ) {
        check_conversion::<u128>(number, u128::MAX)?;
        check_conversion::<u64>(number, u64::MAX)?;
    }
}

/// When the clock steps back, no sample may stay in a window: in wide storage, because of its tick;
/// in compact storage, all slices have then expired.
#[test]
fn samples_from_before_a_step_back_of_the_clock_are_in_no_window() {
    fn check<R: Repr>() {
        let spec = WindowSpec::new(Duration::from_nanos(30), 3);
        let mut window = Window::new(&spec, TickRate::NANOSECONDS, 1_000, 0).unwrap();
        window.assign_number_bits(0);
        let sample = WeightedSample::new(5, 0).unwrap();
        let mut buffer: Vec<_> = [1_000, 995, 985]
            .into_iter()
            .map(|tick| {
                let mut slices = SliceSet::NONE;
                slices.add(&window, window.slice_index(tick).unwrap());
                R::Sample::new(sample, Membership::new(tick, slices))
            })
            .collect();
        let count = |buffer: &[R::Sample], window: &Window, expected| {
            let mut scratch = [R::Sample::EMPTY_SCRATCH; 3];
            let quantiles = (&[Quantile::P50], &mut [0]);
            let filter = Some(WindowFilter::of(window));
            R::Sample::quantiles(buffer, &mut scratch, filter, (expected, false), quantiles)
        };
        assert_eq!(count(&buffer, &window, 3), Some(3));
        R::Sample::clear_membership(&mut buffer);
        let expired = window.advance(500, true);
        for slice in window.newest_slices(expired) {
            R::Sample::remove_slice(&mut buffer, WindowFilter::of(&window), slice);
        }
        let none = R::Sample::new(sample, Membership::NONE);
        assert!(buffer.iter().all(|element| *element == none), "{buffer:?}");
        assert_eq!(count(&buffer, &window, 3), None);
    }
    check::<Wide>();
    check::<Compact>();
}

/// The sizes in the table of the module's docs.
#[test]
fn the_types_have_the_documented_sizes() {
    assert_eq!(size_of::<WideSample>(), 16);
    assert_eq!(size_of::<CompactSample>(), 8);
    assert_eq!(size_of::<<Wide as Repr>::Moments>(), 64);
    assert_eq!(size_of::<CompactMoments>(), 40);
    assert_eq!(
        (size_of::<<Wide as Repr>::Counter>(), size_of::<<Compact as Repr>::Counter>()),
        (8, 4)
    );
}
