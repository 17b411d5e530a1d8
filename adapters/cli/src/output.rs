//! What the subcommands write.

use core::{error::Error, fmt::Write as _, time::Duration};
use std::{
    io::{self, Write},
    time::UNIX_EPOCH,
};

use comfy_table::{CellAlignment, Table, presets};

/// Writes a line to standard error. If that is closed, the line cannot go anywhere.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes a text and a line feed to standard output.
pub(crate) fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes JSON to standard output. Writers of JSON escape no character above a space, of which some
/// control terminals too.
pub(crate) fn print_json(json: &str) -> Result<(), Box<dyn Error>> {
    print(&without_controls(json))
}

/// Escapes what would control a terminal or is invisible, which in JSON is only in strings.
fn without_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii_graphic() || char == ' ' || char.escape_debug().len() == 1 {
            escaped.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing into a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Returns whether the reader of standard output, such as `head`, has seen enough.
pub(crate) fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if let Some(error) = error.downcast_ref::<csv::Error>()
        && let csv::ErrorKind::Io(error) = error.kind()
    {
        return is_closed(error);
    }
    error.downcast_ref::<io::Error>().is_some_and(is_closed)
}

/// Returns a table without borders.
pub(crate) fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Formats a table, without the spaces at the ends of its lines.
pub(crate) fn lines(table: &Table) -> String {
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Formats a point in time with nanoseconds.
pub(crate) fn time(unix_ns: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// Formats a duration with three digits.
pub(crate) fn nanos(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = nanos as f64;
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// Formats a number of bytes.
pub(crate) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_control_character_and_the_same_content() {
        for text in ["Größe 漢 \"q\" \\ 'a'", "\u{9b}31m\u{7f}\u{1b}[2J\n", "a\u{202e}b\u{e0001}c"]
        {
            let json = serde_json::to_string(&[text]).unwrap();
            let escaped = without_controls(&json);
            assert!(
                escaped.chars().all(|char| !char.is_control() && char != '\u{202e}'),
                "{escaped}"
            );
            assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
        }
        assert_eq!(without_controls("[\"Größe\"]"), "[\"Größe\"]");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (7, "7 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (9_999, "10.0 µs"),
            (99_949, "99.9 µs"),
            (99_951, "100 µs"),
            (12_345_678, "12.3 ms"),
            (1_500_000_000, "1.50 s"),
        ] {
            assert_eq!(nanos(value), text);
        }
        assert_eq!(time(1_500_000_000_000_000_001), "2017-07-14T02:40:00.000000001Z");
        assert_eq!(bytes(33_554_432), "32.0 MiB");
    }
}
