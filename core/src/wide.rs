//! Arithmetic of 128 bits that a microcontroller has room for.
//!
//! Where registers are of 32 bits, the compiler writes a division or a checked product of 128 bits out in full wherever one
//! stands, up to a kilobyte each. There these functions are one small loop each, and slow; elsewhere they are the plain operators.

/// Whether the plain operators serve.
const PLAIN: bool = cfg!(target_pointer_width = "64");

/// The product, which always fits.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn product(a: u64, b: u64) -> u128 {
    if PLAIN { a as u128 * b as u128 } else { by_words(a, b) }
}

/// The product, of products of words.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
const fn by_words(a: u64, b: u64) -> u128 {
    const LOW: u64 = u32::MAX as u64;
    let [a_low, a_high, b_low, b_high] = [a as u32, (a >> u32::BITS) as u32, b as u32, (b >> u32::BITS) as u32];
    let low = product_of_words(a_low, b_low);
    let crossed = product_of_words(a_high, b_low) + (low >> u32::BITS);
    let other = product_of_words(a_low, b_high) + (crossed & LOW);
    let high = product_of_words(a_high, b_high) + (crossed >> u32::BITS) + (other >> u32::BITS);
    (high as u128) << u64::BITS | (other << u32::BITS | low & LOW) as u128
}

/// The product of two words. Where no instruction knows more of it than its lower half, as on `ARMv6-M`, of the products of
/// halves.
#[cfg_attr(all(target_arch = "arm", not(target_has_atomic = "32")), inline(never))]
#[cfg_attr(not(all(target_arch = "arm", not(target_has_atomic = "32"))), inline(always))]
pub(crate) const fn product_of_words(a: u32, b: u32) -> u64 {
    if cfg!(all(target_arch = "arm", not(target_has_atomic = "32"))) {
        product_of_halves(a, b)
    } else {
        a as u64 * b as u64
    }
}

#[inline(always)]
const fn product_of_halves(a: u32, b: u32) -> u64 {
    let [a_low, a_high, b_low, b_high] = [a & 0xFFFF, a >> 16, b & 0xFFFF, b >> 16];
    let crossed = (a_low * b_high) as u64 + (a_high * b_low) as u64;
    (((a_high * b_high) as u64) << 32 | (a_low * b_low) as u64) + (crossed << 16)
}

/// Shifted right by at least 1 and less than 32: a call where registers have 32 bits, unless the amount is known to be that.
#[inline(always)]
pub(crate) const fn shifted(number: u64, by: u32) -> u64 {
    if PLAIN { number >> by } else { shifted_by_words(number, by) }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "words are taken apart")]
const fn shifted_by_words(number: u64, by: u32) -> u64 {
    let (low, high) = (number as u32, (number >> u32::BITS) as u32);
    ((high >> by) as u64) << u32::BITS | (low >> by | high << (u32::BITS - by)) as u64
}

/// The product, of numbers that are small as a rule: a single multiplication then, where registers have 32 bits.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "they fit")]
pub(crate) const fn small_product(a: u64, b: u64) -> u128 {
    if !PLAIN && a | b <= u32::MAX as u64 { product_of_words(a as u32, b as u32) as u128 } else { product(a, b) }
}

/// The product; `None` if it does not fit.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn checked_product(a: u128, b: u128) -> Option<u128> {
    if PLAIN { a.checked_mul(b) } else { by_halves(a, b) }
}

/// The product; 2^128 − 1 if it is more.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn saturating_product(a: u128, b: u128) -> u128 {
    match checked_product(a, b) {
        Some(product) => product,
        None => u128::MAX,
    }
}

/// The quotient, rounded down; `divisor` is not 0.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn quotient(dividend: u128, divisor: u128) -> u128 {
    if PLAIN { dividend / divisor } else { by_subtraction(dividend, divisor) }
}

/// The quotient of 64 bits, rounded down; `divisor` is not 0. Where registers have 32 bits, it is found by the code for 128: that of the
/// compiler for 64 takes 0.7 KB more, and is only linked where something calls it.
#[inline(always)]
pub(crate) const fn narrow_quotient(dividend: u64, divisor: u64) -> u64 {
    if PLAIN { dividend / divisor } else { low(quotient(dividend as u128, divisor as u128)) }
}

/// The quotient, which is below 2^16; `divisor` is not 0.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is below 2^16")]
pub(crate) const fn small_quotient(dividend: u64, divisor: u64) -> usize {
    if PLAIN { (dividend / divisor) as usize } else { by_shifts(dividend, divisor) }
}

