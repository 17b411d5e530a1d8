//! Checks what a collector reports besides summaries: the slowest samples, any quantile, buckets
//! and the corrected summary.

mod support;

use core::time::Duration;

use support::{Log, Seen, in_thread, in_turn, spin};
use tailwatch::{
    Accuracy, Bucket, Collector, ConfidenceInterval, Event, EventInfo, Kind, Outcome, Quantile,
    Report, Sampling, Summary, Trading, events, measure_tagged, record_duration, record_end,
    record_start_tagged, record_value,
};

const MINUTE: Duration = Duration::from_mins(1);

events! {
    /// Events with and without an expected interval.
    enum Paced {
        /// Expected every 10 ms.
        Tick = 40 { expected_interval: Some(Duration::from_millis(10)) },
        /// Without an expected interval.
        Other = 41,
    }
}

#[test]
fn the_slowest_samples_name_tag_and_thread_of_the_slowest_spans() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let spin_for = |tag| {
        let span = measure_tagged(Trading::OrderPlacement, tag);
        spin(Duration::from_micros(100 * tag));
        span.end(Outcome::Ok);
    };
    in_thread("left", move || [7, 70, 9].into_iter().for_each(spin_for));
    in_thread("right", move || [8, 50, 1, 2].into_iter().for_each(spin_for));
    collector.stop();
    // Derives the expected samples from what was delivered, as the machine decides how long each
    // span really takes.
    let all = log.all();
    let tag_of = |end: &Seen| {
        let start = |seen: &&Seen| seen.kind == Kind::Start && seen.thread == end.thread;
        all.iter()
            .filter(start)
            .find(|seen| seen.start_tick() == end.start_tick())
            .and_then(|seen| seen.tag)
    };
    let ends = all.iter().filter(|seen| seen.kind == Kind::EndOk);
    let mut expected: Vec<_> = ends
        .map(|end| (end.duration_ns_or_value.unwrap(), tag_of(end).unwrap(), end.thread.clone()))
        .collect();
    expected.sort_by_key(|(duration, ..)| core::cmp::Reverse(*duration));
    assert_eq!(expected.len(), 7);
    expected.truncate(4);
    let slowest = collector.slowest(Trading::OrderPlacement, MINUTE).unwrap();
    let reported: Vec<_> = slowest
        .iter()
        .map(|slow| (slow.duration, slow.tag.unwrap(), slow.thread.to_string()))
        .collect();
    assert_eq!(reported, expected);
    let report = collector.report();
    let total = report.event(Trading::OrderPlacement).unwrap().total.as_ref().unwrap();
    assert_eq!(slowest, total.slowest);
    let began = report.unix_ns - report.uptime_ns;
    for slow in &slowest {
        assert!(
            slow.start_unix_ns >= began
                && slow.start_unix_ns + slow.duration <= report.unix_ns + 1_000_000
        );
    }
    assert_eq!(collector.slowest(Trading::OrderFill, MINUTE), Ok(vec![]));
}

/// The collector reuses the memory of earlier reports. Nothing of them may show in a later report.
#[test]
fn a_report_contains_nothing_of_earlier_reports() {
    let _turn = in_turn();
    let collector = Collector::builder().manual_drain().ring_capacity(4_096).start().unwrap();
    collector.install().unwrap();
    let mut all: Vec<(u64, String)> = vec![];
    // Rounds of one sample, of few samples, and of more samples than the collector keeps, from
    // changing threads.
    for (round, count) in (0..).zip([1, 1, 2, 5, 500, 600, 1, 700, 3]) {
        let thread = format!("thread {}", round % 4);
        let values: Vec<u64> =
            (0..count).map(|n| 1 + (round * 7_919 + n * 104_729) % 1_000_003).collect();
        let recorded = values.clone();
        in_thread(&thread, move || {
            for n in recorded {
                record_value(Trading::QueueBacklog, n);
            }
        });
        collector.flush();
        all.extend(values.into_iter().map(|value| (value, thread.clone())));
        let report = collector.published_report();
        let event = report.event(Trading::QueueBacklog).unwrap();
        for statistics in
            [event.total.as_ref(), event.windows[2].statistics.as_ref()].map(Option::unwrap)
        {
            let count = all.len() as u64;
            assert_eq!(
                (statistics.summary.count, statistics.buckets().map(|bucket| bucket.count).sum()),
                (count, count)
            );
            let has_bucket = |value: u64| {
                statistics.buckets().any(|bucket| (bucket.above..=bucket.up_to).contains(&value))
            };
            assert!(all.iter().all(|(value, _)| has_bucket(*value)));
            let mut slowest = all.clone();
            slowest.sort_by_key(|(value, _)| core::cmp::Reverse(*value));
            slowest.truncate(4);
            let reported: Vec<_> = statistics
                .slowest
                .iter()
                .map(|slow| (slow.duration, slow.thread.to_string()))
                .collect();
            assert_eq!(reported, slowest);
        }
        assert_eq!(report.event(Trading::OrderFill).unwrap().total, None);
    }
    collector.stop();
}

