use proptest::prelude::*;

use super::*;

/// Returns the number that a text stands for, and how much half of its last digit is, both in
/// thousandths of the first unit.
fn parse(text: &str) -> (u128, u128) {
    let units: [(&str, u32); 11] = [
        (" ns", 0),
        (" µs", 3),
        (" ms", 6),
        (" s", 9),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
        ("", 0),
    ];
    let (digits, power) =
        units.iter().find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power))).unwrap();
    let digits = digits.replace(',', "");
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let last = 10_u128.pow(power + 3 - u32::try_from(decimals).unwrap());
    (digits.replace('.', "").parse::<u128>().unwrap() * last, last / 2)
}

/// Numbers of all sizes, as often small as large, and those at which the unit changes.
fn numbers() -> impl Strategy<Value = u64> {
    let of_any_size = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
    let near_a_power = (0..20_u32, -1_006..1_006_i64)
        .prop_map(|(power, offset)| 10_u64.pow(power).saturating_add_signed(offset));
    let near_a_rounding = (4..20_u32, -1_006..1_006_i64).prop_map(|(power, offset)| {
        (10_u64.pow(power) - 10_u64.pow(power - 4) * 5).saturating_add_signed(offset)
    });
    prop_oneof![of_any_size, near_a_power, near_a_rounding]
}

/// Returns the significant digits of a text.
fn significant(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

proptest! {
    #[test]
    fn a_duration_or_number_is_off_by_at_most_half_of_its_last_digit(number in numbers()) {
        for unit in [Unit::Time, Unit::One] {
            let text = value(unit, number);
            let (shown, half) = parse(&text);
            prop_assert!(shown.abs_diff(u128::from(number) * 1_000) <= half, "{number}: {text}");
            if text.contains(['.', 'M', 'G', 'T', 'P', 'E']) {
                prop_assert_eq!(significant(&text), 3, "{}: {}", number, text);
            }
        }
        prop_assert_eq!(parse(&grouped(number)).0, u128::from(number) * 1_000);
    }

    #[cfg(feature = "table")]
    #[test]
    fn a_rate_is_off_by_at_most_half_of_its_last_digit(count in numbers(), nanos in numbers()) {
        let text = per_second(count, nanos);
        if nanos == 0 {
            prop_assert_eq!(text, "");
        } else if text == "<0.001" {
            prop_assert!(u128::from(count) * 1_000_000_000_000 * 2 < u128::from(nanos), "{text}");
        } else if text == ">18P" {
            let per_second = u128::from(count) * 1_000_000_000 / u128::from(nanos);
            prop_assert!(per_second > 18_000_000_000_000_000);
        } else {
            let (shown, half) = parse(&text);
            let thousandths = u128::from(count) * 1_000_000_000_000;
            // Half of a thousandth is not a whole number of them.
            let most = u128::from(nanos) * (2 * half).max(1);
            let exact = shown * u128::from(nanos);
            prop_assert!(exact.abs_diff(thousandths) * 2 <= most, "{count}/{nanos}: {text}");
        }
    }
}

#[test]
fn values_have_three_digits_and_the_unit_in_which_they_are_below_1_000() {
    let durations = [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (3_036, "3.04 µs"),
        (7_000_000, "7.00 ms"),
        (16_449, "16.4 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (20_000_000_000, "20.0 s"),
        (999_499_999_999, "999 s"),
        (999_500_000_000, "1,000 s"),
        (u64::MAX, "18,446,744,074 s"),
    ];
    for (nanos, text) in durations {
        assert_eq!(value(Unit::Time, nanos), text);
    }
    let plain = [(0, "0"), (999_999, "999,999"), (1_000_000, "1.00M"), (u64::MAX, "18.4E")];
    for (number, text) in plain {
        assert_eq!(value(Unit::One, number), text);
    }
}

#[test]
fn a_window_length_is_formatted_in_the_largest_unit_that_divides_it() {
    let names = [1_000_000_000, 60_000_000_000, 1_500_000_000, 250_000, 7]
        .map(Duration::from_nanos)
        .map(window_name);
    assert_eq!(names, ["1s", "60s", "1500ms", "250us", "7ns"]);
}
