use core::time::Duration;

use proptest::prelude::*;
use tailwatch_core::{Event, Trading};

use super::*;

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

/// An entry whose last line is the one under test.
const PLACEMENT: &str = "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\nlimit = '20ms'\n";
const BACKLOG: &str = "[[sla]]\nevent = 'queue_backlog'\nquantile = 'p95'\n";
const FILL: &str = "[[sla]]\nevent = 'order_fill'\n";

fn read(text: &str) -> Result<Vec<(EventId, Limit)>, ParseLimitsError> {
    parse_limits(text, Trading::ALL)
}

/// What is wrong with a text, which must be told of the line that is marked by `#!`; it is told alike for either ending
/// of lines, and below characters of several bytes.
#[track_caller]
fn refused(text: &str) -> ParseLimitsProblem {
    let marked = text.split('\n').position(|line| line.contains("#!")).expect("a marked line") + 1;
    let error = read(text).expect_err("a wrong text");
    assert_eq!(error.line, marked, "{error}");
    assert_eq!(error.to_string(), format!("line {marked}: {}", error.problem));

    let in_windows = read(&text.replace('\n', "\r\n")).expect_err("a wrong text");
    assert_eq!(in_windows.line, marked, "{in_windows}");
    let below = read(&format!("# größer: 漢字 🦀\n{text}")).expect_err("a wrong text");
    assert_eq!(below.line, marked + 1, "{below}");
    error.problem
}

/// What is told of a text that is wrong in the line marked by `#!`.
#[track_caller]
fn told(text: &str) -> String {
    refused(text).to_string()
}

fn good() -> Vec<(EventId, Limit)> {
    let threshold = |quantile, limit| Threshold {
        quantile,
        limit,
        window: Duration::from_mins(1),
        min_samples: 1,
    };
    vec![
        (Trading::OrderPlacement.id(), Limit::Quantile(threshold(Quantile::P95, 20_000_000))),
        (
            Trading::OrderPlacement.id(),
            Limit::Quantile(Threshold {
                window: Duration::from_secs(5),
                min_samples: 1_000,
                ..threshold(Quantile::P99_9, 1_500_000_000)
            }),
        ),
        (Trading::QueueBacklog.id(), Limit::Quantile(threshold(Quantile::MAX, 64))),
        (Trading::OrderFill.id(), Limit::Silence(Duration::from_secs(90))),
    ]
}

#[test]
fn a_good_file_is_read_in_its_order() {
    assert_eq!(read(GOOD), Ok(good()));
    assert_eq!(read(&GOOD.replace('\n', "\r\n")), Ok(good()));
    assert_eq!(read(&format!("\u{feff}{GOOD}")), Ok(good()), "with a byte order mark");
}

#[test]
fn a_list_of_inline_tables_is_the_same() {
    let text = "sla = [
        { event = 'order_placement', quantile = 'p95', limit = '20ms' },
        { event = 'order_placement', quantile = 'p99.9', limit = '1.5s', window = '5s', min_samples = 1000 },
        { event = 'queue_backlog', quantile = 'p100', limit = 64 }, { event = 'order_fill', max_silence = '90s' },
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
fn what_is_no_toml_is_told_with_its_line() {
    assert!(
        matches!(refused("[[sla]]\nevent = #!\n"), ParseLimitsProblem::NotToml { message } if !message.is_empty())
    );
    assert!(
        told("[[sla]]\nevent = 'order_fill'\nevent = 'order_fill' #!").contains("duplicate key")
    );
}

#[test]
fn a_file_without_limits_is_refused() {
    for text in ["", "\n\n", "# nothing", "\u{feff}"] {
        assert_eq!(
            read(text),
            Err(ParseLimitsError { line: 1, problem: ParseLimitsProblem::NoLimits }),
            "{text:?}"
        );
    }
    assert_eq!(told("\nsla = [] #!"), "no limits: write at least one [[sla]]");
}

#[test]
fn one_table_is_no_list() {
    for text in [
        "\n[sla] #!\nevent = 'order_fill'",
        "sla.event = 'order_fill' #!",
        "\nsla = {} #!",
        "[sla.order_fill] #!",
    ] {
        assert_eq!(refused(text), ParseLimitsProblem::SingleTable, "{text}");
    }
    assert_eq!(told("[sla] #!"), "`sla` is a single table: write [[sla]], once for each limit");
    assert_eq!(told("sla = 5 #!"), "`sla` is of type integer: write [[sla]], once for each limit");
    assert_eq!(
        told("sla = [\n'p95' #!\n]"),
        "`sla` is of type string: write [[sla]], once for each limit"
    );
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    assert_eq!(
        told("[[slo]] #!\nevent = 'order_fill'"),
        "unknown key \"slo\"; did you mean [[sla]]?"
    );
    assert_eq!(
        told("event = 'order_fill' #!"),
        "unknown key \"event\": all keys stand under a [[sla]]"
    );
    assert_eq!(
        told("x = 1 #!\n[[sla]]\nevent = 5\n[a]"),
        "unknown key \"x\": all keys stand under a [[sla]]"
    );

    // The first in the file, though "a" comes first in the alphabet.
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
        let expected = format!("unknown key {key:?}; did you mean {nearest:?}?");
        assert_eq!(told(&format!("{PLACEMENT}{key} = 1 #!")), expected);
    }
    assert_eq!(
        told(&format!("{PLACEMENT}colour = 'red' #!")),
        "unknown key \"colour\"; there are event, quantile, limit, window, min_samples, max_silence"
    );
}