/// The START of each span is in a ring that is drained after the ring with its END.
#[test]
fn a_slow_span_that_ends_on_another_thread_keeps_its_tag() {
    let _turn = in_turn();
    let collector = Collector::builder().max_period(Duration::from_mins(1)).start().unwrap();
    collector.install().unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, may_begin) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Takes the first ring, which is drained first.
            tailwatch::register_thread("ends").unwrap();
            go.send(()).unwrap();
            for token in begins {
                record_end(token, Outcome::Ok);
            }
        });
        scope.spawn(move || {
            may_begin.recv().unwrap();
            tailwatch::register_thread("begins").unwrap();
            for tag in 1..=100 {
                begun.send(record_start_tagged(Trading::OrderFill, tag)).unwrap();
            }
        });
    });
    collector.stop();
    for slow in collector.slowest(Trading::OrderFill, MINUTE).unwrap() {
        assert!(slow.tag.is_some_and(|tag| (1..=100).contains(&tag)), "{slow:?}");
        assert_eq!(&*slow.thread, "ends");
    }
}

#[test]
fn samples_without_a_span_have_no_tag() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    record_duration(Trading::GcPause, Duration::from_millis(3));
    for n in [4, 9, 1] {
        record_value(Trading::QueueBacklog, n);
    }
    collector.stop();
    let pauses = collector.slowest(Trading::GcPause, MINUTE).unwrap();
    assert_eq!((pauses.len(), pauses[0].duration, pauses[0].tag), (1, 3_000_000, None));
    let longest: Vec<_> = collector
        .slowest(Trading::QueueBacklog, MINUTE)
        .unwrap()
        .iter()
        .map(|slow| slow.duration)
        .collect();
    assert_eq!(longest, [9, 4, 1]);
}

#[test]
fn any_quantile_is_exact_or_estimated_within_its_error() {
    let _turn = in_turn();
    let collector = Collector::builder().ring_capacity(65_536).start().unwrap();
    collector.register_thread("main").unwrap();
    let [p75, p33] = ["p75", "p33.3333"].map(|text| text.parse::<Quantile>().unwrap());
    let quantile_of = |quantile| {
        collector.flush();
        collector.quantile(Trading::QueueBacklog, MINUTE, quantile).unwrap()
    };
    assert_eq!(quantile_of(p75), None);
    (1..=400).rev().for_each(|n| record_value(Trading::QueueBacklog, n));
    assert_eq!(quantile_of(p75), Some((300, Accuracy::Exact)));
    assert_eq!(quantile_of(p33), Some((134, Accuracy::Exact)));
    assert_eq!(quantile_of(Quantile::MIN), Some((1, Accuracy::Exact)));
    (401..=20_000).for_each(|n| record_value(Trading::QueueBacklog, n));
    let (estimate, accuracy) = quantile_of(p75).unwrap();
    let Accuracy::WithinPpm(ppm) = accuracy else { panic!("20,000 samples cannot be exact") };
    assert!(
        ppm < 20_000 && estimate.abs_diff(15_000) * 1_000_000 <= 15_000 * u64::from(ppm),
        "{estimate} is not within {ppm} ppm of 15,000"
    );
    assert_eq!(quantile_of(Quantile::MAX).unwrap().0, 20_000);
    let report = collector.report();
    let minute =
        report.event(Trading::QueueBacklog).unwrap().windows[2].statistics.as_ref().unwrap();
    let buckets: Vec<_> = minute.buckets().collect();
    assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 20_000);
    assert!(
        buckets.windows(2).all(|pair| pair[0].up_to <= pair[1].above),
        "buckets must ascend and not overlap"
    );
    for bucket in buckets {
        assert_eq!(
            bucket.count,
            (bucket.above + 1..=bucket.up_to).filter(|n| (1..=20_000).contains(n)).count() as u64
        );
    }
}

