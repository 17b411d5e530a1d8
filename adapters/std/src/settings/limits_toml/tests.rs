mod delays;
mod error_rates;
mod labels;
mod random_input;

use core::time::Duration;

use tailwatch_core::{Event, MinSamples, ParseQuantileError, Trading};

use super::*;
use crate::settings::duration::DurationProblem;

const GOOD: &str = r#"
# Limits of the bot.
[[sla]]
event = "order_placement"
quantile = "p95"
limit = "20ms"

[[sla]]
event = "order_placement"
quantile = "p99.9"
limit = "1s 500ms"
window = "5s"
min_samples = 1_000

[[sla]]
event = "queue_backlog"
quantile = "p100"
limit = 0x40

[[sla]]
event = "order_fill"
max_silence = "1.5m"
"#;

/// Beginnings of `[[sla]]` tables, to which a test adds the line that it tests.
const PLACEMENT: &str = "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\nlimit = '20ms'\n";
const BACKLOG: &str = "[[sla]]\nevent = 'queue_backlog'\nquantile = 'p95'\n";
const FILL: &str = "[[sla]]\nevent = 'order_fill'\n";

/// Parses limits of the preset events.
fn read(text: &str) -> Result<Vec<(EventId, Limit)>, ParseLimitsError> {
    parse_limits(text, Trading::ALL).map(|limits| limits.to_vec())
}

/// Returns the problem of a text in which `#!` marks the invalid line.
///
/// Checks that the error names the marked line. Checks it again with Windows line endings, and with
/// a line of multi-byte characters above the text.
#[track_caller]
fn refused(text: &str) -> ParseLimitsProblem {
    let marked = text.split('\n').position(|line| line.contains("#!")).expect("a marked line") + 1;
    let error = read(text).expect_err("the text is invalid");
    assert_eq!(error.line, marked, "{error}");
    assert_eq!(error.to_string(), format!("line {marked}: {}", error.problem));

    let with_crlf = read(&text.replace('\n', "\r\n")).expect_err("the text is invalid");
    assert_eq!(with_crlf.line, marked, "{with_crlf}");
    let below = read(&format!("# größer: 漢字 🦀\n{text}")).expect_err("the text is invalid");
    assert_eq!(below.line, marked + 1, "{below}");
    error.problem
}

/// Returns the message for a text in which `#!` marks the invalid line.
#[track_caller]
fn message(text: &str) -> String {
    refused(text).to_string()
}

/// Returns the limits that `GOOD` sets.
fn good() -> Vec<(EventId, Limit)> {
    let threshold = |quantile, limit| {
        Threshold::value(quantile, limit).over(Duration::from_mins(1)).min_samples(1)
    };
    vec![
        (Trading::OrderPlacement.id(), Limit::Quantile(threshold(Quantile::P95, 20_000_000))),
        (
            Trading::OrderPlacement.id(),
            Limit::Quantile(
                threshold(Quantile::P99_9, 1_500_000_000)
                    .over(Duration::from_secs(5))
                    .min_samples(1_000),
            ),
        ),
        (Trading::QueueBacklog.id(), Limit::Quantile(threshold(Quantile::MAX, 64))),
        (Trading::OrderFill.id(), Limit::Silence(Duration::from_secs(90))),
    ]
}

#[test]
fn limits_are_read_in_the_order_of_the_text() {
    assert_eq!(read(GOOD), Ok(good()));
    assert_eq!(read(&GOOD.replace('\n', "\r\n")), Ok(good()));
    assert_eq!(read(&format!("\u{feff}{GOOD}")), Ok(good()), "with a byte order mark");
}