/// Whether the divisor, which is not 0, leaves no rest.
pub(crate) const fn is_multiple(number: u64, divisor: u64) -> bool {
    narrow_quotient(number, divisor) * divisor == number
}

/// The square root, rounded down.
#[cfg_attr(target_pointer_width = "64", inline(always))]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn root(square: u128) -> u128 {
    if PLAIN { square.isqrt() } else { by_digits(square) }
}

/// A number of 128 bits as one of 64; 2^64 − 1 if it is more.
#[expect(clippy::cast_possible_truncation, reason = "the other branch is for what does not fit")]
#[inline]
pub(crate) const fn clamp(wide: u128) -> u64 {
    if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
}

/// The product, of products of 64 bits.
const fn by_halves(a: u128, b: u128) -> Option<u128> {
    let [a_low, a_high, b_low, b_high] = [low(a), low(a >> 64), low(b), low(b >> 64)];
    if a_high != 0 && b_high != 0 {
        return None;
    }
    // One of the two is 0.
    let crossed = if a_high != 0 { product(a_high, b_low) } else { product(a_low, b_high) };
    if crossed >> 64 != 0 {
        return None;
    }
    product(a_low, b_low).checked_add(crossed << 64)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low(wide: u128) -> u64 {
    wide as u64
}

/// The quotient, a binary digit at a time.
const fn by_subtraction(dividend: u128, divisor: u128) -> u128 {
    if dividend < divisor {
        return 0;
    }
    let skipped = dividend.leading_zeros();
    // From the right, the digits of the quotient take the place of the dividend's, which leave to the left.
    let (mut rest, mut digits, mut left) = (0_u128, dividend << skipped, u128::BITS - skipped);
    while left > 0 {
        let exceeds = rest >> 127 != 0;
        rest = rest << 1 | digits >> 127;
        digits <<= 1;
        if exceeds || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            digits |= 1;
        }
        left -= 1;
    }
    digits
}

/// The quotient, which is below 2^16, a binary digit at a time: where a window is looked for the stack is deep already.
const fn by_shifts(dividend: u64, divisor: u64) -> usize {
    let (mut rest, mut quotient, mut bit) = (dividend, 0, u16::BITS);
    while bit > 0 {
        bit -= 1;
        if rest >> bit >= divisor {
            rest -= divisor << bit;
            quotient |= 1 << bit;
        }
    }
    quotient
}

/// The square root, a binary digit at a time (Warren, Hacker's Delight, 11-1).
const fn by_digits(square: u128) -> u128 {
    let (mut rest, mut root, mut digit) = (square, 0_u128, 1_u128 << 126);
    while digit > 0 {
        let next = root | digit;
        root >>= 1;
        if rest >= next {
            rest -= next;
            root |= digit;
        }
        digit >>= 2;
    }
    root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_size() -> impl Strategy<Value = u128> {
        prop_oneof![(any::<u128>(), 0..128_u32).prop_map(|(wide, shift)| wide >> shift), Just(u128::MAX), Just(0)]
    }

    proptest! {
        #[test]
        fn the_small_loops_agree_with_the_plain_operators(a in any_size(), b in any_size()) {
            prop_assert_eq!(by_halves(a, b), a.checked_mul(b));
            prop_assert_eq!(by_subtraction(a, b.max(1)), a / b.max(1));
            prop_assert_eq!(by_digits(a), a.isqrt());
            for by in 1..32 {
                prop_assert_eq!(shifted_by_words(a as u64, by), a as u64 >> by);
            }
            let words = [a as u32, b as u32];
            let numbers = [a as u64, b as u64];
            prop_assert_eq!(by_words(numbers[0], numbers[1]), u128::from(numbers[0]) * u128::from(numbers[1]));
            for divisor in [(numbers[0] >> 16) + 1, numbers[1].max((numbers[0] >> 16) + 1)] {
                prop_assert_eq!(by_shifts(numbers[0], divisor) as u64, numbers[0] / divisor);
            }
            prop_assert_eq!(product_of_halves(words[0], words[1]), u64::from(words[0]) * u64::from(words[1]));
        }

        #[test]
        fn a_square_has_its_root(root: u64) {
            let square = u128::from(root) * u128::from(root);
            prop_assert_eq!(by_digits(square), u128::from(root));
            prop_assert_eq!(by_digits(square.saturating_sub(1)), u128::from(root.saturating_sub(1)));
        }
    }
}
