//! The plan of what is recorded. `.ci/check_firmware.py` contains the same plan, and compares the
//! report with it.

use tailwatch_core::{Gate, Recorder};

use crate::{board::Clock, events::Work, work::execute};

/// The size of the gate: one byte for the master switch and one for each event.
pub const IDS: usize = 4;

/// The recorder of main or of the timer interrupt.
pub type BoardRecorder<'r> = Recorder<'r, Clock, IDS>;

/// The gate. It is open, so every event is recorded.
pub static GATE: Gate<IDS> = Gate::new();

/// The number of timer interrupts that record a span.
pub const TIMER_SPANS: u32 = 60;

/// The number of rounds of main. Each begins at an interrupt.
pub const ROUNDS: u32 = 50;

/// The number of tasks of main in a round. Every tenth round has one interrupted task instead.
const TASKS: u32 = 3;

/// Does the work of the timer interrupt with this number, which counts from 1.
pub fn timer(recorder: &BoardRecorder<'_>, number: u32) {
    if number > TIMER_SPANS {
        return;
    }
    let extra = if cfg!(feature = "one-wrong-length") && number == 17 { 400 } else { 0 };
    let _span = recorder.measure_tagged(Work::Timer, u64::from(number));
    execute(800 + 200 * (number * 7 % 60) + extra);
}

/// Does the round of main with this number, which counts from 0.
pub fn round(recorder: &BoardRecorder<'_>, number: u32) {
    if number % 10 == 9 {
        let _span = recorder.measure(Work::Interrupted);
        execute(70_000);
        return;
    }
    for task in 0..TASKS {
        let task = (number - number / 10) * TASKS + task;
        let _span = recorder.measure_tagged(Work::Task, u64::from(task));
        execute(1_000 + 50 * (task * 37 % 135));
    }
}
