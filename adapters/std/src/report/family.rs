//! The sum of the events of a family.

use core::cmp::Reverse;

use tailwatch_core::{Buckets, EventId, Moments, Outcomes, WeightedSample};

use super::{
    EventReport, InFlight, Report, WindowReport, owned_data::OwnedData,
    packed_counts::PackedCounts, statistics::Statistics,
};
use crate::events::labels::Labels;

/// The number of slowest samples that a sum keeps, as many as an event has.
const SLOWEST: usize = 4;

impl Report {
    /// Adds up the events that share this name without labels and have labels with the same keys,
    /// such as those of a [`Family`](crate::Family), and the unit of the first of them. Returns
    /// `None` if there is none.
    ///
    /// If events of this name have labels with different keys, or none, those are added up that
    /// have the keys of the first event with labels: the others may stand for the same spans.
    ///
    /// The result has the statistics of all their samples together, as if all were of one event:
    /// quantiles are exact if those of each event are, and otherwise come from the sum of the
    /// histograms, with the same stated error. It has no number
    /// ([`EventId::UNNUMBERED`]), no labels and no corrected summaries. Computing it takes time
    /// linear in the samples or buckets of all events.
    pub fn family(&self, name: &str) -> Option<EventReport> {
        let named = || self.events.iter().filter(|event| event.base_name == name);
        let first = named().find(|event| !event.labels.is_empty()).or_else(|| named().next())?;
        let keys =
            |event: &EventReport| event.labels.iter().map(|(key, _)| key).collect::<Vec<_>>();
        let is_member =
            |event: &&EventReport| event.unit == first.unit && keys(event) == keys(first);
        let members: Vec<_> = named().filter(is_member).collect();
        let window = |(number, window): (usize, &WindowReport)| WindowReport {
            length: window.length,
            statistics: sum(members.iter().flat_map(|event| &event.windows[number].statistics)),
            failed: sum(members.iter().filter_map(|event| event.windows[number].failed.as_deref()))
                .map(Box::new),
        };
        Some(EventReport {
            id: EventId::UNNUMBERED,
            name: first.base_name,
            base_name: first.base_name,
            labels: Labels::default(),
            unit: first.unit,
            windows: first.windows.iter().enumerate().map(window).collect(),
            total: sum(members.iter().flat_map(|event| &event.total)),
            covered: first.covered,
            failed: sum(members.iter().filter_map(|event| event.failed.as_deref())).map(Box::new),
            outcomes: members.iter().fold(Outcomes::default(), |mut sum, event| {
                sum.ok += event.outcomes.ok;
                sum.error += event.outcomes.error;
                sum.cancelled += event.outcomes.cancelled;
                sum
            }),
            in_flight: members.iter().fold(InFlight::default(), |mut sum, event| {
                let InFlight { open, uncertain, untracked, oldest_ns, oldest_tag } =
                    event.in_flight;
                sum.open += open;
                sum.uncertain += uncertain;
                sum.untracked += untracked;
                if oldest_ns > sum.oldest_ns {
                    (sum.oldest_ns, sum.oldest_tag) = (oldest_ns, oldest_tag);
                }
                sum
            }),
        })
    }
}

/// Returns the statistics of all samples together, or `None` if there are none.
fn sum<'s>(parts: impl Iterator<Item = &'s Statistics>) -> Option<Statistics> {
    let parts: Vec<&Statistics> = parts.collect();
    let first = parts.first()?;
    let data = OwnedData::sum(parts.iter().map(|part| part.data()));
    let covered = parts.iter().map(|part| part.summary.covered).max().unwrap_or_default();
    let complete = parts.iter().all(|part| part.summary.complete);
    let mut slowest: Vec<_> = parts.iter().flat_map(|part| &part.slowest).cloned().collect();
    slowest.sort_by_key(|sample| Reverse(sample.duration));
    slowest.truncate(SLOWEST);
    first.with_data(data, covered, complete, slowest)
}

impl OwnedData {
    /// Returns all data together: all samples if all are known, or else the sum of the counts.
    fn sum<'d>(parts: impl Iterator<Item = &'d Self> + Clone) -> Self {
        let counted = parts.clone().find_map(|part| match part {
            Self::Exact(_) => None,
            Self::Counted { buckets, .. } => Some(*buckets),
        });
        let Some(buckets) = counted else {
            let samples = parts.flat_map(|part| match part {
                Self::Exact(samples) => samples.as_slice(),
                Self::Counted { .. } => &[],
            });
            return Self::Exact(samples.copied().collect());
        };
        let mut moments = Moments::default();
        let mut counts = vec![0; buckets.len()];
        for part in parts {
            match part {
                Self::Exact(samples) => {
                    for sample in samples {
                        add(&mut counts, buckets, *sample);
                        moments.add(sample.value(), sample.sampling());
                    }
                }
                Self::Counted { moments: of_part, first, counts: of_buckets, .. } => {
                    moments.merge(of_part);
                    for (sum, count) in counts[*first..].iter_mut().zip(of_buckets.iter()) {
                        *sum += count;
                    }
                }
            }
        }
        // As in the data of an event: from the bucket of the smallest sample to that of the
        // largest.
        let used = buckets.index(moments.min())..=buckets.index(moments.max());
        let (first, counts) = (*used.start(), PackedCounts::new(&counts[used]));
        Self::Counted { buckets, moments, first, counts }
    }
}

/// Counts an exact sample in its bucket.
fn add(counts: &mut [u64], buckets: Buckets, sample: WeightedSample) {
    counts[buckets.index(sample.value())] += sample.weight();
}
