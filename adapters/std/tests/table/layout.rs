//! How the table of a report looks: its columns, rows, marks and numbers, at every width.

use core::time::Duration;
use std::{env, fs, path::Path};

use proptest::prelude::*;
use tailwatch::{
    Accuracy, ClockSource, Collector, EventId, EventInfo, FixedPoint, InFlight, Limit, Quantile,
    Report, SlaState, SortBy, Summary, Threshold, Unit, WindowSpec, record_duration, record_value,
};

use crate::support::in_turn;

/// The names of the columns with numbers, in the order of the table.
const NUMBERS: [&str; 10] =
    ["rate/s", "count", "errors", "min", "mean", "p50", "p95", "p99", "p99.9", "max"];

/// The number of windows of the reports, and of the total.
const SCOPES: usize = 4;

/// The numbers of a row: count, least and largest sample, and four quantiles.
type Numbers = [u64; 7];

const LONG: &str = "order_placement{venue=\"binance\",symbol=\"BTCUSDT\",side=\"buy\"}";

/// Returns a report with a sample of each of these events in each scope, whose numbers a test then
/// changes.
fn report_of(events: &[(&'static str, Unit)]) -> Report {
    let _turn = in_turn();
    let events: Vec<EventInfo> = (1..)
        .zip(events)
        .map(|(number, (name, unit))| EventInfo {
            unit: *unit,
            ..EventInfo::new(EventId::new(number).unwrap(), name)
        })
        .collect();
    let seconds = [1, 5, 60]
        .map(|seconds| WindowSpec { length: Duration::from_secs(seconds), ..WindowSpec::SECOND });
    let collector = Collector::builder().events(&events).windows(&seconds).manual_drain();
    let collector = collector.start().unwrap();
    collector.register_thread("main").unwrap();
    for event in &events {
        match event.unit {
            Unit::Time => record_duration(event.id, Duration::from_micros(1)),
            _ => record_value(event.id, 1),
        }
        let limit = Threshold::duration(Quantile::P99, Duration::from_millis(5));
        collector.set_limits(event.id, &[Limit::Quantile(limit)]).unwrap();
    }
    collector.flush();
    let mut report = collector.report();
    report.unix_ns = 1_796_035_513_302_218_021;
    report.uptime_ns = 15_204_123_456;
    let clock = report.clock.as_mut().unwrap();
    (clock.source, clock.ordered, clock.hz) = (ClockSource::Tsc, true, 2_596_104_000);
    report
}

/// Returns the summaries of an event, the total last.
fn summaries(report: &mut Report, event: usize) -> [&mut Summary; SCOPES] {
    let event = &mut report.events[event];
    let windows = event.windows.iter_mut().map(|window| window.statistics.as_mut().unwrap());
    let all: Vec<_> =
        windows.chain(&mut event.total).map(|statistics| &mut statistics.summary).collect();
    all.try_into().unwrap_or_else(|_| panic!("three windows and the total"))
}

/// Sets all numbers of a summary. The mean is that of the extremes.
fn set(summary: &mut Summary, seconds: f64, numbers: Numbers) {
    let [count, min, max, p50, p95, p99, p99_9] = numbers;
    (summary.count, summary.estimated_total) = (count, count);
    (summary.min, summary.max) = (min, max);
    (summary.p50, summary.p95, summary.p99, summary.p99_9) = (p50, p95, p99, p99_9);
    summary.mean = Some(FixedPoint::ratio(min / 2 + max / 2, 1));
    summary.covered = Duration::from_secs_f64(seconds).as_nanos().try_into().unwrap();
    (summary.accuracy, summary.complete) = (Accuracy::Exact, true);
}

/// Returns a report with something of everything.
fn fixed_report() -> Report {
    let mut report = report_of(&[
        ("candle_processing", Unit::Time),
        ("event_bus_handle", Unit::Time),
        ("order_placement", Unit::Time),
        ("queue_backlog", Unit::One),
        ("connect", Unit::Time),
        ("gc_pause", Unit::Time),
        ("order_fill", Unit::Time),
        ("order_reject", Unit::Time),
    ]);
    let candles = [9, 1_893, 93_600, 3_455, 93_600, 93_600, 93_600];
    for (summary, seconds) in summaries(&mut report, 0).into_iter().zip([1.0, 5.0, 15.2, 15.2]) {
        set(summary, seconds, candles);
    }
    let handled = [
        (1.0, [7_423, 50, 94_800, 150, 697, 2_058, 6_627], 13_456),
        (5.0, [37_939, 50, 97_412, 160, 697, 2_293, 6_077], 12_698),
        (15.2, [41_885, 50, 97_412, 160, 697, 2_293, 6_346], 12_698),
        (15.2, [41_885, 50, 97_412, 160, 697, 2_293, 6_346], 12_698),
    ];
    for (summary, (seconds, numbers, ppm)) in summaries(&mut report, 1).into_iter().zip(handled) {
        set(summary, seconds, numbers);
        summary.accuracy = Accuracy::WithinPpm(ppm);
    }
    let orders = [
        (1.0, [21, 3_036, 1_204_000_000, 16_401, 7_001_000, 1_204_000_000, 1_204_000_000]),
        (5.0, [21, 3_036, 1_204_000_000, 16_401, 7_001_000, 1_204_000_000, 1_204_000_000]),
        (15.2, [1_480, 2_911, 1_204_000_000, 16_399, 900_123, 10_499_000, 1_204_000_000]),
        (15.2, [1_480, 2_911, 1_204_000_000, 16_399, 900_123, 10_499_000, 1_204_000_000]),
    ];
    for (summary, (seconds, numbers)) in summaries(&mut report, 2).into_iter().zip(orders) {
        set(summary, seconds, numbers);
        summary.complete = false;
    }
    let orders = &mut report.events[2];
    (orders.outcomes.ok, orders.outcomes.error, orders.outcomes.cancelled) = (1_480, 9, 4);
    // Rejections, and a time-out that is older than the shorter windows.
    let failed = orders.total.clone().map(Box::new);
    orders.failed.clone_from(&failed);
    orders.windows[2].failed = failed;
    for failed in [&mut orders.failed, &mut orders.windows[2].failed] {
        let summary = &mut failed.as_mut().unwrap().summary;
        set(summary, 15.2, [13, 60, 5_000_000_000, 63, 71, 5_000_000_000, 5_000_000_000]);
    }
    for (summary, seconds) in summaries(&mut report, 3).into_iter().zip([1.0, 5.0, 15.2, 15.2]) {
        set(summary, seconds, [152_011, 0, 4_096, 3, 17, 1_020, 4_001]);
    }
    // It happened once, more than five seconds ago.
    for (summary, seconds) in summaries(&mut report, 4).into_iter().zip([1.0, 5.0, 15.2, 15.2]) {
        let once = 80_412_007;
        set(summary, seconds, [1, once, once, once, once, once, once]);
    }
    for (event, ok) in [(0, 9), (1, 41_885), (4, 1)] {
        report.events[event].outcomes.ok = ok;
    }
    report.events[4].windows[0].statistics = None;
    report.events[4].windows[1].statistics = None;
    for event in &mut report.events[5..] {
        event.total = None;
        event.windows.iter_mut().for_each(|window| window.statistics = None);
        event.in_flight = InFlight::default();
    }
    let states = [SlaState::Ok, SlaState::Ok, SlaState::Violated, SlaState::Unknown];
    report.sla.truncate(states.len());
    for (limit, state) in report.sla.iter_mut().zip(states) {
        limit.state = state;
    }
    // The library makes such a name of an event with labels.
    report.events[2].name = LONG.into();
    let violated = &mut report.sla[2];
    violated.event = LONG.into();
    (violated.over, violated.count, violated.observed) = (31, 1_480, Some(10_499_000));
    (violated.unit, violated.limit) = (Unit::Time, 5_000_000);
    let health = &mut report.health;
    (health.produced, health.delivered, health.overwritten) = (1_214_297, 1_214_188, 100);
    (health.pending, health.unregistered, health.late) = (9, 0, 2);
    health.sampling = [("order_fill".to_owned(), 0.125)].into();
    report
}

/// Returns the line of the titles, and those of the rows.
fn rows(table: &str) -> (&str, Vec<&str>) {
    let mut lines = table.lines().skip_while(|line| !line.starts_with("event ")).take_while({
        let mut rules = 0;
        move |line| {
            rules += usize::from(line.starts_with('─'));
            rules < 2
        }
    });
    let titles = lines.next().unwrap();
    (titles, lines.skip(1).collect())
}

/// Returns the cell of a row below a title, or `None` if the table has no such column.
fn cell(titles: &str, row: &str, title: &str) -> Option<String> {
    let mut ends = vec![titles.find("window")? + "window".len()];
    for word in titles.split_whitespace().skip(2) {
        let from = *ends.last()?;
        let end = from + titles[from..].find(&format!("  {word}"))? + 2 + word.len();
        ends.push(end);
        if word == title {
            let begin = ends[ends.len() - 2];
            let text = row.chars().skip(begin).take(end - begin).collect::<String>();
            return Some(text.trim().to_owned());
        }
    }
    None
}

/// Returns the number of characters of a line.
fn width(line: &str) -> usize {
    line.chars().count()
}

/// Returns the number that a cell shows, and half of its last digit, both in thousandths.
fn parse(cell: &str) -> (f64, f64) {
    let text = cell.trim_start_matches(['^', '>', '~', '*']);
    let units = [
        (" ns", 1.0),
        (" µs", 1e3),
        (" ms", 1e6),
        (" s", 1e9),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("", 1.0),
    ];
    let (digits, unit) = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(unit)?.replace(',', ""), size)))
        .unwrap();
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let half = unit * 0.5 / 10_f64.powi(i32::try_from(decimals).unwrap());
    (digits.parse::<f64>().unwrap_or_else(|_| panic!("{cell:?} is a number")) * unit, half)
}

