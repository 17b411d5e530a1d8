//! Sampling: off by default, set per event, and weighted exactly.

mod support;

use core::time::Duration;

use support::{Tally, in_turn, spin, until, without_hanging};
use tailwatch::{
    Accuracy, Collector, Event, EventId, Health, Sampling, SamplingError, Trading, measure,
    record_duration, record_value,
};

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn everything_is_recorded_by_default() {
    let _turn = in_turn();
    let collector = Collector::builder().ring_capacity(65_536).start().unwrap();
    collector.register_thread("main").unwrap();
    (0..10_000).for_each(|n| record_value(Trading::QueueBacklog, n));
    collector.stop();
    let total = collector.total(Trading::QueueBacklog).unwrap().unwrap();
    assert_eq!((total.count, total.estimated_total, total.complete), (10_000, 10_000, true));
    assert!(collector.health().sampling.is_empty());
}

#[test]
fn a_sampled_event_is_weighted_and_leaves_other_events_alone() {
    let _turn = in_turn();
    let tally = Tally::default();
    let collector = Collector::builder()
        .ring_capacity(131_072)
        .sampling(Trading::EventBusPublish, Sampling::Rate(0.1))
        .observer(tally.observer())
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    for _ in 0..32_000 {
        drop(measure(Trading::EventBusPublish));
    }
    for n in 0..1_000 {
        record_value(Trading::QueueBacklog, n);
    }
    collector.stop();
    let sampled = collector.total(Trading::EventBusPublish).unwrap().unwrap();
    let other = collector.total(Trading::QueueBacklog).unwrap().unwrap();
    // 1 in 8 is nearest to a tenth. The count is within 7 standard deviations of the mean of a
    // binomial distribution.
    assert_eq!(sampled.estimated_total, 8 * sampled.count);
    assert!(sampled.count.abs_diff(4_000) < 420, "{}", sampled.count);
    assert!(!sampled.complete && other.complete);
    assert_eq!((other.count, other.estimated_total), (1_000, 1_000));
    assert_eq!(
        tally.count(),
        2 * sampled.count + other.count,
        "START and END of a span are recorded together or not at all"
    );
    let health = collector.health();
    assert_eq!(
        health.sampling.into_iter().collect::<Vec<_>>(),
        [("event_bus_publish".to_owned(), 0.125)]
    );
    assert_eq!(health.unregistered + health.orphans + health.abandoned, 0);
    assert!(collector.report().to_string().contains("sampled: event_bus_publish 1 in 8"));
}

/// The threads follow each other, so their recorders usually have the same address.
#[test]
fn short_threads_do_not_all_sample_alike() {
    const THREADS: u64 = 100_000;
    let _turn = in_turn();
    let collector = Collector::builder()
        .sampling(Trading::EventBusPublish, Sampling::Rate(0.125))
        .rings(64)
        .ring_capacity(8)
        .manual_drain()
        .start()
        .unwrap();
    collector.install().unwrap();
    for n in 0..THREADS {
        std::thread::spawn(|| drop(measure(Trading::EventBusPublish))).join().unwrap();
        if n % 64 == 63 {
            // Frees the rings of threads that have ended.
            collector.flush();
        }
    }
    collector.stop();
    assert_eq!(collector.health().unregistered, 0);
    let count = collector.total(Trading::EventBusPublish).unwrap().map_or(0, |total| total.count);
    // Within 7 standard deviations, of 105 each, of the mean of a binomial distribution.
    assert!(count.abs_diff(THREADS / 8) < 735, "{count} of {THREADS}");
}

#[test]
fn each_sample_is_weighted_by_the_rate_at_its_time() {
    let _turn = in_turn();
    let collector = Collector::builder().ring_capacity(131_072).start().unwrap();
    collector.register_thread("main").unwrap();
    let event = Trading::GcPause;
    let record = |times, millis| {
        for _ in 0..times {
            record_duration(event, Duration::from_millis(millis));
        }
    };
    record(100, 1);
    assert_eq!(collector.set_sampling_rate(event, 0.05), Ok(0.0625));
    record(16_000, 80);
    assert_eq!(collector.set_sampling_rate(event, 1.0), Ok(1.0));
    record(100, 1);
    collector.stop();
    let total = collector.stats(event, MINUTE).unwrap().unwrap();
    let thinned = total.count - 200;
    assert_eq!(total.estimated_total, 200 + 16 * thinned);
    let mean = (200 + 80 * 16 * thinned) * 1_000_000 / total.estimated_total;
    assert!(total.mean.unwrap().round().abs_diff(mean) < 10_000, "{:?} {mean}", total.mean);
    assert!(total.p50.abs_diff(80_000_000) < 1_000_000, "most samples took 80 ms: {}", total.p50);
}

