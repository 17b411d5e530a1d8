//! Compares reports that are computed in part with reports that are computed anew, after random
//! steps.

use core::time::Duration;
use std::sync::Arc;

use proptest::prelude::*;
use tailwatch_core::{
    Aggregator, Event, EventId, Limit, Outcome, Quantile, Record, Shape, Threshold, WindowSpec,
    events,
};

use super::super::changes::UNREAD_PAUSE;
use super::{Changes, Clocks, Contents, LimitWatch, Publisher, REFRESH_EVERY};
use crate::{
    clock::{Anchor, HostClock, nanos},
    drain::{
        coverage::Coverage,
        overhead::Overhead,
        readers::Readers,
        sampling::{Sampler, Sampling},
        storage::Boxed,
    },
    recording::{pool::Pool, ring_settings::RingSettings},
    report::{Report, memory, sla::SlaReport, statistics::Statistics},
    sync::{Mutex, lock},
};

events! {
    /// Events of every kind.
    enum Random {
        Limited = 3 {
            limits: &[
                Threshold::duration(Quantile::P95, Duration::from_micros(400)),
                Threshold::duration(Quantile::P50, Duration::from_millis(300))
                    .over(Duration::from_millis(700)),
            ],
        },
        Watched = 70 { max_silence: Some(Duration::from_millis(40)) },
        Corrected = 2_047 { expected_interval: Some(Duration::from_micros(50)) },
        Number = 1 { unit: tailwatch_core::Unit::One },
        Plain = 500,
    }
}

const WINDOWS: [WindowSpec; 2] =
    [WindowSpec::new(Duration::from_millis(200), 4), WindowSpec::SECOND];

/// What happens before a pass.
#[derive(Clone, Debug)]
enum Step {
    /// Nothing.
    Wait,
    /// This many spans of the event with this position, or values of it.
    Spans(usize, u8),
    /// The START of a span that lasts.
    Start(usize),
    /// The END of a span whose START comes never.
    OrphanEnd(usize),
    /// The END of the span that was started first.
    End,
    /// Records were overwritten.
    Lose,
    /// Records went into no ring.
    Unregistered,
    /// The event is sampled 1 in 2^k from now on.
    Sample(usize, u8),
    /// The program reads the last report.
    Read,
    /// The program takes the last report, or gives back all that it holds.
    Hold(bool),
    /// Somebody sets the wall clock.
    SetWallClock,
    /// The clock steps back.
    ClockBack,
    /// The limits of an event are replaced.
    SetLimits(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let event = || 0..Random::ALL.len();
    prop_oneof![
        4 => Just(Step::Wait),
        6 => (event(), 1..30_u8).prop_map(|(event, spans)| Step::Spans(event, spans)),
        3 => event().prop_map(Step::Start),
        1 => event().prop_map(Step::OrphanEnd),
        2 => Just(Step::End),
        1 => Just(Step::Lose),
        1 => Just(Step::Unregistered),
        1 => (event(), 0..4_u8).prop_map(|(event, k)| Step::Sample(event, k)),
        1 => Just(Step::Read),
        2 => any::<bool>().prop_map(Step::Hold),
        1 => Just(Step::SetWallClock),
        1 => Just(Step::ClockBack),
        1 => event().prop_map(Step::SetLimits),
    ]
}

/// Returns the milliseconds before a pass.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0..60_u64, 1 => 500..1_000_u64]
}

/// The parts of a drain, whose clocks the test sets.
struct Parts {
    pool: Arc<Pool>,
    readers: Readers,
    clocks: Clocks,
    aggregator: Aggregator<Boxed>,
    sampler: Arc<Mutex<Sampler>>,
    coverage: Coverage,
    limits: LimitWatch,
    publisher: Publisher,
    held: Vec<Arc<Report>>,
    open: Vec<(usize, u64)>,
    /// Whether very many other events change as well, which the reports leave out.
    has_many: bool,
}

impl Parts {
    fn new(has_many: bool) -> Self {
        let clock = HostClock::monotonic();
        let mut clocks = Clocks::start(clock);
        // Far from 0, so that the clock can step back.
        let now = *clocks.now();
        clocks.advance(Anchor { ticks: now.ticks + 3_600_000_000_000, ..now });
        let pool = Arc::new(Pool::new(RingSettings::fixed(1, 8), clock).unwrap());
        let ticks = clocks.now().ticks;
        let readers = Readers::new(
            Arc::clone(&pool),
            tailwatch_core::Trading::ALL,
            ticks,
            8,
            Duration::from_millis(4),
        );
        let shape = Shape {
            slowest: 2,
            samples: 32,
            in_flight: 16,
            ..Shape::server(Random::ALL, &WINDOWS)
        };
        let aggregator =
            Aggregator::new(&WINDOWS, Random::ALL, clocks.rate(), ticks, Boxed::new(&shape));
        let sampler = Sampler::new(Random::ALL.iter().map(|info| info.id));
        let sampler = Arc::new(Mutex::new(sampler));
        let overhead = Overhead::new(10.0, clocks.now().monotonic);
        Self {
            coverage: Coverage::new(Arc::clone(&sampler), overhead),
            limits: LimitWatch::new(Arc::clone(&pool), Random::ALL.into()),
            publisher: Publisher::new(
                Arc::clone(&pool),
                Random::ALL.into(),
                WINDOWS.to_vec(),
                2,
                &clocks,
                None,
            ),
            aggregator: aggregator.unwrap(),
            held: vec![],
            open: vec![],
            has_many,
            pool,
            readers,
            clocks,
            sampler,
        }
    }

