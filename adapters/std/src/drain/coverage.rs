//! Which part of what happens in the program does not reach the aggregator: what sampling leaves
//! out, what is switched off, and what is lost because its thread has no ring. The cost of
//! measuring is here as well, because sampling depends on it.

use core::time::Duration;
use std::sync::Arc;

use tailwatch_core::{Aggregator, EventId, EventInfo};

use super::{
    changes::Changes, clocks::Clocks, event_ids::EventIds, overhead::Overhead, sampling::Sampler,
    storage::Boxed,
};
use crate::{
    recording::pool::Pool,
    sync::{Mutex, lock},
};

/// What is not recorded, and the cost of what is.
#[derive(Debug)]
pub(super) struct Coverage {
    sampler: Arc<Mutex<Sampler>>,
    overhead: Overhead,
    /// The events that were sampled in the last pass.
    sampled: EventIds,
    /// Whether there are any of them.
    has_sampled: bool,
    /// The events that are switched off.
    off: Vec<EventId>,
    /// [`Pool::gate_changes`] as of `off`. `None` before the first pass.
    gate_changes: Option<usize>,
    /// The events that had a record since the rates were last checked.
    recorded: EventIds,
    /// The number of unregistered records as of the last pass.
    unregistered: u64,
    /// The number of lost ENDs whose spans are not known, as of the last pass.
    lost_ends: usize,
}

impl Coverage {
    /// Creates the state of a collector that has recorded nothing.
    pub(super) fn new(sampler: Arc<Mutex<Sampler>>, overhead: Overhead) -> Self {
        Self {
            sampler,
            overhead,
            sampled: EventIds::EMPTY,
            has_sampled: false,
            off: Vec::new(),
            gate_changes: None,
            recorded: EventIds::EMPTY,
            unregistered: 0,
            lost_ends: 0,
        }
    }

    /// Reports to the aggregator which events were not recorded in full since the last pass. Such
    /// events are not silent even without records, and the summaries of sampled events are
    /// incomplete.
    pub(super) fn note_gate(
        &mut self,
        pool: &Pool,
        events: &[EventInfo],
        aggregator: &mut Aggregator<Boxed>,
        changes: &mut Changes,
    ) {
        let gate_changes = pool.gate_changes();
        if self.gate_changes != Some(gate_changes) {
            let Self { off, .. } = self;
            self.gate_changes = Some(pool.settled_gate(|gate, gate_changes| {
                off.clear();
                off.extend(events.iter().map(|info| info.id).filter(|id| !gate.admits(*id)));
                gate_changes
            }));
            // The health names the events that are sampled.
            changes.note_records();
        }
        for id in &self.off {
            aggregator.reset_silence(*id);
        }
        let mut guard = lock(&self.sampler);
        let mut thinned = guard.take_thinned().peekable();
        if thinned.peek().is_none() && !self.has_sampled {
            return;
        }
        let mut sampled = EventIds::EMPTY;
        for id in thinned {
            aggregator.mark_sampled(id);
            aggregator.reset_silence(id);
            // Only the first of several passes makes summaries incomplete that were not so before.
            if !self.sampled.contains(id) {
                changes.note_event(id);
            }
            sampled.insert(id);
        }
        self.has_sampled = !sampled.is_empty();
        self.sampled = sampled;
    }

    /// Returns whether the current thread is the drain's own.
    pub(super) fn is_on_own_thread(&self) -> bool {
        self.overhead.is_on_own_thread()
    }

    /// Makes the current thread the drain's own.
    pub(super) fn set_own_thread(&mut self) {
        self.overhead.set_own_thread();
    }

    /// Reports to the aggregator that more records are unregistered than at the last pass. The
    /// statistics of the time until now are then incomplete. If ENDs of unknown spans are lost,
    /// each open span may be one that has ended, so it becomes uncertain.
    pub(super) fn note_unregistered(&mut self, pool: &Pool, aggregator: &mut Aggregator<Boxed>) {
        let (unregistered, lost_ends) = (pool.unregistered(), pool.lost_ends());
        if unregistered != self.unregistered {
            self.unregistered = unregistered;
            aggregator.mark_incomplete();
        }
        if lost_ends != self.lost_ends {
            self.lost_ends = lost_ends;
            aggregator.mark_lost();
        }
    }

    /// Passes the present rates of the events to the sampler, and the cost of measuring if a period
    /// has ended. Sets in the gate what the sampler changes. `produced` is the number of records
    /// that were written since the start.
    pub(super) fn adapt(
        &mut self,
        produced: u64,
        clocks: &Clocks,
        pool: &Pool,
        aggregator: &mut Aggregator<Boxed>,
        changes: &mut Changes,
    ) {
        if changes.has_records() {
            self.recorded.insert_all(changes.recorded());
        }
        let is_period_over = self.overhead.update(produced, clocks.now().monotonic);
        let cost = if is_period_over { self.overhead.settled_ratio() } else { None };
        lock(&self.sampler).adjust(
            clocks.uptime(),
            cost,
            &mut self.recorded,
            |id| aggregator.moments(id).weight(),
            |id, k| {
                changes.note_event(id);
                pool.update_gate(|gate| {
                    gate.set_sampling(id, k);
                });
            },
        );
    }

