//! From what the aggregator knows to a report.

use std::sync::Arc;

use tailwatch_core::{Clock, EventId, Period};

use super::{Drain, Reader};
use crate::{
    ClockMode, Health, Report, SlaReport, Slowest, Statistics,
    clock::nanos,
    locks::lock,
    pool::Pool,
    report::{ClockReport, EventReport, InFlight, WindowReport},
    sampling,
};

impl Drain {
    pub(super) fn publish(&mut self) {
        let (mut reports, mut orphans, mut abandoned) = (Vec::with_capacity(self.events.len()), 0, 0);
        for number in 0..self.events.len() {
            let info = self.events[number];
            let pairing = self.aggregator.pairing(info.id);
            let oldest = if pairing.open > 0 { self.aggregator.oldest(info.id) } else { None };
            orphans += pairing.orphans;
            abandoned += pairing.abandoned;
            reports.push(EventReport {
                total: self.statistics(info.id, Period::Total),
                outcomes: self.aggregator.outcomes(info.id),
                in_flight: InFlight::new(&pairing, oldest),
                windows: (0..self.windows.len())
                    .map(|number| WindowReport {
                        length: self.windows[number].length,
                        statistics: self.statistics(info.id, Period::Window(number)),
                    })
                    .collect(),
                ..EventReport::new(&info)
            });
        }
        let (drift, elapsed) = self.anchor.drift_since(&self.started, self.pool.clock().rate());
        #[expect(clippy::cast_precision_loss, reason = "a drift is told to a few digits")]
        let drift_ppm = if elapsed.is_zero() { 0.0 } else { drift as f64 * 1e6 / nanos(elapsed) as f64 };
        let health = Health { orphans, abandoned, ..self.health() };
        let report = Report {
            // By the anchor that everything in it is told by.
            unix_ns: self.wall.unix_ns(self.pool.clock().rate(), self.anchor.ticks),
            uptime_ns: nanos(elapsed),
            sla: self.sla(),
            health,
            events: reports,
            finished: self.is_last,
            ..Report::empty(0, clock_report(&self.pool, drift_ppm), &[])
        };
        self.published.store(Arc::new(report));
        self.published_at = Some(self.anchor.monotonic);
        self.unpublished = false;
    }

    fn statistics(&mut self, event: EventId, period: Period) -> Option<Statistics> {
        let (summary, values) = self.aggregator.describe(event, period)?;
        let mut statistics = Statistics::new(summary, values);
        statistics.corrected = self.aggregator.corrected(event, period);
        let (slowest, teller) = self.aggregator.slowest(event, period, &mut self.slowest);
        let rate = self.pool.clock().rate();
        let told = slowest.iter().map(|slow| Slowest {
            start_unix_ns: self.wall.unix_ns(rate, slow.start()),
            duration: teller.value(slow.value()),
            tag: slow.tag(),
            thread: Arc::clone(self.threads.name(slow.source())),
        });
        statistics.slowest = told.collect();
        Some(statistics)
    }

    fn sla(&mut self) -> Vec<SlaReport> {
        let (events, wall, rate) = (&self.events, &self.wall, self.pool.clock().rate());
        let mut reports = Vec::new();
        self.aggregator.limits(|status| {
            if let Some(info) = events.iter().find(|info| info.id == status.event) {
                reports.push(SlaReport::new(info, status, status.since.map(|since| wall.unix_ns(rate, since))));
            }
        });
        reports
    }

    fn health(&mut self) -> Health {
        let counters = self.aggregator.counters();
        let name = |id| self.events.iter().find(|info| info.id == id).map_or("unknown", |info| info.name);
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

pub(super) fn clock_report(pool: &Pool, drift_ppm: f64) -> ClockReport {
    let clock = pool.clock();
    ClockReport {
        source: clock.source(),
        ordered: clock.mode() == ClockMode::Ordered,
        hz: clock.rate().hz(),
        drift_ppm,
    }
}
