//! Processes whole spans: pairs of records in which the END directly follows its START in the ring,
//! as for most spans.
//!
//! Such a span is not open while any other record is processed, so the table of open spans need not
//! be accessed. This path handles *usual* spans only, which satisfy these conditions:
//!
//! - The event is known and measured in time.
//! - The ticks are plausible: the span did not begin more than 10 ms before the aggregator was
//!   created (or, if the clock has stepped back below that tick, before the lowest tick after such
//!   a step), nor after it ended, and it did not end after the time of the pass.
//! - The duration in the END gives a sample: it is not too large.
//! - The span ended with `Outcome::Ok`.
//! - In wide storage, the span ended in all windows, and in the same slices as the event's *staged*
//!   samples: those that are collected first, to be added to these slices together. For the first
//!   span, staging is prepared so that this holds.
//! - In wide storage, the event has no summary that is corrected for coordinated omission.
//!
//! Compact storage adds the sample by [`add_sample`](Aggregator::add_sample), like every other one.
//! Wide storage stages it here: the last two conditions leave only a few steps to do, so that the
//! loop is fast.
//!
//! All other spans are left to [`record`](Aggregator::record), which handles every case, one record
//! at a time. Both ways give the same results, except for the tag and sampling exponent of another
//! open span of the event that began at the same tick: the two spans cannot be distinguished.

use super::{Aggregator, SpanOrigin, accumulate::stage};
use crate::{
    clock::OptionalTick,
    event::Unit,
    record::{Kind, Record},
    repr::Repr,
    sla::rule::NO_RULE,
    statistics::{histogram::count::Count, sample_buffer::Membership},
    storage::{Storage, StorageParts, row::StorageExt},
};

impl<S: Storage> Aggregator<S> {
    /// Processes the whole spans at the beginning of `records`, up to the first span that is not
    /// usual or the first record that does not belong to a whole span. Returns the number of
    /// processed spans; each is two records.
    ///
    /// Processes none if an early END (one that was drained before its START) waits for its START,
    /// or if the table of open spans has no room for another span.
    ///
    /// `source` is the number of the ring, for exemplars.
    #[inline]
    pub(super) fn record_whole_spans(&mut self, source: u16, records: &[Record]) -> usize {
        // Return early if the first two records are not a whole span. With nested spans this is the
        // most frequent case, and preparing the loop would take longer than processing one record.
        // Compact storage leaves this to the loop, which saves flash.
        //
        // Also return early if a START might pair with an early END or might find no room in the
        // table. The loop does not change the table, so this holds for all of its spans.
        let [start, end, ..] = records else { return 0 };
        if !S::Repr::IS_COMPACT && !end.is_ok_end_of(*start) {
            return 0;
        }
        if !(S::ABSENT.in_flight || self.in_flight().can_be_bypassed()) {
            return 0;
        }
        if !S::Repr::IS_COMPACT {
            self.limits_settled_until = 0;
        }
        let (now, time, shape) = (self.now, self.time, self.shape());
        // The first tick at which a span can plausibly begin, and the first at which a usual one
        // can end.
        let (earliest, in_windows) = (self.earliest, self.first_in_all_windows());
        let since = now.saturating_sub(in_windows);
        if !S::Repr::IS_COMPACT
            && earliest <= start.ticks()
            && start.ticks() <= end.ticks()
            && end.ticks().wrapping_sub(in_windows) <= since
        {
            self.prepare_whole_span(*end);
        }

        let mut spans = 0;
        for [start, end] in records.as_chunks::<2>().0 {
            let StorageParts { row_of_id, rows, samples, .. } = self.storage.parts();
            if !end.is_ok_end_of(*start) {
                break;
            }
            let Some((row, Unit::Time)) =
                end.event().and_then(|event| S::row_of(row_of_id, event.get()))
            else {
                break;
            };
            let state = &mut rows[row];
            let (began, ended) = (start.ticks(), end.ticks());
            let is_plausible = earliest <= began
                && began <= ended
                && if S::Repr::IS_COMPACT {
                    ended <= now
                } else {
                    ended.wrapping_sub(in_windows) <= since
                };
            if !is_plausible {
                break;
            }
            if !S::Repr::IS_COMPACT && (!state.staged.covers(ended) || state.corrected > 0) {
                break;
            }
            let weighted =
                time.units(end.payload()).and_then(|units| Self::weigh(units, end.sampling()));
            let Some(weighted) = weighted else { break };

            spans += 1;
            state.outcomes[0].increment();
            state.pairing.paired.increment();
            if !S::ABSENT.silences {
                state.seen = state.seen.max(OptionalTick::some(ended));
            }
            // Without a table of open spans, an exemplar has no tag even if its START and END are
            // adjacent. If it had one, whether an exemplar has a tag would depend on what else was
            // recorded between its START and END.
            let origin = || {
                let tag = (!S::ABSENT.in_flight).then_some(start.payload());
                let (kind, awaits_tag) = (Kind::EndOk, tag.is_none());
                SpanOrigin { start: start.ticks(), tag, source, kind, awaits_tag }
            };
            if S::Repr::IS_COMPACT {
                self.add_sample(row, weighted, ended, &origin());
                continue;
            }
            // Read here, because a look at the state after staging would need to borrow it again.
            let has_limits = state.first_rule != NO_RULE;
            let membership = Membership::new(ended, state.staged.slices);
            let buffer = (row * shape.samples, shape.samples);
            if !stage::<S>(state, samples, buffer, weighted, membership) {
                self.finish_staging(row, weighted, &origin());
            }
            if has_limits {
                // The sample is not late for the aggregator's windows, which `covers` has checked.
                // But it may be late for the window of a limit.
                self.counters.late += u64::from(self.tally(row, weighted, ended, false));
            }
        }
        spans
    }

    /// Prepares staging for the whole span with this END, so that it is usual: it ended in the same
    /// slices as what is staged then. The caller has checked its ticks: it ended in all windows.
    #[inline]
    fn prepare_whole_span(&mut self, end: Record) {
        let StorageParts { row_of_id, rows, .. } = self.storage.parts();
        let event = end.event().and_then(|event| S::row_of(row_of_id, event.get()));
        let Some((row, Unit::Time)) = event else { return };
        let (ended, state) = (end.ticks(), &rows[row]);
        if state.corrected > 0 || state.staged.covers(ended) {
            return;
        }
        let units = self.time.units(end.payload());
        if units.and_then(|units| Self::weigh(units, end.sampling())).is_some() {
            self.prepare_staging(row, ended, false);
        }
    }
}
