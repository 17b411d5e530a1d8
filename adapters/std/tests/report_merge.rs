//! A merged report is that of one collector that saw everything.

mod support;

use core::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::in_turn;
use tailwatch::{
    Accuracy, Collector, EventReport, FixedPoint, Limit, MergeError, Outcome, Quantile, Report,
    SlaState, Threshold, Unit, events, measure, record_duration, record_value,
};

events! {
    /// Events of both units.
    enum Part {
        /// Durations.
        Durations = 5 {
            limits: &[Threshold::duration(Quantile::P99, Duration::from_mins(1))],
        },
        /// Plain numbers.
        Numbers = 6 { unit: Unit::One },
    }
}

/// Returns numbers that are spread over many octaves, the same for each seed.
fn numbers(seed: u64, count: u64) -> Vec<u64> {
    let spread = |n: u64| {
        // The generator of Marsaglia (xorshift).
        let mut x = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n + 1).wrapping_mul(0xD1B5);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 20) >> (x % 44)
    };
    (0..count).map(spread).collect()
}

fn start(exact_samples: usize) -> Collector {
    let collector = Collector::builder()
        .ignore_environment()
        .events(Part::ALL)
        .rings(1)
        .exact_samples(exact_samples)
        .manual_drain()
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    collector
}

/// Records these numbers as durations of nanoseconds and as plain numbers.
fn record(collector: &Collector, numbers: &[u64]) {
    for chunk in numbers.chunks(1_000) {
        for number in chunk {
            record_duration(Part::Durations, Duration::from_nanos(*number));
            record_value(Part::Numbers, *number);
        }
        collector.flush();
    }
}

fn report_of(numbers: &[u64], exact_samples: usize) -> Report {
    let collector = start(exact_samples);
    record(&collector, numbers);
    collector.report()
}

fn event(report: &Report, event: Part) -> &EventReport {
    report.event(event).expect("the event is in the report")
}

/// Returns everything of an event that must be exact.
fn exact(report: &Report, part: Part) -> Value {
    let event = serde_json::to_value(event(report, part)).unwrap();
    let total = &event["total"];
    let slowest = total["slowest"].as_array().into_iter().flatten();
    json!({
        "histogram": total["histogram"],
        "count": total["count"],
        "estimated_total": total["estimated_total"],
        "min": total["min"],
        "max": total["max"],
        "outcomes": event["outcomes"],
        "slowest": slowest.map(|slow| slow["duration"].clone()).collect::<Vec<_>>(),
    })
}

/// Returns the report, or what is read from its JSON.
fn maybe_read(report: Report, is_read: bool) -> Report {
    if is_read { Report::from_json(&report.to_json()).unwrap() } else { report }
}

#[test]
fn a_thousand_merged_reports_equal_one_collector_that_saw_everything() {
    let _turn = in_turn();
    let parts: Vec<_> = (0..1_000).map(|part| numbers(part, 10 + part % 40)).collect();
    let reports: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            // Some have exact samples and others histograms, and some are read from JSON.
            maybe_read(report_of(part, [512, 8][index % 2]), index % 3 > 0)
        })
        .collect();
    let merged = Report::merge(&reports).unwrap();
    let collector = start(512);
    record(&collector, &parts.concat());
    let one = collector.report();
    for part in [Part::Durations, Part::Numbers] {
        assert_eq!(exact(&merged, part), exact(&one, part));
        let [merged, one] = [&merged, &one].map(|report| event(report, part).total.as_ref());
        let (merged, one) = (&merged.unwrap().summary, &one.unwrap().summary);
        let close = |a: f64, b: f64| (a - b).abs() <= 0.001 + b * 1e-9;
        assert!(close(merged.mean.unwrap().to_f64(), one.mean.unwrap().to_f64()));
        assert!(close(merged.stddev.unwrap().to_f64(), one.stddev.unwrap().to_f64()));
        let mut sorted = parts.concat();
        sorted.sort_unstable();
        for (quantile, value) in [
            (Quantile::P50, merged.p50),
            (Quantile::P95, merged.p95),
            (Quantile::P99, merged.p99),
            (Quantile::P99_9, merged.p99_9),
        ] {
            let rank = usize::try_from(quantile.rank(sorted.len() as u64)).unwrap();
            let truth = sorted[rank - 1];
            let ppm = u64::from(merged.accuracy.max_relative_error_ppm());
            assert!(value.abs_diff(truth) * 1_000_000 <= ppm * truth, "{value}, {truth}, {ppm}");
            assert!(ppm < 12_000, "{ppm}");
        }
    }
    assert_eq!(merged.collectors.len(), 1_000);
    assert_eq!(merged.health.delivered, one.health.delivered);
    assert_eq!(Report::from_json(&merged.to_json()), Ok(merged));
}

