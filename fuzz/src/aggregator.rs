//! Gives the aggregator arbitrary records, clocks that jump and arbitrary limits, and checks that
//! every record is counted by its cause.

use std::{ops::Range, time::Duration};

use arbitrary::Arbitrary;
use tailwatch_core::{
    Aggregator, Compact, Count, Counters, EventId, EventInfo, Exemplar, Kind, Limit, MAX_PAYLOAD,
    Quantile, Record, Repr, Ring, Scope, Shape, Slot, Threshold, TickRate, TimeUnit, Unit, Wide,
    WindowSpec,
};

use crate::memory::Memory;

#[derive(Debug, Arbitrary)]
struct Input {
    hz: u64,
    is_coarse: bool,
    interval: u64,
    first: u64,
    /// Chooses the width of the counters in slices, and the representation.
    width: u8,
    shape: (u8, u8, u8, u8, u8),
    ppm: u32,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// Begins a pass this many ticks later.
    PassAfter(u32),
    /// Begins a pass at this tick.
    PassAt(u64),
    /// A record of any two words.
    Words(u64, u64),
    /// A record that may be valid, `ago` ticks before now.
    Record {
        ago: u16,
        event: u8,
        kind: u8,
        sampling: u8,
        payload: u32,
    },
    /// A record like [`Record`](Self::Record), but with any tick and payload.
    AnyTick {
        ticks: u64,
        event: u8,
        kind: u8,
        payload: u64,
    },
    /// Spans drained from a ring, whose times may overlap. Each has an event, the ticks since its
    /// START, its duration in ticks, and the bits to flip in its END. If these are 2
    /// modulo 4, there is a DURATION with a TAG instead.
    Spans(Vec<(u8, u16, u16, u64)>),
    MarkLost,
    MarkSampled(u8),
    ResetSilence(u8),
    Limits(u8, Vec<(u32, u64, u32, u32)>),
    Silence(u8, u64),
    ExpireOrphans,
    Query,
}

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::new(Duration::from_secs(90), 9)];
/// A tick is in the future if it is more than this many nanoseconds ahead of the current pass.
const TOLERANCE_NANOS: u64 = 10_000_000;

fn id(id: u16) -> EventId {
    EventId::new(id).expect("a valid id")
}

fn events(interval: u64) -> [EventInfo; 4] {
    [
        EventInfo::new(id(1), "one"),
        EventInfo {
            expected_interval: Some(Duration::from_nanos(interval.max(1))),
            ..EventInfo::new(id(2), "two")
        },
        EventInfo { unit: Unit::One, ..EventInfo::new(id(3), "three") },
        EventInfo::new(id(2_047), "last"),
    ]
}

/// Ids of records: those of the events, the reserved 0, and 77, which no event has.
const IDS: [u16; 6] = [1, 2, 3, 2_047, 0, 77];

/// The expected counts, found from the words of the records.
#[derive(Debug, Default)]
struct Counted {
    invalid: u64,
    unknown: u64,
    saturated: u64,
    negative: u64,
    /// TAGs of events that are measured in time: an upper bound of those without a record.
    tags: u64,
    /// A lower bound; the aggregator may count other anomalies too.
    anomalies: u64,
    samples: [u64; 4],
    starts: [u64; 4],
    /// ENDs and FORGETs.
    closed: [u64; 4],
    ends: [u64; 4],
}

