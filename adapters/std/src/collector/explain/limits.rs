//! The lines about limits in the text of `Collector::explain`.

use core::fmt;

use tailwatch_core::{EventInfo, Limit, Threshold, Unit};

use crate::{
    clock::nanos,
    events::numbers::NamedEvent,
    report::{
        Report,
        sla::SlaReport,
        text::{length, value},
    },
    settings::{Origin, Settings, limits_in_force::ReplacedLimit},
};

/// Writes a line for each limit in force and for each that was replaced, with its origin.
pub(crate) struct LimitLines<'a> {
    /// The settings of the start.
    pub(crate) settings: &'a Settings,
    /// Has the limits that are in force now.
    pub(crate) report: &'a Report,
}

impl fmt::Display for LimitLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "limits: {} in force", self.report.sla.len())?;
        for limit in &self.report.sla {
            match self.origin(limit) {
                Some(origin) => writeln!(f, "  {} ({})", Bound::from(limit), SetBy(origin))?,
                None => writeln!(f, "  {} (set at run time)", Bound::from(limit))?,
            }
        }
        if !self.settings.replaced_limits.is_empty() {
            f.write_str("limits that these replaced at the start:\n")?;
        }
        for ReplacedLimit { event, limit, by } in &self.settings.replaced_limits {
            let known = self.report.event(*event);
            let (event, unit) = known.map_or(("unknown", Unit::Time), |of| (of.name, of.unit));
            let bound = Bound { event, unit, limit: limit.value };
            let (from, by) = (SetBy(&limit.origin), SetBy(by));
            writeln!(f, "  {bound} ({from}), by {by}")?;
        }
        Ok(())
    }
}

impl LimitLines<'_> {
    /// Returns what set a limit; `None` if the program did so at run time.
    fn origin(&self, limit: &SlaReport) -> Option<&Origin> {
        let event = self.report.events.iter().find(|event| event.name == limit.event)?;
        let is_same = |set: &Limit| Bound::from(limit).is_same(set);
        let mut at_start = self.settings.limits.iter().filter(|(id, _)| *id == event.id);
        if let Some((_, set)) = at_start.find(|(_, set)| is_same(&set.value)) {
            return Some(&set.origin);
        }
        let named = NamedEvent::new(&EventInfo::new(event.id, event.name));
        let mut later = self.settings.later_events.limits.iter();
        let set = later.find(|later| later.selection.selects(&named) && is_same(&later.limit));
        set.map(|later| &later.origin)
    }
}

/// What a limit demands, such as `order_placement p95 over 60 s: at most 20.0 ms`.
struct Bound<'a> {
    event: &'a str,
    unit: Unit,
    limit: Limit,
}

impl<'a> From<&'a SlaReport> for Bound<'a> {
    fn from(report: &'a SlaReport) -> Self {
        let SlaReport { event, unit, quantile, window, limit, .. } = *report;
        let limit = match quantile {
            Some(quantile) => Limit::Quantile(Threshold::value(quantile, limit).over(window)),
            None => Limit::Silence(window),
        };
        Self { event, unit, limit }
    }
}

impl Bound<'_> {
    /// Returns whether the limit demands the same.
    fn is_same(&self, limit: &Limit) -> bool {
        self.limit.conflicts_with(limit)
            && match (self.limit, limit) {
                (Limit::Silence(one), Limit::Silence(other)) => one == *other,
                _ => true,
            }
    }
}

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, unit, limit } = self;
        match limit {
            Limit::Quantile(Threshold { quantile, max, window, .. }) => {
                let (window, max) = (length(*window), value(*unit, *max));
                write!(f, "{event} {quantile} over {window}: at most {max}")
            }
            Limit::Silence(longest) => {
                let longest = value(Unit::Time, nanos(*longest));
                write!(f, "{event}: at most {longest} without a record")
            }
        }
    }
}

/// What set a limit. The default is that it is declared with its event.
struct SetBy<'a>(&'a Origin);

impl fmt::Display for SetBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::Default => f.write_str("declared with the event"),
            origin => origin.fmt(f),
        }
    }
}