#[test]
fn limits_may_be_written_as_a_list_of_inline_tables() {
    let text = "sla = [
        { event = 'order_placement', quantile = 'p95', limit = '20ms' },
        { event = 'order_placement', quantile = 'p99.9', limit = '1.5s', window = '5s',
          min_samples = 1000 },
        { event = 'queue_backlog', quantile = 'p100', limit = 64 },
        { event = 'order_fill', max_silence = '90s' },
    ]";
    assert_eq!(read(text), Ok(good()));

    let problem = refused("sla = [\n{ event = 'order_fill',\n max_silence = '0s' } #!\n]");
    assert_eq!(problem, bad_duration("max_silence", "0s", DurationProblem::Zero));
    assert_eq!(
        refused("sla = [\n{ max_silence = '5s' } #!\n]"),
        ParseLimitsProblem::MissingKey { key: "event" }
    );
}

#[test]
fn the_error_for_invalid_toml_names_the_line() {
    let problem = refused("[[sla]]\nevent = #!\n");
    let ParseLimitsProblem::InvalidToml { message: parser_message } = &problem else {
        panic!("{problem}");
    };
    assert!(!parser_message.is_empty());
    assert!(
        message("[[sla]]\nevent = 'order_fill'\nevent = 'order_fill' #!").contains("duplicate key")
    );
}

#[test]
fn a_text_without_limits_is_refused() {
    for text in ["", "\n\n", "# nothing", "\u{feff}"] {
        assert_eq!(
            read(text),
            Err(ParseLimitsError { line: 1, problem: ParseLimitsProblem::NoLimits }),
            "{text:?}"
        );
    }
    assert_eq!(message("\nsla = [] #!"), "no limits; write at least one [[sla]] table");
}

#[test]
fn a_single_table_is_refused_as_a_list_of_limits() {
    for text in [
        "\n[sla] #!\nevent = 'order_fill'",
        "sla.event = 'order_fill' #!",
        "\nsla = {} #!",
        "[sla.order_fill] #!",
    ] {
        assert_eq!(refused(text), ParseLimitsProblem::SingleTable, "{text}");
    }
    assert_eq!(
        message("[sla] #!"),
        "`sla` is a single table; write one [[sla]] table for each limit"
    );
    assert_eq!(
        message("sla = 5 #!"),
        "`sla` has type integer; expected one [[sla]] table for each limit"
    );
    assert_eq!(
        message("sla = [\n'p95' #!\n]"),
        "`sla` has type string; expected one [[sla]] table for each limit"
    );
}

#[test]
fn the_error_for_an_unknown_key_suggests_the_nearest() {
    assert_eq!(
        message("[[slo]] #!\nevent = 'order_fill'"),
        "unknown top-level key \"slo\"; did you mean [[sla]]?"
    );
    assert_eq!(
        message("event = 'order_fill' #!"),
        "unknown top-level key \"event\"; expected [[sla]]"
    );
    assert_eq!(
        message("x = 1 #!\n[[sla]]\nevent = 5\n[a]"),
        "unknown top-level key \"x\"; expected [[sla]]"
    );

    // The first in the text is reported, although "a" comes first in the alphabet.
    assert_eq!(
        refused(&format!("{FILL}max_silense = '5s' #!\na = 1")),
        ParseLimitsProblem::UnknownKey { key: "max_silense".into(), nearest: Some("max_silence") }
    );
    for (key, nearest) in [
        ("Event", "event"),
        ("min_sample", "min_samples"),
        ("quantil", "quantile"),
        ("widnow", "window"),
    ] {
        let expected = format!("unknown key {key:?} in [[sla]]; did you mean {nearest:?}?");
        assert_eq!(message(&format!("{PLACEMENT}{key} = 1 #!")), expected);
    }
    assert_eq!(
        message(&format!("{PLACEMENT}colour = 'red' #!")),
        "unknown key \"colour\" in [[sla]]; expected one of event, labels, quantile, limit, \
         window, min_samples, raise_after, clear_after, max_error_rate, max_silence, replace"
    );
}

