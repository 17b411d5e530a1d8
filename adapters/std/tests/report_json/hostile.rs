//! Texts that are not the JSON of a report.

use proptest::prelude::*;
use serde_json::{Value, json};
use tailwatch::{Outcome, Quantile, Report, ReportJsonError};

use crate::{Random, Step, in_schema_1, report_of, support::in_turn};

/// Returns the JSON of a report with samples of several events.
fn specimen() -> String {
    let steps = [
        Step::Duration(Random::Limited, 300),
        Step::Duration(Random::Limited, 70_000),
        Step::Duration(Random::Corrected, 4_000_000),
        Step::Span(Random::Corrected, Outcome::Error, 9),
        Step::Number(7),
        Step::Number(0),
        Step::Number(1 << 45),
        Step::Labelled(0, 1_000),
    ];
    report_of(&steps, 512, true).to_json()
}

fn value() -> Value {
    serde_json::from_str(&specimen()).unwrap()
}

/// A change of the JSON of a report.
type Change = Box<dyn FnOnce(&mut Value)>;

/// Returns the message with which a changed report is refused.
#[track_caller]
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut json = value();
    change(&mut json);
    match Report::from_json(&json.to_string()) {
        Ok(_) => panic!("not refused"),
        Err(error) => {
            assert_eq!(format!("{error:?}"), error.to_string());
            error.to_string()
        }
    }
}

/// Returns a change that sets the value at a path.
fn set(path: &'static str, new: Value) -> impl FnOnce(&mut Value) {
    move |json| {
        let at = json.pointer_mut(path);
        *at.unwrap_or_else(|| panic!("there is no {path}")) = new;
    }
}

/// Returns a change that removes a key.
fn remove(path: &'static str, key: &'static str) -> impl FnOnce(&mut Value) {
    move |json| {
        let object = json.pointer_mut(path).unwrap().as_object_mut().unwrap();
        object.remove(key).unwrap_or_else(|| panic!("there is no {key}"));
    }
}

/// Asserts that each change is refused with a message that contains its text.
#[track_caller]
fn assert_refused(cases: Vec<(Change, String)>) {
    for (change, expected) in cases {
        let message = refused(change);
        assert!(message.contains(&expected), "{message}\n{expected}");
    }
}

#[test]
fn a_wrong_value_of_the_report_is_refused() {
    let _turn = in_turn();
    let max = u64::MAX;
    assert_refused(vec![
        (
            Box::new(set("/schema", "tailwatch.report/3".into())),
            "the schema \"tailwatch.report/3\" cannot be read; this version of tailwatch reads \
             \"tailwatch.report/1\" and \"tailwatch.report/2\""
                .into(),
        ),
        (Box::new(remove("", "started_unix_ns")), "`started_unix_ns` is missing".into()),
        (Box::new(set("/started_unix_ns", 0.into())), "`started_unix_ns` is 0, but".into()),
        (Box::new(set("/clock", Value::Null)), "`clock` is missing".into()),
        (
            Box::new(|json| {
                let limit = json["sla"][0].clone();
                json["sla"].as_array_mut().unwrap().push(limit);
            }),
            "a limit before it is the same one".into(),
        ),
        (Box::new(remove("", "health")), "missing field `health`".into()),
        (Box::new(set("/unix_ns", (-1).into())), "invalid value: integer `-1`".into()),
        (Box::new(set("/unix_ns", 1.5.into())), "invalid type: floating point".into()),
        (Box::new(set("/clock/source", "sundial".into())), "unknown variant `sundial`".into()),
        (Box::new(set("/health/produced", 1.into())), "`produced` must be the sum".into()),
        (Box::new(set("/health/pending", max.into())), "`produced` must be the sum".into()),
        (Box::new(set("/health/overhead_ratio", (-0.5).into())), "`overhead_ratio` is -0.5".into()),
        (Box::new(set("/health/sampling/sampled", 2.into())), "`sampling` is 2".into()),
        (
            Box::new(|json| {
                let start = json!({ "started_unix_ns": 5, "uptime_ns": 1 });
                json["collectors"] = json!([start, start]);
            }),
            "the `started_unix_ns` of `collectors` must increase: 5 and 5".into(),
        ),
    ]);
}

