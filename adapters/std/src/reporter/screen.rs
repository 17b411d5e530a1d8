//! A table on a terminal, which the next one replaces.

use crate::report::{Report, table::terminal_size};

/// The height of a terminal whose size is not known.
const HEIGHT: usize = 24;

/// What a reporter has written to a terminal.
#[derive(Default)]
pub(super) struct Screen {
    /// The number of lines of the last table, all of which are above the cursor.
    lines: usize,
    /// Whether the report of the stopped collector was shown.
    is_final: bool,
}

impl Screen {
    /// Returns what shows the table of a report in place of the last one: nothing after the report
    /// of the stopped collector, which never changes.
    pub(super) fn show(&mut self, report: &Report, table: &str) -> String {
        let height = terminal_size().map_or(HEIGHT, |(_, height)| height);
        self.show_within(height, report.finished, table)
    }

    fn show_within(&mut self, height: usize, is_final: bool, table: &str) -> String {
        if self.is_final {
            return String::new();
        }
        self.is_final = is_final;
        // The last report stays on the terminal, so it has all of its lines.
        self.replace(table, if is_final { usize::MAX } else { height })
    }

    /// Returns what replaces the last table by this one. Only lines on the screen can be replaced,
    /// so lines that do not fit into its height are left out.
    fn replace(&mut self, table: &str, height: usize) -> String {
        let lines: Vec<&str> = table.lines().collect();
        // The cursor is in a line of its own, below the table.
        let room = height.saturating_sub(1);
        let (shown, more) = if lines.len() <= room {
            (lines.len(), None)
        } else {
            let shown = room.saturating_sub(1);
            (shown, Some(format!("… and {} more lines\n", lines.len() - shown)))
        };
        let mut text = match self.lines {
            0 => String::new(),
            // Up to the first column of the last table's first line, and clears all from there on.
            lines => format!("\x1b[{lines}F\x1b[J"),
        };
        for line in &lines[..shown] {
            text += line;
            text.push('\n');
        }
        text.extend(more.as_deref());
        self.lines = shown + usize::from(more.is_some());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of a terminal of this height, with those that have left it at the top,
    /// after it was sent the texts.
    fn display(texts: &[String], height: usize) -> Vec<String> {
        let (mut lines, mut row) = (vec![String::new()], 0_usize);
        for text in texts {
            let mut rest = text.as_str();
            if let Some((up, shown)) = text.strip_prefix("\x1b[").and_then(|t| t.split_once('F')) {
                // The cursor stops at the top of the screen.
                row =
                    row.saturating_sub(up.parse().unwrap()).max(lines.len().saturating_sub(height));
                lines.truncate(row);
                lines.push(String::new());
                rest = shown.strip_prefix("\x1b[J").expect("the rest of the screen is cleared");
            }
            for character in rest.chars() {
                if character == '\n' {
                    row += 1;
                    lines.push(String::new());
                } else {
                    lines[row].push(character);
                }
            }
        }
        lines
    }

    #[test]
    fn each_table_replaces_the_one_before_on_a_screen_of_any_height() {
        let table = |lines: usize, name: &str| {
            (0..lines).map(|line| format!("{name} {line}")).collect::<Vec<_>>().join("\n")
        };
        for height in 3..12 {
            let mut screen = Screen::default();
            let mut texts = vec!["before\n".to_owned()];
            for lines in [3, 8, 1, 20, 20, 5] {
                let (name, all) = (format!("of {lines}"), table(lines, &format!("of {lines}")));
                texts.push(screen.show_within(height, false, &all));
                let shown = display(&texts, height);
                assert_eq!(shown[0], "before");
                assert_eq!(shown.last().map(String::as_str), Some(""), "the cursor is below");
                let shown = &shown[1..shown.len() - 1];
                assert_eq!(shown.len(), lines.min(height - 1), "nothing of others is left");
                let cut = usize::from(lines > height - 1);
                let (of_table, more) = shown.split_at(shown.len() - cut);
                assert!(of_table.iter().all(|line| line.starts_with(&name)), "{shown:?}");
                let left_out = lines - of_table.len();
                let expected = (cut == 1).then(|| format!("… and {left_out} more lines"));
                assert_eq!(more.first(), expected.as_ref());
            }
            // The report of a stopped collector may be shown several times.
            for _ in 0..3 {
                texts.push(screen.show_within(height, true, &table(30, "last")));
            }
            assert_eq!(display(&texts, height).len(), 32, "all of the last one, once");
        }
    }
}
