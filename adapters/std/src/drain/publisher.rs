//! Builds reports from the state of the aggregator, and publishes them.

use core::time::Duration;
use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use tailwatch_core::{Aggregator, EventId, EventInfo, Exemplar, Scope, WindowSpec};

use super::{clocks::Clocks, readers::Readers, storage::Boxed};
use crate::report::{
    EventReport, InFlight, Report,
    statistics::{SlowSample, Statistics},
};

/// The shortest time between two reports. Computing all summaries costs as much as draining
/// thousands of records. A flush, or a violation that is raised or cleared, publishes a report
/// earlier.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// Publishes reports for queries to read.
#[derive(Debug)]
pub(super) struct Publisher {
    events: Arc<[EventInfo]>,
    windows: Vec<WindowSpec>,
    /// A buffer for the slowest samples of one event over one window or since the start.
    slowest: Vec<Exemplar>,
    /// The last report, which queries read.
    published: Arc<ArcSwap<Report>>,
    /// The report before the last one. The next report reuses its memory.
    replaced: Option<Arc<Report>>,
    /// When the last report was published.
    published_at: Option<Instant>,
    /// Whether records were drained since the last report.
    has_unpublished: bool,
}

impl Publisher {
    /// Creates a publisher with an empty report, which [`publish`](Self::publish) has to replace.
    /// An event has up to `slowest` slowest samples.
    pub(super) fn new(
        events: Arc<[EventInfo]>,
        windows: Vec<WindowSpec>,
        slowest: usize,
        clocks: &Clocks,
    ) -> Self {
        let empty = Report::empty(0, clocks.report(), event_reports(&events, &windows));
        Self {
            events,
            windows,
            slowest: vec![Exemplar::default(); slowest],
            published: Arc::new(ArcSwap::from_pointee(empty)),
            replaced: None,
            published_at: None,
            has_unpublished: false,
        }
    }

    /// Returns where reports are published.
    pub(super) fn published(&self) -> &Arc<ArcSwap<Report>> {
        &self.published
    }

    /// Returns the time from `now` until the last report is old enough to be replaced.
    pub(super) fn due_in(&self, now: Instant) -> Duration {
        self.published_at.map_or(Duration::ZERO, |last| {
            PUBLISH_EVERY.saturating_sub(now.saturating_duration_since(last))
        })
    }

    /// Notes that records were drained, so that a report is to be published soon.
    pub(super) fn note_drained(&mut self) {
        self.has_unpublished = true;
    }

    /// Returns whether records were drained since the last report.
    pub(super) fn has_unpublished(&self) -> bool {
        self.has_unpublished
    }

