//! The numbers of a report are right: exact, or within the stated error.

use core::time::Duration;

use tailwatch::{
    Accuracy, Builder, Collector, Event, MAX_PAYLOAD, Summary, Trading, record_duration,
    record_value,
};

use crate::{
    MINUTE,
    support::{Log, in_own_process, in_turn, print_notice},
};

/// Returns the quantile by nearest rank: the smallest sample for which at least the share q of all
/// samples is not larger.
fn nearest_rank(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted[rank - 1]
}

const PER_MILLE: [usize; 4] = [500, 950, 990, 999];

fn quantiles(summary: &Summary) -> [u64; 4] {
    [summary.p50, summary.p95, summary.p99, summary.p99_9]
}

/// Returns reproducible pseudo-random durations (xorshift) between 1 ns and about 8 ms.
fn durations(count: usize) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Spread over many powers of two, like latencies.
    (0..count).map(|_| 1 + ((next() % 1_000) << (next() % 14))).collect()
}

#[track_caller]
fn assert_moments(summary: &Summary, sorted: &[u64]) {
    assert_eq!(summary.count, sorted.len() as u64);
    assert_eq!(summary.estimated_total, summary.count);
    assert_eq!((summary.min, summary.max), (sorted[0], sorted[sorted.len() - 1]));
    #[expect(clippy::cast_precision_loss, reason = "compared to a nanosecond")]
    let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
    assert!(
        (summary.mean.unwrap().to_f64() - mean).abs() <= 1.0,
        "{:?} instead of {mean}",
        summary.mean
    );
    #[expect(clippy::cast_precision_loss, reason = "compared to a nanosecond")]
    let square = |x: &u64| (*x as f64 - mean).powi(2);
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let deviations = [sorted.len(), (sorted.len() - 1).max(1)]
        .map(|of| (sorted.iter().map(square).sum::<f64>() / of as f64).sqrt());
    // Either the population's or the sample's standard deviation is accepted.
    let reported = summary.stddev.unwrap().to_f64();
    assert!(
        deviations.iter().any(|stddev| (reported - stddev).abs() <= 1.0),
        "{reported}, not one of {deviations:?}"
    );
    assert!(summary.complete);
}

/// Records these durations with a collector of its own, checks the report, and returns the
/// summaries of the window of one minute and of the total.
///
/// The report is compared with the durations that the observer received.
fn report_of(durations: &[u64], set_up: impl FnOnce(Builder) -> Builder) -> (Summary, Summary) {
    let log = Log::default();
    let collector = set_up(Collector::builder()).observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    for duration in durations {
        record_duration(Trading::GcPause, Duration::from_nanos(*duration));
    }
    collector.stop();
    let observed: Vec<_> =
        log.all().iter().map(|seen| seen.duration_ns_or_value.unwrap()).collect();
    // If a tick is shorter than a nanosecond, every duration can be represented to the nanosecond.
    let hz = collector.report().clock.unwrap().hz;
    if hz >= 1_100_000_000 || hz == 1_000_000_000 {
        assert_eq!(observed, durations, "durations are exact to the nanosecond");
    } else {
        print_notice(
            "this machine's tick is longer than a nanosecond, so durations are rounded to ticks",
        );
        let tick = 1_000_000_000 / hz + 1;
        assert!(observed.iter().zip(durations).all(|(observed, d)| observed.abs_diff(*d) <= tick));
    }
    let window = collector.stats(Trading::GcPause, MINUTE).unwrap().unwrap();
    let total = collector.total(Trading::GcPause).unwrap().unwrap();
    let mut sorted = observed;
    sorted.sort_unstable();
    assert_moments(&window, &sorted);
    assert_moments(&total, &sorted);
    let ranks = PER_MILLE.map(|per_mille| nearest_rank(&sorted, per_mille));
    for summary in [window, total] {
        match summary.accuracy {
            Accuracy::Exact => assert_eq!(quantiles(&summary), ranks),
            Accuracy::WithinPpm(ppm) => {
                for (quantile, rank) in quantiles(&summary).into_iter().zip(ranks) {
                    let error = u128::from(quantile.abs_diff(rank)) * 1_000_000;
                    assert!(
                        error <= u128::from(ppm) * u128::from(rank),
                        "{quantile} is not within {ppm} ppm of {rank}"
                    );
                }
            }
        }
    }
    (window, total)
}

