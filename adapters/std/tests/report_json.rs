//! A report that is read from JSON is the one that was written, and a text that is not one is
//! refused.

#[path = "report_json/hostile.rs"]
mod hostile;
#[path = "report_json/quantiles.rs"]
mod quantiles;
mod support;

use core::time::Duration;

use proptest::prelude::*;
use support::in_turn;
use tailwatch::{
    Accuracy, Collector, CoveredOutcomes, Event, FixedPoint, Limit, Outcome, Quantile, Report,
    ReportJsonError, Sampling, Statistics, Summary, TagNames, Threshold, Unit, events,
    measure_tagged, record_duration, record_value,
};

events! {
    /// Events of every kind.
    pub(crate) enum Random {
        /// With a limit.
        Limited = 3 {
            limits: &[Threshold::duration(Quantile::P95, Duration::from_micros(400))],
            max_error_rate: Some(&Threshold::error_rate(12_345)),
            max_silence: Some(Duration::from_secs(40)),
        },
        /// With a corrected summary.
        Corrected = 2_047 {
            expected_interval: Some(Duration::from_micros(50)),
            outcomes: CoveredOutcomes::Any,
        },
        /// Plain numbers.
        Number = 1 { unit: Unit::One },
        /// Sampled.
        Sampled = 70,
    }
}

/// What is recorded.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Duration(Random, u64),
    Number(u64),
    Span(Random, Outcome, u64),
    Leaked,
    Labelled(u8, u64),
    SetLimits(u64),
    Disable,
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || (any::<u64>(), 18..64_u32).prop_map(|(value, shift)| value >> shift);
    let event =
        || prop_oneof![Just(Random::Limited), Just(Random::Corrected), Just(Random::Sampled)];
    let outcome = prop_oneof![Just(Outcome::Ok), Just(Outcome::Error), Just(Outcome::Cancelled)];
    let step = prop_oneof![
        6 => (event(), number()).prop_map(|(event, nanos)| Step::Duration(event, nanos)),
        6 => number().prop_map(Step::Number),
        2 => (event(), outcome, any::<u64>())
            .prop_map(|(event, outcome, tag)| Step::Span(event, outcome, tag)),
        1 => Just(Step::Leaked),
        2 => (0..3_u8, number()).prop_map(|(label, nanos)| Step::Labelled(label, nanos)),
        1 => (1..1_000_u64).prop_map(Step::SetLimits),
        1 => Just(Step::Disable),
    ];
    prop::collection::vec(step, 0..60)
}

/// Records steps, and returns the report.
pub(crate) fn report_of(steps: &[Step], exact_samples: usize, is_stopped: bool) -> Report {
    let names = TagNames::new(64);
    let silence = Limit::Silence(Duration::from_millis(1_500));
    let collector = Collector::builder()
        .ignore_environment()
        .events(Random::ALL)
        .limits(&[(Random::Number.id(), silence)])
        .rings(2)
        .exact_samples(exact_samples)
        .sampling(Random::Sampled, Sampling::Rate(0.25))
        .tag_names(&names)
        .manual_drain()
        .start()
        .unwrap();
    collector.register_thread("main \"thread\"\n").unwrap();
    let family = collector.family("placing", "symbol").unwrap();
    for step in steps {
        match *step {
            Step::Duration(event, nanos) => record_duration(event, Duration::from_nanos(nanos)),
            Step::Number(number) => record_value(Random::Number, number),
            Step::Span(event, outcome, tag) => {
                let tag = names.tag_of(&format!("order {tag}"));
                measure_tagged(event, tag).end(outcome);
            }
            Step::Leaked => core::mem::forget(measure_tagged(Random::Corrected, 5)),
            Step::Labelled(label, nanos) => {
                let symbol = ["BTC", "with \"quotes\" \\", "ö"][usize::from(label)];
                record_duration(family.event(symbol), Duration::from_nanos(nanos));
            }
            Step::SetLimits(max) => {
                let limit = Threshold::value(Quantile::P99_9, max)
                    .auto_min_samples()
                    .raise_after(Duration::from_millis(max))
                    .clear_after(Duration::ZERO);
                collector.set_limits(Random::Limited, &[Limit::Quantile(limit)]).unwrap();
            }
            Step::Disable => {
                collector.set_enabled(false);
                record_value(Random::Number, 1);
                collector.set_enabled(true);
            }
        }
    }
    if is_stopped {
        collector.stop();
    } else {
        collector.flush();
    }
    collector.report()
}