#[test]
fn the_error_for_a_missing_key_names_the_line_of_its_table() {
    assert_eq!(
        message(&format!("{PLACEMENT}[[sla]] #!\nquantile = 'p95'")),
        "missing key `event` in [[sla]]"
    );
    assert_eq!(
        message("[[sla]] #!\nevent = 'order_fill'\nlimit = '5s'"),
        "missing key `quantile` in [[sla]]"
    );
    assert_eq!(
        message("[[sla]] #!\nevent = 'order_fill'\nquantile = 'p95'"),
        "missing key `limit` in [[sla]]"
    );
    assert_eq!(
        message("[[sla]] #!\nevent = 'order_fill'\nwindow = '5s'"),
        "this [[sla]] sets no limit; write `quantile` and `limit`, `max_error_rate` or \
         `max_silence`"
    );
}

#[test]
fn max_silence_cannot_be_combined_with_other_limits() {
    for (key, value) in [
        ("quantile", "'p95'"),
        ("limit", "'20ms'"),
        ("window", "'5s'"),
        ("min_samples", "2"),
        ("min_samples", "'auto'"),
        ("raise_after", "'2s'"),
        ("clear_after", "'2s'"),
        ("max_error_rate", "0.1"),
    ] {
        let problem = refused(&format!("{FILL}max_silence = '5s'\n{key} = {value} #!"));
        assert_eq!(problem, ParseLimitsProblem::ConflictsWithSilence { key: key.into() });
    }
    assert_eq!(
        message(&format!("{FILL}max_silence = '5s'\nlimit = '20ms' #!")),
        "`limit` cannot be combined with `max_silence`; write one [[sla]] table for each limit"
    );
    assert_eq!(
        message(&format!("{FILL}max_silence = '5s'\nraise_after = '2s' #!")),
        "`raise_after` cannot be combined with `max_silence`; remove it, and to have a silence \
         reported later, make `max_silence` longer"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let check = |text: &str, key, found| {
        let problem = refused(text);
        let ParseLimitsProblem::WrongType { key: k, found: f, .. } = problem else {
            panic!("{problem}");
        };
        assert_eq!((k, f), (key, found));
    };
    check("[[sla]]\nevent = 3 #!", "event", "integer");
    check(&format!("{FILL}max_silence = 5 #!"), "max_silence", "integer");
    check(&format!("{FILL}quantile = 0.95 #!\nlimit = 5"), "quantile", "float");
    check(&format!("{FILL}quantile = 'p95'\nlimit = true #!"), "limit", "boolean");
    check(&format!("{BACKLOG}limit = 20.5 #!"), "limit", "float");
    check(&format!("{BACKLOG}limit = [20] #!"), "limit", "array");
    check(&format!("{PLACEMENT}window = 07:32:00 #!"), "window", "datetime");
    check(&format!("{PLACEMENT}min_samples = true #!"), "min_samples", "boolean");
    check(&format!("{PLACEMENT}raise_after = 2 #!"), "raise_after", "integer");
    check(&format!("{PLACEMENT}clear_after = 2.5 #!"), "clear_after", "float");
    check(&format!("{PLACEMENT}[sla.window] #!"), "window", "table");
    assert_eq!(
        message(&format!("{PLACEMENT}window = 60 #!")),
        "`window` has type integer; expected a duration in quotes, such as \"20ms\""
    );
}

#[test]
fn the_error_for_an_unknown_event_suggests_the_nearest() {
    assert_eq!(
        message("\n[[sla]]\nevent = 'order_placment' #!"),
        "unknown event \"order_placment\"; did you mean \"order_placement\"?"
    );
    for (name, nearest) in
        [("OrderFill", "order_fill"), ("queue-backlog", "queue_backlog"), ("gc_pauses", "gc_pause")]
    {
        let ParseLimitsProblem::UnknownEvent { nearest: found, known, .. } =
            refused(&format!("[[sla]]\nevent = '{name}' #!"))
        else {
            panic!("{name}");
        };
        assert_eq!((found.as_deref(), known.len()), (Some(nearest), Trading::ALL.len()));
    }
    assert_eq!(
        message("[[sla]]\nevent = 'heartbeat' #!"),
        "unknown event \"heartbeat\"; expected one of candle_processing, signal_generation, \
         order_placement, order_fill, event_bus_publish, event_bus_handle, queue_backlog, gc_pause"
    );

    let error = parse_limits(FILL, &[]).unwrap_err();
    let expected = "line 2: unknown event \"order_fill\"; the list of known names is empty";
    assert_eq!(error.to_string(), expected);
    let stage = |number: u16| {
        let id = EventId::new(number + 1).unwrap();
        EventInfo::new(id, format!("stage_{number}").leak())
    };
    let many: Vec<_> = (0..20).map(stage).collect();
    let error = parse_limits(FILL, &many).unwrap_err();
    assert!(error.to_string().ends_with("stage_15 and 4 more"), "{error}");
}

#[test]
fn the_error_for_a_bad_quantile_suggests_the_nearest() {
    for (text, nearest) in [
        ("P95", Some("p95")),
        ("95", Some("p95")),
        ("p999", Some("p99.9")),
        ("p99,9", Some("p99.9")),
        ("99.9", Some("p99.9")),
        ("p101", Some("p100")),
        ("p5o", Some("p50")),
        ("0.95", None),
        ("median", None),
        ("", None),
    ] {
        let problem = refused(&format!("{FILL}limit = '1s'\nquantile = '{text}' #!"));
        assert_eq!(problem, ParseLimitsProblem::BadQuantile { text: text.into(), nearest });
    }
    assert_eq!(
        message(&format!("{FILL}limit = '1s'\nquantile = 'P99' #!")),
        "\"P99\" is not a quantile; did you mean \"p99\"?"
    );
    assert_eq!(
        message(&format!("{FILL}limit = '1s'\nquantile = 'most' #!")),
        format!("\"most\" is not a quantile; {ParseQuantileError}")
    );
}

fn bad_duration(key: &'static str, text: &str, problem: DurationProblem) -> ParseLimitsProblem {
    ParseLimitsProblem::BadDuration { key, text: text.into(), problem }
}

#[test]
fn a_bad_duration_is_refused_for_every_key() {
    let unknown = |unit: &str, nearest| DurationProblem::UnknownUnit { unit: unit.into(), nearest };
    let wrong = [
        ("20", DurationProblem::NoUnit),
        ("1s 20", DurationProblem::NoUnit),
        ("20mz", unknown("mz", Some("ms"))),
        ("20 MS", unknown("MS", Some("ms"))),
        ("1s 20milliseconds", unknown("milliseconds", Some("ms"))),
        ("20microsecond", unknown("microsecond", Some("us"))),
        ("5M", unknown("M", Some("m"))),
        ("20parsecs", unknown("parsecs", None)),
        ("20x", unknown("x", None)),
        ("", DurationProblem::Malformed),
        ("  ", DurationProblem::Malformed),
        ("ms", DurationProblem::Malformed),
        ("-5ms", DurationProblem::Malformed),
        ("1,5s", DurationProblem::Malformed),
        ("1.s", DurationProblem::Malformed),
        (".5s", DurationProblem::Malformed),
        ("1.5.5s", DurationProblem::Malformed),
        ("2 0ms", DurationProblem::Malformed),
        ("20ms;", DurationProblem::Malformed),
        ("20m s", DurationProblem::Malformed),
        ("1__000us", DurationProblem::Malformed),
        ("_1us", DurationProblem::Malformed),
        ("1_us", DurationProblem::Malformed),
        ("1_.5us", DurationProblem::Malformed),
        ("1_", DurationProblem::Malformed),
        ("1,000us", DurationProblem::Malformed),
        ("1e3us", unknown("e", None)),
        ("1_000", DurationProblem::NoUnit),
        ("２０ms", DurationProblem::Malformed),
        ("0.5ns", DurationProblem::Inexact),
        ("1.0000000001s", DurationProblem::Inexact),
        ("1.00000000000000000000000000001s", DurationProblem::Inexact),
        ("0", DurationProblem::Zero),
        ("0s", DurationProblem::Zero),
        ("0h 0.0ms", DurationProblem::Zero),
        ("600years", DurationProblem::TooLong),
        ("18446744073709551616ns", DurationProblem::TooLong),
        ("18446744073709551615ns 1ns", DurationProblem::TooLong),
        ("99999999999999999999999999999999s", DurationProblem::TooLong),
        ("99999999999999999999999999999999.5s", DurationProblem::TooLong),
        ("307445734561825860.25m", DurationProblem::TooLong),
        // `humantime` panics on this text.
        ("18446744073709551615s 1000000000ns", DurationProblem::TooLong),
    ];
    for (text, problem) in wrong {
        for (before, key) in [
            (format!("{FILL}quantile = 'p95'\n"), "limit"),
            (PLACEMENT.into(), "window"),
            (FILL.into(), "max_silence"),
        ] {
            let refused = refused(&format!("{before}{key} = '{text}' #!"));
            assert_eq!(refused, bad_duration(key, text, problem.clone()));
        }
    }
}

#[test]
fn a_duration_may_be_spelled_as_people_write_it() {
    for (text, nanos) in [
        ("20us", 20_000),
        ("20\u{b5}s", 20_000),  // the micro sign
        ("20\u{3bc}s", 20_000), // the Greek letter mu
        ("1ms 20\u{3bc}s", 1_020_000),
        ("20 us", 20_000),
        (" 20us ", 20_000),
        ("20\u{a0}us", 20_000),
        ("1_000us", 1_000_000),
        ("1_000_000 ns", 1_000_000),
        ("1_0.2_5ms", 10_250_000),
        ("1_0ms 1_0us", 10_010_000),
        ("0.5ms", 500_000),
        ("1m30s", 90_000_000_000),
        ("1h 1m 1s", 3_661_000_000_000),
        ("20usec", 20_000),
        ("5sec", 5_000_000_000),
        ("5min", 300_000_000_000),
    ] {
        let limits = read(&format!("{FILL}max_silence = '{text}'"));
        let silence = Limit::Silence(Duration::from_nanos(nanos));
        assert_eq!(limits, Ok(vec![(Trading::OrderFill.id(), silence)]), "{text:?}");
    }
}

#[test]
fn the_error_for_a_bad_duration_names_a_valid_one() {
    for (text, expected) in [
        (
            "20",
            "`window` is \"20\": the unit is missing; write ns, us, ms, s, m or h after the number",
        ),
        ("20mz", "`window` is \"20mz\": unknown unit \"mz\"; did you mean \"ms\"?"),
        ("20x", "`window` is \"20x\": unknown unit \"x\"; expected one of ns, us, ms, s, m, h"),
        (
            "-5ms",
            "`window` is \"-5ms\": not a duration; write numbers with units, such as \"20ms\"",
        ),
        (
            "0.5ns",
            "`window` is \"0.5ns\": too many decimals; write fewer decimals or use a smaller unit",
        ),
        ("0s", "`window` is \"0s\": too short; the minimum is \"1ns\""),
        (
            "999y",
            "`window` is \"999y\": too long; the maximum is \"18446744073709551615ns\" (584 years)",
        ),
    ] {
        assert_eq!(message(&format!("{PLACEMENT}window = '{text}' #!")), expected);
    }
}

#[test]
fn a_limit_has_to_be_in_the_unit_of_its_event() {
    for number in ["20", "-1", "0", "20.5", "0x14", "inf"] {
        let problem = refused(&format!("{FILL}quantile = 'p95'\nlimit = {number} #!"));
        assert_eq!(
            problem,
            ParseLimitsProblem::NumberForTime { event: "order_fill".into(), number: number.into() }
        );
    }
    assert_eq!(
        message(&format!("{FILL}quantile = 'p95'\nlimit = 20 #!")),
        "`limit` is 20, but \"order_fill\" is measured in time; write a duration in quotes, such \
         as \"20ms\" or \"20us\""
    );
    for text in ["20ms", "20", ""] {
        let problem = refused(&format!("{BACKLOG}limit = '{text}' #!"));
        assert_eq!(
            problem,
            ParseLimitsProblem::TextForNumber { event: "queue_backlog".into(), text: text.into() }
        );
    }
    assert_eq!(
        message(&format!("{BACKLOG}limit = '20ms' #!")),
        "`limit` is \"20ms\", but \"queue_backlog\" is measured in plain numbers; write a number \
         without quotes, such as 20"
    );
}

#[test]
fn plain_numbers_out_of_range_are_refused() {
    for number in ["0", "-1", "4294967296", "99999999999999999999999999"] {
        let problem = refused(&format!("{PLACEMENT}min_samples = {number} #!"));
        let most = u64::from(u32::MAX);
        assert_eq!(
            problem,
            ParseLimitsProblem::OutOfRange { key: "min_samples", number: number.into(), most }
        );
    }
    for number in ["0", "-1", "18446744073709551616"] {
        let problem = refused(&format!("{BACKLOG}limit = {number} #!"));
        assert_eq!(
            problem,
            ParseLimitsProblem::OutOfRange { key: "limit", number: number.into(), most: u64::MAX }
        );
    }
    assert_eq!(
        message(&format!("{PLACEMENT}min_samples = 0 #!")),
        "`min_samples` is 0; expected a whole number from 1 to 4294967295"
    );

    let text =
        format!("{PLACEMENT}min_samples = 4294967295\n{BACKLOG}limit = 18446744073709551615");
    let limits = read(&text).unwrap();
    let Limit::Quantile(threshold) = limits[0].1 else { panic!("{limits:?}") };
    assert_eq!(threshold.min_samples, MinSamples::Count(u32::MAX));
    assert!(matches!(limits[1].1, Limit::Quantile(Threshold { max: u64::MAX, .. })));
}

#[test]
fn the_same_limit_twice_is_refused() {
    let again = "[[sla]] #!\nmin_samples = 9\nwindow = '1m'\nlimit = '0.02s'\n\
        raise_after = '1s'\nclear_after = '1s'\nquantile = 'p95.0'\nevent = 'order_placement'";
    assert_eq!(
        refused(&format!("\n{PLACEMENT}{FILL}max_silence = '5s'\n{again}")),
        ParseLimitsProblem::DuplicateLimit { first_line: 2 }
    );
    assert_eq!(
        message(&format!(
            "{FILL}max_silence = '5s'\n[[sla]] #!\nevent = 'order_fill'\nmax_silence = '5000ms'"
        )),
        "this limit is already set in line 1; remove one of the two"
    );

    // The limits differ in one key.
    for other in [
        PLACEMENT.replace("placement", "fill"),
        PLACEMENT.replace("p95", "p99"),
        PLACEMENT.replace("20", "21"),
        format!("{PLACEMENT}window = '5s'"),
        "[[sla]]\nevent = 'order_placement'\nmax_silence = '60s'".into(),
    ] {
        assert_eq!(
            read(&format!("{PLACEMENT}{other}")).map(|limits| limits.len()),
            Ok(2),
            "{other}"
        );
    }
    // An event has only one limit on silence, whatever its length.
    let silences = format!(
        "{FILL}max_silence = '5s'\n{}max_silence = '6s'",
        FILL.replacen("[[sla]]", "[[sla]] #!", 1)
    );
    assert!(matches!(refused(&silences), ParseLimitsProblem::DuplicateLimit { first_line: 1 }));
}

#[test]
fn deep_nesting_is_refused() {
    for text in
        [format!("sla = {}", "[".repeat(100_000)), format!("sla{} = 1", ".a".repeat(100_000))]
    {
        assert!(matches!(
            read(&text),
            Err(ParseLimitsError { problem: ParseLimitsProblem::InvalidToml { .. }, .. })
        ));
    }
}
