//! Builds a report from the state of the aggregator, and publishes it.

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
    /// Builds a report and publishes it.
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
                self.fill_statistics(event.id, Scope::Window(number), &mut window.statistics);
            }
            self.fill_statistics(event.id, Scope::Total, &mut event.total);
        }
        let (drift, elapsed) = self.anchor.drift_since(&self.started, self.pool.clock().rate());
        #[expect(clippy::cast_precision_loss, reason = "a drift needs only a few digits")]
        let drift_ppm =
            if elapsed.is_zero() { 0.0 } else { drift as f64 * 1e6 / nanos(elapsed) as f64 };
        let health = Health { orphans, abandoned, ..self.health() };
        let report = Report {
            // Converted by the same anchor as all other times in the report, so that they are
            // comparable.
            unix_ns: self.wall_anchor.unix_ns(self.pool.clock().rate(), self.anchor.ticks),
            uptime_ns: nanos(elapsed),
            sla: self.sla(),
            health,
            events,
            finished: self.is_last,
            ..Report::empty(0, clock_report(&self.pool, drift_ppm), Vec::new())
        };
        self.replaced = Some(self.published.swap(Arc::new(report)));
        self.published_at = Some(self.anchor.monotonic);
        self.has_unpublished = false;
    }

    /// Returns event reports to be overwritten: those of the report before the last one, or new
    /// ones if the program holds that report.
    ///
    /// The memory of the old ones is already large enough, so publishing hardly allocates unless
    /// the program holds reports.
    fn events_to_fill(&mut self) -> Vec<EventReport> {
        let replaced = self.replaced.take().and_then(Arc::into_inner);
        replaced.map_or_else(|| event_reports(&self.events, &self.windows), |report| report.events)
    }

    /// Overwrites `statistics` with the statistics of this event over this scope, or with `None` if
    /// there are no samples.
    fn fill_statistics(
        &mut self,
        event: EventId,
        scope: Scope,
        statistics: &mut Option<Statistics>,
    ) {
        let Some((summary, values)) = self.aggregator.describe(event, scope) else {
            *statistics = None;
            return;
        };
        let statistics = match statistics {
            Some(statistics) => {
                statistics.replace(summary, values);
                statistics
            }
            None => statistics.insert(Statistics::new(summary, values)),
        };
        statistics.corrected = self.aggregator.corrected(event, scope);
        let (slowest, converter) = self.aggregator.slowest(event, scope, &mut self.slowest);
        let rate = self.pool.clock().rate();
        let samples = &mut statistics.slowest;
        samples.truncate(slowest.len());
        samples.reserve_exact(slowest.len() - samples.len());
        for (index, slow) in slowest.iter().enumerate() {
            let (start_unix_ns, duration) =
                (self.wall_anchor.unix_ns(rate, slow.start()), converter.value(slow.value()));
            let (tag, thread) = (slow.tag(), self.thread_names.name(slow.source()));
            match samples.get_mut(index) {
                // Keeps the `Arc` if the thread is the same, because changing its reference count
                // takes longer than the rest of this function.
                Some(sample) if Arc::ptr_eq(&sample.thread, thread) => {
                    (sample.start_unix_ns, sample.duration, sample.tag) =
                        (start_unix_ns, duration, tag);
                }
                Some(sample) => {
                    *sample =
                        SlowSample { start_unix_ns, duration, tag, thread: Arc::clone(thread) }
                }
                None => samples.push(SlowSample {
                    start_unix_ns,
                    duration,
                    tag,
                    thread: Arc::clone(thread),
                }),
            }
        }
    }

    /// Returns the state of every limit.
    fn sla(&mut self) -> Vec<SlaReport> {
        let (events, wall_anchor, rate) =
            (&self.events, &self.wall_anchor, self.pool.clock().rate());
        let mut reports = Vec::new();
        self.aggregator.limits(|status| {
            if let Some(info) = events.iter().find(|info| info.id == status.event) {
                reports.push(SlaReport::new(
                    info,
                    status,
                    status.since.map(|since| wall_anchor.unix_ns(rate, since)),
                ));
            }
        });
        reports
    }

    /// Returns the health without the numbers of orphans and abandoned spans, which `publish` adds
    /// up.
    fn health(&mut self) -> Health {
        let counters = self.aggregator.counters();
        let name =
            |id| self.events.iter().find(|info| info.id == id).map_or("unknown", |info| info.name);
        let share_by_name = |(id, k)| (name(id).to_owned(), sampling::share(k));
        let mut health = Health {
            late: counters.late,
            clock_anomalies: counters.clock_anomalies + self.clock_leaps,
            saturated: counters.saturated.saturating_add(counters.full_counters),
            invalid: counters.invalid,
            unknown_events: counters.unknown_events,
            unregistered: self.pool.unregistered(),
            observer_panics: self.observers.panics(),
            drain_lag_ns: self.lag_ns,
            enabled: self.pool.gate().is_enabled(),
            sampling: lock(&self.sampler).thinned().map(share_by_name).collect(),
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

/// Returns reports of these events without any samples.
pub(super) fn event_reports(events: &[EventInfo], windows: &[WindowSpec]) -> Vec<EventReport> {
    events.iter().map(|info| EventReport::new(info, windows)).collect()
}

/// Returns the report on the clock of `pool`. `drift_ppm` is how much faster the clock ran than the
/// operating system's clock, in parts per million.
pub(super) fn clock_report(pool: &Pool, drift_ppm: f64) -> ClockReport {
    let clock = pool.clock();
    ClockReport {
        source: clock.source(),
        ordered: clock.mode() == ClockMode::Ordered,
        hz: clock.rate().hz(),
        drift_ppm,
    }
}
