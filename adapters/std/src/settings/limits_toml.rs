//! Parses limits from TOML text.
//!
//! Everything unknown in the text is an error, which names the line. Below, `at` is a position in
//! the text: the number of bytes before it.

pub(crate) mod problem;

#[cfg(test)]
mod tests;

use core::time::Duration;

use tailwatch_core::{EventId, EventInfo, Limit, Quantile, Threshold, Unit};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::problem::{ParseLimitsError, ParseLimitsProblem};
use super::{
    duration,
    limit_overrides::LimitOverrides,
    selection::{
        Selectable, Selection,
        read::{Claims, LABELS},
    },
    suggestion::nearest,
};

/// The only key at the top level: the list of limits.
pub(crate) const SLA: &str = "sla";
// The keys of a `[[sla]]` table.
pub(crate) const EVENT: &str = "event";
const QUANTILE: &str = "quantile";
const LIMIT: &str = "limit";
const WINDOW: &str = "window";
const MIN_SAMPLES: &str = "min_samples";
const RAISE_AFTER: &str = "raise_after";
const CLEAR_AFTER: &str = "clear_after";
const MAX_ERROR_RATE: &str = "max_error_rate";
const MAX_SILENCE: &str = "max_silence";
const REPLACE: &str = "replace";

/// All keys of a `[[sla]]` table.
const KEYS: [&str; 11] = [
    EVENT,
    LABELS,
    QUANTILE,
    LIMIT,
    WINDOW,
    MIN_SAMPLES,
    RAISE_AFTER,
    CLEAR_AFTER,
    MAX_ERROR_RATE,
    MAX_SILENCE,
    REPLACE,
];
/// The keys of other limits, which cannot be combined with `max_silence`.
const NOT_WITH_SILENCE: [&str; 7] =
    [QUANTILE, LIMIT, WINDOW, MIN_SAMPLES, RAISE_AFTER, CLEAR_AFTER, MAX_ERROR_RATE];
/// The keys of a limit on a quantile, which cannot be combined with `max_error_rate`.
const NOT_WITH_ERROR_RATE: [&str; 2] = [QUANTILE, LIMIT];
/// The text of `min_samples` for the number of samples that the quantile needs.
const AUTO: &str = "auto";
/// The quantiles that are suggested for a wrong one. If two are equally similar to it, the first is
/// suggested. Therefore the longest comes first: `p999` more likely lacks a point than has a 9 too
/// many.
const USUAL_QUANTILES: [&str; 6] = ["p99.9", "p99", "p95", "p90", "p50", "p100"];

