//! The limits of all events: their changes, their evaluation in a pass, and the notices of
//! violations.

use std::{collections::HashMap, sync::Arc};

use tailwatch_core::{Aggregator, EventId, EventInfo, Limit, LimitError, SlaStatus};

use super::{clocks::Clocks, event_ids::EventIds, positions::Positions, storage::Boxed};
use crate::{
    events::{labels::Labels, numbers::NamedEvent},
    observer::Observers,
    recording::pool::Pool,
    report::sla::{ChangeQueue, SlaChange, SlaReport},
    settings::{
        Origin, Setting,
        limits_in_force::{declared, origin_text},
    },
    sync::{Mutex, lock},
};

/// Watches the limits, which the aggregator keeps.
#[derive(Debug)]
pub(super) struct LimitWatch {
    /// The pool has a flag for each event, which is set while one of its limits is violated.
    pool: Arc<Pool>,
    events: Arc<[EventInfo]>,
    positions: Positions,
    /// The labels of each event.
    labels: Vec<Labels>,
    /// Where the limits of events were set that have others than those declared with them.
    pub(super) origins: HashMap<EventId, Vec<(Limit, Arc<str>)>>,
    /// The origin of the limits that are declared with their events.
    declared: Arc<str>,
    /// For each event, the number of limits of the events before it: the index of its first limit
    /// in a report.
    first_limits: Vec<usize>,
    /// The events that have a limit on silence.
    silences: EventIds,
    /// The events with a limit whose violations are raised after a delay, but breach at once.
    delayed: EventIds,
    /// The raised and cleared violations that the program has not yet taken.
    changes: Arc<Mutex<ChangeQueue>>,
}

impl LimitWatch {
    pub(super) fn new(pool: Arc<Pool>, events: Arc<[EventInfo]>) -> Self {
        let mut delayed = EventIds::EMPTY;
        for info in events.iter() {
            let has_limits = declared(info).next().is_some();
            pool.breaches().set(info.id, has_limits, false);
            delayed.set(info.id, declared(info).any(|limit| is_delayed(&limit)));
        }
        Self {
            pool,
            positions: Positions::new(events.iter().map(|info| info.id)),
            labels: events.iter().map(|info| NamedEvent::new(info).labels).collect(),
            first_limits: vec![0; events.len()],
            origins: HashMap::new(),
            declared: origin_text(&Origin::Default),
            silences: EventIds::EMPTY,
            delayed,
            events,
            changes: Arc::default(),
        }
    }

    /// Adds the last of `events`, which has these labels and no limits.
    pub(super) fn add_event(&mut self, events: Arc<[EventInfo]>, labels: Labels) {
        if let Some((added, known)) = events.split_last() {
            self.positions.add(added.id, known.len());
            // Behind all other limits, and there are none of this event.
            self.first_limits.push(usize::MAX);
            self.labels.push(labels);
            self.pool.breaches().set(added.id, false, false);
        }
        self.events = events;
    }

    /// Returns the queue of raised and cleared violations.
    pub(super) fn changes(&self) -> &Arc<Mutex<ChangeQueue>> {
        &self.changes
    }

    /// Replaces the limits of an event after the start.
    pub(super) fn set(
        &mut self,
        event: EventId,
        limits: &[Limit],
        aggregator: &mut Aggregator<Boxed>,
    ) -> Result<(), LimitError> {
        let origin: Arc<str> = "after the start".into();
        let origins = limits.iter().map(|limit| (*limit, Arc::clone(&origin)));
        self.replace(event, limits, origins.collect(), aggregator)
    }

    /// Sets the limits with which an event begins.
    pub(super) fn set_at_start(
        &mut self,
        event: EventId,
        limits: &[Setting<Limit>],
        aggregator: &mut Aggregator<Boxed>,
    ) -> Result<(), LimitError> {
        let origins = limits.iter().map(|limit| (limit.value, origin_text(&limit.origin)));
        let values: Vec<_> = limits.iter().map(|limit| limit.value).collect();
        self.replace(event, &values, origins.collect(), aggregator)
    }

    pub(super) fn replace(
        &mut self,
        event: EventId,
        limits: &[Limit],
        origins: Vec<(Limit, Arc<str>)>,
        aggregator: &mut Aggregator<Boxed>,
    ) -> Result<(), LimitError> {
        aggregator.set_limits(event, limits)?;
        self.delayed.set(event, limits.iter().any(is_delayed));
        self.pool.breaches().set(event, !limits.is_empty(), aggregator.is_breached(event));
        self.origins.insert(event, origins);
        Ok(())
    }

