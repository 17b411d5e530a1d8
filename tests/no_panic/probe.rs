//! Functions that record in every way. `no_panic.rs` searches their machine code for paths to a
//! panic.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tailwatch::{
    Clock, Collector, EventId, Outcome, Record, TickRate, Token, Trading,
    tailwatch_core::{Producer, Recorder},
};

// The functions that record through the std adapter.
#[path = "../off/probe.rs"]
mod std_adapter;

/// A clock that cannot panic.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Clock for Counter {
    fn start(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
    fn rate(&self) -> TickRate {
        TickRate::NANOSECONDS
    }
}

type Core<'r> = Recorder<'r, Counter, 9>;

#[unsafe(no_mangle)]
extern "C" fn core_guard(recorder: &Core<'_>, event: &EventId) {
    drop(recorder.measure(*event));
}

#[unsafe(no_mangle)]
extern "C" fn core_tagged(recorder: &Core<'_>, tag: u64) {
    recorder.measure_tagged(Trading::OrderFill, tag).end(Outcome::Error);
}

#[unsafe(no_mangle)]
extern "C" fn core_discard(recorder: &Core<'_>) {
    recorder.measure(Trading::OrderFill).discard();
}

#[unsafe(no_mangle)]
extern "C" fn core_start(recorder: &Core<'_>, event: &EventId, token: &mut Token) {
    *token = recorder.start(*event, 7);
}

#[unsafe(no_mangle)]
extern "C" fn core_end(recorder: &Core<'_>, token: &mut Token, tick: u64) {
    let take = |token: &mut Token| core::mem::replace(token, Token::unrecorded());
    recorder.end(take(token), Outcome::Cancelled);
    if !recorder.try_end_at(token, Outcome::Ok, tick) {
        recorder.end_at(take(token), Outcome::Ok, tick);
    }
    recorder.discard(take(token));
}

#[unsafe(no_mangle)]
extern "C" fn core_number(recorder: &Core<'_>, event: &EventId, number: u64) -> bool {
    recorder.value(*event, number) | recorder.duration(*event, number)
}

#[unsafe(no_mangle)]
extern "C" fn core_interval(recorder: &Core<'_>, event: &EventId, token: &Token, ticks: &[u64; 3]) {
    let [start, tag, now] = *ticks;
    recorder.interval_at(*event, 3, start, tag, now);
    recorder.duration_tagged_at(*event, 0, start, tag, now);
    recorder.tag_at(token, tag);
}

#[unsafe(no_mangle)]
extern "C" fn core_push(producer: &Producer<'_>, time: u64, rest: u64) {
    producer.push(Record::from_words([time, rest]));
}

/// Starts a collector, so that the archive has the functions to which collectors point.
#[unsafe(no_mangle)]
extern "C" fn with_collector() -> bool {
    Collector::builder().start().is_ok_and(|collector| collector.install().is_ok())
}

/// Panics if `index` is out of bounds, which the check must find.
#[unsafe(no_mangle)]
extern "C" fn core_that_panics(recorder: &Core<'_>, values: &&[u64], index: usize) {
    recorder.value(Trading::QueueBacklog, values[index]);
}
