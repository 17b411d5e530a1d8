//! Whole spans, whose END is the next record behind their START: what most records are.
//!
//! Such a span opens and closes before anything else happens, so that the table of open spans need not be asked. What is rare
//! about one is left to [`record`](Aggregator::record), which knows everything and comes to the same sums.

use super::{
    Aggregator, SpanOrigin,
    accumulate::{SampleRow, keep_staged, tally},
    row_of,
};
use crate::{
    Record, Unit, counter_width,
    sample_buffer::When,
    select::WeightedSample,
    storage::{Storage, StorageParts},
};

impl<S: Storage> Aggregator<S> {
    /// Takes in the whole spans that `records` begin with, as long as nothing about them is rare; how many these are.
    #[inline]
    pub(super) fn spans(&mut self, source: u16, records: &[Record]) -> usize {
        // Where spans are nested most records begin none, and what follows is more than that is worth.
        let [start, end, ..] = records else { return 0 };
        if end.outcome_of(*start).is_none() || !self.in_flight().passes_by() {
            return 0;
        }
        let (now, time, shape) = (self.now, self.time, self.shape());
        let earliest = self.earliest;

        let mut spans = 0;
        for [start, end] in records.as_chunks::<2>().0 {
            let StorageParts { rows, events, samples, limits, tallies, .. } = self.storage.parts();
            let Some(outcome) = end.outcome_of(*start) else { break };
            let Some((row, Unit::Time)) = end.event().and_then(|event| row_of::<S>(rows, event))
            else {
                break;
            };
            let state = &mut events[row];
            let (began, ended) = (start.ticks(), end.ticks());
            // Then it can have begun when it says so, and its sample is that of the slices that the fresh sums are of.
            let is_usual =
                earliest <= began && began <= ended && ended <= now && state.staged.covers(ended);
            if !is_usual || state.corrected > 0 {
                break;
            }
            let weighted = time
                .units(end.payload())
                .and_then(|units| WeightedSample::new(units, end.sampling()));
            let Some(weighted) = weighted else { break };

            spans += 1;
            counter_width::count(&mut state.outcomes[outcome], 1);
            counter_width::count(&mut state.pairing.paired, 1);
            if !S::ABSENT.silences {
                state.seen = state.seen.max(ended.saturating_add(1));
            }
            if !S::ABSENT.limits {
                let late =
                    tally(state.first_rule, limits, tallies, shape.limit_slices, weighted, ended);
                self.counters.late += u64::from(late);
            }
            let kept = SampleRow::new(shape, row);
            let when = When::new(ended, state.staged.slices);
            if keep_staged::<S>(state, samples, kept, weighted, when) {
                let origin = SpanOrigin {
                    start: began,
                    tag: Some(start.payload()),
                    source,
                    awaits_tag: false,
                };
                self.add_staged(row, Unit::Time, weighted, &origin);
            }
        }
        spans
    }
}
