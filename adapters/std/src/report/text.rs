//! Formats values and lengths of windows as text.

use core::time::Duration;

use tailwatch_core::Unit;

/// Formats a duration or plain number for people.
pub(crate) fn value(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Time => duration(value),
        _ => value.to_string(),
    }
}

/// Formats nanoseconds in the smallest of ns, µs and ms in which the number is below 10,000, or
/// else in s.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn duration(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
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
mod tests {
    use super::*;

    #[test]
    fn a_window_length_is_formatted_in_the_largest_unit_that_divides_it() {
        let names = [1_000_000_000, 60_000_000_000, 1_500_000_000, 250_000, 7]
            .map(Duration::from_nanos)
            .map(window_name);
        assert_eq!(names, ["1s", "60s", "1500ms", "250us", "7ns"]);
    }
}
