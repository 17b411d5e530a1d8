//! The table of a report, in particular of one with many events.

#[path = "table/layout.rs"]
mod layout;
mod support;

use core::time::Duration;

use support::{current_tid, in_thread, in_turn};
use tailwatch::{
    Collector, EventId, EventInfo, Limit, Report, SlaReport, SlaState, SortBy, Threshold, Token,
    Trading, Unit, WindowSpec, measure_tagged, record_duration, record_start, record_value, time,
};

/// The number of declared events. All of those divisible by 6 get samples.
const EVENTS: u16 = 600;

fn id(number: u16) -> EventId {
    EventId::new(number).unwrap()
}

/// Returns the name of an event, all of which have the same length.
fn name(number: u16) -> String {
    format!("event_{number:03}")
}

/// Declares the events. Those divisible by 60 are plain numbers.
fn declare() -> Vec<EventInfo> {
    let info = |number: u16| EventInfo {
        unit: if number.is_multiple_of(60) { Unit::One } else { Unit::Time },
        ..EventInfo::new(id(number), name(number).leak())
    };
    (1..=EVENTS).map(info).collect()
}

/// What was recorded of an event: as many samples as the first number, each as large as the second.
fn samples(number: u16) -> (u64, u64) {
    (u64::from(number % 5 + 1), u64::from(number) * 7_919 % 1_000 + 1)
}

/// Starts a collector with the events, records samples of every sixth, and violates the limits of
/// these events, each with an open span.
fn report_with_violated(violated: &[u16]) -> Report {
    let collector =
        Collector::builder().events(&declare()).windows(&[WindowSpec::SECOND]).manual_drain();
    let collector = collector.start().unwrap();
    collector.register_thread("main").unwrap();
    for number in (6..=EVENTS).step_by(6) {
        let (count, value) = samples(number);
        for _ in 0..count {
            if number.is_multiple_of(60) {
                record_value(id(number), value);
            } else {
                record_duration(id(number), Duration::from_micros(value));
            }
        }
    }
    let open: Vec<Token> = violated
        .iter()
        .map(|number| {
            let limit = Threshold::duration("p1".parse().unwrap(), Duration::from_nanos(1));
            collector.set_limits(id(*number), &[Limit::Quantile(limit)]).unwrap();
            record_start(id(*number))
        })
        .collect();
    collector.flush();
    // Until the spans are older than the limit of 1 ns.
    let is_violated = |limit: &&SlaReport| limit.state == SlaState::Violated;
    while collector.report().sla.iter().filter(is_violated).count() < violated.len() {
        collector.flush();
    }
    let report = collector.report();
    drop(open);
    report
}

/// Returns the names of the events in the table, from the top.
fn names(table: &str) -> Vec<&str> {
    let words = table.lines().filter_map(|line| line.split_whitespace().next());
    words.filter(|word| word.starts_with("event_")).collect()
}

/// Returns how many events the table says are cut, and how many were not seen.
fn rest(table: &str) -> (usize, usize) {
    let cut = table.lines().find_map(|line| line.strip_prefix("… and "));
    let cut = cut.map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap());
    let Some(line) = table.lines().find(|line| line.starts_with("not seen: ")) else {
        return (cut, 0);
    };
    let more = line
        .split_once(" and ")
        .map_or(0, |(_, more)| more.strip_suffix(" more").unwrap().parse().unwrap());
    (cut, line.matches("event_").count() + more)
}

/// Returns the numbers of the events with samples, those with the largest `key` first. The key of
/// plain numbers is `None`.
fn sorted(key: impl Fn(u16) -> Option<u64>) -> Vec<u16> {
    let mut numbers: Vec<u16> = (6..=EVENTS).step_by(6).collect();
    numbers.sort_by_key(|number| core::cmp::Reverse(key(*number)));
    numbers
}

fn total_time(number: u16) -> Option<u64> {
    let (count, value) = samples(number);
    (!number.is_multiple_of(60)).then_some(count * value)
}

#[test]
fn a_large_report_shows_violated_events_and_then_those_that_took_the_most_time() {
    let _turn = in_turn();
    // Among them is one that took little time, and one without any sample.
    let violated = [7, 12, 594];
    let report = report_with_violated(&violated);
    let table = report.to_string();
    let mut first = sorted(total_time);
    first.retain(|number| [12, 594].contains(number));
    let others = sorted(total_time).into_iter().filter(|number| !violated.contains(number));
    let expected: Vec<_> = first.into_iter().chain([7]).chain(others).take(20).map(name).collect();
    assert_eq!(names(&table), expected);
    // 20 of the 101 events with a row are shown. The others were not seen.
    assert_eq!(rest(&table), (81, 499), "{table}");
    assert!(table.lines().count() < 60, "{table}");
    assert_eq!(table.matches("\nviolated: event_").count(), 3, "{table}");
    assert_eq!(table, report.table().to_string());
}

#[test]
fn violated_events_are_never_cut() {
    let _turn = in_turn();
    let violated: Vec<u16> = (1..=EVENTS).step_by(20).collect();
    let report = report_with_violated(&violated);
    let all = violated.iter().copied().map(name);
    for table in [report.table(), report.table().top(0), report.table().top(30)] {
        let table = table.sorted_by(SortBy::Declaration).to_string();
        assert_eq!(names(&table), all.clone().collect::<Vec<_>>());
    }
    for order in [SortBy::TotalTime, SortBy::Count, SortBy::P99, SortBy::Max] {
        let table = report.table().sorted_by(order).top(31).to_string();
        let mut shown = names(&table);
        assert_eq!(shown.len(), 31);
        shown.truncate(30);
        shown.sort_unstable();
        assert_eq!(shown, all.clone().collect::<Vec<_>>(), "they come first");
    }
    assert_eq!(report.to_string().matches("\nviolated: event_").count(), 30);
}