/// Parses limits from TOML text and returns them in the order of the text, each with the id of its
/// event.
///
/// Given to [`Builder::limits`](crate::Builder::limits), each of them replaces the same limit of
/// the program; [`LimitOverrides`] describes which one that is. `events` are the events that the
/// text may name. Each limit is a `[[sla]]` table of its own:
///
/// ```
/// use core::time::Duration;
/// use tailwatch::{Event, Limit, Quantile, Threshold, Trading, parse_limits};
///
/// let text = r#"
///     [[sla]]
///     event = "order_placement"   # the name of an event
///     quantile = "p95"            # p0 to p100, with up to four decimals
///     limit = "20ms"              # the largest allowed value; a number for events of unit 1
///     window = "60s"              # optional, 60 s by default
///     min_samples = "auto"        # optional, 1 by default; with fewer, the state is unknown
///     raise_after = "2s"          # optional, 0 s by default: report a violation that lasts
///     clear_after = "10s"         # optional, a slice of the window by default
///
///     [[sla]]
///     event = "order_placement"
///     max_error_rate = "1%"       # the largest share of failed spans; or a number, 0.01
///
///     [[sla]]
///     event = "order_fill"
///     max_silence = "5s"          # the longest time without a record; no other limit beside it
///     replace = true              # optional; drops all limits of the event that are set elsewhere
/// "#;
/// let limits = parse_limits(text, Trading::ALL)?;
///
/// let placement = Threshold::duration(Quantile::P95, Duration::from_millis(20))
///     .auto_min_samples() // 20 for p95
///     .raise_after(Duration::from_secs(2))
///     .clear_after(Duration::from_secs(10));
/// assert_eq!(limits[0], (Trading::OrderPlacement.id(), Limit::Quantile(placement)));
/// let errors = Limit::Errors(Threshold::error_rate(10_000)); // in parts per million
/// assert_eq!(limits[1], (Trading::OrderPlacement.id(), errors));
/// assert_eq!(limits[2], (Trading::OrderFill.id(), Limit::Silence(Duration::from_secs(5))));
///
/// let error = parse_limits("[[sla]]\nevent = 'order_placment'", Trading::ALL).unwrap_err();
/// let expected = r#"line 2: unknown event "order_placment"; did you mean "order_placement"?"#;
/// assert_eq!(error.to_string(), expected);
/// # Ok::<(), tailwatch::ParseLimitsError>(())
/// ```
///
/// # Labels
/// A limit is for all events of the name, with and without labels. The key `labels` restricts it to
/// those that have the given labels, among others. A full name is that of one event:
///
/// ```
/// use tailwatch::{Collector, EventReport, parse_limits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Collector::builder();
/// for symbol in ["BTCUSDT", "ETHUSDT"] {
///     builder.event("order_placement").label("symbol", symbol).add()?;
/// }
/// let report = builder.start()?.report();
/// let events: Vec<_> = report.events.iter().filter_map(EventReport::info).collect();
/// let count = |selection| {
///     let text = format!("[[sla]]\n{selection}\nmax_silence = '5s'");
///     parse_limits(&text, &events).map(|limits| limits.len())
/// };
/// assert_eq!(count("event = 'order_placement'")?, 2);
/// assert_eq!(count("event = 'order_placement'\nlabels = { symbol = 'BTCUSDT' }")?, 1);
/// assert_eq!(count(r#"event = 'order_placement{symbol="BTCUSDT"}'"#)?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns an error if anything in the text is invalid or unknown, if a limit is set twice, or if
/// the text sets no limit at all. The error names the line, the invalid value and what would be
/// valid. If there are several errors, only one is returned.
pub fn parse_limits(text: &str, events: &[EventInfo]) -> Result<LimitOverrides, ParseLimitsError> {
    LimitsParser::new(text, &Selectable::new(events, &[])).limits()
}

/// A TOML text that is being parsed, and the events that the text may name.
#[derive(Debug)]
pub(crate) struct LimitsParser<'a> {
    pub(crate) text: &'a str,
    pub(crate) events: &'a Selectable<'a>,
    /// The positions of the line feeds.
    line_feeds: Vec<usize>,
}

/// The limit that one `[[sla]]` table sets.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The line where the table begins, counted from 1.
    pub(crate) line: usize,
    /// The events that have the limit.
    pub(crate) selection: Selection,
    /// The selected events that exist now.
    pub(crate) events: Vec<EventId>,
    /// The unit of a limit on a quantile or on the error rate.
    pub(crate) unit: Unit,
    pub(crate) limit: Limit,
    /// Whether all other limits of the events are dropped.
    pub(crate) replaces_all: bool,
}

impl Entry {
    /// Returns the limit for each event that exists.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (EventId, Limit)> {
        self.events.iter().map(|event| (*event, self.limit))
    }
}

