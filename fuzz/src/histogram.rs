//! Histograms beside the sorted samples.

use arbitrary::Arbitrary;
use tailwatch_core::{Buckets, Count, Histogram, MAX_SCALE, Quantile};

#[derive(Debug, Arbitrary)]
struct Input {
    scale: u8,
    lowest: u8,
    octaves: u8,
    width: u8,
    /// Samples of one histogram and of another, each with its sampling.
    left: Vec<(u64, u8)>,
    right: Vec<(u64, u8)>,
    /// How often the scale is lowered, before and after they are merged.
    before: u8,
    after: u8,
    ppms: [u32; 4],
}

type Boxed<C> = Histogram<C, Box<[C]>>;

/// The value at the nearest rank, of samples that stand for 2^k of their like each.
fn nearest_rank(sorted: &[(u64, u8)], quantile: Quantile) -> u64 {
    let total: u128 = sorted.iter().map(|(_, k)| 1_u128 << k).sum();
    let rank = (total * u128::from(quantile.ppm())).div_ceil(1_000_000).max(1);
    let mut reached = 0;
    let at_rank = sorted.iter().find(|(_, k)| {
        reached += 1_u128 << k;
        reached >= rank
    });
    at_rank.expect("a rank of theirs").0
}

#[expect(clippy::cast_precision_loss, reason = "of a bound, one part in 2^53 is not missed")]
fn check<C: Count>(input: &Input) {
    let scale = input.scale % (MAX_SCALE + 1);
    let Some(buckets) = Buckets::new(scale, input.lowest % 65, input.octaves % 65) else { return };
    let of = |samples: &[(u64, u8)]| {
        let mut histogram: Boxed<C> =
            Histogram::new(buckets, vec![C::ZERO; buckets.places()].into()).expect("counters");
        let mut full = 0;
        for (value, sampling) in samples {
            full += histogram.record(*value, *sampling);
        }
        (histogram, full)
    };
    let (mut merged, mut full) = of(&input.left);
    let (mut other, more) = of(&input.right);
    full += more;
    for _ in 0..input.before % 9 {
        if let (Some(left), Some(right)) = (merged.downscale(), other.downscale()) {
            full += left + right;
        }
    }
    full += merged.merge(&other).expect("alike");
    for _ in 0..input.after % 9 {
        full += merged.downscale().unwrap_or(0);
    }

    let mut sorted = [input.left.as_slice(), &input.right].concat();
    sorted.sort_unstable();
    let weight: u64 = sorted.iter().map(|(_, k)| 1_u64 << k).sum();
    let counted: u64 = merged.iter().map(|bucket| bucket.count).sum();
    assert_eq!(counted + full, weight, "what was counted, and what found no room");
    assert_eq!(merged.moments().weight(), weight);
    let Some((min, max)) = sorted.first().zip(sorted.last()).map(|(min, max)| (min.0, max.0))
    else {
        assert_eq!(merged.quantile(Quantile::P50), None);
        return;
    };
    assert_eq!((merged.moments().min(), merged.moments().max()), (min, max));

    if full == 0 {
        for bucket in merged.iter() {
            let inside =
                |value: u64| value <= bucket.up_to && (value > bucket.above || bucket.up_to == 0);
            let of_bucket = sorted.iter().filter(|(value, _)| inside(*value));
            // The bucket of zero and the one below the range share their lower bound, which belongs to the former.
            let expected: u64 = of_bucket.map(|(_, k)| 1_u64 << k).sum();
            assert_eq!(bucket.count, expected, "{bucket:?}");
        }
    }
    for ppm in input.ppms {
        let quantile = Quantile::from_ppm(ppm % 1_000_001).expect("a share");
        let estimate = merged.quantile(quantile).expect("samples");
        let exact = nearest_rank(&sorted, quantile);
        assert!(
            estimate.least <= exact && exact <= estimate.most,
            "{quantile}: {exact} is not in {estimate:?}"
        );
        assert!(
            estimate.least <= estimate.value && estimate.value <= estimate.most,
            "{estimate:?}"
        );
        assert!(
            min <= estimate.least && estimate.most <= max,
            "{estimate:?} beyond {min} to {max}"
        );
        let buckets = merged.buckets();
        let is_in_range =
            buckets.bounds(1).1 < exact && exact <= buckets.bounds(buckets.places() - 2).1;
        if full == 0 && is_in_range {
            // In each of 2^scale buckets an octave: half a bucket, and one for rounding.
            let allowed =
                exact as f64 * (0.5_f64.powi(i32::from(buckets.scale()) + 1).exp2() - 1.0) + 1.0;
            let error = estimate.value.abs_diff(exact) as f64;
            assert!(error <= allowed, "{quantile}: {exact} told as {}", estimate.value);
        }
    }
}

/// Records, merges and asks as the bytes say.
///
/// # Panics
/// If a histogram does not tell what the samples do.
pub fn run(data: &[u8]) {
    let Some(mut input) = crate::input::<Input>(data) else { return };
    for (_, sampling) in input.left.iter_mut().chain(&mut input.right) {
        *sampling %= 16;
    }
    match input.width % 3 {
        0 => check::<u16>(&input),
        1 => check::<u32>(&input),
        _ => check::<u64>(&input),
    }
}
