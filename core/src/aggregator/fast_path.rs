//! A fast path for whole spans: pairs of records in which the END directly follows its START in the
//! ring, as for most spans.
//!
//! Such a span is not open while any other record is processed, so the table of open spans need not
//! be accessed. This requires that no early END is in the table, with which the START might have to
//! be paired, and that the table has room for the START. In addition, the fast path handles only
//! *usual* spans, which satisfy five conditions:
//!
//! - The aggregator knows the event, which is measured in time.
//! - Their ticks are plausible: the span did not begin more than 10 ms before the aggregator was
//!   created or the clock restarted, it did not end before it began, and it did not end after the
//!   time of the pass.
//! - The span ended in the same slices of the windows as the event's *staged* samples: those that
//!   are collected first, to be added to these slices together.
//! - The event has no summary that is corrected for coordinated omission.
//! - The duration in the END gives a sample: it is not too large.
//!
//! All other spans are left to the path of [`record`](Aggregator::record), which handles every
//! case. Both paths give the same results, except for the tag and sampling exponent of another open
//! span of the event that began at the same tick: the two spans cannot be distinguished.
//!
//! A sample is first stored in the *sample buffer* of its event, which holds the newest samples.
//! The buffers of all events are in one array: a [`SampleRow`] describes which part of it belongs
//! to the event. [`Membership`] describes which windows the sample belongs to.

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
    /// Processes the whole spans at the beginning of `records`, up to the first span that is not
    /// usual or the first record that does not belong to a whole span. Returns the number of
    /// processed spans; each is two records. Processes none while an early END is in the table of
    /// open spans, or while the table has no room.
    ///
    /// `source` is the number of the ring, for exemplars.
    #[inline]
    pub(super) fn record_whole_spans(&mut self, source: u16, records: &[Record]) -> usize {
        // Return early if the first two records are not a whole span. With nested spans this is the
        // most frequent case, and preparing the loop would take longer than processing one record.
        //
        // Also return early if a START might pair with an early END (one that was drained before
        // its START) or might find no room in the table. The loop does not change the table, so
        // this holds for all of its spans.
        let [start, end, ..] = records else { return 0 };
        if end.outcome_index_of(*start).is_none() || !self.in_flight().can_be_bypassed() {
            return 0;
        }
        let (now, time, shape) = (self.now, self.time, self.shape());
        // The first tick at which a span can plausibly begin.
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
            let is_plausible = earliest <= began && began <= ended && ended <= now;
            if !is_plausible || !state.staged.covers(ended) || state.corrected > 0 {
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
                // Stored as the tick plus 1, because 0 means that there was no record yet.
                state.seen = state.seen.max(ended.saturating_add(1));
            }
            if !S::ABSENT.limits {
                // The sample is not late for the aggregator's windows, which `covers` has checked.
                // But it may be late for the window of a limit.
                let late_for_a_limit =
                    tally(state.first_rule, limits, tallies, shape.limit_slices, weighted, ended);
                self.counters.late += u64::from(late_for_a_limit);
            }
            let buffered = SampleRow::new(shape, row);
            let membership = Membership::new(ended, state.staged.slices);
            // `true` means that the sample is not fully staged yet: it completes a batch, may be an
            // exemplar, or is in no batch because there is no sample buffer.
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