    /// Adds the processor time of a pass to the cost of measuring.
    pub(super) fn add_pass(&mut self, time: Duration) {
        self.overhead.add_pass(time);
    }

    /// Returns what measuring costs.
    pub(super) fn overhead(&self) -> &Overhead {
        &self.overhead
    }

    /// Returns the sampler.
    pub(super) fn sampler(&self) -> &Mutex<Sampler> {
        &self.sampler
    }
}

#[cfg(test)]
mod tests {
    use tailwatch_core::{Event, Record, Scope, Trading};

    use super::*;
    use crate::{
        clock::{Anchor, HostClock, nanos},
        drain::{sampling::Sampling, test_aggregator},
        recording::ring_settings::RingSettings,
    };

    const ORDER: Trading = Trading::OrderPlacement;

    /// The parts that a drain of one ring has beside its coverage.
    struct Parts {
        pool: Pool,
        clocks: Clocks,
        aggregator: Aggregator<Boxed>,
    }

    impl Parts {
        fn new() -> Self {
            let clock = HostClock::monotonic();
            let (pool, clocks) =
                (Pool::new(RingSettings::fixed(1, 8), clock).unwrap(), Clocks::start(clock));
            let aggregator = test_aggregator(&clocks);
            Self { pool, clocks, aggregator }
        }

        /// Begins a pass, this time after the previous one.
        fn pass(&mut self, after: Duration) {
            let now = *self.clocks.now();
            let ticks = now.ticks + nanos(after);
            self.clocks.advance(Anchor { ticks, monotonic: now.monotonic + after, ..now });
            self.aggregator.begin_pass(ticks);
        }

        fn record(&mut self, records: u64) {
            let now = self.clocks.now().ticks;
            for _ in 0..records {
                self.aggregator.record(0, Record::duration(now, ORDER.id(), 0, 1));
            }
        }

        fn is_complete(&mut self) -> bool {
            self.aggregator.summary(ORDER.id(), Scope::Total).unwrap().complete
        }
    }

    fn coverage(parts: &Parts, sampling: Sampling) -> Coverage {
        let mut sampler = Sampler::new(Trading::ALL.iter().map(|info| info.id));
        sampler.set(ORDER.id(), sampling);
        let overhead = Overhead::new(10.0, parts.clocks.now().monotonic);
        Coverage::new(Arc::new(Mutex::new(sampler)), overhead)
    }

    #[test]
    fn records_without_a_ring_make_summaries_incomplete_and_their_ends_make_spans_uncertain() {
        let mut parts = Parts::new();
        let mut coverage = coverage(&parts, Sampling::default());
        parts.pass(Duration::from_millis(1));
        parts.record(1);
        let now = parts.clocks.now().ticks;
        parts.aggregator.record(0, Record::start(now, ORDER.id(), 0, 1));
        coverage.note_unregistered(&parts.pool, &mut parts.aggregator);
        assert!(parts.is_complete());
        parts.pool.count_unregistered(1);
        coverage.note_unregistered(&parts.pool, &mut parts.aggregator);
        assert!(!parts.is_complete());
        assert_eq!(parts.aggregator.pairing(ORDER.id()).uncertain, 0);
        parts.pool.note_lost_end();
        coverage.note_unregistered(&parts.pool, &mut parts.aggregator);
        assert_eq!(parts.aggregator.pairing(ORDER.id()).uncertain, 1);
    }

    #[test]
    fn an_event_above_its_rate_limit_is_sampled_and_its_summary_incomplete() {
        let mut parts = Parts::new();
        let limit = Sampling::RateLimit { above: 100.0, sample: 0.125 };
        let mut coverage = coverage(&parts, limit);
        let mut changes = Changes::new(1, &parts.clocks);
        for (records, k) in [(100, 0), (101, 3)] {
            parts.pass(Duration::from_secs(1));
            parts.record(records);
            let Parts { pool, clocks, aggregator } = &mut parts;
            changes.note_event(ORDER.id());
            coverage.note_gate(pool, Trading::ALL, aggregator, &mut changes);
            coverage.adapt(0, clocks, pool, aggregator, &mut changes);
            assert_eq!(pool.gate().sampling(ORDER.id()), k, "{records} per second");
            assert!(parts.is_complete(), "all records so far were written in full");
        }
        coverage.note_gate(&parts.pool, Trading::ALL, &mut parts.aggregator, &mut changes);
        assert!(!parts.is_complete());
    }
}
