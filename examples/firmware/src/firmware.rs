//! The firmware: main and a timer interrupt record spans, the idle loop drains the records, and a
//! report is emitted twice.
//!
//! A program that uses tailwatch needs four things:
//!
//! 1. A *clock* that every context reads. This example uses the clock of the board.
//! 2. A *ring* for each context that records, in a `static`. The contexts of this example are main
//!    and the timer's interrupt handler. Neither waits for the other, and interrupts are never
//!    disabled.
//! 3. *Storage* for the statistics: a type that [`storage!`] declares, whose size follows from a
//!    [`Shape`]. It is all zero at first, so it takes no flash.
//! 4. A call of [`Drain::run`] *in the idle loop*. Each call reads a bounded number of records from
//!    the rings.

use tailwatch_bare_metal::{Drain, DrainConfig, ReportItem, StaticRing};
use tailwatch_core::{Clock, Consumer, Shape, Storage, WindowSpec, storage};
#[cfg(target_arch = "riscv32")]
use tailwatch_core::{Recorder, Ring, Slot};

use crate::{
    board,
    events::Work,
    plan::{self, GATE},
};

/// Windows of one second and of five seconds. Each moves forward in five steps (*slices*) per
/// length.
const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// The capacities of the storage: 64 exact samples per event, and histograms from 31 µs to 16 ms
/// whose bucket bounds are 41 % apart. This fits into the memory of the smallest board.
pub const SHAPE: Shape =
    Shape { scale: 1, lowest: 15, octaves: 9, in_flight: 8, ..Shape::small(Work::ALL, &WINDOWS) };

storage! {
    /// Storage with this shape, whose histograms have 16-bit counters.
    pub Memory: SHAPE, u16
}

/// The largest number of records per pass, which bounds a pass to about ten thousand instructions.
const RECORDS_PER_PASS: usize = 8;

static MAIN_RING: StaticRing<32> = StaticRing::new();

#[cfg(target_arch = "arm")]
static TIMER_RING: StaticRing<8> = StaticRing::new();

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
fn SysTick() {
    // A `static mut` that is declared in a handler can only be used by the handler. `cortex-m-rt`
    // therefore turns it into a `&mut` that is safe to use.
    static mut RECORDER: Option<plan::BoardRecorder<'static>> = None;
    board::on_interrupt();
    if RECORDER.is_none() {
        *RECORDER = TIMER_RING.take_recorder(&GATE, board::clock()).ok();
    }
    if let Some(recorder) = RECORDER {
        plan::timer(recorder, board::interrupts());
    }
}

#[cfg(target_arch = "arm")]
fn timer_consumer() -> Option<Consumer<'static>> {
    TIMER_RING.take_consumer().ok()
}

#[cfg(target_arch = "riscv32")]
static TIMER_RING: Ring<[Slot; 8]> = Ring::new();

#[cfg(target_arch = "riscv32")]
#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn machine_timer() {
    board::on_interrupt();
    // `riscv-rt` has no safe way to keep a variable in a handler, so the handler attaches a
    // producer to the ring each time, which takes a few loads. No other code attaches a producer to
    // this ring.
    let ring: &Ring = &TIMER_RING;
    plan::timer(&Recorder::new(ring.attach_producer(), &GATE, board::clock()), board::interrupts());
}

#[cfg(target_arch = "riscv32")]
fn timer_consumer() -> Option<Consumer<'static>> {
    let ring: &Ring = &TIMER_RING;
    Some(ring.attach_consumer())
}

/// Records for half a second, and emits a report. Then waits until the samples have left the
/// shorter window, and emits a second report.
///
/// `emit` is called for each item. Its first argument is the report to which the item belongs:
/// `"first"` or `"later"`.
///
/// # Errors
///
/// Returns an error if the function is called a second time, or if windows, events and storage do
/// not fit together.
pub fn run(
    storage: impl Storage,
    mut emit: impl FnMut(&str, &ReportItem),
) -> Result<(), &'static str> {
    let clock = board::clock();
    let recorder = MAIN_RING.take_recorder(&GATE, clock).map_err(|_| "main's ring is taken")?;
    let config = DrainConfig {
        windows: &WINDOWS,
        events: Work::ALL,
        clock,
        gate: &GATE,
        rings: [
            MAIN_RING.take_consumer().map_err(|_| "main's ring already has a drain")?,
            timer_consumer().ok_or("the timer's ring already has a drain")?,
        ],
        changes: None,
    };
    let mut drain =
        Drain::new(config, storage).map_err(|_| "windows, events and storage do not fit")?;
    if !board::start_timer() {
        return Err("the timer is already in use");
    }

    // The idle loop: drain while records are left, then sleep until the timer interrupts.
    let mut seen_interrupts = 0;
    let mut idle = |drain: &mut Drain<'_, _, _, { plan::IDS }, 2>| {
        while drain.run(RECORDS_PER_PASS).has_more {}
        while board::interrupts() == seen_interrupts {
            board::wait_for_interrupt();
        }
        seen_interrupts = board::interrupts();
    };
    for round in 0..plan::ROUNDS {
        idle(&mut drain);
        plan::round(&recorder, round);
    }
    while board::interrupts() <= plan::TIMER_SPANS {
        idle(&mut drain);
    }
    drain.report(|item| emit("first", item));

    // Wait for 1.5 s, which is longer than the shorter window.
    let (start, pause) = (clock.start(), clock.rate().hz() * 3 / 2);
    while clock.start() - start < pause {
        idle(&mut drain);
    }
    drain.report(|item| emit("later", item));
    Ok(())
}
