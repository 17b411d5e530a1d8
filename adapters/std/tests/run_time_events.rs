//! Events that the program makes before the start and while the collector runs.

mod support;

use core::time::Duration;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use support::in_turn;
use tailwatch::{
    BuildError, Builder, Collector, EventError, EventId, Limit, Origin, Quantile, Report,
    SettingsProblem, TextKind, TextProblem, Threshold, Trading, Unit, events, measure,
    record_duration, record_value,
};

events! {
    /// An event with an expected interval.
    enum Paced {
        /// Expected every 10 ms.
        Tick = 40 { expected_interval: Some(Duration::from_millis(10)) },
    }
}

const MINUTE: Duration = Duration::from_mins(1);

/// Returns a builder of a collector that makes passes only when the test asks for them.
fn builder() -> Builder {
    Collector::builder().ignore_environment().manual_drain().rings(4)
}

/// Writes a configuration file into the target directory and returns its path.
fn config(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run-time-events-{name}.toml"));
    fs::write(&path, text).expect("the target directory can be written to");
    path
}

fn names(report: &Report) -> Vec<&str> {
    report.events.iter().map(|event| &*event.name).collect()
}

/// Returns the limits of each event: its name, and the window or the longest silence in seconds.
fn limits(report: &Report) -> Vec<(&str, u64)> {
    report.sla.iter().map(|limit| (&*limit.event, limit.window.as_secs())).collect()
}

