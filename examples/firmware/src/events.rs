//! The events that the firmware measures.

use tailwatch_core::events;

events! {
    /// The work of main and of the timer interrupt.
    pub enum Work {
        /// A task of main that is too short to be interrupted.
        Task = 1,
        /// A task of main that is longer than the timer's period, so one interrupt occurs during
        /// it.
        Interrupted = 2,
        /// The work of the timer interrupt.
        Timer = 3,
    }
}
