//! Single spans and values, for counting the cache lines that each touches: `python3
//! .ci/check_cache_lines.py` runs this program under valgrind and follows the trace of its memory
//! accesses.
//!
//! Each row is a function that records once. The program prints the rows with the addresses of
//! their functions, then calls each function a few times, in the same order. Between a call and its
//! return, the trace shows exactly what a single span touches.

use core::{error::Error, hint::black_box};
use std::io::{self, Write};

use tailwatch::{
    Builder, ClockMode, Collector, EventId, EventInfo, Outcome, Unit, measure,
    measure_cancel_on_drop, measure_tagged, record_value,
};

/// How often each row is recorded. The first time reserves records in the ring, and 64 records are
/// reserved at once, so the others do not.
const TIMES: usize = 8;

/// Spans whose byte of the gate is in the first line of the recorder, in its second line, and in
/// the gate.
const LOW: EventId = id(3);
const MIDDLE: EventId = id(79);
const HIGH: EventId = id(2_047);
const VALUE: EventId = id(4);

const fn id(number: u16) -> EventId {
    EventId::new(number).expect("a valid id")
}

#[inline(never)]
fn guard() {
    let _span = measure(LOW);
    black_box(());
}

#[inline(never)]
fn guard_tagged() {
    let _span = measure_tagged(LOW, black_box(4_711));
    black_box(());
}

#[inline(never)]
fn guard_middle_id() {
    let _span = measure(MIDDLE);
    black_box(());
}

#[inline(never)]
fn guard_high_id() {
    let _span = measure(HIGH);
    black_box(());
}

tailwatch::events! {
    /// Events whose numbers the collector assigns.
    enum Library {
        First,
        Second,
    }
}

#[inline(never)]
fn guard_assigned_id() {
    let _span = measure(Library::Second);
    black_box(());
}

#[inline(never)]
fn guard_unknown_id() {
    let _span = measure(black_box(LOW));
    black_box(());
}

#[inline(never)]
fn guard_send() {
    let span = measure_cancel_on_drop(LOW);
    black_box(());
    span.end(Outcome::Ok);
}

#[inline(never)]
fn value() {
    record_value(VALUE, 7);
}

/// The rows of a collector that records.
const RECORDED: [(&str, fn()); 8] = [
    ("guard", guard),
    ("guard_tagged", guard_tagged),
    ("guard_middle_id", guard_middle_id),
    ("guard_high_id", guard_high_id),
    ("guard_assigned_id", guard_assigned_id),
    ("guard_unknown_id", guard_unknown_id),
    ("guard_send", guard_send),
    ("value", value),
];

fn builder(mode: ClockMode) -> Builder {
    let events = [
        EventInfo::new(LOW, "low"),
        EventInfo { unit: Unit::One, ..EventInfo::new(VALUE, "value") },
        EventInfo::new(MIDDLE, "middle"),
        EventInfo::new(HIGH, "high"),
    ];
    Collector::builder()
        .ignore_environment()
        .manual_drain()
        .rings(1)
        .clock_mode(mode)
        .events(&events)
        .events(Library::ALL)
}

fn run(rows: &[(&str, fn())], mode: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, function) in rows {
        writeln!(out, "{name}/{mode} {:p} {TIMES}", *function)?;
    }
    out.flush()?;
    for (_, function) in rows {
        for _ in 0..TIMES {
            black_box(function)();
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let local = 0_u8;
    println!("stack {:p}", &raw const local);
    black_box(Library::First);
    for (mode, name) in [(ClockMode::Relaxed, "relaxed"), (ClockMode::Ordered, "ordered")] {
        let collector = builder(mode).start()?;
        collector.register_thread("counted")?;
        run(&RECORDED, name)?;
        collector.flush();
        let expected = (RECORDED.len() * 2 - 1) * TIMES;
        assert_eq!(collector.health().produced, expected as u64, "everything is recorded");
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        {
            let shared = builder(mode).share("tailwatch-cache-lines").start()?;
            shared.register_thread("counted")?;
            run(&[("shared", guard)], name)?;
            collector.register_thread("counted")?;
        }
        if mode == ClockMode::Relaxed {
            collector.set_enabled(false);
            run(&[("disabled", guard)], name)?;
        }
    }
    Ok(())
}
