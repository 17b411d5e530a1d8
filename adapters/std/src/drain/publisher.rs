//! Builds reports from the state of the aggregator, and publishes them.
//!
//! Of the report that it writes over, the publisher computes only those parts anew that are
//! outdated: see [`Changes`].

use core::time::Duration;
use std::{sync::Arc, time::Instant};

use tailwatch_core::{Aggregator, EventId, EventInfo, Exemplar, Outcome, Scope, WindowSpec};

use super::{
    changes::{Changes, REFRESH_EVERY},
    clocks::Clocks,
    limit_watch::LimitWatch,
    positions::Positions,
    storage::Boxed,
    thread_names::ThreadNames,
};
use crate::{
    recording::{identity::Identity, pool::Pool},
    report::{
        EventReport, InFlight, Report, memory,
        published::Published,
        sla::SlaReport,
        statistics::{SlowSample, Statistics},
    },
    tag_names::TagNames,
};

/// The parts of a report that are computed only when they are outdated.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) events: Vec<EventReport>,
    pub(super) sla: Vec<SlaReport>,
    /// When the times were computed: how long summaries cover and the ages of open spans and
    /// silences.
    pub(super) times_at: Instant,
}

/// Publishes reports for queries to read.
#[derive(Debug)]
pub(super) struct Publisher {
    events: Arc<[EventInfo]>,
    positions: Positions,
    windows: Vec<WindowSpec>,
    /// What changed since the last report.
    pub(super) changes: Changes,
    /// A buffer for the slowest samples of one event over one window or since the start.
    slowest: Vec<Exemplar>,
    /// The texts to show beside tags.
    tag_names: Option<TagNames>,
    /// The numbers of orphans and of abandoned spans of each event.
    unpaired: Vec<[u64; 2]>,
    /// The sums of `unpaired` over all events.
    all_unpaired: [u64; 2],
    /// The last report, which queries read.
    published: Arc<Published>,
    /// The report before the last one. The next report reuses its memory.
    replaced: Option<Arc<Report>>,
    /// When the last report was published.
    published_at: Option<Instant>,
    /// When the times in the last report and in the one before were computed.
    times_at: [Instant; 2],
    /// The sizes of the last report and of the one before.
    sizes: [Size; 2],
}

/// The size of a report in bytes.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// What the statistics have on the heap.
    data: usize,
    /// The rest.
    other: usize,
}

impl Publisher {
    /// Creates a publisher with an empty report, which [`publish`](Self::publish) has to replace.
    /// An event has up to `slowest` slowest samples.
    pub(super) fn new(
        pool: Arc<Pool>,
        events: Arc<[EventInfo]>,
        windows: Vec<WindowSpec>,
        slowest: usize,
        clocks: &Clocks,
        tag_names: Option<TagNames>,
    ) -> Self {
        let reports = event_reports(&events, &windows);
        let size = Size { data: 0, other: memory::bytes_without_data(&reports, &Vec::new()) };
        let empty = Report::empty(0, clocks.report(), reports);
        Self {
            positions: Positions::new(events.iter().map(|info| info.id)),
            changes: Changes::new(windows.len(), clocks),
            unpaired: vec![[0; 2]; events.len()],
            all_unpaired: [0; 2],
            events,
            windows,
            slowest: vec![Exemplar::default(); slowest],
            tag_names,
            published: Arc::new(Published::new(pool, empty)),
            replaced: None,
            published_at: None,
            times_at: [clocks.now().monotonic; 2],
            sizes: [size; 2],
        }
    }

    /// Adds the last of `events`, of which nothing was recorded.
    pub(super) fn add_event(&mut self, events: Arc<[EventInfo]>) {
        if let Some((added, known)) = events.split_last() {
            self.positions.add(added.id, known.len());
            self.unpaired.push([0; 2]);
        }
        self.events = events;
    }