#[test]
fn a_missing_key_is_told_at_its_entry() {
    assert_eq!(
        told(&format!("{PLACEMENT}[[sla]] #!\nquantile = 'p95'")),
        "this [[sla]] has no `event`"
    );
    assert_eq!(
        told("[[sla]] #!\nevent = 'order_fill'\nlimit = '5s'"),
        "this [[sla]] has no `quantile`"
    );
    assert_eq!(
        told("[[sla]] #!\nevent = 'order_fill'\nquantile = 'p95'"),
        "this [[sla]] has no `limit`"
    );
    assert_eq!(
        told("[[sla]] #!\nevent = 'order_fill'\nwindow = '5s'"),
        "this [[sla]] limits nothing: write `quantile` and `limit`, or `max_silence`"
    );
}

#[test]
fn silence_stands_alone() {
    for (key, value) in
        [("quantile", "'p95'"), ("limit", "'20ms'"), ("window", "'5s'"), ("min_samples", "2")]
    {
        let problem = refused(&format!("{FILL}max_silence = '5s'\n{key} = {value} #!"));
        assert_eq!(problem, ParseLimitsProblem::BesideSilence { key: key.into() });
    }
    assert_eq!(
        told(&format!("{FILL}max_silence = '5s'\nlimit = '20ms' #!")),
        "`limit` beside `max_silence`: each is a limit of its own, under a [[sla]] of its own"
    );
}

#[test]
fn a_wrong_type_is_told() {
    let of = |text: &str, key, found| {
        let problem = refused(text);
        let is_told = matches!(problem, ParseLimitsProblem::WrongType { key: k, found: f, .. } if (k, f) == (key, found));
        assert!(is_told, "{problem}");
    };
    of("[[sla]]\nevent = 3 #!", "event", "integer");
    of(&format!("{FILL}max_silence = 5 #!"), "max_silence", "integer");
    of(&format!("{FILL}quantile = 0.95 #!\nlimit = 5"), "quantile", "float");
    of(&format!("{FILL}quantile = 'p95'\nlimit = true #!"), "limit", "boolean");
    of(&format!("{BACKLOG}limit = 20.5 #!"), "limit", "float");
    of(&format!("{BACKLOG}limit = [20] #!"), "limit", "array");
    of(&format!("{PLACEMENT}window = 07:32:00 #!"), "window", "datetime");
    of(&format!("{PLACEMENT}min_samples = '5' #!"), "min_samples", "string");
    of(&format!("{PLACEMENT}[sla.window] #!"), "window", "table");
    assert_eq!(
        told(&format!("{PLACEMENT}window = 60 #!")),
        "`window` is of type integer: write a duration in quotes, such as \"20ms\""
    );
}

#[test]
fn an_unknown_event_is_told_with_the_nearest() {
    assert_eq!(
        told("\n[[sla]]\nevent = 'order_placment' #!"),
        "unknown event \"order_placment\"; did you mean \"order_placement\"?"
    );
    for (name, nearest) in
        [("OrderFill", "order_fill"), ("queue-backlog", "queue_backlog"), ("gc_pauses", "gc_pause")]
    {
        let ParseLimitsProblem::UnknownEvent { nearest: told, known, .. } =
            refused(&format!("[[sla]]\nevent = '{name}' #!"))
        else {
            panic!("{name}");
        };
        assert_eq!((told, known.len()), (Some(nearest), Trading::ALL.len()));
    }
    assert_eq!(
        told("[[sla]]\nevent = 'heartbeat' #!"),
        "unknown event \"heartbeat\"; there are candle_processing, signal_generation, order_placement, order_fill, \
         event_bus_publish, event_bus_handle, queue_backlog, gc_pause"
    );

    let error = parse_limits(FILL, &[]).unwrap_err();
    assert_eq!(error.to_string(), "line 2: unknown event \"order_fill\": none is announced");
    let many = vec![Trading::ALL[0]; 20];
    let error = parse_limits(FILL, &many).unwrap_err();
    assert!(error.to_string().ends_with("candle_processing and 4 more"), "{error}");
}

