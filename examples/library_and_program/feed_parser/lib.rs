//! Parses lines of market data. It can be measured, and knows neither who measures it nor which
//! other libraries do.

use tailwatch_record::{measure, record_value};

tailwatch_record::events! {
    /// What this library measures.
    pub enum FeedParser {
        /// Parsing one line.
        ParseLine,
        /// The length of a line in bytes.
        LineBytes { unit: tailwatch_record::Unit::One },
    }
}

/// Parses a line such as `BTCUSDT 27000.5`. Returns `None` if it is not one.
pub fn parse(line: &str) -> Option<(&str, f64)> {
    let _span = measure(FeedParser::ParseLine);
    record_value(FeedParser::LineBytes, line.len() as u64);
    let (symbol, price) = line.split_once(' ')?;
    Some((symbol, price.parse().ok()?))
}
