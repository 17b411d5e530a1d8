//! Durations as people write them.

use core::time::Duration;

use humantime::DurationError;

use super::{DurationProblem, nearest};

/// How people write units, also such as `humantime` does not know, and which is meant. Of two that are equally near the
/// first is told.
const UNITS: [(&str, &str); 13] = [
    ("ms", "ms"),
    ("us", "us"),
    ("ns", "ns"),
    ("s", "s"),
    ("m", "m"),
    ("h", "h"),
    // With the Greek letter mu, which only looks like the sign of "micro".
    ("μs", "us"),
    ("milliseconds", "ms"),
    ("microseconds", "us"),
    ("nanoseconds", "ns"),
    ("seconds", "s"),
    ("minutes", "m"),
    ("hours", "h"),
];

/// The duration that `text` tells, such as `20ms`, `1.5s` or `1m 30s`: 1 to 2^64 - 1 ns.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationProblem> {
    let mut sum = None;
    // Term by term, because `humantime` 2.4 panics where a sum of terms exceeds what a `Duration` can hold.
    for one in terms(text) {
        // Two terms of at most 2^64 - 1 ns each are far from what a `Duration` can hold.
        sum = Some(bounded(sum.unwrap_or_default() + term(one)?)?);
    }
    match sum {
        None => Err(DurationProblem::Malformed),
        Some(Duration::ZERO) => Err(DurationProblem::Zero),
        Some(sum) => Ok(sum),
    }
}

/// One number and its unit.
fn term(term: &str) -> Result<Duration, DurationProblem> {
    let unit_at = end_of_number(term);
    let (number, unit) = (term[..unit_at].trim(), term[unit_at..].trim());
    // `humantime` reads "2 0ms" as 20 ms.
    if number.is_empty()
        || number.contains(char::is_whitespace)
        || !unit.chars().all(char::is_alphabetic)
    {
        return Err(DurationProblem::Malformed);
    }
    // `humantime` takes it for a month, which nobody means where `m` is a minute.
    if unit == "M" {
        return Err(unknown_unit(unit));
    }
    let duration = humantime::parse_duration(term).map_err(|error| match error {
        DurationError::UnknownUnit { .. } if unit.is_empty() => DurationProblem::NoUnit,
        DurationError::UnknownUnit { .. } => unknown_unit(unit),
        // Letters that no unit has.
        DurationError::InvalidCharacter(at) if at >= unit_at && !unit.is_empty() => {
            unknown_unit(unit)
        }
        DurationError::NumberOverflow if is_read_without_decimals(number, unit) => {
            DurationProblem::Inexact
        }
        DurationError::NumberOverflow => DurationProblem::TooLong,
        _ => DurationProblem::Malformed,
    })?;
    bounded(duration)
}

fn bounded(duration: Duration) -> Result<Duration, DurationProblem> {
    if duration.as_nanos() <= u64::MAX.into() {
        Ok(duration)
    } else {
        Err(DurationProblem::TooLong)
    }
}

fn unknown_unit(unit: &str) -> DurationProblem {
    let written = nearest(unit, UNITS.map(|(written, _)| written));
    let nearest = UNITS.iter().find(|(known, _)| Some(*known) == written).map(|(_, unit)| *unit);
    DurationProblem::UnknownUnit { unit: unit.to_owned(), nearest }
}

/// Numbers with what follows each, up to the next.
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

/// Where the number with which `text` begins ends, and spaces after it.
fn end_of_number(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c.is_whitespace()))
        .unwrap_or(text.len())
}

fn is_read_without_decimals(number: &str, unit: &str) -> bool {
    number.split_once('.').is_some_and(|(whole, _)| term(&format!("{whole}{unit}")).is_ok())
}
