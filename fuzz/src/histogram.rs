//! Compares histograms with their samples, sorted.

use arbitrary::Arbitrary;
use tailwatch_core::{Buckets, Count, Histogram, MAX_SCALE, Quantile};

#[derive(Debug, Arbitrary)]
struct Input {
    scale: u8,
    lowest: u8,
    octaves: u8,
    width: u8,
    /// Samples of one histogram: the value and k, for a weight of 2^k.
    left: Vec<(u64, u8)>,
    /// Samples of the histogram that is merged into the first.
    right: Vec<(u64, u8)>,
    /// How often the scales are lowered before the merge.
    before: u8,
    /// How often the scale is lowered after the merge.
    after: u8,
    ppms: [u32; 4],
}

type Boxed<C> = Histogram<C, Box<[C]>>;

/// Returns the value at the nearest rank of samples with weights of 2^k.
fn nearest_rank(sorted: &[(u64, u8)], quantile: Quantile) -> u64 {
    let total: u128 = sorted.iter().map(|(_, k)| 1_u128 << k).sum();
    let rank = (total * u128::from(quantile.ppm())).div_ceil(1_000_000).max(1);
    let mut reached = 0;
    let at_rank = sorted.iter().find(|(_, k)| {
        reached += 1_u128 << k;
        reached >= rank
    });
    at_rank.expect("the rank is at most the total weight").0
}

#[expect(clippy::cast_precision_loss, reason = "the bound allows for the rounding")]
fn compare<C: Count>(input: &Input) {
    let scale = input.scale % (MAX_SCALE + 1);
    let Some(buckets) = Buckets::new(scale, input.lowest % 65, input.octaves % 65) else { return };
    let histogram_of = |samples: &[(u64, u8)]| {
        let mut histogram: Boxed<C> = Histogram::new(buckets, vec![C::ZERO; buckets.len()].into())
            .expect("as many counters as buckets");
        let mut not_counted = 0;
        for (value, sampling) in samples {
            not_counted += histogram.record(*value, *sampling);
        }
        (histogram, not_counted)
    };
    let (mut merged, mut not_counted) = histogram_of(&input.left);
    let (mut other, more) = histogram_of(&input.right);
    not_counted += more;
    for _ in 0..input.before % 9 {
        if let (Some(left), Some(right)) = (merged.downscale(), other.downscale()) {
            not_counted += left + right;
        }
    }
    not_counted += merged.merge(&other).expect("histograms of the same shape");
    for _ in 0..input.after % 9 {
        not_counted += merged.downscale().unwrap_or(0);
    }

    let mut sorted = [input.left.as_slice(), &input.right].concat();
    sorted.sort_unstable();
    let weight: u64 = sorted.iter().map(|(_, k)| 1_u64 << k).sum();
    let counted: u64 = merged.iter().map(|bucket| bucket.count).sum();
    assert_eq!(
        counted + not_counted,
        weight,
        "the weight must be counted, or returned as not counted"
    );
    assert_eq!(merged.moments().weight(), weight);
    let Some((min, max)) = sorted.first().zip(sorted.last()).map(|(min, max)| (min.0, max.0))
    else {
        assert_eq!(merged.quantile(Quantile::P50), None);
        return;
    };
    assert_eq!((merged.moments().min(), merged.moments().max()), (min, max));

    if not_counted == 0 {
        for bucket in merged.iter() {
            let inside =
                |value: u64| value <= bucket.up_to && (value > bucket.above || bucket.up_to == 0);
            let of_bucket = sorted.iter().filter(|(value, _)| inside(*value));
            // The bucket of zero and the bucket below the range both have the lower bound 0; the
            // value 0 belongs to the former.
            let expected: u64 = of_bucket.map(|(_, k)| 1_u64 << k).sum();
            assert_eq!(bucket.count, expected, "{bucket:?}");
        }
    }
    for ppm in input.ppms {
        let quantile = Quantile::from_ppm(ppm % 1_000_001).expect("at most 1,000,000 ppm");
        let estimate = merged.quantile(quantile).expect("there are samples");
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
            buckets.bounds(1).1 < exact && exact <= buckets.bounds(buckets.len() - 2).1;
        if not_counted == 0 && is_in_range {
            // Half the width of a bucket, of which an octave has 2^scale; plus 2, because the
            // bounds of the bucket and the estimate are rounded down to integers; plus the rounding
            // of `exact`, `exp2` and the product: `f64` has 53 bits, a value up to 64.
            let share = 0.5_f64.powi(i32::from(buckets.scale()) + 1).exp2() - 1.0;
            let allowed = exact as f64 * (share + 4.0 * f64::EPSILON) + 2.0;
            let error = estimate.value.abs_diff(exact) as f64;
            assert!(error <= allowed, "{quantile}: the estimate of {exact} is {}", estimate.value);
        }
    }
}

/// Records, lowers the scale, merges, and queries quantiles as the bytes encode.
///
/// # Panics
/// If the merged histogram contradicts the samples.
pub fn run(data: &[u8]) {
    let Some(mut input) = crate::input::<Input>(data) else { return };
    for (_, sampling) in input.left.iter_mut().chain(&mut input.right) {
        *sampling %= 16;
    }
    match input.width % 3 {
        0 => compare::<u16>(&input),
        1 => compare::<u32>(&input),
        _ => compare::<u64>(&input),
    }
}
