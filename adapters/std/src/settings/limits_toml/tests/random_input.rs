//! Property tests: random input is read or refused, but never panics.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{labels::made, *};

/// Checks that a text is either read, or refused with a message and the number of one of its lines.
fn assert_read_or_refused(text: &str) {
    if let Err(error) = read(text) {
        assert!((1..=text.split('\n').count()).contains(&error.line), "{error}");
        assert!(!error.problem.to_string().is_empty());
    }
}

/// The units of durations, each with its length in nanoseconds.
const NANOS_OF_UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Pieces of valid and invalid texts, which a test concatenates at random.
const PIECES: [&str; 37] = [
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
    "'auto'\n",
    "raise_after = ",
    "clear_after = ",
    "-1",
    "漢",
    "labels = ",
    "{ symbol = 'BTC' }",
    "1e9",
];

/// Labels with few keys and values, so that they often match.
fn some_labels() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let key = prop::sample::select(&["a", "b", "c"][..]);
    let value = prop::sample::select(&["1", "2", "\"", "a=\"1\",b"][..]);
    prop::collection::btree_map(key, value, 0..3)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        assert_read_or_refused(&text);
    }

    #[test]
    fn any_pieces_are_read_or_refused(
        pieces in proptest::collection::vec(prop::sample::select(&PIECES[..]), 0..40)
    ) {
        assert_read_or_refused(&pieces.concat());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        damages in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..3_u8, any::<char>()),
            1..12,
        )
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, how, with) in damages {
            let at = at.index(text.len());
            match how {
                0 => drop(text.remove(at)),
                1 => text.insert(at, with),
                _ => text[at] = with,
            }
            assert_read_or_refused(&String::from_iter(&text));
        }
    }

    #[test]
    fn any_labels_are_read_or_refused(labels in "\\PC{0,30}", key in "\\PC{0,10}") {
        assert_read_or_refused(&format!("{FILL}max_silence = '5s'\nlabels = {labels}"));
        let value = format!("{labels:?}");
        assert_read_or_refused(&format!("{FILL}max_silence = '5s'\nlabels.{key:?} = {value}"));
    }

    /// The test computes which events are selected by comparing sets of labels.
    #[test]
    fn a_limit_is_for_the_events_that_have_all_its_labels(
        events in proptest::collection::vec((0..2_usize, some_labels()), 1..6),
        (name, wanted) in (0..2_usize, some_labels()),
    ) {
        const NAMES: [&str; 2] = ["random_a", "random_b"];
        let pairs = |labels: &BTreeMap<&'static str, &'static str>| {
            labels.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>()
        };
        let infos: Vec<_> =
            events.iter().map(|(name, labels)| made(NAMES[*name], &pairs(labels))).collect();
        let mut expected = Vec::new();
        for ((of, labels), info) in events.iter().zip(&infos) {
            let has = |(key, value): (&&str, &&str)| labels.get(key) == Some(value);
            if *of == name && wanted.iter().all(has) && !expected.contains(&info.id) {
                expected.push(info.id);
            }
        }
        let mut text = format!("[[sla]]\nevent = '{}'\nmax_silence = '5s'\n", NAMES[name]);
        for (key, value) in &wanted {
            text = format!("{text}labels.{key} = {value:?}\n");
        }
        let found = parse_limits(&text, &infos).unwrap_or_default();
        let found: Vec<_> = found.iter().map(|(event, _)| *event).collect();
        prop_assert_eq!(found, expected, "{}", text);
    }

    #[test]
    fn any_duration_is_read_or_refused(text in "[0-9. smhuMy\u{b5}\u{3bc}-]{0,30}") {
        assert_read_or_refused(&format!("{FILL}max_silence = '{text}'"));
    }

    /// The test computes the expected duration by multiplying and adding.
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

    /// Every valid number is returned exactly as it was written.
    #[test]
    fn a_plain_limit_is_the_number_written(limit in 1..=u64::MAX) {
        let limits = read(&format!("{BACKLOG}limit = {limit}"));
        let threshold = Threshold::value(Quantile::P95, limit);
        prop_assert_eq!(limits, Ok(vec![(Trading::QueueBacklog.id(), Limit::Quantile(threshold))]));
    }
}
