//! From what the aggregator knows to a report.

use std::sync::Arc;

use tailwatch_core::{Clock, EventId, EventInfo, Scope, WindowSpec};

use super::{Drain, Reader};
use crate::{
    ClockMode, Health, Report, SlaReport, SlowSample, Statistics,
    clock::nanos,
    pool::Pool,
    report::{ClockReport, EventReport, InFlight},
    sampling,
    sync::lock,
};

impl Drain {
    pub(super) fn publish(&mut self) {
        let mut events = self.events_to_fill();
        let (mut orphans, mut abandoned) = (0, 0);
        for event in &mut events {
            let pairing = self.aggregator.pairing(event.id);
            let oldest = if pairing.open > 0 { self.aggregator.oldest(event.id) } else { None };
            orphans += pairing.orphans;
            abandoned += pairing.abandoned;
            event.outcomes = self.aggregator.outcomes(event.id);
            event.in_flight = InFlight::new(&pairing, oldest);
            for (number, window) in event.windows.iter_mut().enumerate() {
                self.tell(event.id, Scope::Window(number), &mut window.statistics);
            }
            self.tell(event.id, Scope::Total, &mut event.total);
        }
        let (drift, elapsed) = self.anchor.drift_since(&self.started, self.pool.clock().rate());
        #[expect(clippy::cast_precision_loss, reason = "a drift is told to a few digits")]
        let drift_ppm =
            if elapsed.is_zero() { 0.0 } else { drift as f64 * 1e6 / nanos(elapsed) as f64 };
        let health = Health { orphans, abandoned, ..self.health() };
        let report = Report {
            // By the anchor that everything in it is told by.
            unix_ns: self.wall.unix_ns(self.pool.clock().rate(), self.anchor.ticks),
            uptime_ns: nanos(elapsed),
            sla: self.sla(),
            health,
            events,
            finished: self.is_last,
            ..Report::empty(0, clock_report(&self.pool, drift_ppm), Vec::new())
        };
        self.replaced = Some(self.published.swap(Arc::new(report)));
        self.published_at = Some(self.anchor.monotonic);
        self.unpublished = false;
    }

    /// Those of the report before the last, if nobody holds it any more: what they lie in is large enough already, so that a drain
    /// whose reports are not kept allocates next to nothing for them.
    fn events_to_fill(&mut self) -> Vec<EventReport> {
        let replaced = self.replaced.take().and_then(Arc::into_inner);
        replaced.map_or_else(|| event_reports(&self.events, &self.windows), |report| report.events)
    }

    /// Tells what is known of a period in the place of what was.
    fn tell(&mut self, event: EventId, period: Scope, told: &mut Option<Statistics>) {
        let Some((summary, values)) = self.aggregator.describe(event, period) else {
            *told = None;
            return;
        };
        let statistics = match told {
            Some(told) => {
                told.renew(summary, values);
                told
            }
            None => told.insert(Statistics::new(summary, values)),
        };
        statistics.corrected = self.aggregator.corrected(event, period);
        let (slowest, converter) = self.aggregator.slowest(event, period, &mut self.slowest);
        let rate = self.pool.clock().rate();
        let told = &mut statistics.slowest;
        told.truncate(slowest.len());
        told.reserve_exact(slowest.len() - told.len());
        for (place, slow) in slowest.iter().enumerate() {
            let (start_unix_ns, duration) =
                (self.wall.unix_ns(rate, slow.start()), converter.value(slow.value()));
            let (tag, thread) = (slow.tag(), self.threads.name(slow.source()));
            match told.get_mut(place) {
                // To count a name's owners, up for this and down for that, takes longer than all the rest.
                Some(told) if Arc::ptr_eq(&told.thread, thread) => {
                    (told.start_unix_ns, told.duration, told.tag) = (start_unix_ns, duration, tag);
                }
                Some(told) => {
                    *told = SlowSample { start_unix_ns, duration, tag, thread: Arc::clone(thread) }
                }
                None => told.push(SlowSample {
                    start_unix_ns,
                    duration,
                    tag,
                    thread: Arc::clone(thread),
                }),
            }
        }
    }

    fn sla(&mut self) -> Vec<SlaReport> {
        let (events, wall, rate) = (&self.events, &self.wall, self.pool.clock().rate());
        let mut reports = Vec::new();
        self.aggregator.limits(|status| {
            if let Some(info) = events.iter().find(|info| info.id == status.event) {
                reports.push(SlaReport::new(
                    info,
                    status,
                    status.since.map(|since| wall.unix_ns(rate, since)),
                ));
            }
        });
        reports
    }

    fn health(&mut self) -> Health {
        let counters = self.aggregator.counters();
        let name =
            |id| self.events.iter().find(|info| info.id == id).map_or("unknown", |info| info.name);
        let thinned = |(id, k)| (name(id).to_owned(), sampling::share(k));
        let mut health = Health {
            late: counters.late,
            clock_anomalies: counters.clock_anomalies + self.leaps,
            saturated: counters.saturated.saturating_add(counters.full_counters),
            invalid: counters.invalid,
            unknown_events: counters.unknown_events,
            unregistered: self.pool.unregistered(),
            observer_panics: self.observers.panics(),
            drain_lag_ns: self.lag_ns,
            enabled: self.pool.gate().is_enabled(),
            sampling: lock(&self.sampler).thinned().map(thinned).collect(),
            overhead_ratio: self.overhead.ratio(),
            memory_bytes: (self.pool.bytes() + self.storage_bytes) as u64,
            ..Health::default()
        };
        for Reader { consumer, .. } in &self.readers {
            health.produced += consumer.produced();
            health.delivered += consumer.total().delivered;
            health.overwritten += consumer.total().overwritten;
            health.pending += consumer.pending() as u64;
        }
        health
    }
}

/// Reports of these events in which nothing has happened yet.
pub(super) fn event_reports(events: &[EventInfo], windows: &[WindowSpec]) -> Vec<EventReport> {
    events.iter().map(|info| EventReport::new(info, windows)).collect()
}

pub(super) fn clock_report(pool: &Pool, drift_ppm: f64) -> ClockReport {
    let clock = pool.clock();
    ClockReport {
        source: clock.source(),
        ordered: clock.mode() == ClockMode::Ordered,
        hz: clock.rate().hz(),
        drift_ppm,
    }
}