#[test]
fn a_bad_quantile_is_told_with_the_nearest() {
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
        told(&format!("{FILL}limit = '1s'\nquantile = 'P99' #!")),
        "\"P99\" is no quantile; did you mean \"p99\"?"
    );
    assert_eq!(
        told(&format!("{FILL}limit = '1s'\nquantile = 'most' #!")),
        "\"most\" is no quantile; a quantile is written p0 to p100, with up to four decimals, such as p99.9"
    );
}

fn bad_duration(key: &'static str, text: &str, problem: DurationProblem) -> ParseLimitsProblem {
    ParseLimitsProblem::BadDuration { key, text: text.into(), problem }
}

#[test]
fn a_bad_duration_is_told_for_each_key() {
    let unknown = |unit: &str, nearest| DurationProblem::UnknownUnit { unit: unit.into(), nearest };
    let wrong = [
        ("20", DurationProblem::NoUnit),
        ("1s 20", DurationProblem::NoUnit),
        ("20mz", unknown("mz", Some("ms"))),
        ("20 MS", unknown("MS", Some("ms"))),
        ("20μs", unknown("μs", Some("us"))),
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
        // `humantime` alone panics here.
        ("18446744073709551615s 1000000000ns", DurationProblem::TooLong),
    ];
    for (text, problem) in wrong {
        for (before, key) in [
            (format!("{FILL}quantile = 'p95'\n"), "limit"),
            (PLACEMENT.into(), "window"),
            (FILL.into(), "max_silence"),
        ] {
            let told = refused(&format!("{before}{key} = '{text}' #!"));
            assert_eq!(told, bad_duration(key, text, problem.clone()));
        }
    }
}

#[test]
fn a_bad_duration_says_what_would_be_right() {
    for (text, expected) in [
        ("20", "`window` of \"20\" has no unit: write ns, us, ms, s, m or h after the number"),
        ("20mz", "`window` of \"20mz\" has the unknown unit \"mz\"; did you mean \"ms\"?"),
        ("20x", "`window` of \"20x\" has the unknown unit \"x\"; there are ns, us, ms, s, m, h"),
        ("-5ms", "`window` of \"-5ms\" is no duration: write numbers with units, such as \"20ms\""),
        (
            "0.5ns",
            "`window` of \"0.5ns\" cannot be kept exactly: write it with fewer decimals or in a smaller unit",
        ),
        ("0s", "`window` of \"0s\" is too short: write at least \"1ns\""),
        (
            "999y",
            "`window` of \"999y\" is too long: write at most \"18446744073709551615ns\", which are 584 years",
        ),
    ] {
        assert_eq!(told(&format!("{PLACEMENT}window = '{text}' #!")), expected);
    }
}

#[test]
fn a_limit_is_told_in_what_the_event_is_measured_in() {
    for number in ["20", "-1", "0", "20.5", "0x14", "inf"] {
        let problem = refused(&format!("{FILL}quantile = 'p95'\nlimit = {number} #!"));
        assert_eq!(
            problem,
            ParseLimitsProblem::NumberForTime { event: "order_fill", number: number.into() }
        );
    }
    assert_eq!(
        told(&format!("{FILL}quantile = 'p95'\nlimit = 20 #!")),
        "`limit` of 20 for \"order_fill\", which is measured in time: write a duration in quotes, such as \"20ms\""
    );
    for text in ["20ms", "20", ""] {
        let problem = refused(&format!("{BACKLOG}limit = '{text}' #!"));
        assert_eq!(
            problem,
            ParseLimitsProblem::TextForNumber { event: "queue_backlog", text: text.into() }
        );
    }
    assert_eq!(
        told(&format!("{BACKLOG}limit = '20ms' #!")),
        "`limit` of \"20ms\" for \"queue_backlog\", which is measured in plain numbers: write one without quotes, such \
         as 20"
    );
}

#[test]
fn plain_numbers_have_bounds() {
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
        told(&format!("{PLACEMENT}min_samples = 0 #!")),
        "`min_samples` of 0 is out of range: write a whole number from 1 to 4294967295"
    );

    let text =
        format!("{PLACEMENT}min_samples = 4294967295\n{BACKLOG}limit = 18446744073709551615");
    let limits = read(&text).unwrap();
    assert!(matches!(limits[0].1, Limit::Quantile(Threshold { min_samples: u32::MAX, .. })));
    assert!(matches!(limits[1].1, Limit::Quantile(Threshold { limit: u64::MAX, .. })));
}

