//! The lines about limits in the text of `Collector::explain`.

use core::fmt;

use tailwatch_core::{Limit, MinSamples, Threshold, Unit};

use crate::{
    clock::nanos,
    report::{
        Report,
        text::{grouped, length, share, value},
    },
    settings::{
        Settings,
        limits_in_force::{ReplacedLimit, origin_text},
    },
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
        writeln!(f, "limits: {} in force", report.sla.len())?;
        for limit in &report.sla {
            let bound = Bound { event: &limit.event, unit: limit.unit, limit: limit.as_set() };
            writeln!(f, "  {bound} ({})", limit.origin.as_deref().unwrap_or("unknown"))?;
        }
        if !settings.replaced_limits.is_empty() {
            f.write_str("limits that these replaced at the start:\n")?;
        }
        for ReplacedLimit { event, limit, by } in &settings.replaced_limits {
            let known = report.event(*event);
            let (event, unit) = known.map_or(("unknown", Unit::Time), |of| (&*of.name, of.unit));
            let bound = Bound { event, unit, limit: limit.value };
            writeln!(f, "  {bound} ({}), by {}", origin_text(&limit.origin), origin_text(by))?;
        }
        Ok(())
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