    fn record(&mut self, record: Record) {
        self.aggregator.record(0, record);
        let changes = &mut self.publisher.changes;
        changes.recorded().insert(record.event().unwrap());
        changes.note_records();
    }

    /// Makes a pass this many milliseconds after the previous one, and publishes a report if one is
    /// due or `is_flush` is set.
    fn pass(&mut self, step: &Step, millis: u64, is_flush: bool) {
        let mut now = *self.clocks.now();
        let time = Duration::from_millis(millis);
        now.monotonic += time;
        now.unix_ns += nanos(time);
        now.ticks += nanos(time);
        match step {
            Step::SetWallClock => now.unix_ns += 5_000_000,
            Step::ClockBack => now.ticks -= nanos(time) + 30_000_000,
            _ => {}
        }
        self.clocks.advance(now);
        self.aggregator.begin_pass(now.ticks);
        let Self { pool, coverage, aggregator, publisher, .. } = self;
        coverage.note_gate(pool, Random::ALL, aggregator, &mut publisher.changes);
        self.apply(step, now.ticks);
        let Self { pool, coverage, aggregator, publisher, clocks, limits, .. } = self;
        aggregator.expire_orphans(aggregator.pass());
        coverage.note_unregistered(pool, aggregator);
        let changes = &mut publisher.changes;
        if self.has_many {
            (1_001..1_601).for_each(|id| changes.note_event(EventId::new(id).unwrap()));
        }
        let violations =
            limits.evaluate(now.ticks, clocks, aggregator, |id| changes.note_limits(id));
        changes.note_pass(clocks, aggregator);
        publisher.note_reads(now.monotonic);
        let is_due = publisher.due_in(now.monotonic).is_zero();
        if is_flush || is_due || !violations.is_empty() {
            self.publish(is_flush);
        }
        if matches!(step, Step::Read | Step::Hold(true)) {
            let Publisher { published_at, times_at, .. } = self.publisher;
            assert!(now.monotonic - times_at[0] < REFRESH_EVERY);
            assert!(now.monotonic - published_at.unwrap() < REFRESH_EVERY);
        }
        if let Step::SetLimits(event) = *step {
            let max = Threshold::value(Quantile::P99, 1 + now.ticks % 300_000);
            let max = match now.ticks % 3 {
                0 => max,
                // Its state changes without a violation that is raised or cleared.
                1 => max.raise_after(Duration::from_millis(30)).clear_after(Duration::ZERO),
                _ => max.auto_min_samples().clear_after(Duration::from_millis(5)),
            };
            let limits = [Limit::Quantile(max), Limit::Silence(Duration::from_millis(90))];
            self.limits.set(Random::ALL[event].id, &limits, &mut self.aggregator).unwrap();
            self.publisher.changes.note_new_limits();
            self.publish(true);
            self.publisher.changes.note_new_limits();
        }
    }

    fn apply(&mut self, step: &Step, now: u64) {
        let id = |event: usize| Random::ALL[event].id;
        let is_number = |event: usize| id(event) == Random::Number.id();
        match *step {
            Step::Spans(event, spans) => {
                for span in 1..=u64::from(spans) {
                    let duration = span * span * 1_000;
                    self.record(if is_number(event) {
                        Record::value(now, id(event), 0, span)
                    } else {
                        Record::end(now, id(event), 0, Outcome::Ok, duration)
                    });
                    if !is_number(event) && span % 2 == 0 {
                        self.record(Record::start(now - duration, id(event), 0, span));
                    }
                }
            }
            Step::Start(event) if !is_number(event) => {
                self.record(Record::start(now, id(event), 0, now % 1_000));
                self.open.push((event, now));
            }
            Step::OrphanEnd(event) => self.record(Record::end(now, id(event), 0, Outcome::Ok, 7)),
            Step::End if !self.open.is_empty() => {
                let (event, start) = self.open.remove(0);
                let duration = now.saturating_sub(start);
                self.record(Record::end(start + duration, id(event), 0, Outcome::Error, duration));
            }
            Step::Lose => self.aggregator.mark_lost(),
            Step::Unregistered => self.pool.count_unregistered(1),
            Step::Sample(event, k) => {
                let rate = 0.5_f64.powi(i32::from(k));
                lock(&self.sampler).set(id(event), Sampling::Rate(rate));
            }
            Step::Read => drop(self.publisher.published().load()),
            Step::Hold(true) => self.held.push(self.publisher.published().load().clone()),
            Step::Hold(false) => self.held.clear(),
            _ => {}
        }
    }