#[test]
fn a_wrong_value_of_an_event_is_refused() {
    let _turn = in_turn();
    let number = "event number: ";
    let of = |text: &str| format!("{number}{text}");
    assert_refused(vec![
        (Box::new(set("/events/2/id", 0.into())), of("`id` is 0, but must be 1 to 2,047")),
        (Box::new(set("/events/2/id", 2_048.into())), of("`id` is 2048")),
        (Box::new(set("/events/2/id", Value::Null)), of("`id` is null, which only")),
        (Box::new(set("/events/2/id", 3.into())), of("an event before it has the same `id`, 3")),
        (
            Box::new(|json| {
                json["events"][2]["name"] = "limited".into();
                json["events"][2]["base_name"] = "limited".into();
            }),
            "event limited: an event before it has the same `name`".into(),
        ),
        (Box::new(set("/events/2/name", "x".into())), "its `name` must be number".into()),
        (Box::new(remove("/events/2", "base_name")), of("`base_name` is missing")),
        (Box::new(set("/events/2/base_name", "".into())), number.into()),
        (Box::new(set("/events/2/labels", json!({ "le": "1" }))), number.into()),
        (Box::new(set("/events/2/unit", "furlong".into())), of("`unit` is \"furlong\"")),
        (
            Box::new(|json| {
                let windows = json["events"][2]["windows"].as_object_mut().unwrap();
                let seconds = windows.remove("60s").unwrap();
                windows.insert("60000ms".into(), seconds);
            }),
            of("`windows` is \"60000ms\", but must be the length of a window"),
        ),
        (Box::new(remove("/events/2/windows", "60s")), of("its `windows` are others")),
        (Box::new(remove("/events/0", "of")), "event limited: `of` is missing".into()),
        (Box::new(set("/events/0/of", "some".into())), "`of` is \"some\"".into()),
        (
            Box::new(remove("/events/0", "failed_windows")),
            "event limited: `failed_windows` is missing".into(),
        ),
        (
            Box::new(remove("/events/0/failed_windows", "1s")),
            "its `windows` are others than those of the first event or of its `failed_windows`"
                .into(),
        ),
    ]);
}

#[test]
fn a_wrong_value_of_a_summary_is_refused() {
    let _turn = in_turn();
    let of = |text: &str| format!("event number: {text}");
    let max = u64::MAX;
    assert_refused(vec![
        (Box::new(set("/events/2/total/count", 0.into())), of("total: `count` is 0")),
        (
            Box::new(set("/events/2/total/count", 4.into())),
            of("total: `count` exceeds `estimated_total`: 4 and 3"),
        ),
        (Box::new(set("/events/2/total/min", 8.into())), of("total: `min` exceeds `p50`: 8 and 7")),
        (Box::new(set("/events/2/total/p50", max.into())), of("total: `p50` exceeds `p95`")),
        (Box::new(set("/events/2/total/max", 8.into())), of("total: `p99_9` exceeds `max`")),
        (Box::new(set("/events/2/windows/60s/max", 8.into())), of("60s: `p99_9` exceeds `max`")),
        (Box::new(set("/events/2/total/mean", (-1).into())), of("total: `mean` is -1")),
        (Box::new(set("/events/2/total/mean", 1e300.into())), of("total: `mean` is 1000")),
        (
            Box::new(set("/events/2/total/mean", 1e14.into())),
            of("total: `mean` is 100000000000000"),
        ),
        (
            Box::new(set("/events/2/total/slowest/0/duration", (1_u64 << 46).into())),
            of("total: a duration in `slowest` exceeds `max`"),
        ),
        (
            Box::new(set("/events/2/total/slowest/0/duration", 0.into())),
            of("total: `slowest` is not in descending order: 0 and 7"),
        ),
        (
            Box::new(set("/events/2/total/interval/p50", json!([8, null]))),
            of("total: a quantile is not in its `interval`, or that is not from `min` to `max`: 8"),
        ),
        (
            Box::new(set("/events/1/failed/count", 0.into())),
            "event corrected: failed: `count` is 0".into(),
        ),
        (
            Box::new(set("/events/1/failed/slowest/0/outcome", "lost".into())),
            "unknown variant `lost`".into(),
        ),
    ]);
}

