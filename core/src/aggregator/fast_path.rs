//! A fast path for whole spans: pairs of records in which the END directly follows its START in the
//! ring, as for most spans.
//!
//! Such a span is not open while any other record is processed, so the table of open spans need not
//! be accessed. A span that is unusual in any way is left to [`record`](Aggregator::record), which
//! handles every case. Both paths give the same results.

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
    /// Processes the whole spans at the beginning of `records`, up to the first unusual span or the
    /// first record that does not belong to a whole span. Returns the number of processed spans,
    /// which are twice as many records.
    ///
    /// `source` is the number of the ring, for exemplars.
    #[inline]
    pub(super) fn record_whole_spans(&mut self, source: u16, records: &[Record]) -> usize {
        // Return early if the first two records are no whole span. With nested spans this is the
        // usual case, and preparing the loop would take longer than processing one record.
        let [start, end, ..] = records else { return 0 };
        if end.outcome_index_of(*start).is_none() || !self.in_flight().can_be_bypassed() {
            return 0;
        }
        let (now, time, shape) = (self.now, self.time, self.shape());
        let earliest = self.earliest;

        let mut spans = 0;
        for [start, end] in records.as_chunks::<2>().0 {
            let StorageParts { row_of_id, rows, samples, limits, tallies, .. } =
                self.storage.parts();
            let Some(outcome) = end.outcome_index_of(*start) else { break };
            let Some((row, Unit::Time)) =
                end.event().and_then(|event| row_of::<S>(row_of_id, event))
            else {
                break;
            };
            let state = &mut rows[row];
            let (began, ended) = (start.ticks(), end.ticks());
            // A span is usual if its ticks are plausible and its sample belongs to the same slices
            // of the windows as the event's staged samples, so that it can be staged with them.
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
