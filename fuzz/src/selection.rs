//! Compares the selection of exact quantiles with a sort.

use arbitrary::Arbitrary;
use tailwatch_core::{
    Quantile,
    select::{self, WeightedSample},
};

#[derive(Debug, Arbitrary)]
struct Input {
    /// Whether values are at most 7, so that many samples are equal.
    is_narrow: bool,
    samples: Vec<(u64, u8)>,
    ppms: [u32; 5],
}

/// Selects quantiles of the samples that the bytes encode.
///
/// # Panics
/// If a quantile differs from that of the sorted samples.
pub fn run(data: &[u8]) {
    let Some(Input { is_narrow, mut samples, ppms }) = crate::input(data) else { return };
    let most = if is_narrow { 7 } else { (1 << WeightedSample::VALUE_BITS) - 1 };
    for (value, sampling) in &mut samples {
        (*value, *sampling) = (*value & most, *sampling % 6);
    }
    let mut wanted =
        ppms.map(|ppm| Quantile::from_ppm(ppm % 1_000_001).expect("at most 1,000,000 ppm"));
    wanted.sort_unstable();

    let by_rank = |sorted: &[u64]| {
        let n = sorted.len() as u64;
        wanted.map(|quantile| {
            let rank = (u64::from(quantile.ppm()) * n).div_ceil(1_000_000).max(1);
            sorted[usize::try_from(rank - 1).expect("the rank fits `usize`")]
        })
    };
    let values: Vec<u64> = samples.iter().map(|(value, _)| *value).collect();
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let found = select::quantiles(&mut values.clone(), wanted);
    assert_eq!(found, (!values.is_empty()).then(|| by_rank(&sorted)));

    // A sample of weight 2^k counts as 2^k samples.
    let mut repeated: Vec<u64> =
        samples.iter().flat_map(|(value, k)| std::iter::repeat_n(*value, 1 << k)).collect();
    repeated.sort_unstable();
    let mut weighted: Vec<WeightedSample> = samples
        .iter()
        .map(|(value, k)| {
            WeightedSample::new(*value, *k).expect("the value is at most `VALUE_BITS` wide")
        })
        .collect();
    let found = select::weighted_quantiles(&mut weighted, wanted);
    assert_eq!(found, (!values.is_empty()).then(|| by_rank(&repeated)));
}