impl Counted {
    /// Counts `record`. `is_sample` is the aggregator's verdict, for a TAG whether it belongs to a
    /// DURATION; the rest is found from the words.
    /// A START must begin in `possible` to count.
    fn count(
        &mut self,
        infos: &[EventInfo; 4],
        record: Record,
        is_sample: bool,
        possible: &Range<u128>,
    ) {
        let Some(event) = record.event() else { return self.invalid += 1 };
        let Some(at) = infos.iter().position(|info| info.id == event) else {
            return self.unknown += 1;
        };
        let (payload, kind) = (record.payload(), record.kind());
        let fits = match kind {
            Kind::Value => infos[at].unit == Unit::One,
            Kind::Invalid => false,
            _ => infos[at].unit == Unit::Time,
        };
        if !fits {
            assert!(!is_sample, "{record:?} does not fit its event but counts as a sample");
            return self.invalid += 1;
        }
        match kind {
            Kind::Start if possible.contains(&u128::from(record.ticks())) => self.starts[at] += 1,
            Kind::Start => self.anomalies += 1,
            Kind::Tag => return self.tags += u64::from(!is_sample),
            // The reason is in the low 4 bits.
            Kind::Forget if payload % 16 == 4 => self.negative += 1,
            Kind::Forget => {
                self.closed[at] += 1;
                match payload {
                    0 | 3 => (),
                    1 => self.anomalies += 1,
                    2 => self.saturated += 1,
                    _ => self.invalid += 1,
                }
            }
            _ => {
                let is_end = kind.outcome().is_some();
                self.closed[at] += u64::from(is_end);
                self.ends[at] += u64::from(is_end);
                assert!(
                    !is_sample || is_end || payload < MAX_PAYLOAD,
                    "{record:?} has a saturated payload but counts as a sample"
                );
                self.samples[at] += u64::from(is_sample);
                self.saturated += u64::from(!is_sample);
                return;
            }
        }
        assert!(!is_sample, "{record:?} has a kind without samples but counts as a sample");
    }
}

struct Run<C, R: Repr> {
    aggregator: Aggregator<Memory<C, R>>,
    infos: [EventInfo; 4],
    tolerance: u64,
    first: u64,
    now: u64,
    counted: Counted,
    quantile: Quantile,
}

