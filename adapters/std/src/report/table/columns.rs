//! The columns of a table, and how they share its width.

use std::borrow::Cow;

use textwrap::core::display_width;

use super::rows::{Row, VIOLATED};

/// The columns to the right of the event's name, each with its rank. Where there is not enough room
/// for all columns, those with the largest ranks are left out.
pub(super) const COLUMNS: [(&str, usize); 12] = [
    ("window", 0),
    ("rate/s", 8),
    ("count", 5),
    ("errors", 6),
    ("min", 11),
    ("mean", 10),
    ("p50", 4),
    ("p95", 9),
    ("p99", 1),
    ("p99.9", 7),
    ("max", 3),
    ("limit", 2),
];

/// The rank from which on a column is left out if a name would have to be cut for it.
const EXTRA: usize = 9;

/// The title of the names.
const EVENT: &str = "event";

/// The number of spaces between two columns.
const GAP: usize = 2;

/// The least width to which a name is cut for the sake of columns. In a wide table, it is a fifth
/// of the width.
const MIN_NAME: usize = 12;

/// Which columns a table has, and how wide they are.
pub(super) struct Columns {
    name: usize,
    /// The position of each column in [`COLUMNS`], and its width.
    columns: Vec<(usize, usize)>,
}

impl Columns {
    /// Chooses the columns that the table has room for. A column without contents is left out.
    pub(super) fn of(rows: &[Row<'_>], width: usize) -> Self {
        let names = rows.iter().map(|row| display_width(row.name));
        let longest = names.max().unwrap_or_default().max(EVENT.len());
        let shortest = longest.min(MIN_NAME.max(width / 5));
        let mut by_rank: Vec<(usize, usize)> =
            COLUMNS.iter().enumerate().map(|(position, (_, rank))| (*rank, position)).collect();
        by_rank.sort_unstable();
        let (mut used, mut columns) = (0, Vec::new());
        for (rank, position) in by_rank {
            let cells = rows.iter().map(|row| display_width(&row.cells[position]));
            let contents = cells.max().unwrap_or_default();
            if contents == 0 {
                continue;
            }
            let column = contents.max(COLUMNS[position].0.len());
            let name = if rank < EXTRA { shortest } else { longest };
            if name + used + GAP + column > width {
                break;
            }
            used += GAP + column;
            columns.push((position, column));
        }
        columns.sort_unstable();
        Self { name: longest.min(width.saturating_sub(used)), columns }
    }

    /// Returns the title of each column.
    pub(super) fn titles(&self) -> String {
        self.line(EVENT, |position| COLUMNS[position].0)
    }

    /// Returns a horizontal line.
    pub(super) fn rule(&self) -> String {
        let columns = self.columns.iter().map(|(_, width)| GAP + width);
        "─".repeat(self.name + columns.sum::<usize>())
    }

    /// Returns a row as a line.
    pub(super) fn row(&self, row: &Row<'_>, colours: bool) -> String {
        let line = self.line(row.name, |position| &row.cells[position]);
        match line.strip_suffix(VIOLATED) {
            Some(line) if colours => line.to_owned() + &red(VIOLATED),
            _ => line,
        }
    }

    /// Returns a line. The name and the first column begin, and the others end, at the same place
    /// in every line.
    fn line<'t>(&self, name: &str, text: impl Fn(usize) -> &'t str) -> String {
        let name = cut(name, self.name);
        let mut line = " ".repeat(self.name - display_width(&name));
        line.insert_str(0, &name);
        for (position, width) in &self.columns {
            let text = text(*position);
            let padding = " ".repeat(width.saturating_sub(display_width(text)));
            line += &" ".repeat(GAP);
            line += &if *position == 0 { text.to_owned() + &padding } else { padding + text };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Returns the text in bold red.
pub(super) fn red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

/// Returns the text, or its beginning and end with `…` between them if it is wider than `width`.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if display_width(text) <= width {
        return text.into();
    }
    let room = width.saturating_sub(1);
    let (begin, mut end) =
        (within(text.chars(), room.div_ceil(2)), within(text.chars().rev(), room / 2));
    end.reverse();
    begin.into_iter().chain(['…']).chain(end).collect::<String>().into()
}

/// Returns as many of the characters as are no wider than `width` together.
fn within(characters: impl Iterator<Item = char>, width: usize) -> Vec<char> {
    let mut room = width;
    let fits = |character: &char| {
        let left = room.checked_sub(display_width(character.encode_utf8(&mut [0; 4])));
        left.inspect(|left| room = *left).is_some()
    };
    characters.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_in_the_middle_to_its_width() {
        assert_eq!(cut("order_fill", 10), "order_fill");
        assert_eq!(cut("order_placement", 10), "order…ment");
        assert_eq!(cut("order_placement", 9), "orde…ment");
        // A character of two columns does not exceed the width.
        assert_eq!(cut("注文注文注文", 8), "注文…文");
        assert_eq!(display_width(&cut("注文注文注文", 8)), 7);
        assert_eq!(cut("ab", 1), "…");
    }
}