    /// Sets the limits of several events. All limits of one event are set at once, because each
    /// call of [`set_at_start`](Self::set_at_start) replaces the event's previous limits.
    ///
    /// An error has the event whose limits are invalid.
    pub(super) fn set_all(
        &mut self,
        limits: &[(EventId, Setting<Limit>)],
        aggregator: &mut Aggregator<Boxed>,
    ) -> Result<(), (EventId, LimitError)> {
        let mut limits = limits.to_vec();
        limits.sort_by_key(|(event, _)| *event);
        for of_event in limits.chunk_by(|(one, _), (other, _)| one == other) {
            let event = of_event[0].0;
            let of_event: Vec<_> = of_event.iter().map(|(_, limit)| limit.clone()).collect();
            self.set_at_start(event, &of_event, aggregator).map_err(|error| (event, error))?;
        }
        Ok(())
    }

    /// Checks all limits. Returns the violations that were raised or cleared, and calls `note`
    /// with their events. Every ring has been drained up to the tick `as_of`.
    pub(super) fn evaluate(
        &self,
        as_of: u64,
        clocks: &Clocks,
        aggregator: &mut Aggregator<Boxed>,
        mut note: impl FnMut(EventId),
    ) -> Vec<SlaChange> {
        let (mut changes, mut touched) = (Vec::new(), Vec::new());
        aggregator.evaluate_limits(as_of, |change| {
            touched.push(change.status.event);
            changes.extend(self.report(&change.status, clocks).map(|limit| SlaChange {
                raised: change.is_raised(),
                unix_ns: clocks.unix_ns(change.at),
                limit,
            }));
        });
        for event in touched {
            self.pool.breaches().set(event, true, aggregator.is_breached(event));
            note(event);
        }
        // Their violations begin and may end without a change that is reported.
        for event in self.delayed.iter() {
            self.pool.breaches().set(event, true, aggregator.is_breached(event));
        }
        changes
    }

    /// Passes the violations that were raised or cleared to the queue and to the hooks.
    pub(super) fn announce(&self, changes: Vec<SlaChange>, observers: &mut Observers) {
        for change in changes {
            // A hook has forked, and this is the child: the lock may be held for ever.
            if self.pool.is_inherited() {
                return;
            }
            lock(&self.changes).push(change.clone());
            observers.notify_change(&change);
        }
    }

    /// Returns the events that had a limit on silence when [`fill`](Self::fill) last found new
    /// limits.
    pub(super) fn silences(&self) -> &EventIds {
        &self.silences
    }

    /// Overwrites those of the `reports` that belong to the `outdated` events with the present
    /// states of their limits. With `has_new_limits`, overwrites all of them, of which there may
    /// then be another number.
    pub(super) fn fill(
        &mut self,
        reports: &mut Vec<SlaReport>,
        outdated: &EventIds,
        has_new_limits: bool,
        clocks: &Clocks,
        aggregator: &mut Aggregator<Boxed>,
    ) {
        if has_new_limits {
            reports.clear();
            self.silences.clear();
            for position in 0..self.events.len() {
                self.first_limits[position] = reports.len();
                let event = self.events[position].id;
                aggregator.limits_of(event, |status| {
                    reports.extend(self.report(status, clocks));
                    if let Limit::Silence(_) = status.limit {
                        self.silences.insert(event);
                    }
                });
            }
            reports.shrink_to_fit();
            return;
        }
        for event in outdated.iter() {
            let Some(position) = self.positions.of(event) else { continue };
            let mut rest = reports.iter_mut().skip(self.first_limits[position]);
            aggregator.limits_of(event, |status| {
                if let (Some(report), Some(now)) = (rest.next(), self.report(status, clocks)) {
                    *report = now;
                }
            });
        }
    }

    fn report(&self, status: &SlaStatus, clocks: &Clocks) -> Option<SlaReport> {
        let position = self.positions.of(status.event)?;
        let (info, labels) = (&self.events[position], self.labels[position].clone());
        let since_unix_ns = status.since.map(|since| clocks.unix_ns(since));
        Some(SlaReport::new(info, labels, status, self.origin(status), since_unix_ns))
    }

    /// Returns where a limit was set.
    pub(super) fn origin(&self, status: &SlaStatus) -> Arc<str> {
        let of_event = self.origins.get(&status.event).into_iter().flatten();
        let mut same = of_event.filter(|(limit, _)| *limit == status.limit);
        Arc::clone(same.next().map_or(&self.declared, |(_, origin)| origin))
    }
}