impl<C: Count, R: Repr> Run<C, R> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::PassAfter(ticks) => self.pass(self.now.saturating_add(u64::from(*ticks))),
            Step::PassAt(now) => self.pass(*now),
            Step::Words(time, rest) => self.record([*time, *rest]),
            Step::Record { ago, event, kind, sampling, payload } => {
                let id = u64::from(IDS[usize::from(*event) % IDS.len()]);
                let low = u64::from(*sampling % 16) << 14 | u64::from(*kind % 8) << 11 | id;
                self.record([
                    self.now.saturating_sub(u64::from(*ago)),
                    u64::from(*payload) << 18 | low,
                ]);
            }
            Step::AnyTick { ticks, event, kind, payload } => {
                let id = u64::from(IDS[usize::from(*event) % IDS.len()]);
                self.record([*ticks, payload << 18 | u64::from(*kind % 8) << 11 | id]);
            }
            Step::Spans(spans) => self.drain(spans),
            Step::MarkLost => self.aggregator.mark_lost(),
            Step::MarkSampled(event) => {
                self.aggregator.mark_sampled(id(IDS[usize::from(*event) % 4]));
            }
            Step::ResetSilence(event) => {
                self.aggregator.reset_silence(id(IDS[usize::from(*event) % 4]));
            }
            Step::Limits(event, limits) => {
                let limit = |(ppm, limit, window, min_samples): &(u32, u64, u32, u32)| {
                    let quantile =
                        Quantile::from_ppm(ppm % 1_000_001).expect("at most 1,000,000 ppm");
                    let window = Duration::from_millis(u64::from(*window));
                    let threshold = Threshold::value(quantile, *limit).over(window);
                    let delay = Duration::from_millis(u64::from(min_samples >> 16));
                    let mut threshold = match min_samples % 4 {
                        3 => threshold.auto_min_samples().raise_after(delay),
                        2 => threshold.min_samples(*min_samples).clear_after(delay),
                        _ => threshold.min_samples(*min_samples),
                    };
                    if limit % 4 == 0 {
                        // Others than 0 are refused.
                        threshold.max = 0;
                        Limit::Errors(threshold)
                    } else {
                        Limit::Quantile(threshold)
                    }
                };
                let limits: Vec<_> = limits.iter().map(limit).collect();
                // Limits that are refused leave the previous limits in place.
                let _ = self.aggregator.set_limits(id(IDS[usize::from(*event) % 4]), &limits);
            }
            Step::Silence(event, nanos) => {
                let silence = [Limit::Silence(Duration::from_nanos(*nanos))];
                let _ = self.aggregator.set_limits(id(IDS[usize::from(*event) % 4]), &silence);
            }
            Step::ExpireOrphans => self.aggregator.expire_orphans(self.aggregator.pass()),
            Step::Query => self.query(),
        }
    }

    fn pass(&mut self, now: u64) {
        self.aggregator.begin_pass(now);
        // After a small step back the aggregator waits for the clock. After a larger one it goes on
        // from there, possibly before its first tick.
        if now >= self.now || self.now - now > self.tolerance {
            (self.now, self.first) = (now, self.first.min(now));
        }
        self.aggregator.evaluate_limits(now, |_| ());
        self.check();
    }

    fn record(&mut self, words: [u64; 2]) {
        let record = Record::from_words(words);
        let is_sample = self.aggregator.record(7, record);
        self.count(record, is_sample);
    }

    fn count(&mut self, record: Record, is_sample: bool) {
        let possible = u128::from(self.first.saturating_sub(self.tolerance))
            ..u128::from(self.now.saturating_add(self.tolerance)) + 1;
        self.counted.count(&self.infos, record, is_sample, &possible);
    }

    fn drain(&mut self, spans: &[(u8, u16, u16, u64)]) {
        const RING: usize = 64;
        let mut ring = Box::new(Ring::<[Slot; RING]>::new());
        let (producer, mut consumer) = ring.split();
        // As many spans as the ring is certain to hold.
        for (event, ago, length, damage) in spans.iter().take((RING - RING / 8) / 2) {
            let event = u64::from(IDS[usize::from(*event) % IDS.len()]);
            let start = self.now.saturating_sub(u64::from(*ago));
            let (length, ended) = (u64::from(*length), start.wrapping_add(u64::from(*length)));
            let word = |payload: u64, kind: u64| payload << 18 | kind << 11 | event;
            // Three quarters of the possible values leave the second record undamaged.
            let flipped = if damage % 4 == 0 { *damage } else { 0 };
            let (first, second) = if damage % 4 == 2 {
                ([ended, word(length, Kind::Duration as u64)], word(7, 0))
            } else {
                ([start, word(7, Kind::Start as u64)], word(length, Kind::EndOk as u64))
            };
            producer.push(Record::from_words(first));
            producer.push(Record::from_words([ended, second ^ flipped]));
        }
        let mut drained = vec![];
        consumer.refresh();
        self.aggregator
            .drain(7, &mut consumer, |record, is_sample| drained.push((record, is_sample)));
        assert_eq!(
            drained.len(),
            spans.len().min((RING - RING / 8) / 2) * 2,
            "the drain must pass on every record"
        );
        for (record, is_sample) in drained {
            self.count(record, is_sample);
        }
    }

    /// Checks that every record is accounted for.
    fn check(&mut self) {
        let (aggregator, counted) = (&mut self.aggregator, &self.counted);
        let Counters {
            late,
            clock_anomalies,
            saturated,
            invalid,
            unknown_events,
            negative_differences,
            orphan_tags,
            ..
        } = aggregator.counters();
        let counts = (invalid, unknown_events, saturated, negative_differences);
        let expected = (counted.invalid, counted.unknown, counted.saturated, counted.negative);
        assert_eq!(counts, expected);
        assert!(orphan_tags <= counted.tags, "{orphan_tags} of {} TAGs", counted.tags);
        assert!(clock_anomalies >= counted.anomalies && late <= counted.samples.iter().sum());
        for (at, info) in self.infos.iter().enumerate() {
            let pairing = aggregator.pairing(info.id);
            assert_eq!(
                counted.starts[at],
                pairing.paired + pairing.open + pairing.untracked + pairing.abandoned
            );
            assert_eq!(counted.closed[at], pairing.paired + pairing.early + pairing.orphans);
            assert!(pairing.uncertain <= pairing.open, "{pairing:?}");
            let outcomes = aggregator.outcomes(info.id);
            assert_eq!(counted.ends[at], outcomes.ok + outcomes.error + outcomes.cancelled);
            let total = aggregator.summary(info.id, Scope::Total);
            let failed = aggregator.failed(info.id, Scope::Total);
            let counts = [total, failed].map(|summary| summary.map_or(0, |summary| summary.count));
            assert_eq!(counted.samples[at], counts[0] + counts[1]);
        }
    }

    /// Checks that the results of all queries agree with each other.
    fn query(&mut self) {
        let (aggregator, quantile) = (&mut self.aggregator, self.quantile);
        aggregator.limits(|status| assert!(status.over <= status.count, "{status:?}"));
        let mut room = [Exemplar::default(); 5];
        for info in &self.infos {
            let event = info.id;
            let total = aggregator.summary(event, Scope::Total).map_or(0, |total| total.count);
            for scope in [Scope::Total, Scope::Window(0), Scope::Window(1), Scope::Window(2)] {
                let Some((summary, values)) = aggregator.describe(event, scope) else {
                    assert_eq!(aggregator.quantile(event, scope, quantile), None);
                    continue;
                };
                let ascending = [
                    summary.min,
                    summary.p50,
                    summary.p95,
                    summary.p99,
                    summary.p99_9,
                    summary.max,
                ];
                assert!(
                    ascending.is_sorted() && summary.count > 0 && summary.count <= total,
                    "{summary:?}"
                );
                assert!(summary.estimated_total >= summary.count, "{summary:?}");
                let (value, _) = values.quantile(quantile).expect("there are samples");
                assert!(
                    (summary.min..=summary.max).contains(&value),
                    "{quantile} is {value} in {summary:?}"
                );
                let in_buckets: u64 =
                    values.buckets().map(|bucket| bucket.count).fold(0, u64::saturating_add);
                assert!(
                    in_buckets <= summary.estimated_total,
                    "{in_buckets} in buckets of {summary:?}"
                );
                if let Some(corrected) = aggregator.corrected(event, scope) {
                    assert!(
                        corrected.count >= summary.count && corrected.max >= summary.max,
                        "{corrected:?}"
                    );
                }
                let (slowest, converter) = aggregator.slowest(event, scope, &mut room);
                let slowest: Vec<_> =
                    slowest.iter().map(|slow| converter.value(slow.value())).collect();
                assert!(slowest.is_sorted_by(|a, b| a >= b), "{slowest:?}");
                let failed = aggregator.failed(event, scope);
                let max = failed.map_or(summary.max, |failed| failed.max.max(summary.max));
                assert!(
                    slowest.first().is_none_or(|slowest| *slowest == max),
                    "{slowest:?} {summary:?} {failed:?}"
                );
            }
        }
    }
}