#[test]
fn events_are_made_before_the_start_and_while_the_collector_runs() {
    let _turn = in_turn();
    let mut builder = builder();
    let plain = builder.event("made").add().unwrap();
    let btc = builder.event("made").label("symbol", "BTC").add().unwrap();
    assert_eq!(builder.event("made").label("symbol", "BTC").add(), Ok(btc), "made once");
    let collector = builder.start().unwrap();
    collector.register_thread("main").unwrap();
    drop(measure(btc));
    collector.flush();
    let before = collector.report();

    let both = collector.event("made").label("venue", "X").label("symbol", "BTC").add().unwrap();
    let same = collector.event("made").label("symbol", "BTC").label("venue", "X").add();
    assert_eq!(same, Ok(both), "the order of the labels does not matter");
    assert_eq!(collector.event("made").add(), Ok(plain));
    let queue = collector.event("made_queue").unit(Unit::One).add().unwrap();
    drop(measure(both));
    record_value(queue, 5);
    collector.flush();

    let report = collector.report();
    let of_both = r#"made{symbol="BTC",venue="X"}"#;
    assert_eq!(names(&report), ["made", r#"made{symbol="BTC"}"#, of_both, "made_queue"]);
    let event = report.event(both).unwrap();
    assert_eq!((&*event.name, &*event.base_name, event.unit), (of_both, "made", Unit::Time));
    let labels: Vec<_> = event.labels.iter().collect();
    assert_eq!(labels, [("symbol", "BTC"), ("venue", "X")]);
    assert_eq!(event.outcomes.ok, 1);
    assert_eq!(collector.total(queue).unwrap().unwrap().max, 5);
    assert!(report.event(plain).unwrap().total.is_none());
    let json = report.to_json();
    assert!(json.contains(r#""labels":{"symbol":"BTC","venue":"X"},"unit":"ns""#), "{json}");
    assert_eq!(json.matches(r#""labels":{}"#).count(), 2, "two events have no labels");
    assert_eq!(collector.health().unknown_events, 0);

    // Events that were made after the first report count from nothing.
    let diff = report.diff(&before).expect("`before` is earlier");
    let added: Vec<_> =
        diff.events.iter().map(|event| event.samples.map_or(0, |samples| samples.count)).collect();
    assert_eq!(added, [0, 0, 1, 1]);
    assert_eq!(diff.event(both).unwrap().outcomes.ok, 1);
    assert!(before.diff(&report).is_none(), "the earlier report has fewer events");
}

/// A name, labels, and the error that they cause.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], EventError);

#[test]
fn invalid_names_and_labels_are_refused() {
    let long = "x".repeat(129);
    let longest = "x".repeat(128);
    let text = |what, text: &str, problem| EventError::Text { what, text: text.into(), problem };
    let reserved = |key: &str| EventError::ReservedLabel { key: key.into() };
    let (name, key, value) = (TextKind::Name, TextKind::Key, TextKind::Value);
    let cases: &[Case<'_>] = &[
        ("", &[], text(name, "", TextProblem::Empty)),
        (&long, &[], text(name, &longest, TextProblem::TooLong)),
        ("a\nb", &[], text(name, "a\nb", TextProblem::Control)),
        ("a{b}", &[], text(name, "a{b}", TextProblem::Brace)),
        ("a", &[("", "v")], text(key, "", TextProblem::Empty)),
        ("a", &[(&long, "v")], text(key, &longest, TextProblem::TooLong)),
        ("a", &[("k\0", "v")], text(key, "k\0", TextProblem::Control)),
        ("a", &[("1k", "v")], text(key, "1k", TextProblem::NotAKey)),
        ("a", &[("k-k", "v")], text(key, "k-k", TextProblem::NotAKey)),
        ("a", &[("größe", "v")], text(key, "größe", TextProblem::NotAKey)),
        ("a", &[("k", "")], text(value, "", TextProblem::Empty)),
        ("a", &[("k", &long)], text(value, &longest, TextProblem::TooLong)),
        ("a", &[("k", "\u{7f}")], text(value, "\u{7f}", TextProblem::Control)),
        ("a", &[("le", "v")], reserved("le")),
        ("a", &[("quantile", "v")], reserved("quantile")),
        ("a", &[("__k", "v")], reserved("__k")),
        ("a", &[("k", "1"), ("j", "1"), ("k", "2")], EventError::RepeatedLabel { key: "k".into() }),
        ("a", &[("k", "1"); 9], EventError::TooManyLabels { labels: 9 }),
    ];
    let collector = builder().start().unwrap();
    let before = collector.report().events.len();
    for (name, labels, expected) in cases {
        let mut builder = builder();
        for mut event in [builder.event(name), collector.event(name)] {
            for (key, value) in *labels {
                event = event.label(key, value);
            }
            assert_eq!(event.add().as_ref(), Err(expected));
        }
        assert!(!expected.to_string().is_empty());
    }
    assert_eq!(collector.report().events.len(), before);
    // The longest texts, and characters that only have to be escaped.
    let quoted = collector.event(&longest).label(&longest, "\"\\\u{1f980}").add().unwrap();
    let expected = format!("{longest}{{{longest}=\"\\\"\\\\\u{1f980}\"}}");
    assert_eq!(collector.report().event(quoted).unwrap().name, expected);

    for (name, key) in [("", "k"), ("a", "le"), ("a{", "k"), ("a", "k k")] {
        assert!(collector.family(name, key).is_err());
        let error = builder().family(name, key).start().unwrap_err();
        assert!(matches!(error, BuildError::Events(_)), "{error:?}");
        assert!(builder().family(name, key).settings().is_err());
    }
}

#[test]
fn an_event_is_made_beside_one_with_a_corrected_summary() {
    let _turn = in_turn();
    let collector = builder().events(Paced::ALL).max_events(41).start().unwrap();
    collector.register_thread("main").unwrap();
    let before = collector.published_report();
    let made: Vec<_> = (0..40)
        .map(|number| {
            let event = collector.event("beside_paced").label("number", &number.to_string());
            event.add().unwrap()
        })
        .collect();
    for (millis, event) in (1..).zip(&made) {
        record_duration(*event, Duration::from_millis(millis));
    }
    record_duration(Paced::Tick, Duration::from_millis(35));
    collector.flush();
    let report = collector.report();
    for (millis, event) in (1..).zip(&made) {
        let total = report.event(*event).unwrap().total.as_ref().unwrap();
        assert_eq!((total.summary.count, total.corrected.is_none()), (1, true));
        assert!(total.summary.max.abs_diff(millis * 1_000_000) < 2);
    }
    // 35, 25 and 15 ms.
    let paced = report.event(Paced::Tick).unwrap().total.as_ref().unwrap();
    assert_eq!(paced.corrected.as_ref().map(|summary| summary.count), Some(3));
    assert_eq!((before.events.len(), report.events.len()), (1, 41), "a report never changes");
}

#[test]
fn an_event_keeps_its_unit() {
    let collector = builder().start().unwrap();
    collector.event("kept_unit").unit(Unit::One).add().unwrap();
    let expected = EventError::OtherUnit { event: "kept_unit".into(), unit: Unit::One };
    assert_eq!(collector.event("kept_unit").add(), Err(expected.clone()));
    assert_eq!(builder().event("kept_unit").add(), Err(expected));
}

#[test]
fn a_declared_family_has_only_the_event_that_stands_for_the_others() {
    let collector = builder().family("declared", "symbol").start().unwrap();
    let others = r#"declared{symbol="other"}"#;
    assert_eq!(names(&collector.report()), [others]);
    let mut builder = builder().family("declared", "symbol").family("declared", "symbol");
    builder.event("beside_declared").add().unwrap();
    assert_eq!(names(&builder.start().unwrap().report()), ["beside_declared", others]);
}

#[test]
fn an_event_with_the_name_of_another_one_is_refused() {
    let collector = builder().start().unwrap();
    let error = collector.event("candle_processing").add().unwrap_err();
    assert_eq!(
        error.to_string(),
        "two events have the name \"candle_processing\": one states its number, the other was made \
         by the program; give one of them another `name`"
    );
    let labelled = collector.event("candle_processing").label("symbol", "BTC").add().unwrap();
    let sum = collector.report().family("candle_processing").map(|sum| sum.id);
    assert_eq!(sum, Some(EventId::UNNUMBERED));
    assert!(collector.report().event(labelled).is_some());

    // Another collector may have the event, and then this one still refuses it.
    let mut other = builder();
    let made = other.event("candle_processing").add().unwrap();
    let other = other.start().unwrap();
    assert!(other.report().event(made).is_some());
    let error = collector.event("candle_processing").add().unwrap_err();
    assert!(matches!(error, EventError::SameName { .. }), "{error:?}");
    assert!(collector.report().event(made).is_none());
}

#[test]
fn a_collector_has_no_more_than_max_events() {
    for max_events in [0, 2_048] {
        let error = builder().max_events(max_events).start().unwrap_err();
        let expected = EventError::MaxEvents { max_events };
        assert!(matches!(&error, BuildError::Events(error) if *error == expected), "{error:?}");
    }
    let events = Trading::ALL.len();
    let error = builder().max_events(events - 1).start().unwrap_err();
    let expected = EventError::TooMany { events, max_events: events - 1 };
    assert!(matches!(&error, BuildError::Events(error) if *error == expected), "{error:?}");

    let collector = builder().max_events(events + 2).start().unwrap();
    let made = ["most_1", "most_2"].map(|name| collector.event(name).add().unwrap());
    let full = EventError::Full { event: "most_3{k=\"v\"}".into(), max_events: events + 2 };
    assert_eq!(collector.event("most_3").label("k", "v").add(), Err(full));
    assert_eq!(collector.event("most_1").add(), Ok(made[0]), "it has this one");
    assert_eq!(collector.report().events.len(), events + 2);
    assert!(collector.family("most", "symbol").is_err(), "no room for `other`");
    // By default, 16 more than at the start.
    let collector = builder().start().unwrap();
    for number in 0..16 {
        collector.event("default").label("number", &number.to_string()).add().unwrap();
    }
    assert!(matches!(collector.event("default").add(), Err(EventError::Full { .. })));
}

#[test]
fn values_without_room_are_those_of_other_and_counted() {
    let _turn = in_turn();
    let mut builder = builder().events(Trading::ALL).max_events(Trading::ALL.len() + 6);
    let early = builder.event("overflow").label("symbol", "EARLY").add().unwrap();
    builder.event("overflow").label("venue", "X").add().unwrap();
    builder.event("overflow").label("symbol", "X").label("venue", "X").add().unwrap();
    let collector = builder.start().unwrap();
    collector.register_thread("main").unwrap();
    let family = collector.family("overflow", "symbol").unwrap();
    let [btc, eth] = ["BTC", "ETH"].map(|symbol| family.event(symbol));
    assert_eq!(family.overflowed(), 0);
    let other = family.event("other");
    for symbol in ["DOGE", "DOGE", "X", "", "a\nb", &"x".repeat(129)] {
        assert_eq!(family.event(symbol), other, "{symbol:?}");
    }
    assert_eq!(family.overflowed(), 6);
    assert_eq!((family.event("BTC"), family.event("ETH")), (btc, eth), "they still have theirs");
    assert_eq!(family.event("EARLY"), early, "the collector has it, although it is full");
    assert_eq!(family.overflowed(), 6);
    drop(measure(family.event("DOGE")));
    collector.flush();
    let report = collector.report();
    assert_eq!(report.event(other).unwrap().labels.value("symbol"), Some("other"));
    assert_eq!(report.family("overflow").unwrap().outcomes.ok, 1);

    collector.stop();
    let stopped = collector.event("overflow").label("symbol", "BTC").add();
    assert_eq!(stopped, Err(EventError::Stopped));
    assert_eq!(family.event("BTC"), btc);
    assert_eq!(family.event("ADA"), other);
}

#[test]
fn an_observer_gets_the_event_other_and_makes_none() {
    let _turn = in_turn();
    let family: Arc<Mutex<Option<tailwatch::Family>>> = Arc::default();
    let found: Arc<Mutex<Vec<EventId>>> = Arc::default();
    let (of_observer, seen) = (Arc::clone(&family), Arc::clone(&found));
    let observer = move |_: &tailwatch::Delivery<'_>| {
        let family = of_observer.lock().unwrap();
        seen.lock().unwrap().push(family.as_ref().unwrap().event("NEW"));
    };
    let collector = builder().observer(observer).start().unwrap();
    collector.register_thread("main").unwrap();
    let made = collector.family("observed", "symbol").unwrap();
    let other = made.event("other");
    *family.lock().unwrap() = Some(made);
    record_duration(Trading::GcPause, Duration::from_micros(1));
    collector.flush();
    assert_eq!(*found.lock().unwrap(), [other]);
    let family = family.lock().unwrap().take().unwrap();
    assert_eq!(family.overflowed(), 1);
    assert_ne!(family.event("NEW"), other, "outside of a pass, it is made");
}

#[test]
fn later_events_get_the_limits_and_the_sampling_of_the_file() {
    let _turn = in_turn();
    let path = config(
        "later",
        "[[sla]]\nevent = 'later'\nquantile = 'p95'\nlimit = '20ms'\n\
         [[sla]]\nevent = 'later'\nlabels = { symbol = 'BTC' }\nmax_silence = '1h'\n\
         [[sampling]]\nevent = 'later'\nlabels = { symbol = 'ETH' }\nrate = 0.25\n",
    );
    let collector = builder().family("later", "symbol").config_file(&path).start().unwrap();
    collector.register_thread("main").unwrap();
    let of_others = (r#"later{symbol="other"}"#, 60);
    assert_eq!(limits(&collector.report()), [of_others], "they replace those of the preset");
    let family = collector.family("later", "symbol").unwrap();
    let [btc, eth] = ["BTC", "ETH"].map(|symbol| family.event(symbol));
    let plain = collector.event("later").add().unwrap();
    let number = collector.event("later").label("symbol", "queue").unit(Unit::One).add().unwrap();
    let expected = [
        (r#"later{symbol="other"}"#, 60),
        (r#"later{symbol="BTC"}"#, 60),
        (r#"later{symbol="BTC"}"#, 3_600),
        (r#"later{symbol="ETH"}"#, 60),
        ("later", 60),
    ];
    let report = collector.report();
    assert_eq!(limits(&report), expected, "a limit in time is not for plain numbers");
    assert_eq!(report.sla[1].labels.value("symbol"), Some("BTC"));
    let sampling: Vec<_> = collector.health().sampling.into_iter().collect();
    assert_eq!(sampling, [(r#"later{symbol="ETH"}"#.to_owned(), 0.25)]);

    let explanation = collector.explain();
    let now = "a share of 0.25, now 1 in 4";
    let of_file = format!("later{{symbol=\"ETH\"}}: {now} ({}:9)", path.display());
    assert!(explanation.contains(&of_file), "{explanation}");

    for _ in 0..1_000 {
        record_duration(eth, Duration::from_millis(1));
    }
    record_duration(btc, Duration::from_millis(21));
    record_duration(plain, Duration::from_millis(20));
    record_value(number, u64::from(u32::MAX));
    collector.flush();
    let breached = [btc, eth, plain, number].map(|event| collector.breached(event));
    assert_eq!(breached, [true, false, false, false]);
    let change = &collector.sla_changes().changes[0];
    assert_eq!(change.limit.event, r#"later{symbol="BTC"}"#);
    assert_eq!(change.limit.labels.to_string(), r#"symbol="BTC""#);
    let json = collector.report().to_json();
    let of_limit = r#"{"event":"later{symbol=\"BTC\"}","labels":{"symbol":"BTC"},"quantile""#;
    assert!(json.contains(of_limit), "{json}");
    assert!(json.contains(r#"{"event":"later","labels":{},"quantile""#), "{json}");
    let sampled = collector.total(eth).unwrap().unwrap();
    assert_eq!(sampled.estimated_total, 4 * sampled.count);
    // Within 7 standard deviations of the mean of a binomial distribution.
    assert!(sampled.count.abs_diff(250) < 96, "{}", sampled.count);
}

#[test]
fn limits_and_sampling_with_labels_are_also_for_events_that_exist() {
    let path = config(
        "existing",
        "[[sla]]\nevent = 'existing'\nlabels = { symbol = 'BTC' }\nmax_silence = '1h'\n\
         [[sampling]]\nevent = 'existing{symbol=\"ETH\"}'\nrate = 0.5\n",
    );
    let mut builder = builder().config_file(path);
    for symbol in ["BTC", "ETH"] {
        builder.event("existing").label("symbol", symbol).add().unwrap();
    }
    let collector = builder.start().unwrap();
    assert_eq!(limits(&collector.report()), [(r#"existing{symbol="BTC"}"#, 3_600)]);
    let sampling: Vec<_> = collector.health().sampling.into_iter().collect();
    assert_eq!(sampling, [(r#"existing{symbol="ETH"}"#.to_owned(), 0.5)]);
    // Nothing declares that there will be more of them, but these are for all of their name.
    collector.event("existing").label("symbol", "BTC").label("venue", "X").add().unwrap();
    assert_eq!(
        limits(&collector.report()),
        [(r#"existing{symbol="BTC"}"#, 3_600), (r#"existing{symbol="BTC",venue="X"}"#, 3_600)]
    );
}

#[test]
fn of_two_limits_that_exclude_each_other_a_later_event_gets_the_first() {
    let path = config(
        "both",
        "[[sla]]\nevent = 'both'\nlabels = { symbol = 'BTC' }\nmax_silence = '2s'\n\
         [[sla]]\nevent = 'both'\nlabels = { venue = 'X' }\nmax_silence = '1s'\n",
    );
    let builder = builder().family("both", "symbol").family("both", "venue").config_file(path);
    let collector = builder.start().unwrap();
    let event = || collector.event("both").label("venue", "X");
    event().add().unwrap();
    event().label("symbol", "BTC").add().unwrap();
    assert_eq!(
        limits(&collector.report()),
        [(r#"both{venue="X"}"#, 1), (r#"both{symbol="BTC",venue="X"}"#, 2)]
    );
}

#[test]
fn there_is_room_for_the_limits_of_all_later_events() {
    let tables = (1..=5).map(|limit| {
        format!("[[sla]]\nevent = 'roomy'\nquantile = 'p99'\nlimit = '{limit}ms'\nwindow = '1s'\n")
    });
    let path = config("room", &tables.collect::<String>());
    let builder = builder().events(Trading::ALL).family("roomy", "number");
    let builder = builder.max_events(100).config_file(path);
    let collector = builder.start().unwrap();
    let existing = Trading::ALL.len();
    let family = collector.family("roomy", "number").unwrap();
    for number in 1..100 - existing {
        family.event(&number.to_string());
    }
    let report = collector.report();
    let of_family = report.sla.iter().filter(|limit| limit.event.starts_with("roomy"));
    assert_eq!(of_family.count(), 5 * (100 - existing));
    assert_eq!(family.overflowed(), 0);
    // And for some that the program sets.
    let limit = Limit::Quantile(Threshold::duration(Quantile::P99, MINUTE));
    for info in Trading::ALL {
        collector.set_limits(info.id, &[limit]).unwrap();
    }
}

#[test]
fn the_error_for_a_selection_names_its_line() {
    for (name, table, line, expected) in [
        ("family", "[[sla]]\nevent = 'named'\nlabels = { venue = 'X' }\nmax_silence = '1s'", 3, ""),
        ("sampling", "[[sampling]]\nevent = 'named'\nlabels = { venue = 'X' }\nrate = 1", 3, ""),
        (
            "table",
            "[[sampling]]\nevent = 'named'\nlabels = 'X'\nrate = 1",
            3,
            "`labels` is \"X\"; expected a table, such as { symbol = \"BTCUSDT\" }",
        ),
        (
            "value",
            "[[sampling]]\nevent = 'named'\nlabels = { symbol = 5 }\nrate = 1",
            3,
            "`labels` is 5; expected a text in quotes for each label, such as { symbol = \
             \"BTCUSDT\" }",
        ),
        (
            "empty",
            "[[sampling]]\nevent = 'named'\nlabels = {}\nrate = 1",
            3,
            "`labels` is empty; expected at least one label, or no such key",
        ),
        (
            "twice",
            "[[sampling]]\nevent = 'named'\nrate = 1\n\
             [[sampling]]\nevent = 'named'\nlabels = { symbol = 'BTC' }\nrate = 1",
            4,
            "the sampling of this event is already set in line 1; remove one of the two",
        ),
    ] {
        let expected = match expected {
            "" => {
                "no event \"named\" has the labels venue=\"X\"; there are symbol=\"other\", \
                 symbol=\"…\""
            }
            other => other,
        };
        let path = config(name, table);
        let error = builder().family("named", "symbol").config_file(&path).settings().unwrap_err();
        assert_eq!(error.origin, Origin::File { path, line });
        assert_eq!(error.problem.to_string(), expected);
    }
    let path = config("unknown", "[[sampling]]\nevent = 'namd'\nrate = 1");
    let error = builder().family("named", "symbol").config_file(path).settings().unwrap_err();
    let SettingsProblem::UnknownEvent { nearest, known, .. } = error.problem else {
        panic!("{error}");
    };
    assert_eq!(nearest.as_deref(), Some("named"));
    assert_eq!(known, ["named"]);
}

#[test]
fn the_sum_of_a_family_has_the_samples_of_all_its_events() {
    let _turn = in_turn();
    // All samples are kept for exact quantiles, or only those of some events, or of none.
    for (round, exact_samples) in (0..).zip([4_096, 300, 0]) {
        let collector =
            builder().ring_capacity(16_384).exact_samples(exact_samples).start().unwrap();
        collector.register_thread("main").unwrap();
        let name = format!("sum_{round}");
        let family = collector.family(&name, "symbol").unwrap();
        assert!(collector.report().family(&name).unwrap().total.is_none());
        let mut all: Vec<u64> = Vec::new();
        for (symbol, count) in [("A", 1), ("B", 250), ("C", 1_000), ("D", 17)] {
            let event = family.event(symbol);
            for number in 0..count {
                let nanos = 1 + (number * 104_729 + count * 7_919) % 1_000_003;
                record_duration(event, Duration::from_nanos(nanos));
                all.push(nanos);
            }
        }
        record_duration(Trading::GcPause, MINUTE);
        collector.flush();
        let report = collector.report();
        let sum = report.family(&name).unwrap();
        all.sort_unstable();
        let clock_error = report.clock.as_ref().unwrap().hz != 1_000_000_000;
        for statistics in [sum.total.as_ref(), sum.windows[2].statistics.as_ref()] {
            let statistics = statistics.unwrap();
            let summary = statistics.summary;
            assert_eq!((summary.count, summary.estimated_total), (1_268, 1_268));
            let error = u64::from(summary.accuracy.max_relative_error_ppm());
            assert_eq!(error == 0, exact_samples == 4_096, "{error}");
            // A tick of the processor's counter may be longer than a nanosecond.
            let near = |found: u64, expected: u64, ppm: u64| {
                let tolerance = expected * ppm / 1_000_000 + 2 * u64::from(clock_error);
                assert!(found.abs_diff(expected) <= tolerance, "{found} {expected} {ppm}");
            };
            near(summary.min, all[0], 0);
            near(summary.max, *all.last().unwrap(), 0);
            for (found, percent) in [(summary.p50, 500), (summary.p95, 950), (summary.p99, 990)] {
                near(found, all[(all.len() * percent).div_ceil(1_000) - 1], error);
            }
            let slowest: Vec<_> = statistics.slowest.iter().map(|slow| slow.duration).collect();
            for (found, expected) in slowest.iter().zip(all.iter().rev()) {
                near(*found, *expected, 0);
            }
            assert_eq!(slowest.len(), 4);
        }
        assert_eq!((&*sum.name, &*sum.base_name, sum.id), (&*name, &*name, EventId::UNNUMBERED));
        assert!(sum.labels.is_empty());
        assert!(report.family("sum").is_none());
    }
}

#[test]
fn a_number_is_kept_by_later_collectors() {
    let mut first = builder();
    let made = first.event("kept").label("symbol", "BTC").add().unwrap();
    let first = first.start().unwrap();
    let while_running = first.event("kept").label("symbol", "ETH").add().unwrap();
    drop(first);
    let second = builder().start().unwrap();
    assert!(second.report().event(made).is_none(), "it was not made for this one");
    assert_eq!(second.event("kept").label("symbol", "ETH").add(), Ok(while_running));
    let family = second.family("kept", "symbol").unwrap();
    assert_eq!((family.event("BTC"), family.event("ETH")), (made, while_running));
    assert!(second.report().event(made).is_some());
}

#[test]
fn an_event_that_a_collector_does_not_have_is_breached() {
    let made = builder().event("not_had").add().unwrap();
    let collector = builder().start().unwrap();
    assert!(collector.breached(made), "nobody judges its limits");
    assert!(!collector.breached(Trading::OrderPlacement));
    assert_eq!(collector.event("not_had").add(), Ok(made));
    assert!(!collector.breached(made), "it has no limit");
}
