extern crate std;
use core::cell::Cell;
use std::{vec, vec::Vec};

use super::*;
use crate::{
    clock::TickRate,
    declaration::presets::Trading,
    ring::{Ring, slot::Slot},
};

/// A clock that stands still at the tick that the test last set.
#[derive(Debug)]
struct ManualClock(Cell<u64>);

impl Clock for &ManualClock {
    fn start(&self) -> u64 {
        self.0.get()
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

/// Returns the records that `work` writes, as (ticks, kind, payload). `work` gets a recorder,
/// its clock and its gate.
fn recorded(
    work: impl FnOnce(&Recorder<'_, &ManualClock, 9>, &ManualClock, &Gate<9>),
) -> Vec<(u64, Kind, u64)> {
    let gate = Gate::<9>::new();
    let mut ring = Ring::<[Slot; 64]>::new();
    let (producer, mut consumer) = ring.split();
    let clock = ManualClock(Cell::new(0));
    work(&Recorder::new(producer, &gate, &clock), &clock, &gate);
    consumer.refresh();
    let mut seen = vec![];
    consumer.drain(|record| seen.push((record.ticks(), record.kind(), record.payload())));
    seen
}

#[test]
fn overlapping_spans_of_one_event_keep_their_own_latency() {
    let seen = recorded(|recorder, clock, _| {
        let first = recorder.start(Trading::OrderFill, 1);
        clock.0.set(10);
        let second = recorder.start(Trading::OrderFill, 2);
        clock.0.set(15);
        recorder.end(first, Outcome::Ok);
        clock.0.set(40);
        recorder.end(second, Outcome::Error);
    });
    let expected = [
        (0, Kind::Start, 1),
        (10, Kind::Start, 2),
        (15, Kind::EndOk, 15),
        (40, Kind::EndError, 30),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_duration_that_does_not_fit_an_end_becomes_a_forget_with_its_reason() {
    let seen = recorded(|recorder, clock, _| {
        for (start, end) in [(100, 99), (0, MAX_PAYLOAD + 1), (0, MAX_PAYLOAD), (u64::MAX, 4)] {
            clock.0.set(start);
            let span = recorder.measure(Trading::OrderFill);
            clock.0.set(end);
            drop(span);
        }
    });
    let closing: Vec<_> = seen.into_iter().filter(|(_, kind, _)| *kind != Kind::Start).collect();
    let expected = [
        (100, Kind::Forget, DiscardReason::ClockSteppedBack as u64),
        (0, Kind::Forget, DiscardReason::TooLong as u64),
        (MAX_PAYLOAD, Kind::EndOk, MAX_PAYLOAD),
        (4, Kind::EndOk, 5), // the tick count wrapped past 2^64
    ];
    assert_eq!(closing, expected);
}

#[test]
fn an_interval_becomes_a_duration_with_its_tag_or_a_forget_with_the_difference() {
    const HUGE: u64 = 1 << 50;
    let event = Trading::OrderFill.id();
    let seen = recorded(|recorder, _, _| {
        recorder.interval_at(event, 0, 100, 7, 130);
        recorder.interval_at(event, 0, 100, 0, 130); // no tag
        recorder.interval_at(event, 0, 100, MAX_PAYLOAD + 1, 130); // no tag in the low 46 bits
        recorder.interval_at(event, 0, 100, MAX_PAYLOAD, 100);
        recorder.interval_at(event, 0, 0, 8, HUGE);
        recorder.interval_at(event, 0, u64::MAX, 9, 4); // the tick count wrapped past 2^64
        recorder.interval_at(event, 0, 100, 7, 97);
        recorder.interval_at(event, 0, HUGE, 7, 1);
    });
    let why = DiscardReason::NegativeDifference as u64;
    let expected = [
        (130, Kind::Duration, 30),
        (130, Kind::Tag, 7),
        (130, Kind::Duration, 30),
        (130, Kind::Duration, 30),
        (100, Kind::Duration, 0),
        (100, Kind::Tag, MAX_PAYLOAD),
        (HUGE, Kind::Duration, MAX_PAYLOAD),
        (HUGE, Kind::Tag, 8),
        (4, Kind::Duration, 5),
        (4, Kind::Tag, 9),
        (100, Kind::Forget, 3 << 4 | why),
        (HUGE, Kind::Forget, ((1 << 42) - 1) << 4 | why),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_second_tag_has_the_tick_of_the_start() {
    let seen = recorded(|recorder, clock, _| {
        clock.0.set(5);
        let span = recorder.start(Trading::OrderFill, 1);
        recorder.tag_at(&span, 2);
        recorder.tag_at(&Token::unrecorded(), 3);
        clock.0.set(9);
        recorder.end(span, Outcome::Ok);
    });
    assert_eq!(seen, [(5, Kind::Start, 1), (5, Kind::Tag, 2), (9, Kind::EndOk, 4)]);
}

#[test]
fn a_span_is_recorded_if_the_gate_admitted_its_start() {
    let seen = recorded(|recorder, clock, gate| {
        let recorded = recorder.measure(Trading::OrderFill);
        gate.set_enabled(false);
        let unrecorded = recorder.measure(Trading::OrderFill);
        recorder.value(Trading::QueueBacklog, 1);
        recorder.duration(Trading::GcPause, 1);
        gate.set_enabled(true);
        clock.0.set(7);
        drop(unrecorded);
        drop(recorded);
    });
    assert_eq!(seen, [(0, Kind::Start, 0), (7, Kind::EndOk, 7)]);
}

/// Starts 40,000 spans with each sampling. The number of recorded ones must be within 6
/// standard deviations of the mean of a binomial distribution.
#[test]
fn sampling_records_the_requested_share_and_each_start_has_its_end() {
    for k in 1..=8_u8 {
        let (mut starts, mut last) = (0_u64, None);
        for round in 0..2_000 {
            let seen = recorded(|recorder, clock, gate| {
                // Each round has another seed: from the same seed, it would draw the same
                // sequence again.
                recorder.rng.0.set(1 + round * 77_777);
                gate.set_sampling(Trading::OrderFill.id(), k);
                for _ in 0..20 {
                    let span = recorder.measure(Trading::OrderFill);
                    clock.0.set(clock.0.get() + 1);
                    // The END must not depend on this, because the START was before it.
                    gate.set_sampling(Trading::OrderFill.id(), 0);
                    drop(span);
                    gate.set_sampling(Trading::OrderFill.id(), k);
                }
            });
            for (ticks, kind, payload) in seen {
                match kind {
                    Kind::Start => {
                        starts += 1;
                        last = Some(ticks);
                    }
                    _ => {
                        assert_eq!((kind, last.take(), payload), (Kind::EndOk, Some(ticks - 1), 1));
                    }
                }
            }
            assert_eq!(last, None, "a START has no END");
        }
        let p = 0.5_f64.powi(i32::from(k));
        let deviation = (40_000.0 * p * (1.0 - p)).sqrt();
        assert!(
            (starts as f64 - 40_000.0 * p).abs() < 6.0 * deviation,
            "1 in 2^{k}: {starts} of 40,000"
        );
    }
}

#[test]
fn the_record_of_a_sampled_value_contains_the_sampling() {
    let gate = Gate::<9>::new();
    let mut ring = Ring::<[Slot; 64]>::new();
    let (producer, mut consumer) = ring.split();
    let clock = ManualClock(Cell::new(0));
    let recorder = Recorder::new(producer, &gate, &clock);
    gate.set_sampling(Trading::QueueBacklog.id(), 2);
    let admitted = (0..40).filter(|n| recorder.value(Trading::QueueBacklog, *n)).count();
    consumer.refresh();
    let mut seen = 0;
    consumer.drain(|record| {
        assert_eq!(record.sampling(), 2);
        seen += 1;
    });
    assert_eq!(seen, admitted);
    assert!((1..30).contains(&admitted), "{admitted} of 40 at a sampling of 1 in 4");
}

#[test]
fn a_discarded_span_is_closed_once() {
    let seen = recorded(|recorder, _, _| {
        recorder.measure(Trading::OrderFill).discard();
        recorder.measure(Trading::OrderFill).end(Outcome::Cancelled);
    });
    let expected = [
        (0, Kind::Start, 0),
        (0, Kind::Forget, 0),
        (0, Kind::Start, 0),
        (0, Kind::EndCancelled, 0),
    ];
    assert_eq!(seen, expected);
}
