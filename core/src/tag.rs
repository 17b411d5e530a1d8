//! Tags made from text, such as the order ids of a venue.

use crate::record::MAX_PAYLOAD;

/// Returns a tag for a text such as a client order id: a hash of 46 bits, which is never 0, because
/// the tag 0 means that a span has none.
///
/// The same text has the same tag in every version of this crate, on every platform. The tag is
/// made from the UTF-8 bytes: their FNV-1a hash of 64 bits (Fowler, Noll, Vo), mixed by the
/// finalizer of `MurmurHash3` (Appleby), of which the upper 46 bits are the tag. A 0 becomes 1.
/// FNV-1a alone would not do: its lower bits depend on the lower bits of the bytes only.
///
/// # Collisions
///
/// Two texts have the same tag with a probability of 2^-46. Among n texts, n² / 2^47 pairs with the
/// same tag are expected: 0.007 among a million, 1 among 12 million. The hash has no key, so
/// somebody who chooses the texts can find texts with the same tag.
///
/// # Cost
///
/// It takes one multiplication after the other, one for each byte. These are about 4 cycles per
/// byte on a server's processor. It is wait-free and can be evaluated at compile time.
///
/// ```
/// use tailwatch_core::tag_of;
///
/// const HEARTBEAT: u64 = tag_of("heartbeat");
/// assert_eq!(tag_of("ORD-000123"), 33_882_192_781_979);
/// assert_ne!(tag_of("ORD-000124"), tag_of("ORD-000123"));
/// ```
pub const fn tag_of(text: &str) -> u64 {
    match mix(fnv_1a(text.as_bytes())) >> (u64::BITS - TAG_BITS) {
        0 => 1,
        tag => tag,
    }
}

/// The number of bits of a tag.
const TAG_BITS: u32 = MAX_PAYLOAD.trailing_ones();

/// Returns the FNV-1a hash of 64 bits (Fowler, Noll, Vo) of these bytes, by which programs in any
/// language can recognise a name.
///
/// ```
/// assert_eq!(tailwatch_core::fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
/// ```
pub const fn fnv_1a(mut bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    while let Some((first, rest)) = bytes.split_first() {
        hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
        bytes = rest;
    }
    hash
}

/// Returns the number with each bit of the result depending on each bit of `hash`: the finalizer
/// `fmix64` of `MurmurHash3`, which maps no two numbers to the same one.
const fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    extern crate std;
    use std::{collections::BTreeSet, format, string::String, vec, vec::Vec};

    use super::*;

    /// The hashes that the authors of FNV publish in their test suite.
    #[test]
    fn the_hash_is_fnv_1a() {
        let published = [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ];
        for (text, hash) in published {
            assert_eq!(fnv_1a(text.as_bytes()), hash, "{text}");
        }
    }

    /// The tags were computed by this Python program:
    ///
    /// ```python
    /// def tag_of(text):
    ///     h = 0xCBF29CE484222325
    ///     for byte in text.encode():
    ///         h = (h ^ byte) * 0x100000001B3 % 2**64
    ///     for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 1):
    ///         h = (h ^ h >> 33) * factor % 2**64
    ///     return h >> 18 or 1
    /// ```
    #[test]
    fn tags_agree_with_an_independent_implementation() {
        let tags = [
            ("", 65_919_289_667_238),
            ("a", 35_908_784_368_239),
            ("0", 53_296_429_277_759),
            ("ORD-000123", 33_882_192_781_979),
            ("ORD-000124", 27_222_936_453_303),
            ("client-order-id", 60_399_819_585_175),
            ("0190f4c2-7a3b-7cde-8f00-000000000001", 30_190_375_587_746),
            ("注文-1", 2_588_927_609_121),
            ("\0", 50_855_947_852_821),
            ("ORD-15578245", 12_610_762_213_418),
            ("ORD-22159214", 12_610_762_213_418),
        ];
        for (text, tag) in tags {
            assert_eq!(tag_of(text), tag, "{text:?}");
            assert!(0 < tag && tag <= MAX_PAYLOAD);
        }
    }

    /// The number of bits of a tag that are compared with random numbers at a time.
    const PART_BITS: u32 = 28;

    /// Returns how many of the numbers, which are below 2^`PART_BITS`, came up before.
    fn repeated(numbers: impl Iterator<Item = u64>, seen: &mut [u64]) -> u32 {
        seen.fill(0);
        let mut repeated = 0;
        for number in numbers {
            let (word, bit) = (usize::try_from(number >> 6).unwrap(), 1 << (number & 63));
            repeated += u32::from(seen[word] & bit != 0);
            seen[word] |= bit;
        }
        repeated
    }

    #[test]
    fn a_million_similar_ids_collide_as_rarely_as_random_numbers() {
        const IDS: u32 = 1_000_000;
        let families: [fn(u32) -> String; 4] = [
            |n| format!("ORD-{n:06}"),
            |n| format!("{n}"),
            |n| format!("{n:06}-EU"),
            |n| format!("0190f4c2-7a3b-7cde-8f00-{n:012x}"),
        ];
        let mut seen = vec![0; 1 << (PART_BITS - 6)];
        for (number, id) in families.into_iter().enumerate() {
            let mut tags: Vec<u64> = (0..IDS).map(|n| tag_of(&id(n))).collect();
            // Among n random numbers of 28 bits, n² / 2^29 − n³ / (6 · 2^56) = 1,860 came up
            // before, with a standard deviation of 43.
            for shift in [0, 9, 18] {
                let part = tags.iter().map(|tag| (tag >> shift) & ((1 << PART_BITS) - 1));
                let found = repeated(part, &mut seen);
                assert!(
                    (1_645..=2_075).contains(&found),
                    "family {number}: {found}, bits {shift}…"
                );
            }
            if number == 0 {
                // 0.007 pairs are expected. More than 2 have a probability below 10^-7.
                tags.sort_unstable();
                let pairs = tags.windows(2).filter(|pair| pair[0] == pair[1]).count();
                assert!(pairs <= 2, "{pairs}");
            }
        }
    }

    #[test]
    fn each_bit_of_the_tag_depends_on_each_character() {
        let id = *b"ORD-000123";
        for position in 0..id.len() {
            // The bits in which the tags of all ids that differ here differ.
            let mut changed = 0;
            for byte in b'0'..=b'z' {
                let mut other = id;
                other[position] = byte;
                changed |= tag_of(str::from_utf8(&other).unwrap()) ^ tag_of("ORD-000123");
            }
            assert_eq!(changed, MAX_PAYLOAD, "character {position}");
        }
    }

    #[test]
    fn texts_of_one_character_differ() {
        let texts: BTreeSet<String> =
            (0_u32..256).map(|n| char::from_u32(n).into_iter().collect()).collect();
        let tags: BTreeSet<u64> = texts.iter().map(|text| tag_of(text)).collect();
        assert_eq!(tags.len(), texts.len());
        assert!(!tags.contains(&0));
    }
}
