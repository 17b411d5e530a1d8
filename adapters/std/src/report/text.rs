//! Formats values and lengths of windows as text.

use core::time::Duration;

use tailwatch_core::Unit;

/// The units of durations. Each is 1,000 times as long as the one before it.
const TIME_UNITS: [&str; 4] = [" ns", " µs", " ms", " s"];

/// What stands behind a plain number. Each is 1,000 times as large as the one before it.
const NUMBER_UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// Formats a duration or plain number for people.
///
/// A duration has three significant digits, such as `3.04 µs`; below 1,000 ns and from 1,000 s on,
/// it is a whole number of its unit. A plain number is exact below a million, such as `12,345`, and
/// has three significant digits from there on, such as `1.23M`.
pub(crate) fn value(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Time => duration(value),
        _ => number(value),
    }
}

/// Formats a share exactly, given in parts per million, such as `2.5 %`.
pub(crate) fn share(ppm: u64) -> String {
    let digits = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Formats nanoseconds.
fn duration(nanos: u64) -> String {
    let seconds = rounded(nanos, 1_000_000_000);
    if seconds >= 1_000 {
        return grouped(seconds) + " s";
    }
    three_digits(nanos, &TIME_UNITS)
}

/// Formats a plain number.
fn number(value: u64) -> String {
    if value < 1_000_000 { grouped(value) } else { three_digits(value, &NUMBER_UNITS) }
}

/// Formats how many of `count` there were per second of a time, with three significant digits, or
/// less below 0.1. Returns nothing if the time is 0.
#[cfg(feature = "table")]
pub(super) fn per_second(count: u64, nanos: u64) -> String {
    /// Those of thousandths.
    const UNITS: [&str; 7] = ["", "", "k", "M", "G", "T", "P"];
    let (scaled, nanos) = (u128::from(count) * 1_000_000_000_000, u128::from(nanos));
    let Some(thousandths) = scaled.checked_div(nanos) else { return String::new() };
    // Rounded up or down only once, so that the last digit is right.
    let nearest = (scaled + nanos / 2) / nanos;
    match thousandths {
        0 if count == 0 => "0".to_owned(),
        0 if nearest == 0 => "<0.001".to_owned(),
        0..1_000 if nearest < 1_000 => format!("0.{nearest:03}"),
        0..1_000 => "1.00".to_owned(),
        _ => u64::try_from(thousandths)
            .map_or_else(|_| ">18P".to_owned(), |thousandths| three_digits(thousandths, &UNITS)),
    }
}

/// Formats a number exactly, with a comma between each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number in the unit in which it is at least 1 and less than 1,000, rounded to three
/// significant digits. Below 1,000, it is exact and in the first unit.
fn three_digits(number: u64, units: &[&str]) -> String {
    let mut left_out = (number.checked_ilog10().unwrap_or(0) + 1).saturating_sub(3);
    let mut digits = rounded(number, 10_u64.pow(left_out));
    if digits == 1_000 {
        (digits, left_out) = (100, left_out + 1);
    }
    let thousands = left_out.div_ceil(3);
    let unit = units.get(thousands as usize).copied().unwrap_or_default();
    match (3 * thousands - left_out) as usize {
        0 => format!("{digits}{unit}"),
        decimals => {
            let one = 10_u64.pow(3 * thousands - left_out);
            format!("{}.{:0decimals$}{unit}", digits / one, digits % one)
        }
    }
}

/// Returns how many of `step` a number is, rounded to the nearest; half of a `step` rounds up.
fn rounded(number: u64, step: u64) -> u64 {
    number / step + u64::from(number % step >= step.div_ceil(2))
}

/// Formats the length of a window as its name, such as `1s` or `500ms`.
pub(crate) fn window_name(length: Duration) -> String {
    let (number, unit) = number_and_unit(length);
    format!("{number}{unit}")
}

/// Formats the length of a window for a sentence, such as `1 s` or `500 ms`.
pub(crate) fn length(length: Duration) -> String {
    let (number, unit) = number_and_unit(length);
    format!("{number} {unit}")
}

/// Returns a length in the largest unit that divides it.
fn number_and_unit(length: Duration) -> (u128, &'static str) {
    let nanos = length.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| nanos.is_multiple_of(*size)).unwrap_or((1, "ns"));
    (nanos / size, unit)
}

#[cfg(test)]
mod tests;
