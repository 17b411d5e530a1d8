//! Exact quantiles of the samples in an array, by selection.
//!
//! Selection is the standard library's (introselect: quickselect that falls back to median of medians), linear in the worst
//! case. Several quantiles are found from the largest to the smallest, each in what the former left below it.

use crate::Quantile;

/// The quantiles of `samples`, by nearest rank; `None` if there are none. The samples are reordered.
///
/// `quantiles` ascend.
///
/// ```
/// use tailwatch_core::{Quantile, select};
///
/// let mut samples = [30, 10, 50, 20, 40];
/// let quantiles = [Quantile::P50, Quantile::P99];
/// assert_eq!(select::quantiles(&mut samples, quantiles), Some([30, 50]));
/// assert_eq!(select::quantiles(&mut [], quantiles), None);
/// ```
pub fn quantiles<const K: usize>(samples: &mut [u64], quantiles: [Quantile; K]) -> Option<[u64; K]> {
    debug_assert!(quantiles.is_sorted(), "quantiles ascend");
    let count = samples.len() as u64;
    if count == 0 {
        return None;
    }
    let mut found = [0; K];
    let mut rest = samples;
    for (value, quantile) in found.iter_mut().zip(quantiles).rev() {
        #[expect(clippy::cast_possible_truncation, reason = "a rank is at most the number of samples")]
        let index = (quantile.rank(count) - 1) as usize;
        // Out of range only if the quantiles do not ascend: then what is left has its largest at the end.
        let index = index.min(rest.len() - 1);
        *value = *rest.select_nth_unstable(index).1;
        rest = &mut rest[..=index];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn by_sorting(samples: &[u64], quantile: Quantile) -> u64 {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        // The smallest sample that at least a share q of all samples does not exceed.
        let enough = |x: &u64| {
            let covered = sorted.iter().filter(|y| *y <= x).count() as u128;
            covered * 1_000_000 >= u128::from(quantile.ppm()) * sorted.len() as u128
        };
        *sorted.iter().find(|x| enough(x)).unwrap()
    }

    proptest! {
        #[test]
        fn selection_agrees_with_sorting(
            samples in proptest::collection::vec(prop_oneof![any::<u64>(), 0..10_u64], 1..300),
            mut ppms in proptest::array::uniform4(prop_oneof![0..=1_000_000_u32, Just(0), Just(1_000_000)]),
        ) {
            ppms.sort_unstable();
            let wanted = ppms.map(|ppm| Quantile::from_ppm(ppm).unwrap());
            let found = quantiles(&mut samples.clone(), wanted).unwrap();
            prop_assert_eq!(found, wanted.map(|quantile| by_sorting(&samples, quantile)));
        }
    }

    #[test]
    fn every_small_number_of_samples_has_its_ranks() {
        for n in 1..600_u64 {
            let mut samples: Vec<u64> = (1..=n).rev().collect();
            let wanted = [Quantile::MIN, Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9, Quantile::MAX];
            assert_eq!(quantiles(&mut samples, wanted), Some(wanted.map(|quantile| quantile.rank(n))));
        }
    }
}
