//! The results: rows with their ratio to the floor of their clock mode, and targets; as a table and
//! as JSON.

use core::fmt;
use std::{fs, io, path::Path};

use serde::{Serialize, Serializer};

use crate::{
    rounds::{Figure, Middle, figure, middle},
    verdict,
};

/// What a row measures.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Ours,
    Peer,
    Reference,
    Floor,
}

impl Kind {
    /// Derives the kind from the part of the name that states it.
    pub(super) fn of(name: &str) -> Self {
        let kind = |word| match word {
            "floor" => Some(Self::Floor),
            "peer" => Some(Self::Peer),
            "reference" => Some(Self::Reference),
            _ => None,
        };
        name.split('/').find_map(kind).unwrap_or(Self::Ours)
    }
}

/// The result of one contestant.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    kind: Kind,
    #[serde(rename = "median_ns", serialize_with = "rounded")]
    pub(super) median: f64,
    #[serde(rename = "min_ns", serialize_with = "rounded")]
    min: f64,
    #[serde(rename = "max_ns", serialize_with = "rounded")]
    max: f64,
    /// The median as a multiple of the floor; the mean, if there is one.
    #[serde(serialize_with = "rounded")]
    pub(super) ratio: f64,
    /// Of a row whose single values are close to the resolution of the clock.
    #[serde(flatten)]
    pub(super) middle: Option<MiddleNanos>,
}

/// The middle of the values of a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct MiddleNanos {
    #[serde(rename = "mean_ns", serialize_with = "rounded")]
    pub(super) mean: f64,
    #[serde(rename = "low_ns", serialize_with = "rounded")]
    low: f64,
    #[serde(rename = "high_ns", serialize_with = "rounded")]
    high: f64,
}

impl Row {
    pub(super) fn new(name: impl Into<String>, figure: Figure, floor: f64) -> Self {
        let name = name.into();
        let Figure { min, median, max } = figure;
        Self { kind: Kind::of(&name), name, median, min, max, ratio: median / floor, middle: None }
    }

    /// Creates a row that is compared by the mean of the middle 80 % of `values`. `floor` is the
    /// floor's mean.
    pub(super) fn by_middle(name: impl Into<String>, values: Vec<f64>, floor: f64) -> Self {
        let Middle { mean, low, high } = middle(&values);
        let row = Self::new(name, figure(values), floor);
        Self { ratio: mean / floor, middle: Some(MiddleNanos { mean, low, high }), ..row }
    }
}

/// An upper bound on a result.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    name: String,
    #[serde(rename = "target")]
    most: f64,
    #[serde(serialize_with = "rounded")]
    measured: f64,
    pass: bool,
}

impl Target {
    pub(super) fn at_most(name: impl Into<String>, most: f64, measured: f64) -> Self {
        Self { name: name.into(), most, measured, pass: measured <= most }
    }
}

/// The medians of the floors.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Floors {
    #[serde(rename = "relaxed_ns", serialize_with = "rounded")]
    pub(super) relaxed: f64,
    #[serde(rename = "ordered_ns", serialize_with = "rounded")]
    pub(super) ordered: f64,
}

/// All results.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) floors: Floors,
    pub(super) rows: Vec<Row>,
    pub(super) targets: Vec<Target>,
}

impl Outcome {
    /// Prints the tables.
    pub(super) fn print(&self) {
        print!("{self}");
        println!();
        for Target { name, most, measured, pass } in &self.targets {
            verdict::print(
                format_args!("{name} at most {most}"),
                format_args!("{measured:.3}"),
                *pass,
            );
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = |f: &mut fmt::Formatter<'_>, [a, b, c]: [&str; 3]| {
            writeln!(f, "{:<40} {a:>9} {b:>9} {c:>9} {:>8}", "", "x floor")
        };
        head(f, ["median ns", "min ns", "max ns"])?;
        for Row { name, median, min, max, ratio, .. } in
            self.rows.iter().filter(|row| row.middle.is_none())
        {
            writeln!(f, "{name:<40} {median:>9.2} {min:>9.2} {max:>9.2} {ratio:>8.3}")?;
        }
        writeln!(f)?;
        head(f, ["mean ns", "from", "to"])?;
        for Row { name, ratio, middle, .. } in &self.rows {
            if let Some(MiddleNanos { mean, low, high }) = middle {
                writeln!(f, "{name:<40} {mean:>9.2} {low:>9.2} {high:>9.2} {ratio:>8.3}")?;
            }
        }
        Ok(())
    }
}

/// Rounds to a thousandth; the measurement is not more precise.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires a reference")]
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_layout_is_as_documented() {
        let figure = Figure { min: 1.0, median: 2.0, max: 3.00049 };
        let outcome = Outcome {
            floors: Floors { relaxed: 1.0, ordered: 4.0 },
            rows: vec![
                Row::new("span/guard/ordered", figure, 4.0),
                Row::by_middle("cold/peer/other", vec![1.0, 3.0, 2.0], 4.0),
            ],
            targets: vec![Target::at_most("least", 2.0, 2.0), Target::at_most("less", 2.0, 2.1)],
        };
        let expected = serde_json::json!({
            "floors": {"relaxed_ns": 1.0, "ordered_ns": 4.0},
            "rows": [
                {"name": "span/guard/ordered", "kind": "ours", "median_ns": 2.0,
                 "min_ns": 1.0, "max_ns": 3.0, "ratio": 0.5},
                {"name": "cold/peer/other", "kind": "peer", "median_ns": 2.0, "min_ns": 1.0,
                 "max_ns": 3.0, "mean_ns": 2.0, "low_ns": 1.0, "high_ns": 3.0, "ratio": 0.5},
            ],
            "targets": [
                {"name": "least", "target": 2.0, "measured": 2.0, "pass": true},
                {"name": "less", "target": 2.0, "measured": 2.1, "pass": false},
            ],
        });
        assert_eq!(serde_json::to_value(&outcome).unwrap(), expected);
    }

    #[test]
    fn the_kind_of_a_row_follows_from_its_name() {
        let kinds = [
            "floor/relaxed",
            "cold/floor/ordered",
            "aligned/floor/relaxed",
            "reference/rtrb",
            "span/disabled",
        ];
        let kinds = kinds.map(|name| format!("{:?}", Kind::of(name)));
        assert_eq!(kinds, ["Floor", "Floor", "Floor", "Reference", "Ours"]);
    }
}
