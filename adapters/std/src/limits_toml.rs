//! Limits from a file: TOML text, read strictly, with the line of whatever is wrong.

pub(crate) mod duration;
mod problem;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::HashMap;

use tailwatch_core::{EventId, EventInfo, Limit, Quantile, Threshold, Unit};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) use self::problem::did_you_mean;
pub use self::problem::{DurationProblem, ParseLimitsError, ParseLimitsProblem};

/// The only key that stands outside of an entry.
pub(crate) const SLA: &str = "sla";
pub(crate) const EVENT: &str = "event";
const QUANTILE: &str = "quantile";
const LIMIT: &str = "limit";
const WINDOW: &str = "window";
const MIN_SAMPLES: &str = "min_samples";
const MAX_SILENCE: &str = "max_silence";

/// Every key that an entry can have.
const KEYS: [&str; 6] = [EVENT, QUANTILE, LIMIT, WINDOW, MIN_SAMPLES, MAX_SILENCE];
/// Those that say something of a quantile, and nothing of silence.
const QUANTILE_KEYS: [&str; 4] = [QUANTILE, LIMIT, WINDOW, MIN_SAMPLES];
/// What a wrong quantile may have meant. Of two that are equally near the first is told, so the longest stands first:
/// `p999` rather lacks a point than has a 9 too many.
const USUAL_QUANTILES: [&str; 6] = ["p99.9", "p99", "p95", "p90", "p50", "p100"];

/// The limits that a TOML text sets, in its order.
///
/// Each limit is an entry of its own:
///
/// ```
/// use core::time::Duration;
/// use tailwatch::{Event, Limit, Quantile, Threshold, Trading, parse_limits};
///
/// let text = r#"
///     [[sla]]
///     event = "order_placement"   # a name among `events`
///     quantile = "p95"            # p0 to p100, with up to four decimals
///     limit = "20ms"              # a plain number, such as 64, for events of unit 1
///     window = "60s"              # 60 s unless given
///     min_samples = 1             # 1 unless given
///
///     [[sla]]
///     event = "order_fill"
///     max_silence = "5s"          # instead of all but `event`
/// "#;
/// let limits = parse_limits(text, Trading::ALL)?;
///
/// let placement = Threshold::duration(Quantile::P95, Duration::from_millis(20));
/// assert_eq!(limits[0], (Trading::OrderPlacement.id(), Limit::Quantile(placement)));
/// assert_eq!(limits[1], (Trading::OrderFill.id(), Limit::Silence(Duration::from_secs(5))));
///
/// let error = parse_limits("[[sla]]\nevent = 'order_placment'", Trading::ALL).unwrap_err();
/// assert_eq!(error.to_string(), r#"line 2: unknown event "order_placment"; did you mean "order_placement"?"#);
/// # Ok::<(), tailwatch::ParseLimitsError>(())
/// ```
///
/// # Errors
/// If anything in the text is wrong, unknown or said twice, or if it sets no limit; the error names the line, the value
/// there, and what would be right. Only one error is told, of what may be several.
pub fn parse_limits(
    text: &str,
    events: &[EventInfo],
) -> Result<Vec<(EventId, Limit)>, ParseLimitsError> {
    Reader { text, events }.limits()
}

/// A text that is read, and the events that it may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) text: &'a str,
    pub(crate) events: &'a [EventInfo],
}

/// What one [[sla]] says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The line where it begins.
    pub(crate) line: usize,
    pub(crate) event: EventId,
    pub(crate) limit: Limit,
}

