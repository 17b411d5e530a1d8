//! The sum of the events of a family.

use tailwatch_core::{EventId, Outcomes};

use super::{
    EventReport, InFlight, Report, WindowReport, histogram::SumProblem, statistics::Statistics,
};
use crate::events::labels::Labels;

impl Report {
    /// Adds up the events that share this name without labels and have labels with the same keys,
    /// such as those of a [`Family`](crate::Family), and the unit of the first of them. Returns
    /// `None` if there is none, or if totals of a report that was read have ranges with nothing in
    /// common.
    ///
    /// If events of this name have labels with different keys, or none, those are added up that
    /// have the keys of the first event with labels: the others may stand for the same spans.
    ///
    /// The result has the statistics of all their samples together, as if all were of one event:
    /// quantiles are exact if those of each event are, and otherwise come from the sum of the
    /// histograms, with the same stated error. It has no number
    /// ([`EventId::UNNUMBERED`]), no labels and no corrected summaries. Computing it takes time
    /// linear in the samples or buckets of all events.
    ///
    /// In a report that was [read](Self::from_json), windows have no histograms. Unless at most one
    /// event has samples over them, the result then has no windows.
    ///
    /// Also returns `None` if the statistics of some events [cover](EventReport::covered) other
    /// outcomes than those of others, which a [merged](Self::merge) report may have, if a sum
    /// exceeds 2^64 − 1, and if several events of a report that was read from the schema
    /// `tailwatch.report/1`, which has no histograms, have samples.
    pub fn family(&self, name: &str) -> Option<EventReport> {
        let named = || self.events.iter().filter(|event| event.base_name == name);
        let first = named().find(|event| !event.labels.is_empty()).or_else(|| named().next())?;
        let is_member = |event: &&EventReport| {
            event.unit == first.unit && event.labels.keys().eq(first.labels.keys())
        };
        let members: Vec<_> = named().filter(is_member).collect();
        if members.iter().any(|event| event.covered != first.covered) {
            return None;
        }
        let window = |(number, window): (usize, &WindowReport)| {
            let of_members = || members.iter().filter_map(|event| event.windows.get(number));
            let statistics = sum(of_members().flat_map(|window| &window.statistics))?;
            let failed = sum(of_members().filter_map(|window| window.failed.as_deref()))?;
            Ok(WindowReport { length: window.length, statistics, failed: failed.map(Box::new) })
        };
        let windows: Result<_, SumProblem> = first.windows.iter().enumerate().map(window).collect();
        Some(EventReport {
            id: EventId::UNNUMBERED,
            name: first.base_name.clone(),
            base_name: first.base_name.clone(),
            labels: Labels::default(),
            unit: first.unit,
            windows: windows.unwrap_or_default(),
            total: sum(members.iter().flat_map(|event| &event.total)).ok()?,
            covered: first.covered,
            failed: sum(members.iter().filter_map(|event| event.failed.as_deref()))
                .ok()?
                .map(Box::new),
            outcomes: members.iter().fold(Outcomes::default(), |sum, event| Outcomes {
                ok: sum.ok.saturating_add(event.outcomes.ok),
                error: sum.error.saturating_add(event.outcomes.error),
                cancelled: sum.cancelled.saturating_add(event.outcomes.cancelled),
            }),
            in_flight: members.iter().fold(InFlight::default(), |mut sum, event| {
                let InFlight { open, uncertain, untracked, oldest_ns, oldest_tag } =
                    event.in_flight;
                sum.open = sum.open.saturating_add(open);
                sum.uncertain = sum.uncertain.saturating_add(uncertain);
                sum.untracked = sum.untracked.saturating_add(untracked);
                if oldest_ns > sum.oldest_ns {
                    (sum.oldest_ns, sum.oldest_tag) = (oldest_ns, oldest_tag);
                }
                sum
            }),
        })
    }
}

/// Returns the statistics of all samples together, or `None` if there are none.
fn sum<'s>(parts: impl Iterator<Item = &'s Statistics>) -> Result<Option<Statistics>, SumProblem> {
    Statistics::sum(&parts.collect::<Vec<_>>())
}
