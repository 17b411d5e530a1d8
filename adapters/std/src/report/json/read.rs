//! Reads a report from JSON.

use core::fmt;
use std::collections::{HashMap, HashSet};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use tailwatch_core::{EventId, Outcome};

use super::{
    SCHEMA_1, SCHEMA_2,
    error::{ReportJsonError, ReportProblem},
    read_event::EventJson,
    read_limit::LimitJson,
};
use crate::{
    clock::ClockSource,
    report::{ClockReport, EventReport, Report, health::Health, merge::MergedCollector},
};

/// The part of a report that shows how to read the rest.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// A report in JSON, as far as it is read.
#[derive(Deserialize)]
struct ReportJson {
    unix_ns: u64,
    started_unix_ns: Option<u64>,
    uptime_ns: u64,
    #[serde(default)]
    collectors: Vec<MergedCollector>,
    clock: Option<ClockReport>,
    events: Vec<EventJson>,
    sla: Vec<LimitJson>,
    health: Health,
}

/// The schema of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    One,
    Two,
}

impl Schema {
    /// Returns a value of a key that the schema `tailwatch.report/2` requires, or that of the
    /// schema before, which does not have the key.
    pub(super) fn require<T>(
        self,
        key: &'static str,
        value: Option<T>,
        before: T,
    ) -> Result<T, ReportProblem> {
        match self {
            Self::One => Ok(before),
            Self::Two => value.ok_or(ReportProblem::MissingKey { key }),
        }
    }
}

impl Report {
    /// Reads a report from the JSON that [`to_json`](Self::to_json) returns, of the schema
    /// `tailwatch.report/2` or `tailwatch.report/1`. Keys that the schema does not have are
    /// ignored.
    ///
    /// The report that is read equals the one that was written, and its JSON is the same. All its
    /// public fields are the same as well, except that means and deviations of 2^37 or more are
    /// rounded to 53 bits, and that a bound of 0 on an error becomes
    /// [`Accuracy::Exact`](crate::Accuracy::Exact). JSON lacks the samples: [`Statistics::quantile`
    /// ](crate::Statistics::quantile) then has the quantiles of the summary, and bounds others by
    /// these and, since the start, by the histogram. A report of the schema `tailwatch.report/1`
    /// lacks the histogram, the time of the start (which is then 0), failed spans, intervals, the
    /// minimum numbers of samples and the delays of limits (which are then the defaults) with their
    /// origins, and [some of the health](Health).
    ///
    /// The text may come from anybody: numbers out of range are refused, and so are those that
    /// contradict others in a way that a reader of the report would be misled by. Nothing that is
    /// read stays in memory longer than the report.
    ///
    /// ```
    /// use tailwatch::{Collector, Report, Trading, record_value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// collector.register_thread("main")?;
    /// record_value(Trading::QueueBacklog, 17);
    /// collector.stop();
    /// let report = collector.report();
    /// let read = Report::from_json(&report.to_json())?;
    /// assert_eq!(read, report);
    /// let error = Report::from_json("{}").unwrap_err();
    /// assert!(error.to_string().contains("missing field `schema`"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the text is damaged or has another schema, or if its numbers are out of
    /// range or contradict each other: if buckets are out of order, or a sum exceeds 2^64 − 1.
    pub fn from_json(text: &str) -> Result<Self, ReportJsonError> {
        let Head { schema } =
            serde_json::from_str(text).map_err(|error| ReportJsonError::json(&error))?;
        let (schema, name) = match schema.as_str() {
            SCHEMA_1 => (Schema::One, SCHEMA_1),
            SCHEMA_2 => (Schema::Two, SCHEMA_2),
            _ => return Err(ReportJsonError::Schema { found: shown(&schema) }),
        };
        let json: ReportJson =
            serde_json::from_str(text).map_err(|error| ReportJsonError::json(&error))?;
        json.check(schema, name)
    }
}

