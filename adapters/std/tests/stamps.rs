//! Stamps and tags: each interval from a stamp is a sample with its tag, wherever the drain reads
//! its two records, or is counted.

mod support;

use core::time::Duration;
use std::thread;

use support::{Log, MemoryFile, Seen, assert_accounted, in_own_process, in_thread, in_turn};
use tailwatch::{
    __private::{stamp_at, tick_of},
    Builder, Collector, Kind, MAX_PAYLOAD, Sampling, Stamp, TraceWriter, Trading, record_since,
    record_value,
};

const ORDER: Trading = Trading::OrderPlacement;

fn manual() -> Builder {
    Collector::builder().ignore_environment().manual_drain()
}

/// Starts a collector that the program drains, and registers this thread with it.
fn started(builder: Builder, log: &Log) -> Collector {
    let collector = builder.observer(log.observer()).start().unwrap();
    collector.register_thread("recorder").unwrap();
    collector
}

/// Records an interval with each of these tags.
fn record(tags: core::ops::RangeInclusive<u64>) {
    tags.for_each(|tag| record_since(Stamp::now(), ORDER, tag));
}

/// Returns the tags of the slowest samples of the event in ascending order.
fn slowest_tags(collector: &Collector) -> Vec<Option<u64>> {
    let slowest = collector.slowest(ORDER, Duration::from_mins(1)).unwrap();
    let mut tags: Vec<_> = slowest.iter().map(|sample| sample.tag).collect();
    tags.sort_unstable();
    tags
}

/// Asserts that each DURATION was delivered with its tag, `tags` in order, and its TAG behind it.
fn assert_tagged(seen: &[Seen], tags: impl Iterator<Item = u64>) {
    let expected =
        tags.flat_map(|tag| [(Kind::Duration, Some(tag), false), (Kind::Tag, Some(tag), true)]);
    let seen = seen.iter().filter(|seen| seen.kind != Kind::Value);
    let seen: Vec<_> = seen.map(|seen| (seen.kind, seen.tag, seen.is_repeated_tag)).collect();
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn a_stamp_gives_a_sample_with_its_tag_for_each_of_its_orders() {
    let _turn = in_turn();
    for orders in 0..=3_u64 {
        let log = Log::default();
        let collector = started(manual(), &log);
        let arrived = Stamp::now();
        assert!(arrived.is_taken());
        for order in 1..=orders {
            let copy = arrived;
            record_since(copy, ORDER, 4_710 + order);
        }
        collector.flush();
        let total = collector.total(ORDER).unwrap();
        assert_eq!(total.map_or(0, |total| total.count), orders);
        let tags = (1..=orders).map(|order| Some(4_710 + order));
        assert_eq!(slowest_tags(&collector), tags.collect::<Vec<_>>());
        assert_tagged(&log.all(), (1..=orders).map(|order| 4_710 + order));
        collector.stop();
        // The intervals of one stamp began at the same tick, and the later orders took longer.
        let starts: Vec<_> = log
            .all()
            .iter()
            .filter(|seen| seen.kind == Kind::Duration)
            .map(|seen| (seen.record.ticks() - seen.record.payload(), seen.record.payload()))
            .collect();
        assert!(starts.is_sorted() && starts.iter().all(|(start, _)| *start == starts[0].0));
        assert_accounted(&collector, 2 * orders, log.count());
    }
}

#[test]
fn a_tag_of_0_takes_no_second_record() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = started(manual(), &log);
    record_since(Stamp::now(), ORDER, 0);
    record_since(Stamp::now(), ORDER, MAX_PAYLOAD + 1);
    record_since(Stamp::now(), ORDER, MAX_PAYLOAD);
    collector.flush();
    assert_eq!(log.kinds(), [Kind::Duration, Kind::Duration, Kind::Duration, Kind::Tag]);
    assert_eq!(slowest_tags(&collector), [None, None, Some(MAX_PAYLOAD)]);
}

#[test]
fn a_tag_that_a_later_pass_reads_belongs_to_its_duration() {
    let _turn = in_turn();
    for max_records in 1..=3 {
        let log = Log::default();
        let collector = started(manual(), &log);
        record(1..=4);
        while collector.flush_up_to(max_records) {}
        assert_tagged(&log.all(), 1..=4);
        assert_eq!(slowest_tags(&collector), [1, 2, 3, 4].map(Some));
        assert_eq!(collector.health().orphan_tags, 0);
    }
}