#[test]
fn quantiles_are_at_the_nearest_rank_while_all_samples_are_kept() {
    let _turn = in_turn();
    for count in [1, 2, 3, 19, 20, 21, 100, 101, 512] {
        let (window, total) = report_of(&durations(count), |builder| builder);
        assert_eq!(window.accuracy, Accuracy::Exact, "{count} samples are kept");
        assert_eq!(total.accuracy, Accuracy::Exact, "{count} samples are kept");
    }
    // p99.9 of 1,000 samples is the 999th smallest.
    let thousand: Vec<_> = (1..=1_000).map(|n| n * 1_000).collect();
    let (window, _) = report_of(&thousand, |builder| builder.exact_samples(1_000));
    assert_eq!(window.accuracy, Accuracy::Exact);
    assert_eq!(quantiles(&window), [500_000, 950_000, 990_000, 999_000]);
}

#[test]
fn quantiles_of_durations_by_the_clock_of_the_operating_system_are_exact() {
    let name = "accuracy::quantiles_of_durations_by_the_clock_of_the_operating_system_are_exact";
    in_own_process(name, || {
        for count in [1, 21, 512] {
            let (window, _) = report_of(&durations(count), Builder::monotonic_clock);
            assert_eq!(window.accuracy, Accuracy::Exact, "{count} samples are kept");
        }
    });
}

#[test]
fn quantiles_of_more_samples_than_are_kept_are_within_the_stated_error() {
    let _turn = in_turn();
    for count in [513, 2_000, 7_000] {
        let (window, _) = report_of(&durations(count), |builder| builder);
        assert!(
            matches!(window.accuracy, Accuracy::WithinPpm(1..)),
            "{count}: {:?}",
            window.accuracy
        );
        // The error of the histogram is 1.09 %. The rest is for rounding to whole nanoseconds.
        assert!(window.accuracy.max_relative_error_ppm() <= 12_000, "{:?}", window.accuracy);
    }
}

#[test]
fn plain_numbers_are_reported_unchanged() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut values: Vec<u64> = (0..200).map(|n| n * n % 313).collect();
    values.push(MAX_PAYLOAD - 1);
    for value in &values {
        record_value(Trading::QueueBacklog, *value);
    }
    collector.stop();
    let observed: Vec<_> = log.all().iter().filter_map(|seen| seen.duration_ns_or_value).collect();
    assert_eq!(observed, values);
    let summary = collector.stats(Trading::QueueBacklog, MINUTE).unwrap().unwrap();
    values.sort_unstable();
    assert_eq!((summary.count, summary.min, summary.max), (201, 0, MAX_PAYLOAD - 1));
    assert_eq!(summary.accuracy, Accuracy::Exact);
    assert_eq!(quantiles(&summary), PER_MILLE.map(|per_mille| nearest_rank(&values, per_mille)));
    let outcomes = collector.report().event(Trading::QueueBacklog.id()).unwrap().outcomes;
    assert_eq!(
        (outcomes.ok, outcomes.error, outcomes.cancelled),
        (0, 0, 0),
        "a value is not a span and has no outcome"
    );
}

#[test]
fn values_that_are_too_large_are_counted_but_are_no_samples() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    for huge in [MAX_PAYLOAD, MAX_PAYLOAD + 1, u64::MAX] {
        record_value(Trading::QueueBacklog, huge);
    }
    record_duration(Trading::GcPause, Duration::MAX);
    collector.stop();
    assert_eq!(collector.health().saturated, 4);
    assert_eq!(collector.health().delivered, 4);
    assert_eq!(collector.total(Trading::QueueBacklog), Ok(None));
    assert_eq!(collector.total(Trading::GcPause), Ok(None));
}
