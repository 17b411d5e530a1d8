//! The events that the firmware measures.

use tailwatch_core::events;

events! {
    /// The work of main and of the timer interrupt.
    pub enum Work {
        /// A task of main that ends before the next timer interrupt.
        Task = 1,
        /// A task of main that is longer than the timer's period, so the timer interrupts it once.
        Interrupted = 2,
        /// The work of the timer's interrupt handler.
        Timer = 3,
    }
}