impl Reader<'_> {
    fn limits(&self) -> Result<Vec<(EventId, Limit)>, ParseLimitsError> {
        let document = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, ParseLimitsProblem::NotToml { message: error.message().to_owned() })
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
        Ok(self.entries(sla)?.into_iter().map(|entry| (entry.event, entry.limit)).collect())
    }

    /// The limits that stand under the key `sla`.
    pub(crate) fn entries(
        &self,
        sla: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Entry>, ParseLimitsError> {
        let entries = match sla.get_ref() {
            DeValue::Array(entries) if entries.is_empty() => {
                return Err(self.at(sla, ParseLimitsProblem::NoLimits));
            }
            DeValue::Array(entries) => entries,
            DeValue::Table(_) => return Err(self.at(sla, ParseLimitsProblem::SingleTable)),
            _ => return Err(self.wrong_type(sla, SLA, "[[sla]], once for each limit")),
        };

        let mut limits = Vec::new();
        // Where each limit stands; `min_samples` makes no other limit of it.
        let mut seen = HashMap::new();
        for entry in entries {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(self.wrong_type(entry, SLA, "[[sla]], once for each limit"));
            };
            let at = entry.span().start;
            let (event, limit) = self.entry(at, table)?;
            let what = match limit {
                Limit::Quantile(limit) => {
                    (event, Some((limit.quantile, limit.limit)), limit.window)
                }
                // An event has one limit on silence, whatever it is.
                Limit::Silence(_) => (event, None, Duration::ZERO),
            };
            if let Some(first) = seen.insert(what, at) {
                return Err(
                    self.error(at, ParseLimitsProblem::Twice { first_line: self.line(first) })
                );
            }
            limits.push(Entry { line: self.line(at), event, limit });
        }
        Ok(limits)
    }

    /// The limit of one entry, which begins `at`.
    fn entry(&self, at: usize, table: &DeTable<'_>) -> Result<(EventId, Limit), ParseLimitsError> {
        if let Some((at, key)) = first_key(table, |key| !KEYS.contains(&key)) {
            let nearest = nearest(key, KEYS);
            return Err(
                self.error(at, ParseLimitsProblem::UnknownKey { key: key.to_owned(), nearest })
            );
        }
        let needed = |key| {
            table.get(key).ok_or_else(|| self.error(at, ParseLimitsProblem::MissingKey { key }))
        };
        let event = self.event(needed(EVENT)?)?;

        if let Some(silence) = table.get(MAX_SILENCE) {
            if let Some((at, key)) = first_key(table, |key| QUANTILE_KEYS.contains(&key)) {
                return Err(
                    self.error(at, ParseLimitsProblem::BesideSilence { key: key.to_owned() })
                );
            }
            return Ok((event.id, Limit::Silence(self.duration(silence, MAX_SILENCE)?)));
        }
        if !table.contains_key(QUANTILE) && !table.contains_key(LIMIT) {
            return Err(self.error(at, ParseLimitsProblem::NothingLimited));
        }
        let quantile = self.quantile(needed(QUANTILE)?)?;
        let limit = self.limit(needed(LIMIT)?, event)?;
        let mut threshold = Threshold::value(quantile, limit);
        if let Some(window) = table.get(WINDOW) {
            threshold = threshold.over(self.duration(window, WINDOW)?);
        }
        if let Some(samples) = table.get(MIN_SAMPLES) {
            threshold = threshold.min_samples(self.number(samples, MIN_SAMPLES, u32::MAX)?);
        }
        Ok((event.id, Limit::Quantile(threshold)))
    }

    fn event(&self, value: &Spanned<DeValue<'_>>) -> Result<&EventInfo, ParseLimitsError> {
        let name = self.string(value, EVENT, "the name of an event")?;
        self.events.iter().find(|event| event.name == name).ok_or_else(|| {
            let names = || self.events.iter().map(|event| event.name);
            let problem = ParseLimitsProblem::UnknownEvent {
                name: name.to_owned(),
                nearest: nearest(name, names()),
                known: names().collect(),
            };
            self.at(value, problem)
        })
    }

    fn quantile(&self, value: &Spanned<DeValue<'_>>) -> Result<Quantile, ParseLimitsError> {
        let text = self.string(value, QUANTILE, "a quantile in quotes, such as \"p99.9\"")?;
        text.parse().map_err(|_| {
            let nearest = nearest(text, USUAL_QUANTILES);
            self.at(value, ParseLimitsProblem::BadQuantile { text: text.to_owned(), nearest })
        })
    }

    /// The limit of a quantile, in what the event is measured in.
    fn limit(
        &self,
        value: &Spanned<DeValue<'_>>,
        event: &EventInfo,
    ) -> Result<u64, ParseLimitsError> {
        match (event.unit, value.get_ref()) {
            (Unit::Time, DeValue::Integer(number)) => {
                let number = number.to_string();
                Err(self.at(value, ParseLimitsProblem::NumberForTime { event: event.name, number }))
            }
            (Unit::Time, DeValue::Float(number)) => {
                let number = number.to_string();
                Err(self.at(value, ParseLimitsProblem::NumberForTime { event: event.name, number }))
            }
            (Unit::Time, _) => {
                let limit = self.duration(value, LIMIT)?;
                // Never saturates: what is read as a duration fits.
                Ok(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
            }
            (_, DeValue::String(text)) => {
                let text = text.clone().into_owned();
                Err(self.at(value, ParseLimitsProblem::TextForNumber { event: event.name, text }))
            }
            _ => self.number(value, LIMIT, u64::MAX),
        }
    }

    /// A duration above 0, of at most 2^64 - 1 ns.
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

    /// A whole number from 1 to `most`.
    fn number<N>(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
        most: N,
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
                    most: most.into(),
                },
            )
        })
    }

    fn string<'v>(
        &self,
        value: &'v Spanned<DeValue<'_>>,
        key: &'static str,
        wanted: &'static str,
    ) -> Result<&'v str, ParseLimitsError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_type(value, key, wanted))
    }

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

    /// What is wrong with a value.
    fn at(&self, value: &Spanned<DeValue<'_>>, problem: ParseLimitsProblem) -> ParseLimitsError {
        self.error(value.span().start, problem)
    }

    fn error(&self, at: usize, problem: ParseLimitsProblem) -> ParseLimitsError {
        ParseLimitsError { line: self.line(at), problem }
    }

    /// The line, counted from 1, of the byte `at`. TOML ends lines with a line feed, with or without a carriage return.
    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

/// The first key in the text, not in the alphabet, that is `wanted`, and where it stands.
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

/// The known word that `word` most likely is: at most a third of it mistyped, whatever its case.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let near = known.into_iter().filter_map(|candidate| {
        let longer = length.max(candidate.chars().count());
        let shorter = length.min(candidate.chars().count());
        let most = (longer / 3).max(1);
        // At least so many letters differ; a long text is not compared in full.
        if longer - shorter > most {
            return None;
        }
        let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
        // With all letters mistyped, any word would be near.
        (distance <= most && distance < longer).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