#[test]
fn a_wrong_histogram_is_refused() {
    let _turn = in_turn();
    let of = |text: &str| format!("event number: {text}");
    let histogram = |text: &str| of(&format!("total: `histogram`: {text}"));
    let max = u64::MAX;
    assert_refused(vec![
        (Box::new(remove("/events/2/total", "histogram")), of("total: `histogram` is missing")),
        (
            Box::new(set("/events/2/total/histogram/unit", "2^-40 s".into())),
            histogram("the unit is \"2^-40 s\", but must be \"1\""),
        ),
        (
            Box::new(set("/events/0/total/histogram/unit", "1".into())),
            "event limited: total: `histogram`: the unit is \"1\", but must be \"2^-40 s\"".into(),
        ),
        (
            Box::new(set("/events/2/total/histogram/scale", 9.into())),
            histogram("scale 9, lowest 0"),
        ),
        (Box::new(set("/events/2/total/histogram/octaves", 65.into())), histogram("scale 5")),
        (Box::new(set("/events/2/total/histogram/zero", 2.into())), histogram("the sum of all")),
        (
            Box::new(set("/events/2/total/histogram/zero", max.into())),
            histogram("the sum of all counts exceeds 2^64 - 1"),
        ),
        (
            Box::new(set("/events/2/total/histogram/buckets/1/0", 1_536.into())),
            histogram("the bucket 1536 is not in the range"),
        ),
        (
            Box::new(set("/events/2/total/histogram/buckets/0/0", max.into())),
            histogram("the bucket 18446744073709551615 is not in the range"),
        ),
        (
            Box::new(set("/events/2/total/histogram/buckets/0/1", 0.into())),
            histogram("the bucket 89 is empty"),
        ),
        (
            Box::new(set("/events/2/total/histogram/buckets", json!([[1439, 1], [1439, 1]]))),
            histogram("the bucket 1439 must be greater than the one before it"),
        ),
        (
            Box::new(set("/events/2/total/histogram/buckets/1/0", 1_500.into())),
            histogram("`max`, 35184372088832, is not in the last bucket"),
        ),
    ]);
}

#[test]
fn a_wrong_value_of_a_limit_is_refused() {
    let _turn = in_turn();
    assert_refused(vec![
        (
            Box::new(set("/sla/0/event", "nobody".into())),
            "limit of nobody: the report has no".into(),
        ),
        (Box::new(set("/sla/0/unit", "1".into())), "limit of limited: its `unit` is 1".into()),
        (Box::new(set("/sla/0/quantile", "p095".into())), "`quantile` is \"p095\"".into()),
        (Box::new(set("/sla/0/window", "1 min".into())), "`window` is \"1 min\"".into()),
        (Box::new(set("/sla/0/state", "fine".into())), "`state` is \"fine\"".into()),
        (Box::new(set("/sla/0/over", 9.into())), "`over` exceeds `count`: 9 and 2".into()),
        (Box::new(set("/sla/0/cleared", 9.into())), "`cleared` exceeds `raised`".into()),
        (Box::new(set("/sla/0/min_samples", "few".into())), "`min_samples` is \"few\"".into()),
        (Box::new(set("/sla/0/failed", 9.into())), "`failed` exceeds `over`: 9 and".into()),
        (
            Box::new(set("/sla/1/limit", 1_000_000.into())),
            "`limit` must be below a million, the share of all spans".into(),
        ),
        (Box::new(remove("/sla/0", "min_samples")), "`min_samples` is missing".into()),
        (Box::new(set("/sla/2/limit", 9.into())), "`limit` must be `window`".into()),
    ]);
}

