//! Parses durations such as `20ms` or `1m 30s`.

use core::{fmt, time::Duration};

use humantime::DurationError;

use super::suggestion::{nearest, write_suggestion};

/// Spellings of units, each with the unit that is suggested for it. `humantime`, which parses
/// durations, does not know all of these spellings. If two spellings are equally similar to a wrong
/// unit, the first is suggested.
const UNITS: [(&str, &str); 12] = [
    ("ms", "ms"),
    ("us", "us"),
    ("ns", "ns"),
    ("s", "s"),
    ("m", "m"),
    ("h", "h"),
    ("milliseconds", "ms"),
    ("microseconds", "us"),
    ("nanoseconds", "ns"),
    ("seconds", "s"),
    ("minutes", "m"),
    ("hours", "h"),
];

/// What is wrong with a duration. The text that `Display` writes includes what would be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationProblem {
    /// The text is not a list of numbers with units.
    Malformed,
    /// A number has no unit.
    NoUnit,
    /// The unit of a number is unknown.
    UnknownUnit {
        /// The unit as it was written.
        unit: String,
        /// The most similar unit, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A number has so many decimals that the duration is not a whole number of nanoseconds.
    Inexact,
    /// The duration is 0.
    Zero,
    /// The duration is longer than 2^64 − 1 ns.
    TooLong,
}

impl fmt::Display for DurationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("not a duration; write numbers with units, such as \"20ms\"")
            }
            Self::NoUnit => {
                f.write_str("the unit is missing; write ns, us, ms, s, m or h after the number")
            }
            Self::UnknownUnit { unit, nearest } => {
                write!(f, "unknown unit {unit:?}")?;
                write_suggestion(f, *nearest, &["ns", "us", "ms", "s", "m", "h"])
            }
            Self::Inexact => {
                f.write_str("too many decimals; write fewer decimals or use a smaller unit")
            }
            Self::Zero => f.write_str("too short; the minimum is \"1ns\""),
            Self::TooLong => {
                write!(f, "too long; the maximum is \"{}ns\" (584 years)", u64::MAX)
            }
        }
    }
}

/// Parses a duration such as `20ms`, `1_500us` or `1m 30s`, from 1 ns to 2^64 − 1 ns.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationProblem> {
    // `humantime` accepts the micro sign (U+00B5), but not the Greek letter (U+03BC), which looks
    // the same and is what many keyboards type.
    let text = &*text.replace('\u{3bc}', "\u{b5}");
    let mut sum = None;
    // Each term is parsed by itself, because `humantime` 2.4 panics if the sum of several terms
    // overflows a `Duration`.
    for term_text in terms(text) {
        // The addition cannot overflow, because both summands are at most 2^64 − 1 ns.
        sum = Some(bounded(sum.unwrap_or_default() + term(term_text)?)?);
    }
    match sum {
        None => Err(DurationProblem::Malformed),
        Some(Duration::ZERO) => Err(DurationProblem::Zero),
        Some(sum) => Ok(sum),
    }
}

/// Parses one term, which is a number and its unit.
fn term(term: &str) -> Result<Duration, DurationProblem> {
    let unit_at = end_of_number(term);
    let (number, unit) = (term[..unit_at].trim(), term[unit_at..].trim());
    if let Some(number) = without_separators(number) {
        return self::term(&format!("{number}{unit}"));
    }
    // `humantime` would accept "2 0ms" as 20 ms.
    if number.is_empty()
        || number.contains(char::is_whitespace)
        || !unit.chars().all(char::is_alphabetic)
    {
        return Err(DurationProblem::Malformed);
    }
    // `humantime` reads `M` as months. Here `m` is a minute, so `M` is more likely a mistake.
    if unit == "M" {
        return Err(unknown_unit(unit));
    }
    let duration = humantime::parse_duration(term).map_err(|error| match error {
        DurationError::UnknownUnit { .. } if unit.is_empty() => DurationProblem::NoUnit,
        DurationError::UnknownUnit { .. } => unknown_unit(unit),
        // The unit contains a character that no unit of `humantime` has.
        DurationError::InvalidCharacter(at) if at >= unit_at && !unit.is_empty() => {
            unknown_unit(unit)
        }
        DurationError::NumberOverflow if is_valid_without_decimals(number, unit) => {
            DurationProblem::Inexact
        }
        DurationError::NumberOverflow => DurationProblem::TooLong,
        _ => DurationProblem::Malformed,
    })?;
    bounded(duration)
}

/// Returns the duration, or an error if it is longer than 2^64 − 1 ns.
fn bounded(duration: Duration) -> Result<Duration, DurationProblem> {
    if duration.as_nanos() <= u64::MAX.into() {
        Ok(duration)
    } else {
        Err(DurationProblem::TooLong)
    }
}

/// Creates the error for an unknown unit, with the most similar unit if there is one.
fn unknown_unit(unit: &str) -> DurationProblem {
    let spelling = nearest(unit, UNITS.map(|(spelling, _)| spelling));
    let nearest = UNITS.iter().find(|(known, _)| Some(*known) == spelling).map(|(_, unit)| *unit);
    DurationProblem::UnknownUnit { unit: unit.to_owned(), nearest }
}

/// Splits `text` into terms. A term is a number together with the text up to the next number.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let unit_at = end_of_number(rest);
        let length = rest[unit_at..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |length| unit_at + length);
        let (term, after) = rest.split_at(length);
        rest = after;
        Some(term)
    })
}

/// Returns the position after the number at the beginning of `text`, and after the spaces that
/// follow the number.
fn end_of_number(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_') || c.is_whitespace()))
        .unwrap_or(text.len())
}

/// Returns a number without the `_` between its digits, as in `1_000`, which `humantime` does not
/// accept. Returns `None` if there is no `_`, or if one is elsewhere than between two digits.
fn without_separators(number: &str) -> Option<String> {
    let is_separator = |at: usize| {
        let bytes = number.as_bytes();
        let is_digit =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        is_digit(at.checked_sub(1)) && is_digit(Some(at + 1))
    };
    let mut separators = number.match_indices('_').peekable();
    separators.peek()?;
    separators.all(|(at, _)| is_separator(at)).then(|| number.replace('_', ""))
}

/// Returns whether a number with decimals and this unit would be valid without the decimals.
fn is_valid_without_decimals(number: &str, unit: &str) -> bool {
    number.split_once('.').is_some_and(|(whole, _)| term(&format!("{whole}{unit}")).is_ok())
}
