//! The lines about limits in the text of `Collector::explain`.

use core::fmt;
use std::collections::HashMap;

use tailwatch_core::{EventId, EventInfo, Limit, MinSamples, Threshold, Unit};

use crate::{
    clock::nanos,
    events::numbers::NamedEvent,
    report::{
        EventReport, Report,
        text::{grouped, length, share, value},
    },
    settings::{Origin, Setting, Settings, limits_in_force::ReplacedLimit},
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
        let Self { settings, report } = self;
        // Looked up in maps, because there can be many thousand limits.
        let events: HashMap<&str, &EventReport> =
            report.events.iter().map(|event| (event.name, event)).collect();
        let mut at_start: HashMap<EventId, Vec<&Setting<Limit>>> = HashMap::new();
        for (event, limit) in &settings.limits {
            at_start.entry(*event).or_default().push(limit);
        }
        writeln!(f, "limits: {} in force", report.sla.len())?;
        for limit in &report.sla {
            let as_set = limit.as_set();
            let bound = Bound { event: limit.event, unit: limit.unit, limit: as_set };
            let event = events.get(limit.event);
            let of_event = event.and_then(|event| at_start.get(&event.id));
            let set = of_event.into_iter().flatten().find(|set| set.value == as_set);
            let later = || event.and_then(|event| self.origin_of_later(event, &as_set));
            match set.map(|set| &set.origin).or_else(later) {
                Some(origin) => writeln!(f, "  {bound} ({})", SetBy(origin))?,
                None => writeln!(f, "  {bound} (set after the start)")?,
            }
        }
        if !settings.replaced_limits.is_empty() {
            f.write_str("limits that these replaced at the start:\n")?;
        }
        for ReplacedLimit { event, limit, by } in &settings.replaced_limits {
            let known = report.event(*event);
            let (event, unit) = known.map_or(("unknown", Unit::Time), |of| (of.name, of.unit));
            let bound = Bound { event, unit, limit: limit.value };
            writeln!(f, "  {bound} ({}), by {}", SetBy(&limit.origin), SetBy(by))?;
        }
        Ok(())
    }
}

impl LimitLines<'_> {
    /// Returns the line of the configuration file that has set a limit of an event that was made
    /// after the start.
    fn origin_of_later(&self, event: &EventReport, limit: &Limit) -> Option<&Origin> {
        let named = NamedEvent::new(&EventInfo::new(event.id, event.name));
        let mut later = self.settings.later_events.limits.iter();
        let set = later.find(|later| later.limit == *limit && later.selection.selects(&named));
        set.map(|later| &later.origin)
    }
}

/// What a limit demands, such as `order_placement p95 over 60 s: at most 20.0 ms`.
struct Bound<'a> {
    event: &'a str,
    unit: Unit,
    limit: Limit,
}

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, unit, limit } = self;
        let Threshold { quantile, max, window, min_samples, raise_after, clear_after, .. } =
            match limit {
                Limit::Quantile(threshold) | Limit::Errors(threshold) => threshold,
                Limit::Silence(longest) => {
                    let longest = value(Unit::Time, nanos(*longest));
                    return write!(f, "{event}: at most {longest} without a record");
                }
            };
        let window = length(*window);
        if let Limit::Errors(threshold) = limit {
            let most = share(threshold.max_error_ppm().into());
            write!(f, "{event} error rate over {window}: at most {most}")?;
        } else {
            let max = value(*unit, *max);
            write!(f, "{event} {quantile} over {window}: at most {max}")?;
        }
        match min_samples {
            MinSamples::Count(0 | 1) => {}
            MinSamples::Count(samples) => {
                write!(f, ", judged from {} samples on", grouped(u64::from(*samples)))?;
            }
            MinSamples::Auto => f.write_str(", judged with as many samples as it needs")?,
        }
        if !raise_after.is_zero() {
            write!(f, ", raised after {}", length(*raise_after))?;
        }
        if let Some(clear_after) = clear_after {
            write!(f, ", cleared after {}", length(*clear_after))?;
        }
        Ok(())
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
