//! How far a drain has read its rings: which ring comes next, how many records a pass may still
//! deliver, and as of when everything that was recorded has been drained.
//!
//! A drain works in passes. A pass first *refreshes* the rings: it looks up to where each of them
//! is filled. Then it drains the rings up to there, one after the other. A pass with a maximum
//! number of records is *bounded*. It may leave a ring *unfinished*: it has drained a part of what
//! the refresh found, but not all.

use super::{Drained, Reader};

/// What a pass drains in one of its visits: a [`Reader`], or whatever else has pending records,
/// such as several readers of rings that one thread fills one after the other.
pub trait Pending {
    /// Returns the number of records that the last refresh has found and that are not read yet.
    fn pending(&self) -> usize;
}

impl<P> Pending for Reader<'_, P> {
    fn pending(&self) -> usize {
        self.pending()
    }
}

/// The number of a pass, and a tick that was read before the pass refreshed any ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PassStart {
    /// The number of the pass.
    pub pass: u64,
    /// The tick.
    pub tick: u64,
}

/// How far a drain has read one ring.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RingProgress {
    /// The latest pass such that everything recorded in the ring before its start is drained.
    drained: PassStart,
    /// The pass whose refresh found the records that are being drained. It is later than `drained`
    /// while the ring is unfinished.
    refreshed: PassStart,
}

impl RingProgress {
    /// Creates the progress of a ring that has no records from before `start`.
    pub const fn new(start: PassStart) -> Self {
        Self { drained: start, refreshed: start }
    }

    /// Returns whether a bounded pass has drained a part of the records that the ring's last
    /// refresh found, but not all.
    const fn is_unfinished(&self) -> bool {
        self.drained.pass != self.refreshed.pass
    }
}

/// One pass of a drain over its rings: which of them it refreshes, in which order it visits them,
/// how many records it may deliver, and what it leaves.
///
/// The drain first refreshes the consumers of all rings for which [`refreshes`](Self::refreshes)
/// returns `true`. It then calls [`drain`](Self::drain) or [`skip`](Self::skip) once for each ring,
/// in the order that [`order`](Self::order) returns.
///
/// A pass with a maximum number of records is *bounded*. It may leave a ring *unfinished*: it has
/// drained a part of what the refresh found, but not all. Three rules ensure that bounded passes
/// reach every record and lose few:
///
/// - A bounded pass does not refresh an unfinished ring. Otherwise a fast producer could stay ahead
///   of the drain for ever, and there would be no moment from before which everything is drained.
/// - A pass begins with the first ring that the previous pass was to drain and left with records,
///   or else with the same ring as that pass. The others follow in turn. From the refresh that
///   finds a record until it is delivered, the drain delivers no more records than all rings can
///   hold, if no pass [skips](Self::skip) the ring of the record.
/// - Only delivered records count towards the maximum. Overwritten ones need little time. If they
///   counted, a ring that is overwritten while it waits for its turn would use up the turns of the
///   other rings, and these would be overwritten in turn.
///
/// ```
/// use tailwatch_core::{EventId, PassStart, Record, Ring, RingPass, RingProgress, Slot};
///
/// let event = EventId::new(1).unwrap();
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let mut progress = RingProgress::new(PassStart { pass: 0, tick: 0 });
/// let (mut seen, mut first_ring) = (vec![], 0);
/// for tick in [10, 20, 30] {
///     producer.push(Record::value(tick, event, 0, 7));
/// }
/// for start in [PassStart { pass: 1, tick: 35 }, PassStart { pass: 2, tick: 45 }] {
///     let mut pass = RingPass::new(start, Some(2), first_ring);
///     if pass.refreshes(&progress) {
///         consumer.refresh();
///     }
///     producer.push(Record::value(start.tick + 5, event, 0, 7)); // after the refresh
///     for index in pass.order(1) {
///         pass.drain(index, &mut progress, &mut consumer, |consumer, max_records| {
///             consumer.drain_up_to(max_records, |record| seen.push(record.ticks()))
///         });
///     }
///     assert_eq!(pass.has_more(), start.pass == 1);
///     // The second pass finishes what the refresh of the first pass found.
///     assert_eq!(pass.drained().tick, if start.pass == 1 { 0 } else { 35 });
///     first_ring = pass.next_first_ring();
/// }
/// assert_eq!(seen, [10, 20, 30]);
/// ```
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RingPass {
    start: PassStart,
    is_bounded: bool,
    /// How many records the pass may still deliver.
    left: usize,
    /// The ring with which this pass begins, and then the one with which the next pass begins.
    first_ring: usize,
    has_more: bool,
    /// The earliest `drained` of the rings so far.
    drained: PassStart,
}

