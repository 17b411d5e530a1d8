//! 64-bit and 128-bit arithmetic that needs little code on processors with 32-bit registers.
//!
//! There, the compiler expands every 128-bit division or checked product in place, up to a kilobyte
//! of code each. The functions of this module are slower, but the costly ones exist only once
//! (`inline(never)`). On processors with 64-bit registers they are the plain operators. Both give
//! the same results, and both are compiled and tested on every host.
//!
//! In this module, a *word* has 32 bits.

/// Whether the processor has 64-bit registers, so that the plain operators take little code.
pub(crate) const HAS_64_BIT_REGISTERS: bool = cfg!(target_pointer_width = "64");

/// Returns the product of two 64-bit numbers, which always fits into 128 bits.
#[inline(always)]
pub(crate) const fn product(a: u64, b: u64) -> u128 {
    if HAS_64_BIT_REGISTERS { a as u128 * b as u128 } else { product_by_words(a, b) }
}

/// Computes [`product`] from the products of words, as in long multiplication.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
const fn product_by_words(a: u64, b: u64) -> u128 {
    const LOW: u64 = u32::MAX as u64;
    let [a_low, a_high, b_low, b_high] =
        [a as u32, (a >> u32::BITS) as u32, b as u32, (b >> u32::BITS) as u32];
    let low = product_of_words(a_low, b_low);
    // No sum overflows: (2^32 − 1)^2 + 2·(2^32 − 1) = 2^64 − 1.
    let crossed = product_of_words(a_high, b_low) + (low >> u32::BITS);
    let middle = product_of_words(a_low, b_high) + (crossed & LOW);
    let high = product_of_words(a_high, b_high) + (crossed >> u32::BITS) + (middle >> u32::BITS);
    (high as u128) << u64::BITS | (middle << u32::BITS | low & LOW) as u128
}

/// Returns the full 64-bit product of two words.
///
/// `ARMv6-M` has no instruction that returns the upper half of such a product. There, the product
/// is computed from products of 16-bit halves.
// `target_has_atomic = "32"` requires compare-and-swap, which `ARMv6-M` lacks and the later M
// profiles have. So `arm` without it selects `ARMv6-M`. It also selects ARMv4T and ARMv5TE, where
// the halves are only slower.
#[inline(always)]
pub(crate) const fn product_of_words(a: u32, b: u32) -> u64 {
    const HAS_NO_LONG_PRODUCT: bool = cfg!(all(target_arch = "arm", not(target_has_atomic = "32")));
    if HAS_NO_LONG_PRODUCT { product_of_words_by_halves(a, b) } else { a as u64 * b as u64 }
}

/// Computes [`product_of_words`] from the products of 16-bit halves.
#[inline(never)]
const fn product_of_words_by_halves(a: u32, b: u32) -> u64 {
    let [a_low, a_high, b_low, b_high] = [a & 0xFFFF, a >> 16, b & 0xFFFF, b >> 16];
    let crossed = (a_low * b_high) as u64 + (a_high * b_low) as u64;
    (((a_high * b_high) as u64) << 32 | (a_low * b_low) as u64) + (crossed << 16)
}

/// Shifts `number` right by `by` bits, which must be 1 to 31.
///
/// On targets with 32-bit registers, a 64-bit shift by a variable amount is a library call or a
/// longer sequence of instructions. A shift by 1 to 31 bits only moves bits between neighbouring
/// words.
#[inline(always)]
pub(crate) const fn shift_right(number: u64, by: u32) -> u64 {
    if HAS_64_BIT_REGISTERS { number >> by } else { shift_right_by_words(number, by) }
}

/// Computes [`shift_right`] word by word.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "split into 32-bit words")]
const fn shift_right_by_words(number: u64, by: u32) -> u64 {
    let (low, high) = (number as u32, (number >> u32::BITS) as u32);
    ((high >> by) as u64) << u32::BITS | (low >> by | high << (u32::BITS - by)) as u64
}

/// Returns the product; `None` if it does not fit into 128 bits.
#[inline(always)]
pub(crate) const fn checked_product(a: u128, b: u128) -> Option<u128> {
    if HAS_64_BIT_REGISTERS { a.checked_mul(b) } else { checked_product_by_halves(a, b) }
}

/// Returns the product, or 2^128 − 1 if it does not fit into 128 bits.
#[inline(never)]
pub(crate) const fn saturating_product(a: u128, b: u128) -> u128 {
    match checked_product(a, b) {
        Some(product) => product,
        None => u128::MAX,
    }
}

/// Returns `dividend / divisor`, rounded down. `divisor` must not be 0.
#[inline(always)]
pub(crate) const fn quotient(mut dividend: u128, divisor: u64) -> u128 {
    if HAS_64_BIT_REGISTERS {
        return dividend / divisor as u128;
    }
    divide(&mut dividend, divisor);
    dividend
}

