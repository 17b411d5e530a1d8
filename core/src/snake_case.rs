//! Converts the names of event variants to snake case at compile time: `OrderPlacement` becomes
//! `order_placement`. Used by the expansion of [`events!`](crate::events!).

/// Returns whether snake case puts an underscore before the byte at `at`.
///
/// It does so before a capital that follows a lower-case letter or digit, and before the last
/// capital of an abbreviation (`HTTPServer` → `http_server`).
const fn needs_underscore_before(name: &[u8], at: usize) -> bool {
    if at == 0 || !name[at].is_ascii_uppercase() {
        return false;
    }
    let before = name[at - 1];
    let after_is_lower = at + 1 < name.len() && name[at + 1].is_ascii_lowercase();
    before.is_ascii_lowercase()
        || before.is_ascii_digit()
        || (before.is_ascii_uppercase() && after_is_lower)
}

/// Returns the length of `name` in snake case, in bytes.
pub const fn snake_len(name: &[u8]) -> usize {
    let mut len = name.len();
    let mut at = 0;
    while at < name.len() {
        len += needs_underscore_before(name, at) as usize;
        at += 1;
    }
    len
}

/// Converts `name` to snake case. `N` must be [`snake_len`] of `name`.
pub const fn snake<const N: usize>(name: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let (mut at, mut to) = (0, 0);
    while at < name.len() {
        if needs_underscore_before(name, at) {
            out[to] = b'_';
            to += 1;
        }
        out[to] = name[at].to_ascii_lowercase();
        to += 1;
        at += 1;
    }
    out
}

/// Returns the bytes as a string.
///
/// # Panics
///
/// Panics if the bytes are not UTF-8, which the bytes of an identifier always are. In a constant
/// this is a compile-time error.
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