    /// Publishes `report` after filling in its events, and the numbers of orphans and abandoned
    /// spans.
    pub(super) fn publish(
        &mut self,
        mut report: Report,
        clocks: &Clocks,
        readers: &Readers,
        aggregator: &mut Aggregator<Boxed>,
    ) {
        let mut events = self.events_to_fill();
        for event in &mut events {
            let pairing = aggregator.pairing(event.id);
            let oldest = if pairing.open > 0 { aggregator.oldest(event.id) } else { None };
            report.health.orphans += pairing.orphans;
            report.health.abandoned += pairing.abandoned;
            event.outcomes = aggregator.outcomes(event.id);
            event.in_flight = InFlight::new(&pairing, oldest);
            let windows = event.windows.iter_mut().enumerate();
            let scopes = windows
                .map(|(number, window)| (Scope::Window(number), &mut window.statistics))
                .chain([(Scope::Total, &mut event.total)]);
            for (scope, statistics) in scopes {
                self.fill(statistics, event.id, scope, clocks, readers, aggregator);
            }
        }
        report.events = events;
        self.replaced = Some(self.published.swap(Arc::new(report)));
        self.published_at = Some(clocks.now().monotonic);
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
    fn fill(
        &mut self,
        statistics: &mut Option<Statistics>,
        event: EventId,
        scope: Scope,
        clocks: &Clocks,
        readers: &Readers,
        aggregator: &mut Aggregator<Boxed>,
    ) {
        let Some((summary, values)) = aggregator.describe(event, scope) else {
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
        statistics.corrected = aggregator.corrected(event, scope);
        let (slowest, converter) = aggregator.slowest(event, scope, &mut self.slowest);
        let samples = &mut statistics.slowest;
        samples.truncate(slowest.len());
        samples.reserve_exact(slowest.len() - samples.len());
        for (index, slow) in slowest.iter().enumerate() {
            let (start_unix_ns, duration) =
                (clocks.unix_ns(slow.start()), converter.value(slow.value()));
            let (tag, thread) = (slow.tag(), readers.thread_name(slow.source()));
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
}

/// Returns reports of these events without any samples.
fn event_reports(events: &[EventInfo], windows: &[WindowSpec]) -> Vec<EventReport> {
    events.iter().map(|info| EventReport::new(info, windows)).collect()
}

#[cfg(test)]
mod tests {
    use tailwatch_core::{Event, Limit, Record, Shape, Trading};

    use super::*;
    use crate::{
        clock::HostClock,
        drain::{Drain, Setup, sampling::Sampler, test_aggregator},
        observer::Observers,
        recording::pool::Pool,
        sync::Mutex,
    };

    #[test]
    fn a_report_is_due_after_10_ms_and_is_written_over_the_one_before_the_last() {
        let clock = HostClock::monotonic();
        let mut clocks = Clocks::start(clock);
        let pool = Arc::new(Pool::new(1, 8, clock).unwrap());
        let readers = Readers::new(pool, clocks.now().ticks, 8, Duration::from_millis(100));
        let mut aggregator = test_aggregator(&clocks);
        let mut publisher = Publisher::new(Trading::ALL.into(), vec![], 2, &clocks);
        assert!(publisher.due_in(clocks.now().monotonic).is_zero(), "there is no report yet");

        let mut memory = vec![];
        for number in 1..=4 {
            clocks.read();
            let now = clocks.now();
            aggregator.begin_pass(now.ticks);
            let event = Trading::OrderPlacement.id();
            aggregator.record(0, Record::duration(now.ticks, event, 0, number));
            publisher.note_drained();
            assert!(publisher.has_unpublished());
            let empty = Report::empty(0, clocks.report(), vec![]);
            publisher.publish(empty, &clocks, &readers, &mut aggregator);
            assert!(!publisher.has_unpublished());
            for (after, due_in) in [(0, 10), (4, 6), (10, 0), (11, 0)] {
                assert_eq!(
                    publisher.due_in(now.monotonic + Duration::from_millis(after)),
                    Duration::from_millis(due_in)
                );
            }
            let report = publisher.published().load();
            assert_eq!(report.events.len(), Trading::ALL.len());
            let total = report.event(Trading::OrderPlacement).unwrap().total.as_ref().unwrap();
            assert_eq!((total.summary.count, total.summary.max), (number, number));
            let threads: Vec<_> = total.slowest.iter().map(|slow| &*slow.thread).collect();
            assert_eq!(threads, ["unknown"; 2][..threads.len()]);
            memory.push(report.events.as_ptr());
            let replaced = publisher.replaced.as_ref().unwrap().events.as_ptr();
            assert!(number == 1 || replaced == memory[memory.len() - 2]);
        }
        assert_eq!((memory[0], memory[1]), (memory[2], memory[3]));
    }

    #[test]
    fn the_start_publishes_one_report_with_all_limits() {
        let windows = [WindowSpec::SECOND];
        let limit = Limit::Silence(Duration::from_secs(1));
        let setup = Setup {
            shape: Shape { limits: 8, ..Shape::server(Trading::ALL, &windows) },
            windows: windows.to_vec(),
            events: Trading::ALL.iter().map(|info| EventInfo { limits: &[], ..*info }).collect(),
            limits: vec![(Trading::OrderFill.id(), limit), (Trading::GcPause.id(), limit)],
            observers: Observers::new(vec![], vec![], Trading::ALL),
            sampler: Arc::new(Mutex::new(Sampler::new(Trading::ALL.iter().map(|info| info.id)))),
            max_period: Duration::from_millis(100),
        };
        let pool = Arc::new(Pool::new(1, 8, HostClock::monotonic()).unwrap());
        let drain = Drain::new(pool, setup).unwrap();
        assert_eq!(drain.published().load().sla.len(), 2);
        // The report that `publish` replaced is that of `Publisher::new`.
        assert_eq!(drain.publisher.replaced.unwrap().unix_ns, 0);
    }
}
