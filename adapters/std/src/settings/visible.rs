//! Shows texts from outside in messages, so that every character is visible.

use core::fmt;
use std::path::Path;

/// Shows a text or path. It is written as it is, unless it is empty or has white space at an end,
/// or characters that are invisible or change how others are shown. Then it is written in quotes,
/// with these characters escaped. White space at the end is also named, because quotes are easy to
/// miss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visible<'a>(pub(crate) &'a Path);

impl<'a> Visible<'a> {
    /// Shows a text that is not a path.
    pub(crate) fn text(text: &'a str) -> Self {
        Self(Path::new(text))
    }
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path with bytes that are not Unicode has no text. In quotes, they are shown as numbers.
        let text = self.0.to_str().unwrap_or_default();
        // Without backslashes, because visible quotes and backslashes are escaped as well.
        let escaped = text.escape_debug().filter(|c| *c != '\\');
        if !text.is_empty()
            && text.trim() == text
            && escaped.eq(text.chars().filter(|c| *c != '\\'))
        {
            return f.write_str(text);
        }
        // In quotes and escaped, which `Path::display` does not do.
        fmt::Debug::fmt(self.0, f)?;
        match text.chars().next_back() {
            Some('\r') => f.write_str(" (ends in a carriage return)"),
            Some('\n') => f.write_str(" (ends in a line feed)"),
            Some(' ') => f.write_str(" (ends in a space)"),
            Some('\t') => f.write_str(" (ends in a tab)"),
            Some(last) if last.is_whitespace() => f.write_str(" (ends in white space)"),
            _ => Ok(()),
        }
    }
}

/// Writes names of the program or of outside, separated by commas.
pub(crate) fn write_list(f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
    for (number, name) in names.iter().enumerate() {
        f.write_str(if number > 0 { ", " } else { "" })?;
        write!(f, "{}", Visible::text(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_shown() {
        for (text, shown) in [
            ("/etc/bot.toml", "/etc/bot.toml"),
            ("C:\\bot \"2\".toml", "C:\\bot \"2\".toml"),
            ("größe 漢.toml", "größe 漢.toml"),
            ("o\u{308}.toml", "o\u{308}.toml"),
            ("", "\"\""),
            ("bot.toml\r", "\"bot.toml\\r\" (ends in a carriage return)"),
            ("bot.toml\r\n", "\"bot.toml\\r\\n\" (ends in a line feed)"),
            ("bot.toml ", "\"bot.toml \" (ends in a space)"),
            ("bot.toml\t", "\"bot.toml\\t\" (ends in a tab)"),
            ("bot.toml\u{2003}", "\"bot.toml\\u{2003}\" (ends in white space)"),
            (" bot.toml", "\" bot.toml\""),
            ("a\u{202e}b", "\"a\\u{202e}b\""),
            ("a\u{2066}b", "\"a\\u{2066}b\""),
            ("a\u{200b}b", "\"a\\u{200b}b\""),
            ("a\u{a0}b", "\"a\\u{a0}b\""),
            ("\u{feff}a", "\"\\u{feff}a\""),
            ("a\0\u{1b}[31m", "\"a\\0\\u{1b}[31m\""),
        ] {
            assert_eq!(Visible::text(text).to_string(), shown);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_unicode_are_shown() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

        let path = Path::new(OsStr::from_bytes(b"bot\xff.toml"));
        assert_eq!(Visible(path).to_string(), "\"bot\\xFF.toml\"");
    }
}