impl ReportJson {
    fn check(self, schema: Schema, name: &'static str) -> Result<Report, ReportJsonError> {
        let whole = |problem| ReportJsonError::Report { problem };
        let started = schema.require("started_unix_ns", self.started_unix_ns, 0).map_err(whole)?;
        if schema == Schema::Two && started == 0 {
            return Err(whole(number("started_unix_ns", started, "above 0")));
        }
        let collectors = check_collectors(self.collectors).map_err(whole)?;
        if collectors.is_empty() && self.clock.is_none() {
            return Err(whole(ReportProblem::MissingKey { key: "clock" }));
        }
        check_health(&self.health).map_err(whole)?;
        let mut events: Vec<EventReport> = Vec::with_capacity(self.events.len());
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for json in self.events {
            let event = shown(json.name());
            let of_event = |problem| ReportJsonError::Event { event: event.clone(), problem };
            let read = json.check(schema, !collectors.is_empty()).map_err(of_event)?;
            if !names.insert(read.name.clone()) {
                return Err(of_event(ReportProblem::SameName));
            }
            if read.id != EventId::UNNUMBERED && !ids.insert(read.id) {
                return Err(of_event(ReportProblem::SameId { id: read.id.get() }));
            }
            if events.first().is_some_and(|first| !have_same_windows(first, &read)) {
                return Err(of_event(ReportProblem::OtherWindows));
            }
            events.push(read);
        }
        let by_name: HashMap<&str, &EventReport> =
            events.iter().map(|event| (&*event.name, event)).collect();
        // The text of a limit shows all that was set.
        let mut limits = HashSet::new();
        let sla = self.sla.into_iter().map(|json| {
            let event = shown(json.event());
            let of_event = by_name.get(json.event()).copied();
            let read = of_event.ok_or(ReportProblem::UnknownEvent);
            let read = read.and_then(|of_event| json.check(schema, of_event));
            let read = read.and_then(|limit| {
                let as_set = format!("{} {:?} {}", limit.event, limit.as_set(), limit.unit);
                let is_new = schema == Schema::One || limits.insert(as_set);
                if is_new { Ok(limit) } else { Err(ReportProblem::SameLimit) }
            });
            read.map_err(|problem| ReportJsonError::Limit { event, problem })
        });
        Ok(Report {
            schema: name,
            unix_ns: self.unix_ns,
            started_unix_ns: started,
            uptime_ns: self.uptime_ns,
            collectors,
            clock: self.clock,
            sla: sla.collect::<Result<_, _>>()?,
            events,
            health: self.health,
            finished: false,
        })
    }
}

/// Checks that the collectors of a merged report are in order, and not listed twice.
fn check_collectors(all: Vec<MergedCollector>) -> Result<Vec<MergedCollector>, ReportProblem> {
    let is_wrong = |pair: &&[MergedCollector]| pair[0].started_unix_ns >= pair[1].started_unix_ns;
    match all.windows(2).find(is_wrong) {
        Some(pair) => Err(ReportProblem::Contradiction {
            what: "the `started_unix_ns` of `collectors` must increase",
            first: pair[0].started_unix_ns,
            second: pair[1].started_unix_ns,
        }),
        None => Ok(all),
    }
}

fn check_health(health: &Health) -> Result<(), ReportProblem> {
    let Health { produced, delivered, overwritten, pending, .. } = *health;
    let sum = delivered.checked_add(overwritten).and_then(|sum| sum.checked_add(pending));
    if sum != Some(produced) {
        return Err(ReportProblem::Contradiction {
            what: "`produced` must be the sum of `delivered`, `overwritten` and `pending`",
            first: produced,
            second: sum.unwrap_or(u64::MAX),
        });
    }
    for (key, cost) in [
        ("overhead_ratio", health.overhead_ratio),
        ("record_ns", health.record_ns),
        ("drain_ns", health.drain_ns),
    ] {
        if !(cost >= 0.0 && cost.is_finite()) {
            return Err(number(key, cost, "at least 0"));
        }
    }
    match health.sampling.values().find(|share| !(**share > 0.0 && **share <= 1.0)) {
        Some(share) => Err(number("sampling", *share, "above 0 and at most 1")),
        None => Ok(()),
    }
}

/// Creates the error for a number that is out of range.
pub(super) fn number(
    key: &'static str,
    number: impl fmt::Display,
    expected: &'static str,
) -> ReportProblem {
    ReportProblem::Number { key, number: number.to_string(), expected }
}

/// Returns whether two events have windows of the same lengths.
fn have_same_windows(one: &EventReport, other: &EventReport) -> bool {
    let lengths = |event: &EventReport| -> Vec<_> {
        event.windows.iter().map(|window| window.length).collect()
    };
    lengths(one) == lengths(other)
}

/// The largest length of a text of a report in a message, in bytes.
const MAX_SHOWN_BYTES: usize = 200;

/// Returns a text for a message. An overlong one is cut.
pub(super) fn shown(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_SHOWN_BYTES.min(text.len()))].to_owned()
}

/// Reads the source of a clock.
pub(crate) fn clock_source<'de, D: Deserializer<'de>>(source: D) -> Result<ClockSource, D::Error> {
    let text = String::deserialize(source)?;
    let mut all = [ClockSource::Tsc, ClockSource::Monotonic].into_iter();
    all.find(|source| source.to_string() == text)
        .ok_or_else(|| de::Error::unknown_variant(&shown(&text), &["tsc", "monotonic"]))
}

/// Reads an outcome, or `null`.
pub(crate) fn optional_outcome<'de, D: Deserializer<'de>>(
    outcome: D,
) -> Result<Option<Outcome>, D::Error> {
    let Some(text) = Option::<String>::deserialize(outcome)? else { return Ok(None) };
    let mut all = [Outcome::Ok, Outcome::Error, Outcome::Cancelled].into_iter();
    let unknown = || de::Error::unknown_variant(&shown(&text), &["ok", "error", "cancelled"]);
    all.find(|outcome| outcome.to_string() == text).map(Some).ok_or_else(unknown)
}

/// A map, in the order in which it is written. A key may be there twice.
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(map: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(core::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        map.deserialize_map(PairsVisitor(core::marker::PhantomData))
    }
}