/// Returns the quotient and the remainder of `dividend / divisor`. `divisor` must not be 0.
#[inline(always)]
pub(crate) const fn div_rem(dividend: u64, divisor: u64) -> (u64, u64) {
    if HAS_64_BIT_REGISTERS {
        return (dividend / divisor, dividend % divisor);
    }
    let mut wide = dividend as u128;
    let remainder = divide(&mut wide, divisor);
    (low_half(wide), remainder)
}

/// Returns the square root of `square`, rounded down.
#[inline(always)]
pub(crate) const fn isqrt(square: u128) -> u64 {
    if HAS_64_BIT_REGISTERS { low_half(square.isqrt()) } else { isqrt_by_digits(square) }
}

/// Converts a 128-bit number to 64 bits. A number that does not fit becomes 2^64 − 1.
#[expect(clippy::cast_possible_truncation, reason = "checked by the condition")]
#[inline]
pub(crate) const fn saturating_u64(wide: u128) -> u64 {
    if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
}

/// Computes [`checked_product`] from products of 64-bit halves.
#[inline(never)]
const fn checked_product_by_halves(a: u128, b: u128) -> Option<u128> {
    let [a_low, a_high] = [low_half(a), low_half(a >> 64)];
    let [b_low, b_high] = [low_half(b), low_half(b >> 64)];
    if a_high != 0 && b_high != 0 {
        return None;
    }
    // Of the two products of a high and a low half, at least one is 0 here, because one of the high
    // halves is 0.
    let crossed = if a_high != 0 { product(a_high, b_low) } else { product(a_low, b_high) };
    if crossed >> 64 != 0 {
        return None;
    }
    product(a_low, b_low).checked_add(crossed << 64)
}

/// Returns the low 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low_half(wide: u128) -> u64 {
    wide as u64
}

/// Divides `number` by `divisor`: replaces `number` by the quotient, rounded down, and returns the
/// remainder. This is long division with binary digits.
#[inline(never)]
const fn divide(number: &mut u128, divisor: u64) -> u64 {
    // `digits` shifts left: the digits of the dividend leave it at the top, and the digits of the
    // quotient enter it at the bottom.
    let (mut remainder, mut digits, mut digits_left) = (0_u64, *number, u128::BITS);
    // Skips leading zeros. As long as the leading 32 bits are 0, the remainder stays 0, and so do
    // the quotient's digits.
    while digits_left > u32::BITS && digits >> (u128::BITS - u32::BITS) == 0 {
        digits <<= u32::BITS;
        digits_left -= u32::BITS;
    }
    while digits_left > 0 {
        // With the next digit, the remainder may need 65 bits. It is then above the divisor, and
        // the wrapping subtraction gives the right result.
        let needs_65_bits = remainder >> 63 != 0;
        remainder = remainder << 1 | low_half(digits >> 127);
        digits <<= 1;
        if needs_65_bits || remainder >= divisor {
            remainder = remainder.wrapping_sub(divisor);
            digits |= 1;
        }
        digits_left -= 1;
    }
    *number = digits;
    remainder
}

/// Computes [`isqrt`], one binary digit of the root at a time, from the highest.
#[inline(never)]
const fn isqrt_by_digits(square: u128) -> u64 {
    let (mut root, mut digit) = (0, 1 << 63);
    while digit > 0 {
        let candidate = root | digit;
        if product(candidate, candidate) <= square {
            root = candidate;
        }
        digit >>= 1;
    }
    root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates numbers of all lengths. (Of uniformly distributed numbers, almost all are long.)
    fn any_size() -> impl Strategy<Value = u128> {
        prop_oneof![
            (any::<u128>(), 0..128_u32).prop_map(|(wide, shift)| wide >> shift),
            Just(u128::MAX),
            Just(0)
        ]
    }

    proptest! {
        #[test]
        fn arithmetic_by_words_agrees_with_the_operators(a in any_size(), b in any_size()) {
            prop_assert_eq!(checked_product_by_halves(a, b), a.checked_mul(b));
            let divisor = (low_half(b) | low_half(b >> 64)).max(1);
            let mut digits = a;
            prop_assert_eq!(u128::from(divide(&mut digits, divisor)), a % u128::from(divisor));
            prop_assert_eq!(digits, a / u128::from(divisor));
            prop_assert_eq!(u128::from(isqrt_by_digits(a)), a.isqrt());
            for by in 1..32 {
                prop_assert_eq!(shift_right_by_words(a as u64, by), a as u64 >> by);
            }
            let words = [a as u32, b as u32];
            let numbers = [a as u64, b as u64];
            prop_assert_eq!(
                product_by_words(numbers[0], numbers[1]),
                u128::from(numbers[0]) * u128::from(numbers[1])
            );
            prop_assert_eq!(
                product_of_words_by_halves(words[0], words[1]),
                u64::from(words[0]) * u64::from(words[1])
            );
        }

        #[test]
        fn the_square_root_is_exact_for_squares_and_the_numbers_before_them(root: u64) {
            let square = u128::from(root) * u128::from(root);
            prop_assert_eq!(isqrt_by_digits(square), root);
            prop_assert_eq!(isqrt_by_digits(square.saturating_sub(1)), root.saturating_sub(1));
        }
    }
}