    /// Returns where reports are published.
    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Notes whether a report was read since the last call.
    pub(super) fn note_reads(&mut self, now: Instant) {
        if self.published.take_read() {
            self.changes.note_read(now);
        }
    }

    /// Returns the time from `now` until another report may be due: because something changed since
    /// the last one, or because its times become too old. It is at most [`REFRESH_EVERY`], so that
    /// the drain notices within this time that somebody reads again.
    pub(super) fn due_in(&self, now: Instant) -> Duration {
        let Some(last) = self.published_at else { return Duration::ZERO };
        let times_are_old = self.changes.times_are_old_at(self.times_at[0]);
        let due = self.changes.due_at(last).map_or(times_are_old, |due| due.min(times_are_old));
        due.saturating_duration_since(now).min(REFRESH_EVERY)
    }

    /// Returns the numbers of orphans and of abandoned spans of all events, as of the last call of
    /// [`fill`](Self::fill).
    pub(super) fn unpaired(&self) -> [u64; 2] {
        self.all_unpaired
    }

    /// Returns the size in bytes of the report whose contents [`fill`](Self::fill) returned last,
    /// and of the one before.
    pub(super) fn report_bytes(&self) -> usize {
        self.sizes.iter().map(|size| size.data + size.other).sum()
    }

    /// Returns the contents of the next report: those of the report before the last one, in which
    /// the outdated parts are computed anew. With `is_complete`, also renews all times; otherwise
    /// only if they would soon be too old.
    pub(super) fn fill(
        &mut self,
        is_complete: bool,
        clocks: &Clocks,
        threads: &ThreadNames,
        aggregator: &mut Aggregator<Boxed>,
        limits: &mut LimitWatch,
    ) -> Contents {
        let now = clocks.now().monotonic;
        let reused = self.replaced.take().and_then(Arc::into_inner);
        let is_new = reused.is_none();
        // The memory of the old ones is already large enough, so publishing hardly allocates unless
        // the program holds reports.
        let (mut events, mut sla) = reused.map_or_else(
            || (event_reports(&self.events, &self.windows), Vec::new()),
            |report| (report.events, report.sla),
        );
        let added = &self.events[events.len()..];
        if events.len() + added.len() > events.capacity() {
            // Not twice as many, because there is a bound.
            let room = aggregator.shape().events.saturating_sub(events.len());
            events.reserve_exact(added.len().max(events.len() / 4).min(room));
        }
        events.extend(event_reports(added, &self.windows));
        let renews_times =
            is_complete || is_new || self.changes.must_renew_times(self.times_at[1], now);

        let Self { positions, changes, slowest, tag_names, unpaired, all_unpaired, .. } = self;
        changes.begin_report(self.published_at, now, is_complete);
        if is_new {
            changes.outdate_all();
        }
        let (outdated, contained) = changes.outdated();
        let data_bytes = if is_new { 0 } else { self.sizes[1].data };
        let tag_names = tag_names.as_ref();
        let parts = &mut Parts { clocks, threads, aggregator, slowest, tag_names, data_bytes };
        let mut of_limits = outdated.limits.clone();
        of_limits.insert_all(&outdated.events);
        for id in outdated.events.iter() {
            let Some(position) = positions.of(id) else { continue };
            let event = &mut events[position];
            let pairing = parts.aggregator.pairing(id);
            let counts = [pairing.orphans, pairing.abandoned];
            let before = core::mem::replace(&mut unpaired[position], counts);
            for ((sum, count), before) in all_unpaired.iter_mut().zip(counts).zip(before) {
                *sum = sum.wrapping_add(count).wrapping_sub(before);
            }
            event.outcomes = parts.aggregator.outcomes(id);
            event.in_flight = parts.in_flight(id);
            contained.with_open.set(id, pairing.open > 0);
            for (number, with_samples) in contained.with_samples.iter_mut().enumerate() {
                with_samples.set(id, parts.fill(event, number));
            }
        }
        for (number, window) in outdated.windows.iter().enumerate() {
            of_limits.insert_all(window);
            for id in window.iter().filter(|id| !outdated.events.contains(*id)) {
                let Some(position) = positions.of(id) else { continue };
                let has_samples = parts.fill(&mut events[position], number);
                contained.with_samples[number].set(id, has_samples);
            }
        }
        if renews_times {
            for (number, with_samples) in contained.with_samples.iter().enumerate() {
                let mut covered = None;
                for position in with_samples.iter().filter_map(|id| positions.of(id)) {
                    let (scope, statistics, failed) = scope_of(&mut events[position], number);
                    let covered = *covered.get_or_insert_with(|| parts.aggregator.covered(scope));
                    for Statistics { summary, corrected, .. } in
                        statistics.iter_mut().chain(failed.as_deref_mut())
                    {
                        summary.covered = covered;
                        if let Some(corrected) = corrected {
                            corrected.covered = covered;
                        }
                    }
                }
            }
            for id in contained.with_open.iter() {
                let Some(position) = positions.of(id) else { continue };
                events[position].in_flight = parts.in_flight(id);
            }
            of_limits.insert_all(&contained.with_open);
            of_limits.insert_all(limits.silences());
        }
        let has_new_limits = outdated.has_new_limits;
        limits.fill(&mut sla, &of_limits, has_new_limits, clocks, parts.aggregator);
        changes.end_report();
        let other = memory::bytes_without_data(&events, &sla);
        self.sizes = [Size { data: parts.data_bytes, other }, self.sizes[0]];
        Contents { events, sla, times_at: if renews_times { now } else { self.times_at[1] } }
    }