impl<'a> LimitsParser<'a> {
    pub(crate) fn new(text: &'a str, events: &'a Selectable<'a>) -> Self {
        let line_feeds = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, events, line_feeds }
    }

    /// Reads a text that contains limits and nothing else.
    fn limits(&self) -> Result<LimitOverrides, ParseLimitsError> {
        let document = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, ParseLimitsProblem::InvalidToml { message: error.message().to_owned() })
        })?;
        let document = document.get_ref();
        if let Some((at, key)) = first_key(document, |key| key != SLA) {
            let nearest = nearest(key, [SLA]);
            return Err(self.error(
                at,
                ParseLimitsProblem::UnknownTopLevelKey { key: key.to_owned(), nearest },
            ));
        }
        let Some(sla) = document.get(SLA) else {
            return Err(self.error(0, ParseLimitsProblem::NoLimits));
        };
        let entries = self.entries(sla)?;
        if entries.is_empty() {
            return Err(self.at(sla, ParseLimitsProblem::NoLimits));
        }
        let mut overrides = LimitOverrides::new();
        for entry in &entries {
            for (event, limit) in entry.limits() {
                overrides = overrides.with(event, limit);
                if entry.replaces_all {
                    overrides = overrides.dropping_others(event);
                }
            }
        }
        Ok(overrides)
    }

    /// Reads all `[[sla]]` tables, of which there may be none (`sla = []`). `sla` is the value of
    /// the key `sla`.
    pub(crate) fn entries(
        &self,
        sla: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Entry>, ParseLimitsError> {
        let entries = match sla.get_ref() {
            DeValue::Array(entries) => entries,
            DeValue::Table(_) => return Err(self.at(sla, ParseLimitsProblem::SingleTable)),
            _ => return Err(self.wrong_type(sla, SLA, "one [[sla]] table for each limit")),
        };

        let mut limits: Vec<Entry> = Vec::new();
        let mut claims = Claims::new();
        for entry in entries {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(self.wrong_type(entry, SLA, "one [[sla]] table for each limit"));
            };
            let at = entry.span().start;
            let entry = self.entry(at, table)?;
            // Two limits that differ only in `min_samples` or the delays are the same limit. An
            // event can have only one limit on silence, whatever its length.
            let limit = match entry.limit {
                Limit::Quantile(limit) | Limit::Errors(limit) => {
                    Some((limit.quantile, limit.max, limit.window))
                }
                Limit::Silence(_) => None,
            };
            claims.add(limit, &entry.selection, at, self.events).map_err(|first| {
                let first_line = self.line(first);
                self.error(at, ParseLimitsProblem::DuplicateLimit { first_line })
            })?;
            limits.push(entry);
        }
        Ok(limits)
    }

    /// Reads one `[[sla]]` table, which begins at `at`.
    fn entry(&self, at: usize, table: &DeTable<'_>) -> Result<Entry, ParseLimitsError> {
        if let Some((at, key)) = first_key(table, |key| !KEYS.contains(&key)) {
            let nearest = nearest(key, KEYS);
            return Err(
                self.error(at, ParseLimitsProblem::UnknownKey { key: key.to_owned(), nearest })
            );
        }
        let required = |key| {
            table.get(key).ok_or_else(|| self.error(at, ParseLimitsProblem::MissingKey { key }))
        };
        let event = required(EVENT)?;
        let name = self.string(event, EVENT, "the name of an event")?;
        let selection = self
            .events
            .read((event.span().start, name), table.get(LABELS))
            .map_err(|(at, problem)| self.error(at, problem.into()))?;
        let selected: Vec<_> = self.events.selected(&selection).collect();
        // The events of a family that was declared are measured in time.
        let unit = selected.first().map_or(Unit::Time, |event| event.unit);
        let events = selected.iter().map(|event| event.id).collect();
        let line = self.line(at);
        let replaces_all = match table.get(REPLACE) {
            Some(value) => match value.get_ref() {
                DeValue::Boolean(replace) => *replace,
                _ => return Err(self.wrong_type(value, REPLACE, "true or false")),
            },
            None => false,
        };
        let selection = selection.clone();
        let entry = |limit| Entry { line, selection, events, unit, limit, replaces_all };

        if let Some(silence) = table.get(MAX_SILENCE) {
            if let Some((at, key)) = first_key(table, |key| NOT_WITH_SILENCE.contains(&key)) {
                return Err(self
                    .error(at, ParseLimitsProblem::ConflictsWithSilence { key: key.to_owned() }));
            }
            return Ok(entry(Limit::Silence(self.duration(silence, MAX_SILENCE)?)));
        }
        if let Some(rate) = table.get(MAX_ERROR_RATE) {
            if let Some((at, key)) = first_key(table, |key| NOT_WITH_ERROR_RATE.contains(&key)) {
                let key = key.to_owned();
                return Err(self.error(at, ParseLimitsProblem::ConflictsWithErrorRate { key }));
            }
            if let Some(event) = selected.iter().find(|event| event.unit != Unit::Time) {
                let event = event.name.to_owned();
                return Err(self.at(rate, ParseLimitsProblem::NoOutcomes { event }));
            }
            let threshold = Threshold::error_rate(self.error_rate(rate)?);
            return Ok(entry(Limit::Errors(self.conditions(threshold, table)?)));
        }
        if !table.contains_key(QUANTILE) && !table.contains_key(LIMIT) {
            return Err(self.error(at, ParseLimitsProblem::MissingLimit));
        }
        let quantile = self.quantile(required(QUANTILE)?)?;
        let limit = required(LIMIT)?;
        let max = self.limit(limit, unit, selected.first().map_or(name, |event| event.name))?;
        // It has to fit the units of all events.
        for event in selected.iter().filter(|event| event.unit != unit) {
            self.limit(limit, event.unit, event.name)?;
        }
        let threshold = self.conditions(Threshold::value(quantile, max), table)?;
        Ok(entry(Limit::Quantile(threshold)))
    }

    /// Reads the window, the minimum number of samples and the delays of a limit, and returns its
    /// threshold with them.
    fn conditions(
        &self,
        mut threshold: Threshold,
        table: &DeTable<'_>,
    ) -> Result<Threshold, ParseLimitsError> {
        if let Some(window) = table.get(WINDOW) {
            threshold = threshold.over(self.duration(window, WINDOW)?);
        }
        if let Some(samples) = table.get(MIN_SAMPLES) {
            threshold = self.min_samples(samples, threshold)?;
        }
        if let Some(delay) = table.get(RAISE_AFTER) {
            threshold = threshold.raise_after(self.delay(delay, RAISE_AFTER)?);
        }
        if let Some(delay) = table.get(CLEAR_AFTER) {
            threshold = threshold.clear_after(self.delay(delay, CLEAR_AFTER)?);
        }
        Ok(threshold)
    }

    /// Reads the largest share of failed spans, such as `"1%"` or `0.01`, and returns it in parts
    /// per million, of which there are less than a million.
    fn error_rate(&self, value: &Spanned<DeValue<'_>>) -> Result<u32, ParseLimitsError> {
        let (number, whole, text) = match value.get_ref() {
            DeValue::String(text) => {
                let percent = text.strip_suffix('%').map(str::trim_end);
                (percent.and_then(|percent| percent.parse().ok()), 100.0, text.to_string())
            }
            DeValue::Float(number) => (number.as_str().parse().ok(), 1.0, number.to_string()),
            DeValue::Integer(number) => (number.as_str().parse().ok(), 1.0, number.to_string()),
            _ => {
                let wanted = "a share, such as \"1%\" or 0.01";
                return Err(self.wrong_type(value, MAX_ERROR_RATE, wanted));
            }
        };
        let share = number.map(|number: f64| number / whole).filter(|share| *share >= 0.0);
        let millionths = share.map(|share| share * 1e6);
        // A share that is rounded would be another limit. Written in decimals, few shares are a
        // whole number of millionths exactly.
        let ppm = millionths.map(f64::round).filter(|ppm| *ppm < 1e6);
        let ppm = ppm.filter(|ppm| millionths.is_some_and(|of| (of - ppm).abs() < 1e-6));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to less than a million"
        )]
        let ppm = ppm.map(|ppm| ppm as u32);
        ppm.ok_or_else(|| self.at(value, ParseLimitsProblem::BadErrorRate { text }))
    }

    /// Reads a quantile, such as `p99.9`.
    fn quantile(&self, value: &Spanned<DeValue<'_>>) -> Result<Quantile, ParseLimitsError> {
        let text = self.string(value, QUANTILE, "a quantile in quotes, such as \"p99.9\"")?;
        text.parse().map_err(|_| {
            let nearest = nearest(text, USUAL_QUANTILES);
            self.at(value, ParseLimitsProblem::BadQuantile { text: text.to_owned(), nearest })
        })
    }

    /// Reads the largest value within the limit: a duration, or a plain number if the unit of the
    /// event is 1. `name` is the name of the event.
    fn limit(
        &self,
        value: &Spanned<DeValue<'_>>,
        unit: Unit,
        name: &str,
    ) -> Result<u64, ParseLimitsError> {
        let event = || name.to_owned();
        match (unit, value.get_ref()) {
            (Unit::Time, DeValue::Integer(number)) => {
                let (event, number) = (event(), number.to_string());
                Err(self.at(value, ParseLimitsProblem::NumberForTime { event, number }))
            }
            (Unit::Time, DeValue::Float(number)) => {
                let (event, number) = (event(), number.to_string());
                Err(self.at(value, ParseLimitsProblem::NumberForTime { event, number }))
            }
            (Unit::Time, _) => {
                let limit = self.duration(value, LIMIT)?;
                // Never saturates, because `duration::parse` accepts at most 2^64 − 1 ns.
                Ok(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
            }
            (_, DeValue::String(text)) => {
                let (event, text) = (event(), text.clone().into_owned());
                Err(self.at(value, ParseLimitsProblem::TextForNumber { event, text }))
            }
            _ => self.number(value, LIMIT, u64::MAX),
        }
    }

    /// Reads a duration from 1 ns to 2^64 − 1 ns.
    fn duration(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
    ) -> Result<Duration, ParseLimitsError> {
        let text = self.string(value, key, "a duration in quotes, such as \"20ms\"")?;
        duration::parse(text).map_err(|problem| {
            self.at(value, ParseLimitsProblem::BadDuration { key, text: text.to_owned(), problem })
        })
    }

    /// Reads how long a violation must last before it is raised, or have been over before it is
    /// cleared.
    fn delay(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
    ) -> Result<Duration, ParseLimitsError> {
        let delay = self.duration(value, key)?;
        let is_whole = delay.subsec_nanos().is_multiple_of(1_000_000);
        if is_whole && delay <= Threshold::MAX_DELAY {
            return Ok(delay);
        }
        Err(self.at(value, ParseLimitsProblem::DelayOutOfRange { key, delay }))
    }

    /// Reads a minimum number of samples, and returns the threshold with it.
    fn min_samples(
        &self,
        value: &Spanned<DeValue<'_>>,
        threshold: Threshold,
    ) -> Result<Threshold, ParseLimitsError> {
        match value.get_ref() {
            DeValue::Integer(_) => {
                Ok(threshold.min_samples(self.number(value, MIN_SAMPLES, u32::MAX)?))
            }
            DeValue::String(text) if text == AUTO => Ok(threshold.auto_min_samples()),
            DeValue::String(text) => {
                let text = text.clone().into_owned();
                Err(self.at(value, ParseLimitsProblem::BadMinSamples { text }))
            }
            _ => {
                Err(self.wrong_type(value, MIN_SAMPLES, "a whole number, such as 20, or \"auto\""))
            }
        }
    }

    /// Reads a whole number from 1 to `max`.
    fn number<N>(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
        max: N,
    ) -> Result<N, ParseLimitsError>
    where
        N: TryFrom<u64> + Into<u64>,
    {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "a whole number, such as 20"));
        };
        let read =
            u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| *number > 0);
        read.and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
            self.at(
                value,
                ParseLimitsProblem::OutOfRange {
                    key,
                    number: number.to_string(),
                    most: max.into(),
                },
            )
        })
    }

    /// Reads a text. `wanted` describes a valid value of `key`.
    fn string<'v>(
        &self,
        value: &'v Spanned<DeValue<'_>>,
        key: &'static str,
        wanted: &'static str,
    ) -> Result<&'v str, ParseLimitsError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_type(value, key, wanted))
    }

    /// Creates the error for a value of `key` that has the wrong type. `wanted` describes a valid
    /// value.
    fn wrong_type(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
        wanted: &'static str,
    ) -> ParseLimitsError {
        self.at(
            value,
            ParseLimitsProblem::WrongType { key, found: value.get_ref().type_str(), wanted },
        )
    }

    /// Creates an error with the line of `value`.
    fn at(&self, value: &Spanned<DeValue<'_>>, problem: ParseLimitsProblem) -> ParseLimitsError {
        self.error(value.span().start, problem)
    }

    /// Creates an error with the line of `at`.
    fn error(&self, at: usize, problem: ParseLimitsProblem) -> ParseLimitsError {
        ParseLimitsError { line: self.line(at), problem }
    }

    /// Returns the line of `at`, counted from 1. A line feed ends a line in TOML, with or without a
    /// carriage return before it.
    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.line_feeds.partition_point(|line_feed| *line_feed < at)
    }
}

/// Returns the first key of the text for which `wanted` returns `true`, with its position. The keys
/// of `table` itself are sorted by name.
pub(crate) fn first_key<'t>(
    table: &'t DeTable<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Option<(usize, &'t str)> {
    table
        .keys()
        .filter(|key| wanted(key.get_ref()))
        .map(|key| (key.span().start, key.get_ref().as_ref()))
        .min_by_key(|(at, _)| *at)
}
