//! Checks what a collector shows of failed spans, and limits on the error rate.

mod support;

use core::time::Duration;
use std::sync::{Arc, Mutex};

use support::{in_turn, spin};
use tailwatch::{
    Collector, CoveredOutcomes, EventReport, LimitKind, Outcome, Report, SlaState, SortBy,
    Threshold, Trading, events, measure, measure_tagged, record_duration,
};

const MINUTE: Duration = Duration::from_mins(1);

events! {
    /// Events that declare what happens to their failed spans.
    enum Declared {
        /// At most 10 % may fail.
        Limited = 50 { max_error_rate: Some(&Threshold::error_rate(100_000)) },
        /// Its statistics cover spans of every outcome.
        Covered = 51 { outcomes: CoveredOutcomes::Any },
    }
}

fn end(event: Declared, outcome: Outcome) {
    measure(event).end(outcome);
}

fn event(report: &Report, event: impl tailwatch::Event) -> &EventReport {
    report.event(event).expect("the collector has the event")
}

#[test]
fn too_many_failed_spans_violate_the_limit_and_few_do_not() {
    let _turn = in_turn();
    let changes: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&changes);
    let collector = Collector::builder()
        .events(Declared::ALL)
        .on_sla_change(move |change| seen.lock().unwrap().push(change.limit.to_string()))
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    (0..9).for_each(|_| end(Declared::Limited, Outcome::Ok));
    end(Declared::Limited, Outcome::Error);
    collector.flush();
    assert!(!collector.breached(Declared::Limited));
    assert_eq!(collector.sla_violations(MINUTE).unwrap(), []);
    end(Declared::Limited, Outcome::Cancelled);
    collector.flush();
    assert!(collector.breached(Declared::Limited));
    let [violated] = &collector.sla_violations(MINUTE).unwrap()[..] else { panic!("one limit") };
    assert_eq!((violated.kind, violated.quantile), (LimitKind::Errors, None));
    assert_eq!((violated.limit, violated.over, violated.count), (100_000, 2, 11));
    // 2 of 11, rounded up.
    assert_eq!(violated.observed, Some(181_819));
    let message = "limited error rate over 60 s is 18.1819 % (limit 10 %), 2 of 11 spans failed";
    assert_eq!(violated.to_string(), message);
    assert!(collector.explain().contains("limited error rate over 60 s: at most 10 %"));
    collector.stop();
    assert_eq!(*changes.lock().unwrap(), [message]);
    let json: serde_json::Value = serde_json::from_str(&collector.report().to_json()).unwrap();
    let limit = &json["sla"][0];
    assert_eq!((&limit["quantile"], &limit["limit"]), (&"errors".into(), &100_000.into()));
}

#[test]
fn an_event_of_which_every_span_fails_has_slowest_spans_and_comes_first_in_the_table() {
    let _turn = in_turn();
    let collector = Collector::builder().start().unwrap();
    collector.register_thread("main").unwrap();
    for order in [7, 8] {
        let span = measure_tagged(Trading::OrderPlacement, order);
        spin(Duration::from_micros(300));
        span.end(Outcome::Error);
    }
    record_duration(Trading::GcPause, Duration::from_nanos(50));
    collector.stop();
    assert_eq!(collector.total(Trading::OrderPlacement).unwrap(), None);
    let slowest = collector.slowest(Trading::OrderPlacement, MINUTE).unwrap();
    assert_eq!(slowest.len(), 2);
    assert!(slowest.iter().all(|slow| slow.outcome == Some(Outcome::Error)));
    assert!(slowest[0].duration >= slowest[1].duration && slowest[1].duration >= 300_000);
    let report = collector.report();
    assert_eq!(event(&report, Trading::OrderPlacement).slowest(), slowest);
    let table = report.table().sorted_by(SortBy::TotalTime).with_slowest().to_string();
    let first = table.lines().nth(3).unwrap();
    assert!(first.starts_with("order_placement "), "{table}");
    assert!(table.contains("failed order_placement: 2 error, 0 cancelled, beside 0 ok; took "));
    assert!(table.contains("slowest order_placement: ") && table.contains(" (error) at "));
}

#[test]
fn durations_without_a_span_do_not_fail() {
    let _turn = in_turn();
    let collector = Collector::builder().events(Declared::ALL).start().unwrap();
    collector.register_thread("main").unwrap();
    record_duration(Declared::Limited, Duration::from_millis(10));
    end(Declared::Limited, Outcome::Error);
    collector.stop();
    let report = collector.report();
    let limited = event(&report, Declared::Limited);
    assert_eq!(limited.total.as_ref().unwrap().summary.count, 1);
    let failed = limited.failed.as_ref().unwrap();
    assert_eq!(failed.summary.count, 1);
    assert!(failed.slowest.iter().all(|slow| slow.outcome == Some(Outcome::Error)));
    // 1 of 2, because the duration counts as one that did not fail.
    let limit = report.sla.iter().find(|limit| limit.event == limited.name).unwrap();
    assert_eq!((limit.state, limit.over, limit.count), (SlaState::Violated, 1, 2));
}

#[test]
fn statistics_of_every_outcome_are_declared_or_set_for_all_events() {
    let _turn = in_turn();
    for (set, limited) in [(CoveredOutcomes::Ok, 1), (CoveredOutcomes::Any, 2)] {
        let collector = Collector::builder().events(Declared::ALL).outcomes(set).start().unwrap();
        collector.register_thread("main").unwrap();
        for of in [Declared::Limited, Declared::Covered] {
            end(of, Outcome::Ok);
            end(of, Outcome::Cancelled);
        }
        collector.stop();
        let report = collector.report();
        for (of, count) in [(Declared::Limited, limited), (Declared::Covered, 2)] {
            let found = event(&report, of);
            assert_eq!(found.total.as_ref().unwrap().summary.count, count, "{of:?} {set:?}");
            assert_eq!(found.failed.as_ref().unwrap().summary.count, 1);
            let expected = if count == 2 { CoveredOutcomes::Any } else { CoveredOutcomes::Ok };
            assert_eq!(found.covered, expected);
        }
    }
}
