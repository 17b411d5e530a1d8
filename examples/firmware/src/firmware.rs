//! The firmware itself: main and a timer's interrupt record, idle drains, and what came of it is told.
//!
//! Four things are all that tailwatch needs of a program:
//!
//! 1. *A clock* that every context reads: the board's, in a `static`.
//! 2. *A ring for each context* that records, in a `static`: main's and the timer's. Neither waits for the other, whatever interrupts
//!    whatever, and nothing is switched off meanwhile.
//! 3. *Storage* for what is kept, sized by a [`Shape`]; it is zero when empty, and so takes no flash.
//! 4. *A call from idle*, [`Drain::run`], which takes in a bounded number of records.

use tailwatch_bare_metal::{Drain, DrainConfig, ReportItem, StaticRing};
use tailwatch_core::{Clock, Consumer, Shape, Storage, WindowSpec, storage};
#[cfg(target_arch = "riscv32")]
use tailwatch_core::{Recorder, Ring, Slot};

use crate::{
    board,
    events::Work,
    plan::{self, GATE},
};

/// The last second and the last five, in five slices each.
const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// 64 exact samples an event; histograms from 33 µs to 17 ms in steps of 41 %, which fit the smallest board.
pub const SHAPE: Shape =
    Shape { scale: 1, lowest: 15, octaves: 9, in_flight: 8, ..Shape::small(Work::ALL, &WINDOWS) };

/// Storage of that shape.
pub type Kept = storage!(SHAPE, u16);

/// What a pass takes in at the most: some ten thousand instructions.
const RECORDS_A_PASS: usize = 8;

static OF_MAIN: StaticRing<32> = StaticRing::new();

#[cfg(target_arch = "arm")]
static OF_TIMER: StaticRing<8> = StaticRing::new();

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
fn SysTick() {
    // Local to the handler, which alone uses it: safe, and without a lock.
    static mut RECORDER: Option<plan::BoardRecorder<'static>> = None;
    board::interrupted();
    if RECORDER.is_none() {
        *RECORDER = OF_TIMER.take_recorder(&GATE, board::clock()).ok();
    }
    if let Some(recorder) = RECORDER {
        plan::timer(recorder, board::interrupts());
    }
}

#[cfg(target_arch = "arm")]
fn of_timer() -> Option<Consumer<'static>> {
    OF_TIMER.take_consumer().ok()
}

#[cfg(target_arch = "riscv32")]
static OF_TIMER: Ring<[Slot; 8]> = Ring::new();

#[cfg(target_arch = "riscv32")]
#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn machine_timer() {
    board::interrupted();
    // This runtime's handlers keep nothing, so the ring is attached anew each time, which is a few loads. Nobody else attaches.
    let ring: &Ring = &OF_TIMER;
    plan::timer(&Recorder::new(ring.attach_producer(), &GATE, board::clock()), board::interrupts());
}

#[cfg(target_arch = "riscv32")]
fn of_timer() -> Option<Consumer<'static>> {
    let ring: &Ring = &OF_TIMER;
    Some(ring.attach_consumer())
}

/// Records for half a second and tells what came of it; waits until the shorter window has forgotten it, and tells again.
///
/// # Errors
/// If it is called twice, or what is configured does not fit.
pub fn run(
    storage: impl Storage,
    mut tell: impl FnMut(&str, &ReportItem),
) -> Result<(), &'static str> {
    let clock = board::clock();
    let recorder = OF_MAIN.take_recorder(&GATE, clock).map_err(|_| "main's ring is taken")?;
    let config = DrainConfig {
        shape: SHAPE,
        windows: &WINDOWS,
        events: Work::ALL,
        clock,
        gate: &GATE,
        rings: [
            OF_MAIN.take_consumer().map_err(|_| "main's ring is drained by another")?,
            of_timer().ok_or("the timer's ring is drained by another")?,
        ],
        transitions: None,
    };
    let mut drain =
        Drain::new(config, storage).map_err(|_| "shape, windows, events and storage do not fit")?;
    if !board::start() {
        return Err("the timer is taken");
    }

    // Idle: drain as long as there is something to, then sleep until the timer interrupts.
    let mut seen = 0;
    let mut idle = |drain: &mut Drain<'_, _, _, { plan::IDS }, 2>| {
        while drain.run(RECORDS_A_PASS).has_more {}
        while board::interrupts() == seen {
            board::wait();
        }
        seen = board::interrupts();
    };
    for round in 0..plan::ROUNDS {
        idle(&mut drain);
        plan::round(&recorder, round);
    }
    while board::interrupts() <= plan::TIMER_SPANS {
        idle(&mut drain);
    }
    drain.report(|item| tell("first", item));

    let (from, long) = (clock.start(), clock.rate().hz() * 3 / 2);
    while clock.start() - from < long {
        idle(&mut drain);
    }
    drain.report(|item| tell("later", item));
    Ok(())
}