#[test]
fn a_table_is_sorted_cut_and_filtered() {
    let _turn = in_turn();
    let report = report_with_violated(&[]);
    let of = |numbers: &[u16]| numbers.iter().copied().map(name).collect::<Vec<_>>();

    let table = report.table().top(usize::MAX).to_string();
    assert_eq!(names(&table), of(&sorted(total_time)));
    assert_eq!(rest(&table), (0, 500));

    let table = report.table().sorted_by(SortBy::Declaration).top(3).to_string();
    assert_eq!(names(&table), of(&[6, 12, 18]));

    let by_count = sorted(|number| Some(samples(number).0));
    let table = report.table().sorted_by(SortBy::Count).top(30).to_string();
    assert_eq!(names(&table), of(&by_count[..30]));

    // Plain numbers are sorted as well, behind all others.
    let is_plain = |number: &u16| number.is_multiple_of(60);
    let (plain, times): (Vec<_>, Vec<_>) =
        sorted(|number| Some(samples(number).1)).iter().partition(|number| is_plain(number));
    for order in [SortBy::P99, SortBy::Max] {
        let table = report.table().sorted_by(order).top(usize::MAX).to_string();
        assert_eq!(names(&table), of(&[&times[..], &plain[..]].concat()), "{order:?}");
    }

    // The events that are filtered out are not counted.
    let table = report.table().filter(|event| event.id.get() <= 120);
    let table = table.top(1).to_string();
    assert_eq!(names(&table).len(), 1);
    assert_eq!(rest(&table), (19, 100), "{table}");
    let table = report.table().filter(|event| event.id.get() < 3).top(1).to_string();
    assert_eq!((names(&table).len(), rest(&table)), (0, (0, 2)));
}

#[test]
fn a_small_report_has_every_event_that_was_seen_in_order() {
    let _turn = in_turn();
    let report = report_with_violated(&[20]);
    let of = |numbers: &[u16]| numbers.iter().copied().map(name).collect::<Vec<_>>();
    let table = report.table().filter(|event| event.id.get() <= 30);
    assert_eq!(names(&table.to_string()), of(&[20, 6, 12, 18, 24, 30]), "violated ones come first");
    assert_eq!(rest(&table.to_string()), (0, 24));
    let table = table.sorted_by(SortBy::Declaration).to_string();
    assert_eq!(names(&table), of(&[6, 12, 18, 20, 24, 30]));
    // 30 events were seen, and then 31.
    let table = report.table().filter(|event| event.id.get() < 180).to_string();
    assert_eq!((names(&table).len(), rest(&table).0), (30, 0));
    let table = report.table().filter(|event| event.id.get() <= 180).to_string();
    assert_eq!((names(&table).len(), rest(&table).0), (20, 11));
}

#[test]
fn the_line_about_sampling_names_a_few_events() {
    let _turn = in_turn();
    let collector = Collector::builder().events(&declare()).start().unwrap();
    for number in 1..=30 {
        collector.set_sampling_rate(id(number), 0.5).unwrap();
    }
    collector.flush();
    let table = collector.report().to_string();
    let line = table.lines().find(|line| line.starts_with("sampled: ")).unwrap();
    assert!(line.starts_with("sampled: event_001 1 in 2, event_002 1 in 2, "), "{line}");
    let (named, more) = line.split_once(" and ").unwrap();
    let more: usize = more.strip_suffix(" more").unwrap().parse().unwrap();
    assert_eq!(named.matches("event_").count() + more, 30, "{line}");
    assert!((80..=100).contains(&line.len()), "{line}");
}

#[test]
fn only_threads_that_share_a_name_are_shown_with_their_number() {
    let _turn = in_turn();
    let collector = Collector::builder().manual_drain().start().unwrap();
    collector.install().unwrap();
    let record = |event| {
        move || {
            drop(measure_tagged(event, 41));
            current_tid()
        }
    };
    let workers = [Trading::OrderFill, Trading::OrderPlacement]
        .map(|event| in_thread("worker", record(event)));
    in_thread("alone", record(Trading::OrderFill));
    in_thread("alone-too", || time(Trading::GcPause, || ()));
    collector.stop();
    let report = collector.report();
    let table = report.table().top(8).with_slowest().to_string();
    let slowest: Vec<_> = table.lines().filter(|line| line.starts_with("slowest ")).collect();
    assert_eq!(slowest.len(), 4, "{table}");
    for (event, tid) in ["order_fill", "order_placement"].iter().zip(workers) {
        let label = tid.map_or_else(|| "worker".to_owned(), |tid| format!("worker#{tid}"));
        let is_line = |line: &&str| {
            line.starts_with(&format!("slowest {event}: "))
                && line.ends_with(&format!("Z, tag 41, thread {label}"))
        };
        assert_eq!(slowest.iter().copied().filter(is_line).count(), 1, "{table}");
    }
    assert!(slowest.iter().any(|line| line.ends_with("Z, tag 41, thread alone")), "{table}");
    assert!(slowest.iter().any(|line| line.ends_with("Z, thread alone-too")), "{table}");
    let fills = report.table().filter(|event| event.name == "order_fill").with_slowest();
    assert_eq!(fills.to_string().matches("\nslowest ").count(), 2, "of the events that are shown");
    assert_eq!(report.to_string().matches("\nslowest ").count(), 0);
}