#[test]
fn exact_samples_stay_exact() {
    let _turn = in_turn();
    let reports = [report_of(&[5, 1, 9], 512), report_of(&[3], 512), report_of(&[], 512)];
    let merged = Report::merge(&reports).unwrap();
    let total = event(&merged, Part::Numbers).total.as_ref().unwrap();
    assert_eq!(total.summary.accuracy, Accuracy::Exact);
    assert_eq!(total.quantile(Quantile::P50), (3, Accuracy::Exact));
    assert_eq!(total.summary.mean, Some(FixedPoint::ratio(9, 2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_and_groups_do_not_matter(
        parts in prop::collection::vec(
            (prop::collection::vec((any::<u64>(), 18..64_u32), 0..30), any::<[bool; 2]>()),
            2..7,
        ),
        order in any::<u64>(),
        cut in any::<prop::sample::Index>(),
        is_read: bool,
    ) {
        let _turn = in_turn();
        let reports: Vec<_> = parts
            .iter()
            .map(|(numbers, [is_exact, is_read])| {
                let numbers: Vec<_> = numbers.iter().map(|(n, shift)| n >> shift).collect();
                maybe_read(report_of(&numbers, if *is_exact { 512 } else { 8 }), *is_read)
            })
            .collect();
        let all = Report::merge(&reports).unwrap();
        let mut shuffled: Vec<_> = reports.iter().collect();
        shuffled.rotate_left(usize::try_from(order % 7).unwrap() % reports.len());
        if order % 2 == 0 {
            shuffled.reverse();
        }
        let (left, right) = shuffled.split_at(cut.index(reports.len() - 1) + 1);
        let groups = [left, right].map(|group| {
            maybe_read(Report::merge(group.iter().copied()).unwrap(), is_read)
        });
        let grouped = Report::merge(&groups).unwrap();
        // Reports that are parts of the others change nothing.
        let again = Report::merge(reports.iter().chain([&all]).chain(left.iter().copied()));
        for other in [Report::merge(shuffled).unwrap(), grouped, again.unwrap()] {
            for part in [Part::Durations, Part::Numbers] {
                prop_assert_eq!(exact(&other, part), exact(&all, part));
            }
            let covered = |report: &Report| -> Vec<_> {
                let totals = report.events.iter().flat_map(|event| &event.total);
                totals.map(|total| total.summary.covered).collect()
            };
            prop_assert_eq!(covered(&other), covered(&all));
            prop_assert_eq!(&other.collectors, &all.collectors);
            prop_assert_eq!(&other.sla, &all.sla);
            prop_assert_eq!(&other.health, &all.health);
            prop_assert_eq!(
                [other.unix_ns, other.started_unix_ns, other.uptime_ns],
                [all.unix_ns, all.started_unix_ns, all.uptime_ns]
            );
        }
    }
}

#[test]
fn of_reports_of_one_collector_only_the_latest_counts() {
    let _turn = in_turn();
    let collector = start(512);
    record(&collector, &[1, 2]);
    let first = collector.report();
    record(&collector, &[3]);
    let second = collector.report();
    drop(collector);
    let restarted = report_of(&[4], 512);
    for is_read in [false, true] {
        let [first, second, restarted] =
            [&first, &second, &restarted].map(|report| maybe_read(report.clone(), is_read));
        assert_eq!(Report::merge([&second, &first]).unwrap(), second);
        let merged = Report::merge([&first, &restarted, &second, &first]).unwrap();
        let numbers = event(&merged, Part::Numbers).total.as_ref().unwrap();
        assert_eq!((numbers.summary.count, numbers.summary.max), (4, 4));
        let starts: Vec<_> = merged.collectors.iter().map(|of| of.started_unix_ns).collect();
        assert_eq!(starts, [second.started_unix_ns, restarted.started_unix_ns]);
        assert_eq!(merged.uptime_ns, restarted.unix_ns - first.started_unix_ns);
        assert!(merged.events.iter().all(|event| event.windows.is_empty()));
        // The collectors did not run at the same time.
        assert_eq!(numbers.summary.covered, second.uptime_ns + restarted.uptime_ns);
        assert!(merged.to_string().contains(", 2 collectors"), "{merged}");

        // A diff of reports that were read finds the same as that of the reports.
        let diff = second.diff(&first).unwrap();
        let added = diff.event(Part::Numbers).unwrap().samples.unwrap();
        assert_eq!((added.count, added.p50, added.p99), (1, 3, 3));
        assert!(!diff.restarted && restarted.diff(&second).unwrap().restarted);
        assert!(first.diff(&second).is_none() && merged.diff(&first).is_none());
        assert_eq!(added.mean.map(FixedPoint::round), (!is_read).then_some(3));
    }
}

/// Returns the error with which these are refused.
#[track_caller]
fn refused<'r>(reports: impl IntoIterator<Item = &'r Report>) -> MergeError {
    let error = Report::merge(reports).expect_err("the reports cannot be merged");
    assert_eq!(format!("{error:?}"), error.to_string());
    error
}

#[test]
fn reports_that_cannot_be_merged_are_refused() {
    let _turn = in_turn();
    let [one, other, third] = [1, 2, 3].map(|number| report_of(&[number], 512));
    assert_eq!(refused([]), MergeError::NoReports);

    let mut impostor = other.clone();
    impostor.started_unix_ns = one.started_unix_ns;
    let started_unix_ns = one.started_unix_ns;
    assert_eq!(refused([&one, &impostor]), MergeError::SameStart { started_unix_ns });
    assert_eq!(refused([&impostor, &one]), MergeError::SameStart { started_unix_ns });

    let pairs = [[&one, &other], [&one, &third]].map(|pair| Report::merge(pair).unwrap());
    assert_eq!(refused(&pairs), MergeError::Overlap { started_unix_ns });

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(&third.to_json()).unwrap();
        change(&mut json);
        Report::from_json(&json.to_string()).unwrap()
    };
    let in_numbers = changed(&|json| {
        json["events"][0] = json["events"][1].clone();
        json["events"][0]["name"] = "durations".into();
        json["events"][0]["base_name"] = "durations".into();
        json["events"][0]["id"] = 7.into();
        json["sla"] = json!([]);
    });
    let event = "durations".to_owned();
    let units = [Unit::Time, Unit::One];
    assert_eq!(refused([&one, &in_numbers]), MergeError::OtherUnit { event: event.clone(), units });

    let full = changed(&|json| {
        let total = &mut json["events"][0]["total"];
        total["estimated_total"] = u64::MAX.into();
        total["count"] = u64::MAX.into();
        total["histogram"]["buckets"][0][1] = u64::MAX.into();
    });
    let error = refused([&one, &full]);
    assert_eq!(error, MergeError::Overflow { what: "the samples of durations".to_owned() });

    // Those of a firmware.
    let coarse = changed(&|json| {
        let histogram = &mut json["events"][0]["total"]["histogram"];
        histogram["unit"] = "2^-30 s".into();
        histogram["lowest"] = 0.into();
        histogram["buckets"][0][0] = 50.into();
    });
    assert_eq!(refused([&one, &coarse]), MergeError::Histograms { event });
}

#[test]
fn reports_at_different_scales_are_merged_at_the_coarser_one() {
    let _turn = in_turn();
    let [one, other] = [&[1_000, 70, 0][..], &[1_001, 1_024, 1_025]].map(|of| report_of(of, 512));
    let mut json: Value = serde_json::from_str(&other.to_json()).unwrap();
    let histogram = &mut json["events"][1]["total"]["histogram"];
    // At scale 1, (724, 1,024] and (1,024, 1,448] have the numbers 19 and 20.
    (histogram["scale"], histogram["buckets"]) = (1.into(), json!([[19, 2], [20, 1]]));
    let coarse = Report::from_json(&json.to_string()).unwrap();
    for pair in [[&one, &coarse], [&coarse, &one]] {
        let merged: Value = serde_json::from_str(&Report::merge(pair).unwrap().to_json()).unwrap();
        let histogram = &merged["events"][1]["total"]["histogram"];
        assert_eq!((&histogram["scale"], &histogram["zero"]), (&1.into(), &1.into()));
        // 70 is in (64, 90.5].
        assert_eq!(histogram["buckets"], json!([[12, 1], [19, 3], [20, 1]]));
    }
}

#[test]
fn limits_outcomes_and_open_spans_are_combined() {
    let _turn = in_turn();
    let run = |nanos: u64, outcome: Outcome, limit: Option<Limit>| {
        let collector = start(512);
        if let Some(limit) = limit {
            collector.set_limits(Part::Durations, &[limit]).unwrap();
        }
        measure(Part::Durations).end(outcome);
        record_duration(Part::Durations, Duration::from_nanos(nanos));
        core::mem::forget(measure(Part::Durations));
        collector.flush();
        collector.report()
    };
    let ok = run(1, Outcome::Ok, None);
    let violated = run(61_000_000_000, Outcome::Error, None);
    let none = report_of(&[], 512);
    let states = [&ok, &violated, &none].map(|report| report.sla[0].state);
    assert_eq!(states[1..], [SlaState::Violated, SlaState::Unknown]);
    let merged = Report::merge([&ok, &violated, &none]).unwrap();
    let [limit] = merged.sla.as_slice() else { panic!("{:?}", merged.sla) };
    assert_eq!((limit.state, limit.raised), (SlaState::Violated, 1));
    assert_eq!(limit.count, ok.sla[0].count + violated.sla[0].count);
    assert_eq!(limit.observed, violated.sla[0].observed);
    assert_eq!(limit.origin.as_deref(), Some("declared"));
    assert_eq!(
        Report::merge([&none, &report_of(&[1], 9)]).unwrap().sla[0].state,
        SlaState::Unknown
    );

    let of = |report: &Report| event(report, Part::Durations).clone();
    assert_eq!((of(&merged).outcomes.ok, of(&merged).outcomes.error), (1, 1));
    assert_eq!(of(&merged).in_flight.open, 2);
    assert_eq!(
        of(&merged).in_flight.oldest_ns,
        of(&ok).in_flight.oldest_ns.max(of(&violated).in_flight.oldest_ns)
    );

    // A limit that was set to something else stays apart.
    let strict = Threshold::duration(Quantile::P99, Duration::from_nanos(1));
    let strict = run(1, Outcome::Ok, Some(Limit::Quantile(strict)));
    assert_eq!(Report::merge([&ok, &strict]).unwrap().sla.len(), 2);
}

#[test]
fn an_event_keeps_its_id_if_that_is_its_own_everywhere() {
    let _turn = in_turn();
    let [one, other] = [1, 2].map(|number| report_of(&[number], 512));
    let mut json: Value = serde_json::from_str(&other.to_json()).unwrap();
    // Another program, in which the id 6 is that of another event.
    json["events"][1]["name"] = "others".into();
    json["events"][1]["base_name"] = "others".into();
    let other = Report::from_json(&json.to_string()).unwrap();
    let merged = Report::merge([&one, &other]).unwrap();
    assert!(merged.event(Part::Numbers).is_none(), "6 stands for two events");
    // A declaration is only of an event of this process, with its own id.
    let infos = |report: &Report| -> Vec<_> {
        report.events.iter().map(|event| event.info().map(|info| info.name)).collect()
    };
    assert_eq!(infos(&one), [Some("durations"), Some("numbers")]);
    assert_eq!(infos(&other), [None, None]);
    assert_eq!(infos(&merged), [Some("durations"), None, None]);
    assert_eq!(event(&merged, Part::Durations).total.as_ref().unwrap().summary.count, 2);
    let names: Vec<_> = merged.events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["durations", "numbers", "others"]);
    let json: Value = serde_json::from_str(&merged.to_json()).unwrap();
    assert!(json["events"][1]["id"].is_null() && json["events"][0]["id"] == 5);
    assert_eq!(Report::from_json(&merged.to_json()), Ok(merged));
}

