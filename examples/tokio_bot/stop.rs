//! The end of the run before the feed's: told to tasks by a token, to threads by a flag.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Whether the run is to end. Copies are of the same run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Stop {
    /// Ends the run, in order.
    pub(crate) fn now(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.token.cancel();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// For threads.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// For tasks.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The first interrupt ends the run in order, with its report; the second one ends it at once.
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
