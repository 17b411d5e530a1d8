//! Quantiles and buckets of a report that was read are never wrong.

use tailwatch::{Accuracy, Quantile, Report, Statistics};

/// Asserts that each quantile of statistics that were read is within its stated error, where the
/// true one is known.
#[track_caller]
fn assert_quantiles(read: &Statistics, written: &Statistics, has_histogram: bool) {
    for ppm in (0..=1_000_000).step_by(49_999).chain([999_000, 999_900, 1_000_000]) {
        let quantile = Quantile::from_ppm(ppm).unwrap();
        let (truth, Accuracy::Exact) = written.quantile(quantile) else { continue };
        let (value, accuracy) = read.quantile(quantile);
        let stated = accuracy.max_relative_error_ppm();
        let error = u128::from(value.abs_diff(truth)) * 1_000_000;
        assert!(
            stated == u32::MAX || error <= u128::from(stated) * u128::from(truth),
            "{quantile}: {value}, {accuracy:?}, true is {truth}"
        );
        // Below a microsecond, the rounding to nanoseconds matters. The range ends at 18.2 hours.
        let is_close = stated < 12_000 || !(1_000..65_000_000_000_000).contains(&truth);
        assert!(!has_histogram || is_close, "{quantile}: {stated} ppm");
    }
}

/// Asserts that no quantile is wrong, and that the buckets have the weight of the samples.
#[track_caller]
pub(crate) fn assert_honest(read: &Report, written: &Report) {
    for (read, written) in read.events.iter().zip(&written.events) {
        for (read, written) in read.windows.iter().zip(&written.windows) {
            if let (Some(read), Some(written)) = (&read.statistics, &written.statistics) {
                assert_quantiles(read, written, false);
                assert_eq!(read.buckets().count(), 0);
            }
        }
        let failed = (read.failed.as_deref(), written.failed.as_deref());
        for totals in [(read.total.as_ref(), written.total.as_ref()), failed] {
            let (Some(of_read), Some(of_written)) = totals else { continue };
            let has_histogram = of_read.buckets().count() > 0;
            assert_quantiles(of_read, of_written, has_histogram);
            let sum: u64 = of_read.buckets().map(|bucket| bucket.count).sum();
            assert!(!has_histogram || sum == of_written.summary.estimated_total);
        }
    }
}
