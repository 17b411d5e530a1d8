//! Each span has its own right latency, however spans overlap and wherever they end.

mod support;

use core::time::Duration;
use std::{collections::BTreeMap, sync::mpsc, thread};

use support::{Around, Bracket, Log, Seen, in_turn, spin};
use tailwatch::{
    Collector, Kind, MAX_PAYLOAD, Outcome, Trading, measure_tagged, record_end,
    record_start_tagged, record_value,
};

const STEP: Duration = Duration::from_micros(300);

/// What was delivered of each span, as (START, END), by its tag: they meet by the tick at which the span began.
fn by_tag(log: &Log) -> BTreeMap<u64, (Seen, Seen)> {
    let (starts, others): (Vec<_>, Vec<_>) =
        log.all().into_iter().partition(|seen| seen.kind == Kind::Start);
    let mut ends = BTreeMap::new();
    for end in others {
        assert_eq!(end.tag, None, "a tag stands on START alone: {end:?}");
        let tick = end.start_tick();
        assert!(ends.insert(tick, end).is_none(), "two spans began at the tick {tick}");
    }
    let paired = |start: Seen| {
        let end = ends.remove(&start.start_tick()).expect("an END for each START");
        assert_eq!(end.event, start.event);
        (start.tag.expect("the tag of a START"), (start, end))
    };
    let paired: BTreeMap<_, _> = starts.into_iter().map(paired).collect();
    assert!(ends.is_empty(), "a START for each END: {ends:?}");
    paired
}

/// Every span was told within its bracket, of which there is one for each tag; returns them as told, by tag.
fn assert_told(log: &Log, brackets: &BTreeMap<u64, Bracket>) -> BTreeMap<u64, (Seen, Seen)> {
    let told = by_tag(log);
    assert_eq!(told.keys().collect::<Vec<_>>(), brackets.keys().collect::<Vec<_>>());
    for (tag, (_, end)) in &told {
        brackets[tag].assert_holds(end.duration_ns_or_value.unwrap(), &format!("span {tag}"));
    }
    told
}

#[test]
fn overlapping_spans_of_one_event_on_one_thread_keep_their_latencies() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let mut brackets = BTreeMap::new();
    // The order in which five spans, begun as 0, 1, 2, 3, 4, end: nested, as a queue, and mixed.
    for (round, order) in (0..).zip([[4, 3, 2, 1, 0], [0, 1, 2, 3, 4], [2, 0, 4, 1, 3]]) {
        let mut open = BTreeMap::new();
        for n in 0..5 {
            let tag = round * 10 + n;
            open.insert(n, (tag, Around::the(|| measure_tagged(Trading::OrderPlacement, tag))));
            spin(STEP);
        }
        for n in order {
            let (tag, (span, began)) = open.remove(&n).unwrap();
            let ((), ended) = Around::the(|| drop(span));
            brackets.insert(tag, began.to(ended));
            spin(STEP * 2);
        }
    }
    collector.stop();
    assert_told(&log, &brackets);
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
        let mut brackets = BTreeMap::new();
        let mut kept = Vec::new();
        for (tag, span, began) in received {
            kept.push((tag, span, began));
            spin(STEP);
            // Every third time, all that came so far, the newest first: so spans overlap.
            if kept.len() == 3 {
                while let Some((tag, span, began)) = kept.pop() {
                    let ((), ended) = Around::the(|| drop(span));
                    let _: Option<Bracket> = brackets.insert(tag, Around::to(began, ended));
                    spin(STEP);
                }
            }
        }
        assert!(kept.is_empty());
        brackets
    });
    for tag in 0..12 {
        let (span, began) = Around::the(|| measure_tagged(Trading::OrderFill, tag));
        send.send((tag, span, began)).unwrap();
        spin(STEP);
    }
    drop(send);
    let brackets = ending.unwrap().join().unwrap();
    collector.stop();
    for (start, end) in assert_told(&log, &brackets).values() {
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
                    let (span, began) =
                        Around::the(|| record_start_tagged(Trading::OrderFill, tag));
                    send.send((tag, span, began)).unwrap();
                    spin(STEP);
                }
            };
            thread::Builder::new().name(format!("begins-{number}")).spawn(work).unwrap()
        })
        .collect();
    drop(send);
    tailwatch::register_thread("ends").unwrap();
    let mut brackets = BTreeMap::new();
    for (tag, span, began) in received {
        let ((), ended) = Around::the(|| record_end(span, Outcome::Error));
        brackets.insert(tag, began.to(ended));
    }
    for thread in beginning {
        thread.join().unwrap();
    }
    collector.stop();
    for (tag, (start, end)) in assert_told(&log, &brackets) {
        assert_eq!((start.thread, end.thread.as_str()), (format!("begins-{}", tag / 100), "ends"));
        assert_eq!(end.outcome, Some(Outcome::Error));
    }
}

#[test]
fn a_latency_is_right_though_its_start_was_overwritten() {
    let _turn = in_turn();
    let log = Log::default();
    let (entered, has_entered) = mpsc::channel();
    let (let_go, is_let_go) = mpsc::channel();
    let collector = Collector::builder()
        .ring_capacity(64)
        .observer(log.observer())
        .observer(move |delivery| {
            if delivery.duration_ns_or_value == Some(0) {
                entered.send(()).unwrap();
                is_let_go.recv().unwrap();
            }
        })
        .start()
        .unwrap();
    collector.register_thread("main").unwrap();
    record_value(Trading::QueueBacklog, 0);
    has_entered.recv().unwrap();
    // Nothing is drained now.
    let (span, began) = Around::the(|| measure_tagged(Trading::OrderFill, 1));
    for n in 1..1_000 {
        record_value(Trading::QueueBacklog, n);
    }
    spin(STEP);
    let ((), ended) = Around::the(|| drop(span));
    let_go.send(()).unwrap();
    collector.stop();
    let of_span: Vec<_> = log.all().into_iter().filter(|seen| seen.event == "order_fill").collect();
    let [end] = of_span.as_slice() else { panic!("its END alone: {of_span:?}") };
    assert_eq!(end.kind, Kind::EndOk);
    began.to(ended).assert_holds(end.duration_ns_or_value.unwrap(), "the span");
}

#[test]
fn of_a_tag_the_low_46_bits_are_kept() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = Collector::builder().observer(log.observer()).start().unwrap();
    collector.register_thread("main").unwrap();
    let tags = [0, 4_711, MAX_PAYLOAD, MAX_PAYLOAD + 5, u64::MAX];
    for tag in tags {
        drop(measure_tagged(Trading::OrderFill, tag));
    }
    collector.stop();
    let told: Vec<_> = log.all().iter().filter_map(|seen| seen.tag).collect();
    assert_eq!(told, [0, 4_711, MAX_PAYLOAD, 4, MAX_PAYLOAD]);
}