#[test]
fn a_tag_in_a_larger_ring_belongs_to_the_duration_in_the_former_one() {
    const TAGS: u64 = 2_000;
    let _turn = in_turn();
    let log = Log::default();
    let builder = manual().ring_capacity(64).max_ring_capacity(1 << 12);
    let collector = started(builder, &log);
    // With a single record before them, each DURATION is the last record of its batch if any of
    // the two records is, and a thread moves to a larger ring between batches.
    record_value(Trading::QueueBacklog, 1);
    for tag in 1..=TAGS {
        record(tag..=tag);
        // More than half of the ring, so that a larger one is offered.
        if tag % 20 == 0 {
            collector.flush();
        }
    }
    collector.flush();
    let health = collector.health();
    assert_eq!((health.overwritten, health.orphan_tags), (0, 0), "{health:?}");
    assert!(collector.explain().contains("128"), "{}", collector.explain());
    assert_tagged(&log.all(), 1..=TAGS);
    assert!(slowest_tags(&collector).iter().all(Option::is_some));
}

#[test]
fn a_tag_whose_duration_was_overwritten_is_counted() {
    let _turn = in_turn();
    let mut orphans = 0;
    for before in 0..4 {
        let log = Log::default();
        let builder = manual().ring_capacity(64).max_ring_capacity(64);
        let collector = started(builder, &log);
        (0..before).for_each(|value| record_value(Trading::QueueBacklog, value));
        record(1..=100);
        // A value, so that what is left of the ring begins at another record.
        record_value(Trading::QueueBacklog, 1);
        collector.flush();
        let seen = log.all();
        assert!(collector.health().overwritten > 0);
        // Only the oldest delivered record can have lost its DURATION.
        let is_orphan = seen[0].kind == Kind::Tag;
        assert_eq!(collector.health().orphan_tags, u64::from(is_orphan));
        assert!(!seen[0].is_repeated_tag);
        let first = seen.iter().find(|seen| seen.kind == Kind::Duration).unwrap().tag.unwrap();
        assert_tagged(&seen[usize::from(is_orphan)..], first..=100);
        orphans += u64::from(is_orphan);
    }
    assert!(orphans > 0, "no DURATION was overwritten without its TAG");
}

#[test]
fn the_tags_of_many_threads_do_not_mix() {
    const THREADS: u64 = 16;
    const EACH: u64 = 2_000;
    let _turn = in_turn();
    let log = Log::default();
    let collector =
        Collector::builder().ignore_environment().observer(log.observer()).start().unwrap();
    collector.install().unwrap();
    let arrived = Stamp::now();
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let name = number.to_string();
            let spawn = thread::Builder::new().name(name).spawn_scoped(scope, move || {
                for n in 0..EACH {
                    record_since(arrived, ORDER, number * EACH + n);
                }
            });
            spawn.unwrap();
        }
    });
    collector.stop();
    assert_accounted(&collector, 2 * THREADS * EACH, log.count());
    let (seen, health) = (log.all(), collector.health());
    assert_eq!((health.overwritten, health.orphan_tags), (0, 0), "{health:?}");
    for number in 1..=THREADS {
        let name = number.to_string();
        let mut own = seen.iter().filter(|seen| seen.thread == name);
        for tag in number * EACH..(number + 1) * EACH {
            let (duration, second) = (own.next().unwrap(), own.next().unwrap());
            assert_eq!((duration.kind, second.kind), (Kind::Duration, Kind::Tag));
            assert_eq!(second.tag, Some(tag));
            // A thread may be interrupted between its two records for longer than a pass takes.
            assert_eq!(duration.tag, second.is_repeated_tag.then_some(tag));
        }
        assert!(own.next().is_none());
    }
    assert_eq!(collector.total(ORDER).unwrap().unwrap().count, THREADS * EACH);
    for slow in collector.slowest(ORDER, Duration::from_mins(1)).unwrap() {
        let thread = slow.tag.expect("each sample has a tag") / EACH;
        assert_eq!(*slow.thread, *thread.to_string());
    }
}

#[test]
fn a_stamp_from_before_the_collector_is_counted() {
    let _turn = in_turn();
    let early = in_thread("early", Stamp::now);
    assert!(!early.is_taken());
    assert_eq!(early, Stamp::default());
    record_since(early, ORDER, 1); // nobody is there to count it
    let log = Log::default();
    let collector = started(manual(), &log);
    record_since(early, ORDER, 1);
    record_since(early, ORDER, 0);
    collector.set_enabled(false);
    record_since(early, ORDER, 1); // not counted while recording is off
    collector.set_enabled(true);
    record_since(Stamp::now(), ORDER, 0);
    collector.stop();
    assert_eq!(collector.health().unregistered, 3);
    assert_eq!(collector.total(ORDER).unwrap().unwrap().count, 1);
    assert_accounted(&collector, 4, log.count());
}