/// Asserts that two summaries are the same, but for what JSON rounds.
#[track_caller]
fn assert_same_summary(read: &Summary, written: &Summary) {
    let mut expected = *written;
    if written.accuracy == Accuracy::WithinPpm(0) {
        expected.accuracy = Accuracy::Exact;
    }
    for (number, of_read) in [(&mut expected.mean, read.mean), (&mut expected.stddev, read.stddev)]
    {
        let is_rounded = number.is_some_and(|number| number.to_f64() >= 2_f64.powi(37));
        let floats = [*number, of_read].map(|number| number.map(FixedPoint::to_f64));
        if is_rounded && floats[0] == floats[1] {
            *number = of_read;
        }
    }
    assert_eq!(*read, expected);
}

#[track_caller]
fn assert_same_statistics(read: Option<&Statistics>, written: Option<&Statistics>) {
    assert_eq!(read.is_some(), written.is_some());
    let (Some(read), Some(written)) = (read, written) else { return };
    assert_same_summary(&read.summary, &written.summary);
    assert_eq!(read.corrected.is_some(), written.corrected.is_some());
    if let (Some(read), Some(written)) = (&read.corrected, &written.corrected) {
        assert_same_summary(read, written);
    }
    assert_eq!(read.slowest, written.slowest);
}

