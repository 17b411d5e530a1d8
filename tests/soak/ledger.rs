//! The laws, looked at while nobody records.

use tailwatch::{Collector, Report};

use crate::{fail, memory, witness::Seen};

/// What the heap may hold beyond what the collector tells: reports, what is observed. And without a collector.
const HEAP_ROOM: usize = 1 << 20;
const BARE_HEAP_ROOM: usize = 32 << 10;
/// By how much the process may grow.
const RESIDENT_ROOM: usize = 16 << 20;

fn check(is_so: bool, what: &str, found: impl core::fmt::Debug) {
    if !is_so {
        fail(&format!("{what}: {found:?}"));
    }
}

/// Everything that was recorded is accounted for. `pushed` were counted by who recorded, `seen` by an observer, since the
/// collector began.
pub(crate) fn check_laws(collector: &Collector, pushed: u64, seen: &Seen) {
    let report = collector.report();
    let health = &report.health;
    let told = (pushed, seen.delivered, health);
    check(health.pending == 0, "nothing is left in the rings", told);
    check(
        pushed == seen.delivered + health.overwritten + health.unregistered,
        "the loss law",
        told,
    );
    check(health.delivered == seen.delivered, "the collector counts as its observer", told);
    check(health.produced == health.delivered + health.overwritten, "the law of the rings", told);
    check(health.invalid == 0 && health.unknown_events == 0, "every record makes sense", told);
    check(
        health.observer_panics == seen.panics,
        "each panic of an observer is counted",
        (seen.panics, health),
    );

    let in_flight = report
        .events
        .iter()
        .map(|event| event.in_flight.open + event.in_flight.untracked)
        .sum::<u64>();
    let began = seen.starts + health.orphans;
    let closed = seen.ends + seen.forgets + in_flight + health.abandoned;
    check(began == closed, "STARTs and ENDs", (seen, in_flight, health));
    let lossless = health.overwritten == 0 && health.unregistered == 0;
    check(
        !lossless || (in_flight, health.orphans) == (0, 0),
        "nothing is in flight",
        (in_flight, health),
    );

    let outcomes = report.events.iter().map(|event| event.outcomes);
    let ends: u64 =
        outcomes.map(|outcomes| outcomes.ok + outcomes.error + outcomes.cancelled).sum();
    check(ends == seen.ends, "each END has an outcome", (ends, seen));
    let totals = report.events.iter().filter_map(|event| event.total.as_ref());
    let samples: u64 = totals.map(|total| total.summary.count).sum();
    check(samples == seen.samples, "each sample is counted once", (samples, seen));
}

/// A report agrees with itself, and with the one before it.
pub(crate) fn check_report(before: Option<&Report>, report: &Report) {
    let health = &report.health;
    check(
        health.produced == health.delivered + health.overwritten + health.pending,
        "the law of the rings",
        health,
    );
    for event in &report.events {
        let total = event.total.as_ref().map(|total| &total.summary);
        let windows = event
            .windows
            .iter()
            .filter_map(|window| window.statistics.as_ref())
            .map(|it| &it.summary);
        for summary in windows.clone().chain(total) {
            let quantiles =
                [summary.min, summary.p50, summary.p95, summary.p99, summary.p99_9, summary.max];
            check(quantiles.is_sorted(), "quantiles ascend", (event.name, summary));
            check(
                summary.count > 0 && summary.estimated_total >= summary.count,
                "what is told happened",
                summary,
            );
        }
        let most = windows.map(|summary| summary.count).max().unwrap_or(0);
        let count = total.map_or(0, |total| total.count);
        check(count >= most, "a window has no more than the total", (event.name, count, most));
        let earlier = before
            .and_then(|before| before.event(event.id)?.total.as_ref())
            .map_or(0, |it| it.summary.count);
        check(count >= earlier, "totals never shrink", (event.name, earlier, count));
    }
    let earlier = before.map_or(0, |before| before.health.produced);
    check(health.produced >= earlier, "totals never shrink", (earlier, health));
}

/// What the process holds when there is no collector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) heap: usize,
    pub(crate) resident: Option<usize>,
}

impl Memory {
    pub(crate) fn now() -> Self {
        Self { heap: memory::heap(), resident: memory::resident() }
    }

    /// It is what it was, with a collector that takes so much.
    pub(crate) fn check(&self, before: &Self, collector: usize) {
        let kib = (before.heap >> 10, self.heap >> 10, collector >> 10);
        let room = if collector == 0 { BARE_HEAP_ROOM } else { collector + HEAP_ROOM };
        check(self.heap <= before.heap + room, "the heap does not grow (KiB)", kib);
        if let (Some(before), Some(now)) = (before.resident, self.resident) {
            check(
                now <= before + RESIDENT_ROOM,
                "the process does not grow (KiB)",
                (before >> 10, now >> 10),
            );
        }
    }
}
