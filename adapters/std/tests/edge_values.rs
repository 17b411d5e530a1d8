//! The smallest and largest values of durations and counts: none makes a call panic or hang.

mod support;

use core::time::Duration;

use support::{in_turn, without_hanging};
use tailwatch::{
    Builder, Collector, Event, EventInfo, Limit, Quantile, Reporter, Sampling, Threshold, Trading,
    WindowSpec, record_duration, record_value,
};

const DURATIONS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(i64::MAX as u64),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const COUNTS: [usize; 5] = [0, 1, usize::MAX / 2 + 1, usize::MAX - 1, usize::MAX];

/// Starts the collector, records, queries and stops, unless the start is refused, which needs no
/// more than a message that is not empty.
fn try_out(builder: Builder) {
    let collector = match builder.start() {
        Ok(collector) => collector,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 1);
    collector.flush();
    assert!(!collector.explain().is_empty());
    assert!(!collector.report().to_string().is_empty());
    collector.stop();
    assert_eq!(collector.total(Trading::QueueBacklog).unwrap().unwrap().count, 1);
}

#[test]
fn settings_of_any_size_are_used_or_refused() {
    let _turn = in_turn();
    without_hanging(|| {
        let small = || Collector::builder().ring_capacity(8);
        for duration in DURATIONS {
            try_out(small().max_period(duration));
            for slices in [0, 1, u16::MAX] {
                try_out(small().windows(&[WindowSpec::new(duration, slices)]));
            }
            try_out(small().limits(&[(Trading::OrderFill.id(), Limit::Silence(duration))]));
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            let limit = Threshold::value(Quantile::P99, nanos);
            for limit in [limit, Threshold::value(Quantile::P99, 1).over(duration)] {
                for samples in [0, u32::MAX] {
                    let limit = Limit::Quantile(limit.min_samples(samples));
                    try_out(small().limits(&[(Trading::OrderFill.id(), limit)]));
                }
            }
            let event = EventInfo {
                expected_interval: Some(duration),
                max_silence: Some(duration),
                ..Trading::ALL[0]
            };
            match small().events(&[event]).start() {
                Ok(collector) => collector.stop(),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        for count in COUNTS {
            try_out(small().rings(count));
            try_out(Collector::builder().ring_capacity(count));
            try_out(small().max_ring_capacity(count));
            try_out(small().max_ring_bytes(count));
            try_out(small().exact_samples(count));
            try_out(small().drain_core(count));
        }
        for number in [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NAN, -1.0] {
            for sampling in [
                Sampling::Rate(number),
                Sampling::RateLimit { above: number, sample: 0.5 },
                Sampling::RateLimit { above: 1.0, sample: number },
                Sampling::Budget { max_cpu: number },
            ] {
                match small().sampling(Trading::OrderFill, sampling).start() {
                    Ok(collector) => collector.stop(),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    });
}

#[test]
fn calls_with_values_of_any_size_return() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().manual_drain().start().unwrap();
        collector.register_thread("main").unwrap();
        for duration in DURATIONS {
            record_duration(Trading::GcPause, duration);
            assert!(collector.stats(Trading::GcPause, duration).is_err());
            assert!(collector.all_stats(duration).is_err());
            assert!(collector.slowest(Trading::GcPause, duration).is_err());
            assert!(collector.sla_violations(duration).is_err());
            let silence = [Limit::Silence(duration)];
            let set = collector.set_limits(Trading::GcPause, &silence);
            assert_eq!(set.is_ok(), !duration.is_zero(), "{duration:?}");
        }
        for count in COUNTS {
            record_value(Trading::QueueBacklog, count as u64);
            collector.drain_up_to(count);
            collector.flush_up_to(count);
        }
        collector.stop();
        let health = collector.health();
        assert_eq!((health.delivered, health.pending), (health.produced, 0), "{health:?}");
    });
}

#[test]
fn a_reporter_takes_any_interval() {
    let _turn = in_turn();
    without_hanging(|| {
        let collector = Collector::builder().start().unwrap();
        for duration in DURATIONS {
            let (calls, called) = std::sync::mpsc::channel();
            let emit = move |_: &tailwatch::Report| calls.send(()).map_err(std::io::Error::other);
            let reporter = Reporter::start(&collector, duration, emit).unwrap();
            if duration <= Duration::from_nanos(1) {
                // Raised to 1 ms, so it does not wait for the stop.
                called.recv().unwrap();
            }
            reporter.stop().unwrap();
            assert!(called.try_recv().is_ok(), "the last report");
        }
    });
}
