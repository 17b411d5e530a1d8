//! The data of a plot, passed from the process that measures to the one that draws.

use core::error::Error;
use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// A line of a plot.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Writes lines as JSON.
pub(crate) fn write(path: &Path, series: &[Series]) -> Result<(), Box<dyn Error>> {
    Ok(fs::write(path, serde_json::to_string_pretty(series)? + "\n")?)
}

/// Reads lines from JSON.
pub(crate) fn read(path: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}