#[test]
fn weighted_quantiles_are_exact_while_all_samples_are_kept() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    let event = Trading::QueueBacklog;
    collector.set_sampling_rate(event, 0.125).unwrap();
    (0..400).for_each(|n| record_value(event, 1_000_000 + n));
    collector.set_sampling_rate(event, 1.0).unwrap();
    (0..100).for_each(|n| record_value(event, n));
    collector.stop();
    let total = collector.total(event).unwrap().unwrap();
    let thinned = total.count - 100;
    assert!(thinned > 10, "about 1 in 8 of 400 is recorded");
    assert_eq!(total.accuracy, Accuracy::Exact);
    assert!(!total.complete);
    // Without weights, the median would be one of the hundred small values.
    assert!(total.p50 >= 1_000_000 && total.min == 0);
    assert_eq!(total.estimated_total, 100 + 8 * thinned);
}

#[test]
fn a_summary_is_incomplete_even_if_sampling_left_no_record() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    let event = Trading::QueueBacklog;
    record_value(event, 1);
    collector.flush();
    assert!(collector.total(event).unwrap().unwrap().complete);
    collector.set_sampling_rate(event, 1e-9).unwrap();
    record_value(event, 2);
    collector.set_sampling_rate(event, 1.0).unwrap();
    collector.flush();
    let total = collector.total(event).unwrap().unwrap();
    assert_eq!(total.count, total.estimated_total);
    assert!(!total.complete, "records may have been left out");
}

#[test]
fn a_rate_limit_takes_effect_and_is_lifted() {
    let _turn = in_turn();
    without_hanging(|| {
        let limit = Sampling::RateLimit { above: 1_000.0, sample: 0.1 };
        let collector =
            Collector::builder().sampling(Trading::QueueBacklog, limit).start().unwrap();
        collector.register_thread("main").unwrap();
        let in_force = || {
            collector.flush();
            collector.health().sampling.get("queue_backlog").copied()
        };
        assert_eq!(in_force(), None);
        until(|| {
            (0..1_000).for_each(|n| record_value(Trading::QueueBacklog, n));
            spin(Duration::from_millis(5));
            in_force() == Some(0.125)
        });
        until(|| {
            spin(Duration::from_millis(20));
            in_force().is_none()
        });
        assert_eq!(collector.health().overwritten, 0);
    });
}

#[test]
fn a_budget_reduces_the_share_of_an_event_that_costs_too_much() {
    let _turn = in_turn();
    without_hanging(|| {
        let budget = Sampling::Budget { max_cpu: 1e-6 };
        let collector =
            Collector::builder().sampling(Trading::QueueBacklog, budget).start().unwrap();
        collector.register_thread("main").unwrap();
        until(|| {
            (0..100).for_each(|n| record_value(Trading::QueueBacklog, n));
            spin(Duration::from_millis(1));
            collector.health().sampling.get("queue_backlog").is_some_and(|rate| *rate < 0.1)
        });
        assert!(collector.health().overhead_ratio > 1e-6);
    });
}

#[test]
fn the_overhead_ratio_is_known_from_the_start() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    for _ in 0..2_000 {
        drop(measure(Trading::OrderFill));
        spin(Duration::from_micros(5));
    }
    collector.flush();
    let Health { overhead_ratio: ratio, record_ns, drain_ns, .. } = collector.health();
    assert!(record_ns > 0.0 && drain_ns > 0.0, "{record_ns}, {drain_ns}");
    let explained = collector.explain();
    assert!(explained.contains("\ncost: a span takes about "), "{explained}");
    assert!(explained.contains(" ns together\n"), "{explained}");
    // A span takes at least 5 µs, of which recording and draining it take about 20 to 500 ns.
    assert!(ratio > 0.0005 && ratio < 0.5, "{ratio}");
}

#[test]
fn a_sampling_out_of_range_is_refused() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    for rate in [0.0, -1.0, 1.5, f64::INFINITY] {
        assert_eq!(
            collector.set_sampling_rate(Trading::OrderFill, rate),
            Err(SamplingError::Rate { rate })
        );
    }
    assert!(collector.set_sampling_rate(Trading::OrderFill, f64::NAN).is_err());
    let id = EventId::new(77).unwrap();
    let unknown = SamplingError::UnknownEvent { id };
    assert_eq!(collector.set_sampling(id, Sampling::Budget { max_cpu: 0.1 }), Err(unknown));
    assert!(unknown.to_string().contains("77"));
    let refused =
        Collector::builder().sampling(Trading::OrderFill.id(), Sampling::Rate(2.0)).start();
    assert!(refused.unwrap_err().to_string().contains("at most 1"));
}