    /// Publishes a report whose contents [`fill`](Self::fill) returned, the times of which were
    /// computed at `times_at`.
    pub(super) fn publish(&mut self, report: Report, times_at: Instant, now: Instant) {
        self.replaced = Some(self.published.replace(report));
        self.published_at = Some(now);
        self.times_at = [times_at, self.times_at[0]];
    }
}

/// What is needed to compute the parts of a report.
struct Parts<'a> {
    clocks: &'a Clocks,
    threads: &'a ThreadNames,
    aggregator: &'a mut Aggregator<Boxed>,
    /// A buffer for the slowest samples.
    slowest: &'a mut [Exemplar],
    tag_names: Option<&'a TagNames>,
    /// What the statistics of the report have on the heap, in bytes.
    data_bytes: usize,
}

impl Parts<'_> {
    /// Returns the report of the open spans of this event.
    fn in_flight(&mut self, event: EventId) -> InFlight {
        let pairing = self.aggregator.pairing(event);
        let oldest = if pairing.open > 0 { self.aggregator.oldest(event) } else { None };
        InFlight::new(&pairing, oldest)
    }

    /// Overwrites the statistics of an event over the scope with this [number](scope_of), or
    /// removes them if there are no samples. Returns whether there are samples or failed spans.
    fn fill(&mut self, event: &mut EventReport, number: usize) -> bool {
        let id = event.id;
        let (scope, statistics, failed) = scope_of(event, number);
        self.data_bytes -= heap_bytes(statistics.as_ref(), failed.as_deref());
        match self.aggregator.describe(id, scope) {
            None => *statistics = None,
            Some((summary, values)) => {
                let statistics = match statistics {
                    Some(statistics) => {
                        statistics.replace(summary, values);
                        statistics
                    }
                    None => statistics.insert(Statistics::new(summary, values)),
                };
                statistics.corrected = self.aggregator.corrected(id, scope);
                self.fill_slowest(statistics, id, scope, |_| true);
            }
        }
        match self.aggregator.describe_failed(id, scope) {
            None => *failed = None,
            Some((summary, values)) => {
                let failed = match failed {
                    Some(failed) => {
                        failed.replace(summary, values);
                        failed
                    }
                    None => failed.insert(Box::new(Statistics::new(summary, values))),
                };
                self.fill_slowest(failed, id, scope, |slow| {
                    slow.outcome().is_some_and(|outcome| outcome != Outcome::Ok)
                });
            }
        }
        self.data_bytes += heap_bytes(statistics.as_ref(), failed.as_deref());
        statistics.is_some() || failed.is_some()
    }

    /// Overwrites the slowest samples of `statistics` with those of this event over this scope that
    /// are `wanted`.
    fn fill_slowest(
        &mut self,
        statistics: &mut Statistics,
        event: EventId,
        scope: Scope,
        wanted: impl Fn(&Exemplar) -> bool,
    ) {
        let Self { clocks, threads, aggregator, slowest, tag_names, .. } = self;
        let (found, converter) = aggregator.slowest(event, scope, slowest);
        let slowest = || found.iter().filter(|slow| wanted(slow));
        let samples = &mut statistics.slowest;
        let known = tag_names.map_or_else(Vec::new, |_| names_of(samples));
        let len = slowest().count();
        samples.truncate(len);
        samples.reserve_exact(len - samples.len());
        for (index, slow) in slowest().enumerate() {
            let (start_unix_ns, duration) =
                (clocks.unix_ns(slow.start()), converter.value(slow.value()));
            let outcome = slow.outcome();
            let (tag, Identity { name, tid }) = (slow.tag(), threads.identity(slow.source()));
            let tag_name = tag_names.and_then(|names| {
                let tag = tag.filter(|tag| *tag != 0)?;
                let is_same = |(of, long, _): &&(_, _, _)| (*of, *long) == (tag, duration);
                let found = known.iter().find(is_same).map(|(_, _, name)| Arc::clone(name));
                found.or_else(|| Some(names.find(tag)?.to_string().into()))
            });
            match samples.get_mut(index) {
                // Keeps the `Arc` if the thread is the same, because changing its reference count
                // takes longer than the rest of this function.
                Some(sample) if Arc::ptr_eq(&sample.thread, name) => {
                    (sample.start_unix_ns, sample.duration, sample.tag, sample.tid) =
                        (start_unix_ns, duration, tag, *tid);
                    (sample.outcome, sample.tag_name) = (outcome, tag_name);
                }
                sample => {
                    let thread = Arc::clone(name);
                    let tid = *tid;
                    let slow =
                        SlowSample { start_unix_ns, duration, outcome, tag, tag_name, thread, tid };
                    match sample {
                        Some(sample) => *sample = slow,
                        None => samples.push(slow),
                    }
                }
            }
        }
    }
}

