//! The laws that every report must obey, and those that hold at the end of a round, when no thread
//! records.

use tailwatch::{Collector, Report};

use crate::{fail, memory, witness::Seen};

/// The bytes that the heap may hold beyond those that the collector reports, for reports and the
/// observers' data.
const HEAP_ROOM: usize = 1 << 20;
/// The bytes by which the heap may grow between two moments without a collector.
const BARE_HEAP_ROOM: usize = 32 << 10;
/// The bytes by which the resident memory of the process may grow.
const RESIDENT_ROOM: usize = 16 << 20;

/// Ends the program if a law does not hold; `found` are the numbers that the law compares.
fn check(holds: bool, law: &str, found: impl core::fmt::Debug) {
    if !holds {
        fail(&format!("this does not hold: {law}; found {found:?}"));
    }
}

/// Checks that every record since the start of the collector is accounted for. `pushed` is counted
/// by the recording threads, `seen` by an observer.
pub(crate) fn check_laws(collector: &Collector, pushed: u64, seen: &Seen) {
    let report = collector.report();
    let health = &report.health;
    let counts = (pushed, seen.delivered, health);
    check(health.pending == 0, "no record is left in the rings", counts);
    check(
        pushed == seen.delivered + health.overwritten + health.unregistered,
        "the loss law: each record pushed is delivered, overwritten or unregistered",
        counts,
    );
    check(
        health.delivered == seen.delivered,
        "the collector delivers what its observer receives",
        counts,
    );
    check(
        health.produced == health.delivered + health.overwritten,
        "the law of the rings: each record produced is delivered, overwritten or pending",
        counts,
    );
    check(health.invalid == 0 && health.unknown_events == 0, "every record is valid", counts);
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
    check(
        began == closed,
        "STARTs and orphans equal ENDs, FORGETs, spans in flight and abandoned spans",
        (seen, in_flight, health),
    );
    let lossless = health.overwritten == 0 && health.unregistered == 0;
    check(
        !lossless || (in_flight, health.orphans) == (0, 0),
        "nothing is in flight or an orphan if no record was lost",
        (in_flight, health),
    );

    let outcomes = report.events.iter().map(|event| event.outcomes);
    let ends: u64 =
        outcomes.map(|outcomes| outcomes.ok + outcomes.error + outcomes.cancelled).sum();
    check(ends == seen.ends, "each END has an outcome", (ends, seen));
    // The statistics of an event cover no failed spans, which have statistics of their own.
    let totals = report.events.iter().filter_map(|event| event.total.as_ref());
    let failed = report.events.iter().filter_map(|event| event.failed.as_deref());
    let samples: u64 = totals.chain(failed).map(|total| total.summary.count).sum();
    check(samples == seen.samples, "each sample is counted once", (samples, seen));
}

/// Checks that a report does not contradict itself or the report before it.
pub(crate) fn check_report(before: Option<&Report>, report: &Report) {
    let health = &report.health;
    check(
        health.produced == health.delivered + health.overwritten + health.pending,
        "the law of the rings: each record produced is delivered, overwritten or pending",
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
            check(
                quantiles.is_sorted(),
                "quantiles are in ascending order",
                (&event.name, summary),
            );
            check(
                summary.count > 0 && summary.estimated_total >= summary.count,
                "a summary has samples, which stand for at least as many events",
                summary,
            );
        }
        let most = windows.map(|summary| summary.count).max().unwrap_or(0);
        let count = total.map_or(0, |total| total.count);
        check(
            count >= most,
            "a window has no more samples than the total",
            (&event.name, count, most),
        );
        let earlier = before
            .and_then(|before| before.event(event.id)?.total.as_ref())
            .map_or(0, |it| it.summary.count);
        check(count >= earlier, "totals never shrink", (&event.name, earlier, count));
    }
    let earlier = before.map_or(0, |before| before.health.produced);
    check(health.produced >= earlier, "totals never shrink", (earlier, health));
}

/// The memory that the process holds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) heap: usize,
    pub(crate) resident: Option<usize>,
}

impl Memory {
    pub(crate) fn now() -> Self {
        Self { heap: memory::heap(), resident: memory::resident() }
    }

    /// Checks that memory has not grown since `before`, when there was no collector. A collector
    /// that has reserved `collector` bytes is allowed for; 0 means that there is none.
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
