//! Checks that every span has its own correct latency, however spans overlap and on whichever
//! thread they end.

mod support;

use core::time::Duration;
use std::{collections::BTreeMap, sync::mpsc, thread};

use support::{DurationBounds, Log, Moment, Seen, in_turn, spin};
use tailwatch::{
    Collector, Kind, MAX_PAYLOAD, Outcome, Trading, measure_tagged, record_end,
    record_start_tagged, record_value,
};

/// How long a thread spins between the begins and ends of spans.
const STEP: Duration = Duration::from_micros(300);

/// Pairs each delivered START with its END by the tick at which the span began. Returns the pairs
/// by tag.
fn by_tag(log: &Log) -> BTreeMap<u64, (Seen, Seen)> {
    let (starts, others): (Vec<_>, Vec<_>) =
        log.all().into_iter().partition(|seen| seen.kind == Kind::Start);
    let mut ends = BTreeMap::new();
    for end in others {
        assert_eq!(end.tag, None, "only a START has a tag: {end:?}");
        let tick = end.start_tick();
        assert!(ends.insert(tick, end).is_none(), "two spans began at tick {tick}");
    }
    let paired = |start: Seen| {
        let end = ends.remove(&start.start_tick()).expect("every START has an END");
        assert_eq!(end.event, start.event);
        (start.tag.expect("every START has a tag"), (start, end))
    };
    let paired: BTreeMap<_, _> = starts.into_iter().map(paired).collect();
    assert!(ends.is_empty(), "ENDs without a START: {ends:?}");
    paired
}

/// Asserts that exactly the spans with the tags of `bounds` were delivered, each with a duration
/// within its bounds. Returns the START and END of each span by its tag.
fn assert_durations_within(
    log: &Log,
    bounds: &BTreeMap<u64, DurationBounds>,
) -> BTreeMap<u64, (Seen, Seen)> {
    let spans = by_tag(log);
    assert_eq!(spans.keys().collect::<Vec<_>>(), bounds.keys().collect::<Vec<_>>());
    for (tag, (_, end)) in &spans {
        bounds[tag].assert_contain(end.duration_ns_or_value.unwrap(), &format!("span {tag}"));
    }
    spans
}

#[test]
fn overlapping_spans_of_one_event_on_one_thread_keep_their_latencies() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut bounds = BTreeMap::new();
    // The orders in which five spans, begun as 0, 1, 2, 3, 4, end: nested, first in first out, and
    // mixed.
    for (round, order) in (0..).zip([[4, 3, 2, 1, 0], [0, 1, 2, 3, 4], [2, 0, 4, 1, 3]]) {
        let mut open = BTreeMap::new();
        for n in 0..5 {
            let tag = round * 10 + n;
            open.insert(n, (tag, Moment::of(|| measure_tagged(Trading::OrderPlacement, tag))));
            spin(STEP);
        }
        for n in order {
            let (tag, (span, began)) = open.remove(&n).unwrap();
            let ((), ended) = Moment::of(|| drop(span));
            bounds.insert(tag, began.to(ended));
            spin(STEP * 2);
        }
    }
    collector.stop();
    assert_durations_within(&log, &bounds);
    let total = collector.total(Trading::OrderPlacement).unwrap().unwrap();
    assert_eq!(total.count, 15);
}

#[test]
fn a_guard_that_is_moved_to_another_thread_ends_there_with_its_latency() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    tailwatch::register_thread("begins").unwrap();
    let (send, received) = mpsc::channel();
    let ending = thread::Builder::new().name("ends".to_owned()).spawn(move || {
        let mut bounds = BTreeMap::new();
        let mut kept = Vec::new();
        for (tag, span, began) in received {
            kept.push((tag, span, began));
            spin(STEP);
            // Ends three spans at a time, the newest first, so that spans overlap.
            if kept.len() == 3 {
                while let Some((tag, span, began)) = kept.pop() {
                    let ((), ended) = Moment::of(|| drop(span));
                    let _: Option<DurationBounds> = bounds.insert(tag, Moment::to(began, ended));
                    spin(STEP);
                }
            }
        }
        assert!(kept.is_empty());
        bounds
    });
    for tag in 0..12 {
        let (span, began) = Moment::of(|| measure_tagged(Trading::OrderFill, tag));
        send.send((tag, span, began)).unwrap();
        spin(STEP);
    }
    drop(send);
    let bounds = ending.unwrap().join().unwrap();
    collector.stop();
    for (start, end) in assert_durations_within(&log, &bounds).values() {
        assert_eq!((start.thread.as_str(), end.thread.as_str()), ("begins", "ends"));
        assert_eq!(end.outcome, Some(Outcome::Ok));
    }
}

#[test]
fn a_token_that_is_sent_to_another_thread_ends_there_with_its_latency() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let (send, received) = mpsc::channel();
    // Several threads begin spans of one event at the same time.
    let beginning: Vec<_> = (0..3)
        .map(|number| {
            let send = send.clone();
            let work = move || {
                for n in 0..5 {
                    let tag = number * 100 + n;
                    let (span, began) = Moment::of(|| record_start_tagged(Trading::OrderFill, tag));
                    send.send((tag, span, began)).unwrap();
                    spin(STEP);
                }
            };
            thread::Builder::new().name(format!("begins-{number}")).spawn(work).unwrap()
        })
        .collect();
    drop(send);
    tailwatch::register_thread("ends").unwrap();
    let mut bounds = BTreeMap::new();
    for (tag, span, began) in received {
        let ((), ended) = Moment::of(|| record_end(span, Outcome::Error));
        bounds.insert(tag, began.to(ended));
    }
    for thread in beginning {
        thread.join().unwrap();
    }
    collector.stop();
    for (tag, (start, end)) in assert_durations_within(&log, &bounds) {
        assert_eq!((start.thread, end.thread.as_str()), (format!("begins-{}", tag / 100), "ends"));
        assert_eq!(end.outcome, Some(Outcome::Error));
    }
}

#[test]
fn a_latency_is_correct_although_its_start_was_overwritten() {
    let _turn = in_turn();
    let log = Log::default();
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let collector = Collector::builder()
        .ring_capacity(64)
        .observer(log.observer())
        .observer(move |delivery| {
            if delivery.duration_ns_or_value == Some(0) {
                entered.send(()).unwrap();
                released.recv().unwrap();
            }
        })
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 0);
    has_entered.recv().unwrap();
    // The observer holds the drain, so nothing is drained until `release`.
    let (span, began) = Moment::of(|| measure_tagged(Trading::OrderFill, 1));
    for n in 1..1_000 {
        record_value(Trading::QueueBacklog, n);
    }
    spin(STEP);
    let ((), ended) = Moment::of(|| drop(span));
    release.send(()).unwrap();
    collector.stop();
    let span: Vec<_> = log.all().into_iter().filter(|seen| seen.event == "order_fill").collect();
    let [end] = span.as_slice() else { panic!("expected only the END of the span: {span:?}") };
    assert_eq!(end.kind, Kind::EndOk);
    began.to(ended).assert_contain(end.duration_ns_or_value.unwrap(), "the span");
}

#[test]
fn a_tag_keeps_its_low_46_bits() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let tags = [0, 4_711, MAX_PAYLOAD, MAX_PAYLOAD + 5, u64::MAX];
    for tag in tags {
        drop(measure_tagged(Trading::OrderFill, tag));
    }
    collector.stop();
    let recorded: Vec<_> = log.all().iter().filter_map(|seen| seen.tag).collect();
    assert_eq!(recorded, [0, 4_711, MAX_PAYLOAD, 4, MAX_PAYLOAD]);
}