/// Returns the texts of the tags of these samples, each with the tag and the duration of its
/// sample.
fn names_of(samples: &[SlowSample]) -> Vec<(u64, u64, Arc<str>)> {
    let name = |slow: &SlowSample| Some((slow.tag?, slow.duration, slow.tag_name.clone()?));
    samples.iter().filter_map(name).collect()
}

/// Returns the scope with this number, and the statistics over it, of samples and of failed spans:
/// the windows come first, then the total.
fn scope_of(
    event: &mut EventReport,
    number: usize,
) -> (Scope, &mut Option<Statistics>, &mut Option<Box<Statistics>>) {
    match event.windows.get_mut(number) {
        Some(window) => (Scope::Window(number), &mut window.statistics, &mut window.failed),
        None => (Scope::Total, &mut event.total, &mut event.failed),
    }
}

/// Returns how many bytes the statistics over a scope have on the heap.
fn heap_bytes(statistics: Option<&Statistics>, failed: Option<&Statistics>) -> usize {
    let of_failed = failed.map_or(0, |failed| size_of::<Statistics>() + failed.heap_bytes());
    statistics.map_or(0, Statistics::heap_bytes) + of_failed
}

/// Returns reports of these events without any samples.
fn event_reports(events: &[EventInfo], windows: &[WindowSpec]) -> Vec<EventReport> {
    events.iter().map(|info| EventReport::new(info, windows)).collect()
}

#[cfg(test)]
mod incremental;
#[cfg(test)]
mod tests;
