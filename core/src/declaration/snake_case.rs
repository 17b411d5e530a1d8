//! Converts the names of enum variants to snake case at compile time: `OrderPlacement` becomes
//! `order_placement`. The expansion of [`events!`](crate::events!) uses it to name events.
//!
//! Only ASCII letters change their case. The loops count by hand, because constants cannot use
//! iterators.

/// Returns whether snake case puts an underscore before the byte at `index`.
///
/// This is the case for an ASCII capital that follows an ASCII lower-case letter or a digit, and
/// for the last capital of an abbreviation if an ASCII lower-case letter follows it (`HTTPServer`
/// → `http_server`).
const fn needs_underscore_before(name: &[u8], index: usize) -> bool {
    if index == 0 || !name[index].is_ascii_uppercase() {
        return false;
    }
    let previous = name[index - 1];
    let next_is_lower = index + 1 < name.len() && name[index + 1].is_ascii_lowercase();
    previous.is_ascii_lowercase()
        || previous.is_ascii_digit()
        || (previous.is_ascii_uppercase() && next_is_lower)
}

/// Returns the bytes of an identifier without the `r#` of a raw one.
pub const fn without_raw_prefix(identifier: &str) -> &[u8] {
    match identifier.as_bytes() {
        [b'r', b'#', name @ ..] | name => name,
    }
}

/// Returns the length of `name` in snake case, in bytes.
pub const fn snake_len(name: &[u8]) -> usize {
    let mut len = name.len();
    let mut index = 0;
    while index < name.len() {
        len += needs_underscore_before(name, index) as usize;
        index += 1;
    }
    len
}

/// Converts `name` to snake case.
///
/// `N` must be [`snake_len`] of `name`. If it is larger, the rest of the result is 0.
///
/// # Panics
///
/// Panics if `N` is smaller. In a constant, the panic is a compile-time error.
pub const fn snake<const N: usize>(name: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let (mut read, mut written) = (0, 0);
    while read < name.len() {
        if needs_underscore_before(name, read) {
            out[written] = b'_';
            written += 1;
        }
        out[written] = name[read].to_ascii_lowercase();
        written += 1;
        read += 1;
    }
    out
}

/// Converts the bytes that [`snake`] returned back to a string.
///
/// # Panics
///
/// Panics if the bytes are not UTF-8, which cannot happen for the name of an identifier. In a
/// constant, the panic is a compile-time error.
pub const fn as_str(bytes: &'static [u8]) -> &'static str {
    match core::str::from_utf8(bytes) {
        Ok(name) => name,
        Err(_) => panic!("the name of an event must be UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case_becomes_snake_case() {
        const CASES: [(&str, &str); 6] = [
            ("OrderPlacement", "order_placement"),
            ("GcPause", "gc_pause"),
            ("HTTPServer", "http_server"),
            ("L2Book", "l2_book"),
            ("A", "a"),
            ("Größe", "größe"),
        ];
        for (camel, expected) in CASES {
            let len = snake_len(camel.as_bytes());
            let out = snake::<32>(camel.as_bytes());
            assert_eq!(core::str::from_utf8(&out[..len]).unwrap(), expected);
            assert_eq!(len, expected.len());
        }
    }
}