#[test]
fn counters_of_the_health_are_added_up_and_what_is_none_is_the_largest() {
    let _turn = in_turn();
    // Both run at the same time.
    let collectors = [start(512), start(512)];
    let [mut one, mut other] = collectors.each_ref().map(|collector| {
        collector.register_thread("main").unwrap();
        record(collector, &[7]);
        collector.report()
    });
    let ends = [&one, &other].map(|report| report.started_unix_ns + report.uptime_ns);
    let (health, of_other) = (&mut one.health, &mut other.health);
    (health.late, of_other.late) = (3, 4);
    (health.drain_lag_ns, of_other.drain_lag_ns) = (5, 7);
    (health.overhead_ratio, of_other.overhead_ratio) = (0.25, 0.125);
    (health.memory_bytes, of_other.memory_bytes) = (1_000, 2_000);
    health.enabled = false;
    health.sampling.insert("numbers".to_owned(), 0.5);
    of_other.sampling.insert("numbers".to_owned(), 0.25);
    of_other.unlisted.insert("a::Set".to_owned(), 2);
    let merged = Report::merge([&one, &other]).unwrap();
    let health = &merged.health;
    assert_eq!((health.late, health.drain_lag_ns, health.memory_bytes), (7, 7, 2_000));
    assert_eq!(health.produced, one.health.produced + other.health.produced);
    assert_eq!((health.overhead_ratio, health.sampling["numbers"]), (0.25, 0.25));
    assert_eq!((health.enabled, health.has_drain, health.unlisted["a::Set"]), (false, true, 2));
    // The drift of two collectors differs, but not their clock.
    let [drift, of_one, of_other] =
        [&merged, &one, &other].map(|report| report.clock.as_ref().unwrap().drift_ppm.abs());
    assert!(drift >= of_one.max(of_other), "{drift} {of_one} {of_other}");
    let covered = event(&merged, Part::Numbers).total.as_ref().unwrap().summary.covered;
    assert_eq!(covered, ends.into_iter().max().unwrap() - one.started_unix_ns);
}
