//! What the firmware records: which spans, and how long each of them is. `.ci/check_firmware.py`
//! contains the same plan, and compares the report with it.

use tailwatch_core::{Gate, Recorder};

use crate::{board::Clock, events::Work, work::execute};

/// The size of the gate: one byte for the master switch and one for each event.
pub const IDS: usize = 4;

/// The recorder of main or of the timer interrupt.
pub type BoardRecorder<'r> = Recorder<'r, Clock, IDS>;

/// The gate, which can switch events off. All events are on, so every span is recorded.
pub static GATE: Gate<IDS> = Gate::new();

/// The number of timer interrupts that record a span.
pub const TIMER_SPANS: u32 = 60;

/// The number of rounds of main. Each round begins after a timer interrupt.
pub const ROUNDS: u32 = 50;

/// The number of tasks of main in a round. Every tenth round has a single task instead, which the
/// timer interrupts.
const TASKS: u32 = 3;

/// Does the work of the timer's interrupt handler in its run with this number, which counts from 1.
pub fn timer(recorder: &BoardRecorder<'_>, number: u32) {
    if number > TIMER_SPANS {
        return;
    }
    let extra = if cfg!(feature = "one-wrong-length") && number == 17 { 400 } else { 0 };
    let _span = recorder.measure_tagged(Work::Timer, u64::from(number));
    // 7 and 60 have no common divisor, so each of the 60 spans has another length.
    execute(800 + 200 * (number * 7 % 60) + extra);
}

/// Does the work of main in the round with this number, which counts from 0.
pub fn round(recorder: &BoardRecorder<'_>, number: u32) {
    if number % 10 == 9 {
        let _span = recorder.measure(Work::Interrupted);
        // More than the 64,000 instructions from one interrupt to the next.
        execute(70_000);
        return;
    }
    for task in 0..TASKS {
        // The number of the task among all tasks: `number / 10` of the earlier rounds had none.
        let task = (number - number / 10) * TASKS + task;
        let _span = recorder.measure_tagged(Work::Task, u64::from(task));
        // 37 and 135 have no common divisor, so each of the 135 tasks has another length.
        execute(1_000 + 50 * (task * 37 % 135));
    }
}