#[test]
fn the_table_of_a_fixed_report_is_the_one_that_is_kept() {
    let report = fixed_report();
    for width in [80, 120] {
        let table = format!("{}\n", report.table().width(width));
        let name = format!("table_{width}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
        if env::var_os("REWRITE_TABLES").is_some() {
            fs::write(&path, &table).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap();
        assert!(table == kept, "{path:?} differs, REWRITE_TABLES=1 replaces it:\n{table}");
    }
}

#[test]
fn no_line_is_wider_than_the_table_and_numbers_end_at_the_same_place() {
    let mut report = fixed_report();
    for columns in [0, 40, 41, 60, 80, 100, 120, 200] {
        for all_windows in [false, true] {
            let table = report.table().width(columns).with_slowest();
            let table = if all_windows { table.all_windows() } else { table }.to_string();
            for line in table.lines() {
                assert!(width(line) <= columns.max(40), "{columns}: {line:?}\n{table}");
                assert_eq!(line, line.trim_end());
            }
            let (titles, rows) = rows(&table);
            assert!(titles.contains(" p99"), "{table}");
            let cells = |title| rows.iter().filter_map(move |row| cell(titles, row, title));
            let numbers: Vec<_> = NUMBERS.into_iter().flat_map(cells).collect();
            for number in numbers.iter().filter(|number| !number.is_empty()) {
                assert!(parse(number).0 >= 0.0, "a whole number in its column:\n{table}");
            }
            assert!(cells("p99").any(|cell| cell == "~2.29 µs"), "{table}");
            assert!(!table.contains('\x1b'), "{table:?}");
        }
    }
    report.events.truncate(2);
    report.events.iter_mut().for_each(|event| event.name = "a".into());
    let (table, unlimited) =
        (report.table().width(110).to_string(), report.table().width(usize::MAX));
    assert!(rows(&table).0.starts_with("event  window "), "{table}");
    assert_eq!(rows(&unlimited.to_string()).0, rows(&table).0, "all columns fit");
}

#[test]
fn columns_are_left_out_from_the_least_important_one_on_and_names_are_cut_in_the_middle() {
    let report = fixed_report();
    let at = |columns| {
        let table = report.table().width(columns).to_string();
        let titles = rows(&table).0.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        (titles, table)
    };
    // From the most important one on, as the docs of `ReportTable` list them.
    let order = ["p99", "limit", "max", "p50", "count", "errors", "p99.9", "rate/s"];
    let order = [&order[..], &["p95", "mean", "min"]].concat();
    let mut counts = Vec::new();
    for columns in 40..220 {
        let (titles, table) = at(columns);
        let shown = titles.len() - 2;
        assert_eq!(titles[..2], ["event", "window"]);
        assert!(order[..shown].iter().all(|title| titles.iter().any(|shown| shown == title)));
        // A name is cut, or all of it is there.
        let name = rows(&table).1[0].split("  ").next().unwrap();
        let (begin, end) = name.split_once('…').unwrap_or((name, ""));
        assert!(LONG.starts_with(begin) && LONG.ends_with(end), "{table}");
        assert!(width(name) >= 12 && (name == LONG || width(name) >= columns / 5), "{table}");
        if shown > 8 {
            assert_eq!(name, LONG, "no name is cut for these columns:\n{table}");
        }
        counts.push(shown);
    }
    assert_eq!((counts[0], counts.last()), (2, Some(&order.len())));
    assert_eq!(rows(&at(usize::MAX).1).1[0].split("  ").next(), Some(LONG));
}

#[test]
fn the_state_of_a_limit_is_ok_only_if_that_of_all_limits_is() {
    let mut report = fixed_report();
    let states = [SlaState::Unknown, SlaState::Ok, SlaState::Violated];
    let limit = report.sla[0].clone();
    for (one, other) in states.into_iter().flat_map(|one| states.map(|other| (one, other))) {
        report.sla = vec![limit.clone(), limit.clone()];
        (report.sla[0].state, report.sla[1].state) = (one, other);
        for columns in 40..140 {
            let table = report.table().width(columns).to_string();
            let (titles, rows) = rows(&table);
            let row = rows.iter().find(|row| row.starts_with("candle")).unwrap();
            let expected = match (one, other) {
                (SlaState::Violated, _) | (_, SlaState::Violated) => "VIOLATED",
                (SlaState::Ok, SlaState::Ok) => "ok",
                _ => "?",
            };
            assert_eq!(cell(titles, row, "limit").as_deref(), Some(expected), "{table}");
            let explains = table.replace("\n  ", " ").contains("? not judged yet");
            assert_eq!(explains, expected == "?", "{table}");
        }
    }
    report.sla.clear();
    let table = report.table().to_string();
    assert!(!rows(&table).0.contains("limit"), "{table}");
}

#[test]
fn the_state_of_a_limit_is_in_the_row_that_shows_its_window() {
    let mut report = fixed_report();
    let mut limits = [1, 5, 60, 10].map(|seconds| {
        let limit = report.sla.iter().find(|limit| limit.event == "event_bus_handle").unwrap();
        let mut limit = limit.clone();
        (limit.window, limit.state) = (Duration::from_secs(seconds), SlaState::Ok);
        limit
    });
    for (violated, expected) in [
        (0, [Some("VIOLATED"), Some("ok"), Some("ok")]),
        (1, [Some("ok"), Some("VIOLATED"), Some("ok")]),
        // The total stands for the 60 s before it.
        (2, [Some("ok"), Some("ok"), Some("VIOLATED")]),
        // The report has no window of 10 s.
        (3, [Some("VIOLATED"), Some("ok"), Some("ok")]),
    ] {
        for (number, limit) in limits.iter_mut().enumerate() {
            limit.state = if number == violated { SlaState::Violated } else { SlaState::Ok };
        }
        report.sla = limits.to_vec();
        let table = report.table().filter(|event| event.name == "event_bus_handle").to_string();
        let (titles, rows) = rows(&table);
        let found: Vec<_> = rows.iter().map(|row| cell(titles, row, "limit")).collect();
        let found: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, expected, "{table}");
    }
}

#[test]
fn only_violations_have_colours_and_only_on_request() {
    let mut report = fixed_report();
    let table = report.table().colours(true).to_string();
    let red: Vec<_> = table.lines().filter(|line| line.contains('\x1b')).collect();
    assert_eq!(red.len(), 2, "{table}");
    assert!(red[0].ends_with("\x1b[1;31mVIOLATED\x1b[0m"), "{table:?}");
    assert!(red[1].starts_with("\x1b[1;31mviolated:\x1b[0m "), "{table:?}");
    let plain = table.replace("\x1b[1;31m", "").replace("\x1b[0m", "");
    assert_eq!(plain, report.table().to_string());
    assert_eq!(report.table().colours(true).colours(false).to_string(), plain);
    // The standard input of a test is no terminal, nor is a file.
    let file = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert_eq!(report.table().for_terminal(&file).to_string(), plain);
    report.sla.iter_mut().for_each(|limit| limit.state = SlaState::Ok);
    assert!(!report.table().colours(true).to_string().contains('\x1b'));
}

#[test]
fn a_window_with_the_samples_of_the_next_longer_one_has_no_row() {
    let mut report = report_of(&[("order_fill", Unit::Time)]);
    let scopes = |report: &Report| {
        let table = report.table().to_string();
        let rows = rows(&table).1;
        let scopes: Vec<_> = rows.iter().map(|row| row[10..].trim_start()).collect();
        scopes.iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let numbers = [5, 10, 60, 20, 30, 40, 50];
    for different in 0..3 {
        for number in 0..numbers.len() {
            for summary in summaries(&mut report, 0) {
                set(summary, 1.0, numbers);
            }
            let mut changed = numbers;
            changed[number] -= 1;
            set(summaries(&mut report, 0)[different], 1.0, changed);
            // The window, the next shorter one if there is one, and the total or a longer window.
            let expected: &[&str] = match different {
                0 => &["1s", "total"],
                1 => &["1s", "5s", "total"],
                _ => &["5s", "60s", "total"],
            };
            assert_eq!(scopes(&report), expected, "{different} {number}");
        }
    }
    for summary in summaries(&mut report, 0) {
        set(summary, 1.0, numbers);
    }
    assert_eq!(scopes(&report), ["total"]);
    assert_eq!(rows(&report.table().all_windows().to_string()).1.len(), SCOPES);
    // Windows without a sample are alike, and differ from the others.
    report.events[0].windows[..2].iter_mut().for_each(|window| window.statistics = None);
    assert_eq!(scopes(&report), ["5s", "total"]);
    let table = report.table().to_string();
    let (titles, lines) = rows(&table);
    assert_eq!(cell(titles, lines[0], "count").as_deref(), Some("0"), "{table}");
    let explanation = "a missing row is the same as the row below it";
    assert!(table.replace("\n  ", " ").contains(explanation), "{table}");
    assert!(!report.table().all_windows().to_string().contains("missing row"));
}

#[test]
fn the_legend_explains_the_marks_of_the_rows() {
    let mut report = report_of(&[("one", Unit::Time), ("other", Unit::Time)]);
    assert!(!report.to_string().contains(['~', '*']), "{report}");
    summaries(&mut report, 1)[3].accuracy = Accuracy::WithinPpm(13_401);
    summaries(&mut report, 0)[3].accuracy = Accuracy::WithinPpm(10_900);
    let table = report.to_string();
    assert!(table.contains("\n~ estimated within 1.35 %, others exact"), "rounded up: {table}");
    let table = report.table().filter(|event| event.name == "one").to_string();
    assert!(table.contains("\n~ estimated within 1.09 %"), "that of the rows: {table}");
    summaries(&mut report, 1)[3].accuracy = Accuracy::WithinPpm(u32::MAX);
    assert!(report.to_string().contains("\n~ estimated with unknown error"), "{report}");
    summaries(&mut report, 1)[3].complete = false;
    let table = report.to_string();
    assert!(table.contains("* incomplete (lost or sampled)") && table.contains(" *1 "), "{table}");
}

#[test]
fn a_quantile_that_rests_on_few_samples_is_marked_and_the_legend_explains_the_mark() {
    let mut report = report_of(&[("one", Unit::Time)]);
    let marks = |report: &Report| {
        let table = report.table().width(usize::MAX).to_string();
        let (titles, rows) = rows(&table);
        let legend = table.lines().rev().nth(1).unwrap();
        let marks = ["p50", "p95", "p99", "p99.9"].map(|title| {
            let cell = cell(titles, rows[0], title).unwrap();
            cell.chars().next().filter(|mark| ['^', '>'].contains(mark))
        });
        let explained = [("^ the maximum", '^'), ("> too few samples for an upper bound", '>')];
        for (text, mark) in explained {
            assert_eq!(legend.contains(text), marks.contains(&Some(mark)), "{table}");
        }
        marks
    };
    let mut found = [0, 0, 0];
    for count in (1..400).chain(3_600..3_800).chain([900, 999, 1_000, 1_001, 1_000_000]) {
        for summary in summaries(&mut report, 0) {
            set(summary, 1.0, [count, 1, 9, 2, 3, 4, 5]);
        }
        let expected = [0.5, 0.95, 0.99, 0.999_f64].map(|share| {
            let n = float(count);
            // The nearest rank is the last one, and then all samples are below the true quantile
            // with more than 2.5 %.
            if (share * n - 1e-9).ceil() >= n {
                Some('^')
            } else if share.powf(n) > 0.025 {
                Some('>')
            } else {
                None
            }
        });
        assert_eq!(marks(&report), expected, "{count}");
        for mark in expected {
            found[[None, Some('^'), Some('>')].iter().position(|of| *of == mark).unwrap()] += 1;
        }
    }
    assert!(found.iter().all(|found| *found > 100), "{found:?}");
    // Of samples with weights, one that weighs more than all others can be at a rank below the
    // last.
    for summary in summaries(&mut report, 0) {
        set(summary, 1.0, [4_000, 1, 9, 2, 3, 9, 9]);
    }
    assert_eq!(marks(&report), [None; 4]);
    for summary in summaries(&mut report, 0) {
        summary.estimated_total = 9_000;
    }
    assert_eq!(marks(&report), [None, None, Some('^'), Some('^')]);
}

#[test]
fn the_title_has_the_time_of_the_report_and_the_time_since_the_start() {
    let mut report = fixed_report();
    let title = |report: &Report| report.to_string().lines().next().unwrap().to_owned();
    let expected = "2026-11-30T10:45:13Z, up 15.2 s; clock tsc ordered at 2596 MHz";
    assert_eq!(title(&report), expected);
    report.uptime_ns = 93_784_900_000_000;
    report.health.enabled = false;
    assert!(title(&report).contains("Z, up 1day 2h 3m 4s, recording is off; "), "{report}");
}

/// A number of any size.
fn any_size() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

#[expect(clippy::cast_precision_loss, reason = "the assertion allows for it")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Asserts that a row has the numbers of this summary, rounded, and marks those that are estimated.
fn assert_numbers(titles: &str, row: &str, summary: &Summary) {
    let Summary { count, min, max, p50, p95, p99, p99_9, .. } = *summary;
    let quantiles = [("p50", p50), ("p95", p95), ("p99", p99), ("p99.9", p99_9)];
    let all = quantiles.into_iter().chain([("count", count), ("min", min), ("max", max)]);
    let mean = ("mean", summary.mean.unwrap().to_f64());
    let rate = ("rate/s", float(count) * 1e9 / float(summary.covered));
    for (title, number) in all.map(|(title, number)| (title, float(number))).chain([mean, rate]) {
        let cell = cell(titles, row, title).unwrap();
        if cell == "<0.001" {
            assert!(number < 0.000_5, "{title} {number}: {row}");
            continue;
        }
        if cell == ">18P" {
            assert!(number > 18e15, "{title} {number}: {row}");
            continue;
        }
        let (shown, half) = parse(&cell);
        // The mean of times is rounded to nanoseconds first, and `float` rounds as well.
        let rounding = number * 1e-12 + if title == "mean" { 0.5 } else { 0.0 };
        assert!((shown - number).abs() <= half + rounding, "{title} {number}: {row}");
        let is_quantile = quantiles.iter().any(|(quantile, _)| *quantile == title);
        let is_estimated = is_quantile && summary.accuracy != Accuracy::Exact;
        assert_eq!(cell.contains('~'), is_estimated, "{title}: {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_number_is_that_of_the_report_after_rounding(
        numbers in prop::array::uniform8(prop::array::uniform7(any_size())),
        times in prop::array::uniform8(1..u64::MAX >> 16),
        ppm in 0..2_u32,
    ) {
        let mut report = report_of(&[("time", Unit::Time), ("number", Unit::One)]);
        let mut expected = Vec::new();
        for event in 0..2 {
            for (scope, summary) in summaries(&mut report, event).into_iter().enumerate() {
                set(summary, 1.0, numbers[event * SCOPES + scope]);
                summary.covered = times[event * SCOPES + scope];
                if ppm > 0 {
                    summary.accuracy = Accuracy::WithinPpm(ppm);
                }
                expected.push(*summary);
            }
        }
        let table = report.table().width(usize::MAX).all_windows().to_string();
        let (titles, rows) = rows(&table);
        prop_assert_eq!(rows.len(), expected.len());
        for (row, summary) in rows.into_iter().zip(&expected) {
            assert_numbers(titles, row, summary);
        }
    }
}

#[test]
fn the_events_that_were_not_seen_are_named_in_one_line() {
    let mut report = report_of(&[
        ("seen", Unit::Time),
        ("one_event", Unit::Time),
        ("another_event", Unit::Time),
        ("a_third_event", Unit::Time),
    ]);
    let line = |report: &Report, columns| {
        let table = report.table().width(columns).to_string();
        table.lines().find(|line| line.starts_with("not seen: ")).map(str::to_owned)
    };
    assert_eq!(line(&report, 100), None);
    for event in &mut report.events[1..] {
        event.total = None;
        event.windows.iter_mut().for_each(|window| window.statistics = None);
    }
    let all = "not seen: one_event, another_event, a_third_event";
    assert_eq!(line(&report, 100).as_deref(), Some(all));
    assert_eq!(line(&report, all.len()).as_deref(), Some(all));
    let cut = Some("not seen: one_event, another_event and 1 more");
    assert_eq!(line(&report, all.len() - 1).as_deref(), cut);
    assert_eq!(line(&report, 40).as_deref(), Some("not seen: one_event and 2 more"));
    // What is open, or has ended without a sample, was seen.
    report.events[1].in_flight.open = 1;
    report.events[2].outcomes.cancelled = 1;
    assert_eq!(line(&report, 100).as_deref(), Some("not seen: a_third_event"));
    let table = report.table().sorted_by(SortBy::Declaration).to_string();
    let (titles, lines) = rows(&table);
    assert_eq!(cell(titles, lines[2], "errors").as_deref(), Some("1"), "{table}");
    report.events.iter_mut().for_each(|event| event.name = LONG.into());
    assert_eq!(line(&report, 40).as_deref(), Some("not seen: 1 event"));
}