#[test]
fn a_damaged_text_is_refused_with_the_place() {
    let _turn = in_turn();
    let text = specimen();
    for end in (0..text.len()).step_by(97).filter(|end| text.is_char_boundary(*end)) {
        let error = Report::from_json(&text[..end]).unwrap_err();
        assert!(matches!(error, ReportJsonError::Json { line, .. } if line <= 1), "{error}");
    }
    let deep = "[".repeat(100_000);
    for wrong in ["", "null", "[]", "{\"schema\":1}", &deep, &format!("{{\"schema\":{deep}")] {
        assert!(
            matches!(Report::from_json(wrong), Err(ReportJsonError::Json { .. })),
            "{wrong:.20}"
        );
    }
    let repeated = text.replacen('{', "{\"unix_ns\":1,", 1);
    let error = Report::from_json(&repeated).unwrap_err();
    assert!(error.to_string().contains("duplicate field `unix_ns`"), "{error}");
    let windows = text.replacen("\"5s\":", "\"1s\":", 1);
    let error = Report::from_json(&windows).unwrap_err();
    assert!(error.to_string().contains("the window 1s is not longer than the one"), "{error}");
    let long = text.replacen("\"ns\"", &format!("\"{}\"", "ö".repeat(1_000)), 1);
    let error = Report::from_json(&long).unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

/// Uses everything of a report that a text can influence.
fn use_all(report: &Report, other: &Report) {
    let _ = report.to_string();
    let _ = format!("{report:?}");
    for event in &report.events {
        let _ = report.family(&event.base_name);
        let windows = event.windows.iter().filter_map(|window| window.statistics.as_ref());
        for statistics in windows.chain(&event.total) {
            let _ = statistics.quantile(Quantile::from_ppm(777_777).unwrap());
            let _ = statistics.buckets().count();
        }
    }
    let _ = report.diff(other);
    let _ = other.diff(report);
    let _ = Report::merge([report, other]);
    if let Ok(merged) = Report::merge([other, report]) {
        assert_eq!(Report::from_json(&merged.to_json()), Ok(merged));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Numbers are replaced by others, also by contradictory ones. Whatever is read is written and
    /// read again without a change.
    #[test]
    fn a_changed_text_is_refused_or_used_without_a_panic(
        changes in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                prop_oneof![
                    (any::<u64>(), 0..64_u32)
                        .prop_map(|(number, shift)| (number >> shift).to_string()),
                    Just("null".to_owned()),
                    Just("\"\"".to_owned()),
                    Just("-1".to_owned()),
                    Just("1e999".to_owned()),
                ],
            ),
            1..4,
        ),
        is_in_schema_1: bool,
    ) {
        static TEXT: std::sync::OnceLock<[String; 2]> = std::sync::OnceLock::new();
        let [old, text] = TEXT.get_or_init(|| {
            let _turn = in_turn();
            let text = specimen();
            [in_schema_1(&Report::from_json(&text).unwrap()), text]
        });
        let mut changed = if is_in_schema_1 { old.clone() } else { text.clone() };
        for (place, new) in changes {
            let is_digit = |index: &usize| changed.as_bytes()[*index].is_ascii_digit();
            let digits: Vec<_> = (0..changed.len()).filter(is_digit).collect();
            let start = digits[place.index(digits.len())];
            let length =
                changed.as_bytes()[start..].iter().take_while(|b| b.is_ascii_digit()).count();
            changed.replace_range(start..start + length, &new);
        }
        if let Ok(report) = Report::from_json(&changed) {
            let again = Report::from_json(&report.to_json());
            prop_assert_eq!(&again, &Ok(report.clone()));
            use_all(&report, &Report::from_json(text).unwrap());
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "[\\[\\]{}\",:0-9a-z]{0,60}") {
        prop_assert!(Report::from_json(&text).is_err());
    }
}

#[test]
fn an_unknown_mean_of_earlier_versions_is_read() {
    let _turn = in_turn();
    let mut json = value();
    for key in ["mean", "stddev"] {
        json["events"][2]["total"][key] = 281_474_976_710_656.0_f64.into();
    }
    let read = Report::from_json(&json.to_string()).unwrap();
    let summary = &read.events[2].total.as_ref().unwrap().summary;
    assert_eq!((summary.mean, summary.stddev), (None, None));
}