    /// Publishes a report, and compares it with one that is computed anew.
    fn publish(&mut self, is_complete: bool) {
        let Self { publisher, clocks, readers, aggregator, limits, .. } = self;
        let now = clocks.now().monotonic;
        let Contents { events, sla, times_at } =
            publisher.fill(is_complete, clocks, readers.names(), aggregator, limits);
        let report = Report { sla, ..Report::empty(0, clocks.report(), events) };
        publisher.publish(report, times_at, now);
        assert!(now - times_at < if self.has_many { UNREAD_PAUSE } else { REFRESH_EVERY });
        let report = publisher.published().load().clone();
        let reports = [Some(&report), publisher.replaced.as_ref()];
        let bytes: usize = reports.into_iter().flatten().map(|report| bytes(report)).sum();
        assert_eq!(publisher.report_bytes(), bytes);
        assert!(bytes <= 2 * memory::max_bytes(&aggregator.shape()), "{bytes}");

        let mut anew = Publisher::new(
            Arc::clone(&self.pool),
            Random::ALL.into(),
            WINDOWS.to_vec(),
            2,
            clocks,
            None,
        );
        anew.changes = Changes::new(WINDOWS.len(), clocks);
        for info in Random::ALL {
            anew.changes.note_event(info.id);
        }
        let mut all_limits = LimitWatch::new(Arc::clone(&self.pool), Random::ALL.into());
        all_limits.origins.clone_from(&limits.origins);
        let mut expected = anew.fill(true, clocks, readers.names(), aggregator, &mut all_limits);
        let mut found =
            Contents { events: report.events.clone(), sla: report.sla.clone(), times_at };
        let is_pending = publisher.changes.due_at(now).is_some();
        if is_pending {
            // A loss of records need not be in a report that a violation made earlier.
            assert!(!is_complete);
            return;
        }
        assert_eq!(publisher.unpaired(), anew.unpaired());
        assert_eq!(aggregator.committed_counters(), aggregator.counters());
        if times_at != now {
            strip_times(&mut found);
            strip_times(&mut expected);
        }
        assert_eq!(found.events, expected.events);
        assert_eq!(found.sla, expected.sla);
    }
}

/// Counts the bytes of a report.
fn bytes(report: &Report) -> usize {
    let windows = report.events.iter().flat_map(|event| &event.windows);
    let totals = report.events.iter().flat_map(|event| &event.total);
    let of_windows_failed = windows.clone().filter_map(|window| window.failed.as_deref());
    let failed = report.events.iter().filter_map(|event| event.failed.as_deref());
    let failed: Vec<_> = failed.chain(of_windows_failed).collect();
    let statistics = windows.flat_map(|window| &window.statistics).chain(totals);
    memory::bytes_without_data(&report.events, &report.sla)
        + failed.len() * size_of::<Statistics>()
        + statistics.chain(failed).map(Statistics::heap_bytes).sum::<usize>()
}

/// Removes what may be up to a second older than the report.
fn strip_times(contents: &mut Contents) {
    let strip = |statistics: &mut Option<Statistics>, failed: &mut Option<Box<Statistics>>| {
        for Statistics { summary, corrected, .. } in
            statistics.iter_mut().chain(failed.as_deref_mut())
        {
            summary.covered = 0;
            if let Some(corrected) = corrected {
                corrected.covered = 0;
            }
        }
    };
    for event in &mut contents.events {
        for window in &mut event.windows {
            strip(&mut window.statistics, &mut window.failed);
        }
        strip(&mut event.total, &mut event.failed);
        event.in_flight.oldest_ns = None;
        let is_aging = |limit: &&mut SlaReport| {
            limit.event == event.name && (limit.quantile.is_none() || event.in_flight.open > 0)
        };
        for limit in contents.sla.iter_mut().filter(is_aging) {
            limit.observed = None;
        }
    }
}

proptest! {
    #[test]
    fn a_report_equals_one_that_is_computed_anew(
        steps in prop::collection::vec((step(), pause(), prop::bool::weighted(0.1)), 1..80),
        has_many: bool,
    ) {
        let mut parts = Parts::new(has_many);
        for (step, millis, is_flush) in steps {
            parts.pass(&step, millis, is_flush);
        }
    }
}
