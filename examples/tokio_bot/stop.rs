//! Ends the run before the end of the feed, by a token for tasks and a flag for threads.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// The request to stop the run. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Stop {
    /// Stops the run in order.
    pub(crate) fn now(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.token.cancel();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns the flag for threads.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Returns the token for tasks.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Makes the first interrupt stop the run in order, with its report, and the second one exit at
    /// once.
    pub(crate) fn on_interrupt(&self) -> Result<(), ctrlc::Error> {
        let stop = self.clone();
        ctrlc::set_handler(move || {
            if stop.is_set() {
                std::process::exit(130);
            }
            stop.now();
        })
    }
}
