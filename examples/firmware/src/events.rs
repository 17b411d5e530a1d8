//! What the firmware measures.

use tailwatch_core::events;

events! {
    /// The events of main and of the timer.
    pub enum Work {
        /// A task of main that no interrupt falls into.
        Task = 1,
        /// A task of main that lasts for more than the timer's period, so that one interrupt falls into it.
        Interrupted = 2,
        /// What the timer's interrupt does.
        Timer = 3,
    }
}
