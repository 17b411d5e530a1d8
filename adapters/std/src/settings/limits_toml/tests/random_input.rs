//! Property tests: random input is read or refused, but never panics.

use proptest::prelude::*;

use super::*;

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