#[test]
fn the_same_limit_twice_is_refused() {
    let again = "[[sla]] #!\nmin_samples = 9\nwindow = '1m'\nlimit = '0.02s'\nquantile = 'p95.0'\nevent = 'order_placement'";
    assert_eq!(
        refused(&format!("\n{PLACEMENT}{FILL}max_silence = '5s'\n{again}")),
        ParseLimitsProblem::Twice { first_line: 2 }
    );
    assert_eq!(
        told(&format!(
            "{FILL}max_silence = '5s'\n[[sla]] #!\nevent = 'order_fill'\nmax_silence = '5000ms'"
        )),
        "the limit of line 1 once more: leave one of them out"
    );

    // One thing differs.
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
    // Of silence an event has one limit, whatever it is.
    let silences = format!(
        "{FILL}max_silence = '5s'\n{}max_silence = '6s'",
        FILL.replacen("[[sla]]", "[[sla]] #!", 1)
    );
    assert!(matches!(refused(&silences), ParseLimitsProblem::Twice { first_line: 1 }));
}

#[test]
fn deep_nesting_is_refused() {
    for text in
        [format!("sla = {}", "[".repeat(100_000)), format!("sla{} = 1", ".a".repeat(100_000))]
    {
        assert!(matches!(
            read(&text),
            Err(ParseLimitsError { problem: ParseLimitsProblem::NotToml { .. }, .. })
        ));
    }
}

/// A text is read, or refused with one of its lines and with words.
fn is_sound(text: &str) {
    if let Err(error) = read(text) {
        assert!((1..=text.split('\n').count()).contains(&error.line), "{error}");
        assert!(!error.problem.to_string().is_empty());
    }
}

const NANOS_OF_UNITS: [(&str, u128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What stands in good files and beside them, to be put together in any order.
const PIECES: [&str; 32] = [
    "[[sla]]\n",
    "[sla]",
    "[[",
    "]]",
    "[sla.event]",
    "sla",
    ".",
    "=",
    "event = ",
    "'order_fill'",
    "\"order_placement\"",
    "\n",
    "quantile = 'p95'\n",
    "limit = ",
    "'20ms'\n",
    "window = ",
    "max_silence = ",
    "'5s'",
    "18446744073709551615s ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"\"\"",
    "\\u0000",
    "#",
    "\r",
    "min_samples = ",
    "-1",
    "漢",
    "1e9",
];

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        is_sound(&text);
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in proptest::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        is_sound(&pieces.concat());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<char>()), 1..12)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, how, with) in damages {
            let at = at.index(text.len());
            match how {
                0 => drop(text.remove(at)),
                1 => text.insert(at, with),
                _ => text[at] = with,
            }
            is_sound(&String::from_iter(&text));
        }
    }

    #[test]
    fn any_duration_is_read_or_refused(text in "[0-9. smhuMy\u{b5}\u{3bc}-]{0,30}") {
        is_sound(&format!("{FILL}max_silence = '{text}'"));
    }

    /// Against multiplication.
    #[test]
    fn a_duration_is_its_number_times_its_unit(
        terms in proptest::collection::vec((any::<u64>(), 0..64_u32, 0..NANOS_OF_UNITS.len()), 1..4)
    ) {
        let mut text = String::new();
        let mut nanos = 0_u128;
        for (number, shift, unit) in terms {
            let (unit, in_nanos) = NANOS_OF_UNITS[unit];
            text = format!("{text}{} {unit} ", number >> shift);
            nanos += u128::from(number >> shift) * in_nanos;
        }
        let expected = match u64::try_from(nanos) {
            Ok(0) => Err(DurationProblem::Zero),
            Ok(nanos) => Ok(Duration::from_nanos(nanos)),
            Err(_) => Err(DurationProblem::TooLong),
        };
        prop_assert_eq!(duration::parse(&text), expected, "{}", text);
    }

    /// Whatever number is a good limit comes back as it was written.
    #[test]
    fn a_plain_limit_is_the_number_written(limit in 1..=u64::MAX) {
        let limits = read(&format!("{BACKLOG}limit = {limit}"));
        let threshold = Threshold::value(Quantile::P95, limit);
        prop_assert_eq!(limits, Ok(vec![(Trading::QueueBacklog.id(), Limit::Quantile(threshold))]));
    }
}