/// Returns the JSON of an event's intervals since the start.
fn intervals_in_json(report: &Report, event: impl Event) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let mut events = json["events"].as_array().unwrap().iter();
    events.find(|of| of["id"] == event.id().get()).unwrap()["total"]["interval"].clone()
}

#[test]
fn an_interval_has_samples_as_bounds_or_those_of_buckets_and_the_same_in_json() {
    let _turn = in_turn();
    let collector = Collector::builder().ring_capacity(65_536).start().unwrap();
    collector.register_thread("main").unwrap();
    for count in [5, 300, 500, 20_000] {
        let before = collector.total(Trading::QueueBacklog).unwrap().map_or(0, |all| all.count);
        (before + 1..=count).rev().for_each(|n| record_value(Trading::QueueBacklog, n));
        collector.flush();
        let report = collector.report();
        let total = report.event(Trading::QueueBacklog).unwrap().total.as_ref().unwrap();
        let is_exact = total.summary.accuracy == Accuracy::Exact;
        assert_eq!(is_exact, count <= 512);
        let json = intervals_in_json(&report, Trading::QueueBacklog);
        for (key, quantile) in [
            ("p50", Quantile::P50),
            ("p95", Quantile::P95),
            ("p99", Quantile::P99),
            ("p99_9", Quantile::P99_9),
        ] {
            let found = total.interval(quantile).unwrap();
            assert_eq!(json[key], serde_json::json!([found.low, found.high]), "{count} {key}");
            // Every sample equals its rank.
            let ranks = ConfidenceInterval::of_ranks(quantile, count);
            if is_exact {
                assert_eq!(found, ranks, "{count} {key}");
                continue;
            }
            let bucket = |rank: Option<u64>| {
                let is_in =
                    |bucket: &Bucket| (bucket.above + 1..=bucket.up_to).contains(&rank.unwrap());
                total.buckets().find(is_in).unwrap()
            };
            assert_eq!(found.low, Some(bucket(ranks.low).above + 1));
            assert_eq!(found.high, Some(bucket(ranks.high).up_to.min(count)));
        }
        assert!(json["p99_9"][1].is_null() == (count < 3_688), "{json}");
    }
}

#[test]
fn the_difference_of_two_reports_has_the_intervals_of_the_samples_in_between() {
    let _turn = in_turn();
    for (exact_samples, is_counted) in [(4_096, false), (0, true)] {
        let collector = Collector::builder().ring_capacity(65_536).exact_samples(exact_samples);
        let collector = collector.start().unwrap();
        collector.register_thread("main").unwrap();
        (1..=2_000).for_each(|n| record_value(Trading::QueueBacklog, n));
        collector.flush();
        let before = collector.report();
        (10_001..=11_000).for_each(|n| record_value(Trading::QueueBacklog, n));
        collector.flush();
        let diff = collector.report().diff(&before).unwrap();
        let samples = diff.event(Trading::QueueBacklog).unwrap().samples.unwrap();
        assert_eq!(samples.accuracy == Accuracy::Exact, !is_counted);
        let quantiles = [Quantile::P50, Quantile::P95, Quantile::P99, Quantile::P99_9];
        for (quantile, found) in quantiles.into_iter().zip(samples.intervals.unwrap()) {
            let ranks = ConfidenceInterval::of_ranks(quantile, 1_000);
            let [low, high] = [ranks.low, ranks.high].map(|rank| rank.map(|rank| 10_000 + rank));
            if is_counted {
                assert!(found.low <= low && found.high >= high, "{quantile}: {found:?}");
                assert_eq!(
                    (found.low.is_some(), found.high.is_some()),
                    (low.is_some(), high.is_some())
                );
                let error = 1.022; // the width of a bucket of scale 5
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let ratio = |one: u64, other: u64| one as f64 / other as f64;
                assert!(ratio(low.unwrap(), found.low.unwrap()) < error, "{quantile}: {found:?}");
            } else {
                assert_eq!(found, ConfidenceInterval { low, high }, "{quantile}");
            }
        }
        collector.stop();
    }
}