/// Runs the steps on an aggregator with counters of type `C` in the representation `R`.
fn run_with<C: Count, R: Repr>(input: &Input) {
    let infos = events(input.interval);
    let (samples, scale, slowest, in_flight, limits) = input.shape;
    let unit = if input.is_coarse { TimeUnit::Coarse } else { TimeUnit::Fine };
    let shape = Shape {
        samples: usize::from(samples % 20),
        scale: scale % 4,
        unit,
        slowest: usize::from(slowest % 4),
        in_flight: [0, 2, 8, 64][usize::from(in_flight % 4)],
        limits: usize::from(limits % 8),
        ..Shape::server(&infos, &WINDOWS)
    };
    let hz = if input.hz.is_multiple_of(4) { input.hz } else { 1_000_000_000 };
    let Some(rate) = TickRate::from_hz(hz) else { return };
    let storage = Memory::<C, R>::new(&shape);
    let Ok(aggregator) = Aggregator::new(&WINDOWS, &infos, rate, input.first, storage) else {
        return;
    };
    let mut run = Run {
        aggregator,
        infos,
        tolerance: rate.ticks_in_nanos(TOLERANCE_NANOS),
        first: input.first,
        now: input.first,
        counted: Counted::default(),
        quantile: Quantile::from_ppm(input.ppm % 1_000_001).expect("at most 1,000,000 ppm"),
    };
    input.steps.iter().for_each(|step| run.step(step));
    run.check();
    run.query();
}

/// Runs the steps that the bytes encode.
///
/// # Panics
/// If a record is not accounted for, or the results of queries contradict each other.
pub fn run(data: &[u8]) {
    let Some(input) = crate::input::<Input>(data) else { return };
    match input.width % 6 {
        0 => run_with::<u16, Wide>(&input),
        1 => run_with::<u32, Wide>(&input),
        2 => run_with::<u64, Wide>(&input),
        3 => run_with::<u16, Compact>(&input),
        4 => run_with::<u32, Compact>(&input),
        _ => run_with::<u64, Compact>(&input),
    }
}