/// Returns whether violations of the limit begin some time before they are raised.
fn is_delayed(limit: &Limit) -> bool {
    match limit {
        Limit::Quantile(threshold) | Limit::Errors(threshold) => !threshold.raise_after.is_zero(),
        Limit::Silence(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use tailwatch_core::{Event, Quantile, Record, SlaState, Threshold, Trading};

    use super::*;
    use crate::{clock::HostClock, drain::test_aggregator, recording::ring_settings::RingSettings};

    const ORDER: Trading = Trading::OrderPlacement;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_violation_sets_the_flag_of_its_event_and_reaches_the_queue_and_the_hooks() {
        let clock = HostClock::monotonic();
        let (pool, clocks) =
            (Arc::new(Pool::new(RingSettings::fixed(1, 8), clock).unwrap()), Clocks::start(clock));
        let mut aggregator = test_aggregator(&clocks);
        let mut watch = LimitWatch::new(Arc::clone(&pool), Trading::ALL.into());
        let limit = Threshold::value(Quantile::MAX, 1_000).over(Duration::from_secs(1));
        watch.set(ORDER.id(), &[Limit::Quantile(limit)], &mut aggregator).unwrap();
        let called = Arc::new(Mutex::new(vec![]));
        let hook = {
            let called = Arc::clone(&called);
            move |change: &SlaChange| lock(&called).push(change.raised)
        };
        let mut observers = Observers::new(vec![], vec![Box::new(hook)], Trading::ALL);

        let start = clocks.now().ticks;
        let mut pass = |now, duration| {
            aggregator.begin_pass(start + now);
            aggregator.record(0, Record::duration(start + now, ORDER.id(), 0, duration));
            let changes = watch.evaluate(start + now, &clocks, &mut aggregator, |id| {
                assert_eq!(id, ORDER.id());
            });
            let raised: Vec<_> = changes.iter().map(|change| change.raised).collect();
            watch.announce(changes, &mut observers);
            let mut reports = vec![];
            watch.fill(&mut reports, &EventIds::EMPTY, true, &clocks, &mut aggregator);
            let report = reports.iter().find(|report| report.event == "order_placement").unwrap();
            assert_eq!(pool.breaches().contains(ORDER.id()), report.state == SlaState::Violated);
            (raised, report.state)
        };
        assert_eq!(pass(1, 1_000), (vec![], SlaState::Ok));
        assert_eq!(pass(2, 1_001), (vec![true], SlaState::Violated));
        assert_eq!(pass(3, 1), (vec![], SlaState::Violated));
        // Cleared once the event has been within the limit for the length of the window.
        assert_eq!(pass(2 * SECOND, 1), (vec![], SlaState::Violated));
        assert_eq!(pass(3 * SECOND, 1), (vec![false], SlaState::Ok));
        assert_eq!(*lock(&called), [true, false]);
        let taken = lock(watch.changes()).take().changes;
        assert_eq!(taken.iter().map(|change| change.raised).collect::<Vec<_>>(), [true, false]);
        assert_eq!(taken[0].unix_ns, clocks.unix_ns(start + 2));
    }

    #[test]
    fn a_delayed_violation_breaches_at_once_and_is_reported_later() {
        let clock = HostClock::monotonic();
        let (pool, clocks) =
            (Arc::new(Pool::new(RingSettings::fixed(1, 8), clock).unwrap()), Clocks::start(clock));
        let mut aggregator = test_aggregator(&clocks);
        let mut watch = LimitWatch::new(Arc::clone(&pool), Trading::ALL.into());
        let limit = Threshold::value(Quantile::MAX, 1_000)
            .over(Duration::from_secs(1))
            .raise_after(Duration::from_secs(2))
            .clear_after(Duration::from_millis(500));
        watch.set(ORDER.id(), &[Limit::Quantile(limit)], &mut aggregator).unwrap();
        let called = Arc::new(Mutex::new(0));
        let hook = {
            let called = Arc::clone(&called);
            move |_: &SlaChange| *lock(&called) += 1
        };
        let mut observers = Observers::new(vec![], vec![Box::new(hook)], Trading::ALL);

        let start = clocks.now().ticks;
        let mut pass = |tenths: u64, duration| {
            let now = start + tenths * SECOND / 10;
            aggregator.begin_pass(now);
            aggregator.record(0, Record::duration(now, ORDER.id(), 0, duration));
            let changes = watch.evaluate(now, &clocks, &mut aggregator, |_| ());
            let raised: Vec<_> = changes.iter().map(|change| change.raised).collect();
            watch.announce(changes, &mut observers);
            let of_queue = lock(watch.changes()).take().changes.len();
            // The hooks and the queue get what the evaluation has returned, and nothing else.
            assert_eq!(
                (core::mem::take(&mut *lock(&called)), of_queue),
                (raised.len(), raised.len())
            );
            (pool.breaches().contains(ORDER.id()), raised)
        };
        let steps = [
            (1, 1_001, (true, vec![])),
            (2, 1, (true, vec![])),
            (20, 1, (true, vec![])), // the window has no slow sample any more
            (25, 1, (false, vec![])), // over without a report
            (30, 1_001, (true, vec![])),
            (36, 1_001, (true, vec![])),
            (42, 1_001, (true, vec![])),
            (49, 1_001, (true, vec![])),
            (50, 1_001, (true, vec![true])),
            (70, 1, (true, vec![])),
            (74, 1, (true, vec![])),
            (75, 1, (false, vec![false])),
        ];
        for (tenths, duration, expected) in steps {
            assert_eq!(pass(tenths, duration), expected, "at {tenths}");
        }
    }
}