#[test]
fn an_interval_counts_recorded_samples_and_is_absent_if_their_weights_may_differ() {
    let _turn = in_turn();
    let start = |exact_samples| {
        let eighth = Sampling::Rate(0.125);
        let collector = Collector::builder().ring_capacity(65_536).exact_samples(exact_samples);
        let collector = collector.sampling(Trading::QueueBacklog, eighth).start().unwrap();
        collector.register_thread("main").unwrap();
        (1..=8_000).for_each(|n| record_value(Trading::QueueBacklog, n));
        collector.flush();
        collector
    };
    let collector = start(4_096);
    let total =
        |report: &Report| report.event(Trading::QueueBacklog).unwrap().total.clone().unwrap();
    let report = collector.report();
    let uniform = total(&report);
    let Summary { count, estimated_total, .. } = uniform.summary;
    assert_eq!(estimated_total, 8 * count);
    let mut samples: Vec<u64> = uniform.buckets().map(|bucket| bucket.up_to).collect();
    samples.sort_unstable();
    assert_eq!(samples.len() as u64, count);
    let at = |rank: u64| samples[usize::try_from(rank).unwrap() - 1];
    let ranks = ConfidenceInterval::of_ranks(Quantile::P95, count);
    let expected = ConfidenceInterval { low: ranks.low.map(at), high: ranks.high.map(at) };
    assert_eq!(uniform.interval(Quantile::P95), Some(expected));
    assert!(intervals_in_json(&report, Trading::QueueBacklog)["p95"].is_array());

    collector.set_sampling_rate(Trading::QueueBacklog, 1.0).unwrap();
    (1..=100).for_each(|n| record_value(Trading::QueueBacklog, n));
    collector.flush();
    let report = collector.report();
    assert_eq!(total(&report).summary.accuracy, Accuracy::Exact);
    assert_eq!(total(&report).interval(Quantile::P95), None);
    assert!(intervals_in_json(&report, Trading::QueueBacklog).is_null());
    drop(collector);

    // A histogram does not show that all weights are equal.
    let report = start(128).report();
    assert_eq!(total(&report).interval(Quantile::P50), None);
    assert!(intervals_in_json(&report, Trading::QueueBacklog).is_null());
}

#[test]
fn the_corrected_summary_is_reported_beside_the_plain_one() {
    let _turn = in_turn();
    let collector = Collector::builder().events(Paced::ALL).start().unwrap();
    collector.register_thread("main").unwrap();
    for _ in 0..100 {
        record_duration(Paced::Tick, Duration::from_micros(100));
    }
    record_duration(Paced::Tick, Duration::from_secs(1));
    record_duration(Paced::Other, Duration::from_secs(1));
    collector.stop();
    let report = collector.report();
    let total = |event: Paced| report.event(event).unwrap().total.clone().unwrap();
    let (tick, other) = (total(Paced::Tick), total(Paced::Other));
    assert_eq!((tick.summary.count, tick.summary.p95), (101, 100_000));
    let corrected = tick.corrected.expect("the event has an expected interval");
    // The correction adds samples of 990 ms, 980 ms, … 10 ms.
    assert_eq!((corrected.count, corrected.max, corrected.min), (200, 1_000_000_000, 100_000));
    let mean = (100.0 * 0.1 + (1..=100).map(|n| f64::from(n) * 10.0).sum::<f64>()) / 200.0;
    assert!((corrected.mean.unwrap().to_f64() / 1e6 - mean).abs() < 0.001);
    // The 190th of the 200 samples is the 90th of 10, 20, … 1,000 ms.
    assert!(
        corrected.p95.abs_diff(900_000_000) * 1_000_000 <= 900_000_000 * 11_100,
        "{}",
        corrected.p95
    );
    assert_eq!(other.corrected, None);
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["events"][0]["total"]["corrected"]["count"], 200);
    assert_eq!(json["events"][0]["windows"]["60s"]["corrected"]["p95"], corrected.p95);
    assert!(json["events"][1]["total"]["corrected"].is_null());
    let total = &json["events"][0]["total"];
    assert!(total["interval"].is_object() && total["corrected"]["interval"].is_null());
    assert!(total["corrected"].as_object().unwrap().contains_key("interval"));
}

#[test]
fn an_expected_interval_of_zero_is_refused() {
    let _turn = in_turn();
    let event = EventInfo { expected_interval: Some(Duration::ZERO), ..Paced::ALL[0] };
    let error = Collector::builder().events(&[event]).start().unwrap_err().to_string();
    assert!(error.contains("tick") && error.contains("0ns"), "{error}");
    let _ = Paced::Tick.id();
}