/// Asserts that all public fields are the same.
#[track_caller]
fn assert_same(read: &Report, written: &Report) {
    assert_eq!(read.schema, written.schema);
    assert_eq!(
        [read.unix_ns, read.started_unix_ns, read.uptime_ns],
        [written.unix_ns, written.started_unix_ns, written.uptime_ns]
    );
    assert_eq!((&read.clock, &read.collectors), (&written.clock, &written.collectors));
    assert_eq!((&read.sla, &read.health), (&written.sla, &written.health));
    assert_eq!(read.events.len(), written.events.len());
    for (read, written) in read.events.iter().zip(&written.events) {
        assert_eq!((read.id, read.unit), (written.id, written.unit));
        assert_eq!((&read.name, &read.base_name), (&written.name, &written.base_name));
        assert_eq!(read.labels, written.labels);
        assert_eq!((read.outcomes, read.in_flight), (written.outcomes, written.in_flight));
        assert_eq!(read.covered, written.covered);
        assert_same_statistics(read.total.as_ref(), written.total.as_ref());
        assert_same_statistics(read.failed.as_deref(), written.failed.as_deref());
        let mut slowest = read.failed.iter().flat_map(|failed| &failed.slowest);
        assert!(slowest.all(|slow| slow.outcome.is_some_and(|outcome| outcome != Outcome::Ok)));
        assert_eq!(read.windows.len(), written.windows.len());
        for (read, written) in read.windows.iter().zip(&written.windows) {
            assert_eq!(read.length, written.length);
            assert_same_statistics(read.statistics.as_ref(), written.statistics.as_ref());
            assert_same_statistics(read.failed.as_deref(), written.failed.as_deref());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_report_that_is_read_equals_the_one_that_was_written(
        steps in steps(),
        exact_samples in prop_oneof![Just(512_usize), Just(8)],
        is_stopped: bool,
    ) {
        let _turn = in_turn();
        let written = report_of(&steps, exact_samples, is_stopped);
        let json = written.to_json();
        let read = Report::from_json(&json).unwrap();
        prop_assert_eq!(&read, &written);
        assert_same(&read, &written);
        prop_assert_eq!(&read.to_json(), &json);
        prop_assert_eq!(&Report::from_json(&read.to_json()).unwrap(), &read);
        if !is_stopped {
            prop_assert_eq!(read.to_string(), written.to_string());
        }
        quantiles::assert_honest(&read, &written);
        let diff = read.diff(&read).unwrap();
        prop_assert!(diff.events.iter().all(|event| event.samples.is_none()));
        prop_assert_eq!(&Report::merge([&read, &written]).unwrap(), &written);
    }
}

/// Returns the JSON as the schema before had it.
pub(crate) fn in_schema_1(report: &Report) -> String {
    let mut json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let remove = |object: &mut serde_json::Value, keys: &[&str]| {
        let object = object.as_object_mut().unwrap();
        for key in keys {
            object.remove(*key);
        }
    };
    json["schema"] = "tailwatch.report/1".into();
    remove(&mut json, &["started_unix_ns"]);
    let later = [
        "negative_differences",
        "orphan_tags",
        "rings_refused",
        "hidden_threads",
        "hidden_records",
        "reserved_bytes",
    ];
    remove(&mut json["health"], &[&later[..], &["has_drain", "record_ns", "drain_ns"]].concat());
    for event in json["events"].as_array_mut().unwrap() {
        remove(event, &["base_name", "of", "failed", "failed_windows", "flows"]);
        if event["labels"].as_object().unwrap().is_empty() {
            remove(event, &["labels"]);
        }
        if !event["total"].is_null() {
            remove(&mut event["total"], &["histogram", "interval"]);
        }
    }
    for limit in json["sla"].as_array_mut().unwrap() {
        remove(limit, &["failed", "min_samples", "raise_after_ns", "clear_after_ns", "origin"]);
        if limit["labels"].as_object().unwrap().is_empty() {
            remove(limit, &["labels"]);
        }
    }
    json.to_string()
}

#[test]
fn a_report_of_the_schema_before_is_read_and_lacks_what_that_lacks() {
    let _turn = in_turn();
    let steps = [
        Step::Duration(Random::Limited, 300),
        Step::Number(7),
        Step::Labelled(1, 1_000),
        Step::Span(Random::Limited, Outcome::Error, 3),
    ];
    let written = report_of(&steps, 512, false);
    let read = Report::from_json(&in_schema_1(&written)).unwrap();
    assert_eq!((read.schema, read.started_unix_ns), ("tailwatch.report/1", 0));
    assert_eq!(Report::from_json(&read.to_json()).unwrap(), read);
    for (read, written) in read.events.iter().zip(&written.events) {
        assert_eq!((&read.name, &read.base_name), (&written.name, &written.base_name));
        assert_eq!((&read.labels, read.outcomes), (&written.labels, written.outcomes));
        assert_same_statistics(read.total.as_ref(), written.total.as_ref());
        assert!(read.failed.is_none() && read.covered == CoveredOutcomes::Any);
        let buckets = read.total.iter().flat_map(Statistics::buckets).count();
        assert_eq!(buckets, 0, "the schema has no histogram");
    }
    assert!(read.sla.iter().all(|limit| limit.origin.is_none()));
    assert_eq!(read.health.reserved_bytes, 0);
    assert!(read.diff(&written).is_none() && written.diff(&read).is_none());
    let refused = Report::merge([&written, &read]).unwrap_err();
    assert!(refused.to_string().contains("start"), "{refused}");
    quantiles::assert_honest(&read, &written);
}

#[test]
fn keys_that_the_schema_does_not_have_are_ignored() {
    let _turn = in_turn();
    let report = report_of(&[Step::Number(7)], 512, true);
    let mut json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    json["later"] = 1.into();
    json["events"][0]["later"] = serde_json::json!({ "a": [1, null] });
    json["events"][0]["flows"] = serde_json::json!([{ "to": "x" }]);
    json["events"][2]["total"]["histogram"]["later"] = serde_json::json!({});
    json["sla"][0]["later"] = "x".into();
    json["health"]["later"] = true.into();
    assert_eq!(Report::from_json(&json.to_string()), Ok::<_, ReportJsonError>(report));
}

#[test]
fn the_origin_of_each_limit_is_in_the_json() {
    let _turn = in_turn();
    let report = report_of(&[], 512, true);
    let origins: Vec<_> =
        report.sla.iter().map(|limit| (&*limit.event, limit.origin.as_deref().unwrap())).collect();
    let declared = ("limited", "declared");
    let expected = [declared, declared, declared, ("number", "builder")];
    assert_eq!(origins, expected);
    let report = report_of(&[Step::SetLimits(5)], 512, true);
    assert_eq!(report.sla[0].origin.as_deref(), Some("after the start"));
    let limit = &Report::from_json(&report.to_json()).unwrap().sla[0];
    assert_eq!(limit, &report.sla[0]);
    assert_eq!(limit.raise_after, Duration::from_millis(5));
}

#[test]
fn the_report_in_the_docs_can_be_read() {
    let page = include_str!("../../../docs/formats.md");
    let (_, sample) = page.split_once("```json\n").expect("the page has a report");
    let (sample, _) = sample.split_once("```").unwrap();
    let report = Report::from_json(sample).unwrap();
    let [event] = report.events.as_slice() else { panic!("{:?}", report.events) };
    assert_eq!(event.total.as_ref().unwrap().buckets().count(), 7);
    assert!(event.failed.is_some() && event.in_flight.open == 1);
}
