//! What is recorded: `.ci/check_firmware.py` knows the same, and compares what the firmware tells with it.

use tailwatch_core::{Gate, Recorder};

use crate::{board::Clock, events::Work, work::execute};

/// One word for the master switch and one for each event.
pub const IDS: usize = 4;

/// A recorder of either context.
pub type BoardRecorder<'r> = Recorder<'r, Clock, IDS>;

/// What decides whether an event is recorded: everything is.
pub static GATE: Gate<IDS> = Gate::new();

/// Interrupts of the timer that record.
pub const TIMER_SPANS: u32 = 60;

/// Rounds of main, each of which begins at an interrupt.
pub const ROUNDS: u32 = 50;

/// In every round but the tenth, main has so many tasks.
const TASKS: u32 = 3;

/// What the timer's interrupt of this number does, which counts from 1.
pub fn timer(recorder: &BoardRecorder<'_>, number: u32) {
    if number > TIMER_SPANS {
        return;
    }
    let wrong = if cfg!(feature = "one-wrong-length") && number == 17 { 400 } else { 0 };
    let _span = recorder.measure_tagged(Work::Timer, u64::from(number));
    execute(800 + 200 * (number * 7 % 60) + wrong);
}

/// Main's round of this number, which counts from 0.
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