/// Takes stamps on threads with and without a ring, and records intervals from them.
fn take_stamps(builder: Builder) {
    let collector = builder.start().unwrap();
    collector.install().unwrap();
    let before = Stamp::now();
    let stamp = in_thread("without a ring", Stamp::now);
    assert!(before.is_taken() && stamp.is_taken());
    in_thread("recorder", move || {
        record_since(before, ORDER, 1);
        record_since(stamp, ORDER, 2);
        record_since(Stamp::now(), ORDER, 3);
    });
    collector.flush();
    let health = collector.health();
    assert_eq!((health.produced, health.negative_differences), (6, 0), "{health:?}");
    assert_eq!(slowest_tags(&collector), [1, 2, 3].map(Some));
    collector.stop();
}

#[test]
fn a_thread_without_a_ring_takes_stamps_by_the_clock_of_the_installed_collector() {
    let _turn = in_turn();
    take_stamps(manual());
}

#[test]
fn stamps_work_with_the_clock_of_the_operating_system() {
    in_own_process("stamps_work_with_the_clock_of_the_operating_system", || {
        take_stamps(manual().monotonic_clock());
    });
}

#[test]
fn sampling_takes_or_leaves_an_interval_with_its_tag() {
    let _turn = in_turn();
    let log = Log::default();
    let collector = started(manual().sampling(ORDER, Sampling::Rate(0.25)), &log);
    record(1..=1_000);
    collector.flush();
    let seen = log.all();
    assert!(seen.len() > 100 && seen.len() < 1_000, "{}", seen.len());
    let tags: Vec<_> = seen.iter().step_by(2).map(|seen| seen.tag.unwrap()).collect();
    assert!(tags.is_sorted());
    assert_tagged(&seen, tags.into_iter());
}

#[test]
fn the_row_of_a_duration_has_its_tag_and_only_an_orphan_has_a_row() {
    let _turn = in_turn();
    for (overwrites, tag_rows) in [(false, 0), (true, 1)] {
        let file = MemoryFile::default();
        let trace = TraceWriter::new(file.clone());
        let builder = manual().ring_capacity(64).max_ring_capacity(64);
        let collector = builder.observer(trace.observer()).start().unwrap();
        collector.register_thread("recorder").unwrap();
        if overwrites {
            // What is left of the ring begins at an even number of records, so with a TAG.
            record_value(Trading::QueueBacklog, 1);
            record(1..=100);
            record_value(Trading::QueueBacklog, 1);
        } else {
            record(98..=100);
        }
        collector.stop();
        trace.finish().unwrap();
        let text = file.text();
        let rows: Vec<Vec<_>> = text.lines().map(|row| row.split(',').collect()).collect();
        let of =
            |kind: &str| -> Vec<&Vec<&str>> { rows.iter().filter(|row| row[1] == kind).collect() };
        let tags: Vec<_> = of("duration").iter().map(|row| row[5].to_owned()).collect();
        let first = 101 - u64::try_from(tags.len()).unwrap();
        assert_eq!(tags, (first..=100).map(|tag| tag.to_string()).collect::<Vec<_>>());
        assert!(of("duration").iter().all(|row| !row[3].is_empty()), "{text}");
        let orphans = of("tag");
        assert_eq!(orphans.len(), tag_rows, "{text}");
        assert!(orphans.iter().all(|row| row[5] == (first - 1).to_string()), "{text}");
    }
}

#[test]
fn a_stamp_has_8_bytes() {
    assert_eq!(size_of::<Stamp>(), 8);
}

#[test]
fn a_stamp_from_the_future_is_counted_and_gives_no_sample() {
    let _turn = in_turn();
    let collector = Collector::builder().ignore_environment().manual_drain().start().unwrap();
    collector.register_thread("recorder").unwrap();
    let now = tick_of(Stamp::now());
    for ahead in [1 << 40, 1 << 62] {
        record_since(stamp_at(now + ahead), Trading::OrderFill, 7);
    }
    // Too long for a record: 2^46 ticks ago.
    record_since(stamp_at(now.wrapping_sub(1 << 46)), Trading::OrderFill, 7);
    collector.flush();
    let health = collector.health();
    assert_eq!((health.negative_differences, health.saturated), (2, 1), "{health:?}");
    assert_eq!((health.produced, health.orphan_tags, health.orphans), (4, 0, 0), "{health:?}");
    assert_eq!(collector.total(Trading::OrderFill), Ok(None));
    record_since(stamp_at(now), Trading::OrderFill, 7);
    collector.flush();
    assert_eq!(collector.total(Trading::OrderFill).unwrap().map(|total| total.count), Some(1));
}
