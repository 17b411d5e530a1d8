//! Texts from a shared file, which can contain anything.

use core::fmt::Write;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Returns a text in which every character is visible: bytes that are not UTF-8 are shown as
/// `\xNN`, and characters that are invisible or control a terminal by their number.
pub(super) fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if matches!(char, '"' | '\'' | '\\') {
                text.push(char);
            } else {
                text.extend(char.escape_debug());
            }
        }
        for byte in chunk.invalid() {
            // Writing into a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The names that live for ever.
static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

/// Returns a copy of a name that lives until the process ends, because the statistics refer to it.
/// Each name is kept once, so the memory grows only with names that no file had before.
pub(super) fn keep(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}

/// Returns whether a name is kept.
#[cfg(test)]
pub(super) fn is_kept(name: &str) -> bool {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.as_ref().is_some_and(|names| names.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_or_hide_is_escaped() {
        for (bytes, shown) in [
            (&b"order_placement"[..], "order_placement"),
            (b"a \"b\" 'c' \\d", "a \"b\" 'c' \\d"),
            ("Größe".as_bytes(), "Größe"),
            (b"\x1b[31mred", "\\u{1b}[31mred"),
            (b"a\nb\0", "a\\nb\\0"),
            (b"\xff\xfea", "\\xff\\xfea"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
        ] {
            assert_eq!(visible(bytes), shown);
            assert!(!visible(bytes).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let other = String::from_utf8(b"kept_once".to_vec()).unwrap();
        assert!(!is_kept("kept_once"));
        assert!(core::ptr::eq(keep("kept_once"), keep(&other)));
        assert!(is_kept("kept_once"));
    }
}
