//! A fast path for whole spans, whose END is the record right after their START. Most spans are
//! like that.
//!
//! Such a span opens and closes before anything else happens, so the table of open spans need not
//! be accessed. Anything unusual about a span is left to [`record`](Aggregator::record), which
//! handles every case and arrives at the same sums.

use super::{
    Aggregator, SpanOrigin,
    accumulate::{SampleRow, buffer_sample, tally},
    row_of,
};
use crate::{
    Record, Unit, counter_width,
    sample_buffer::Membership,
    select::WeightedSample,
    storage::{Storage, StorageParts},
};

impl<S: Storage> Aggregator<S> {
    /// Processes the whole spans at the beginning of `records` up to the first unusual one. Returns
    /// how many spans it has processed.
    #[inline]
    pub(super) fn record_whole_spans(&mut self, source: u16, records: &[Record]) -> usize {
        // Where spans are nested, few records begin a whole span, and preparing the loop would not
        // pay off.
        let [start, end, ..] = records else { return 0 };
        if end.outcome_of(*start).is_none() || !self.in_flight().can_be_bypassed() {
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
            // Its ticks are plausible, and its sample belongs to the same slices as the staged
            // ones.
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
            counter_width::add(&mut state.outcomes[outcome], 1);
            counter_width::add(&mut state.pairing.paired, 1);
            if !S::ABSENT.silences {
                state.seen = state.seen.max(ended.saturating_add(1));
            }
            if !S::ABSENT.limits {
                let late =
                    tally(state.first_rule, limits, tallies, shape.limit_slices, weighted, ended);
                self.counters.late += u64::from(late);
            }
            let buffered = SampleRow::new(shape, row);
            let membership = Membership::new(ended, state.staged.slices);
            if buffer_sample::<S>(state, samples, buffered, weighted, membership) {
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