impl RingPass {
    /// Begins a pass that delivers at most `max_records` records, or any number if that is `None`.
    /// 0 counts as 1, because a pass that delivered nothing would make no progress.
    ///
    /// `start` must have a higher number than the previous pass, and its tick must be read before
    /// any ring is refreshed.
    ///
    /// The pass begins with the ring that has the index `first_ring`: 0 in the first pass, and then
    /// what [`next_first_ring`](Self::next_first_ring) returned at the end of the previous pass.
    pub const fn new(start: PassStart, max_records: Option<usize>, first_ring: usize) -> Self {
        let left = match max_records {
            Some(0) => 1,
            Some(records) => records,
            None => usize::MAX,
        };
        let is_bounded = max_records.is_some();
        Self { start, is_bounded, left, first_ring, has_more: false, drained: start }
    }

    /// Returns whether the drain has to refresh the consumer of the ring with this progress.
    // A pass that is not bounded finishes every ring that it drains, so it can refresh all of them.
    pub const fn refreshes(&self, progress: &RingProgress) -> bool {
        !(self.is_bounded && progress.is_unfinished())
    }

    /// Returns the indices of all rings, of which there are `rings`, in the order in which this
    /// pass visits them.
    pub fn order(&self, rings: usize) -> impl Iterator<Item = usize> + use<> {
        let mut next = self.first_ring;
        (0..rings).map(move |_| {
            let index = if next < rings { next } else { 0 };
            next = index + 1;
            index
        })
    }

    /// Returns whether the pass may deliver more records.
    pub const fn has_budget(&self) -> bool {
        self.left > 0
    }

    /// Visits a ring that is to be drained. Calls `drain` with the consumer and the largest number
    /// of records to read, unless the ring has no records or the pass may deliver no more. `drain`
    /// returns what [`Reader::drain_up_to`] or
    /// [`Aggregator::drain_up_to`](crate::Aggregator::drain_up_to) returned.
    ///
    /// `index` is the index of the ring.
    pub fn drain<C: Pending>(
        &mut self,
        index: usize,
        progress: &mut RingProgress,
        consumer: &mut C,
        drain: impl FnOnce(&mut C, usize) -> Drained,
    ) {
        let refreshed = if self.refreshes(progress) { self.start } else { progress.refreshed };
        if self.left > 0 && consumer.pending() > 0 {
            let delivered = drain(consumer, self.left).delivered;
            #[expect(clippy::cast_possible_truncation, reason = "at most `left` were delivered")]
            let delivered = delivered as usize;
            self.left = self.left.saturating_sub(delivered);
            progress.refreshed = refreshed;
        }
        if consumer.pending() == 0 {
            *progress = RingProgress::new(refreshed);
        } else if !self.has_more {
            self.first_ring = index;
            self.has_more = true;
        }
        self.include(progress);
    }

    /// Visits a ring that this pass does not drain. The next pass refreshes it, unless the ring is
    /// unfinished and that pass is bounded.
    pub fn skip(&mut self, progress: &mut RingProgress, consumer: &impl Pending) {
        if self.refreshes(progress) {
            let drained = if consumer.pending() == 0 { self.start } else { progress.drained };
            *progress = RingProgress::new(drained);
        }
        self.include(progress);
    }

    fn include(&mut self, RingProgress { drained, .. }: &RingProgress) {
        // Separately, because the tick of the earlier pass is the later one if the clock has
        // stepped back.
        self.drained.pass = self.drained.pass.min(drained.pass);
        self.drained.tick = self.drained.tick.min(drained.tick);
    }

    /// Returns whether the pass left records in a ring that it was to drain, among those that the
    /// ring's last refresh found.
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Returns the index of the ring with which the next pass has to begin.
    pub const fn next_first_ring(&self) -> usize {
        self.first_ring
    }

    /// Returns as of when all rings that were visited have been drained: a pass before whose start,
    /// and a tick before which, everything recorded in them has been drained or overwritten.
    ///
    /// After a pass over all rings, these are the arguments for
    /// [`expire_orphans`](crate::Aggregator::expire_orphans) and
    /// [`evaluate_limits`](crate::Aggregator::evaluate_limits).
    pub const fn drained(&self) -> PassStart {
        self.drained
    }
}

#[cfg(test)]
mod tests;
