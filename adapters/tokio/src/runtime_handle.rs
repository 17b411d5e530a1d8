//! Looks up the runtime on which a task is started.

use core::{panic::AssertUnwindSafe, time::Duration};
use std::panic::catch_unwind;

use tokio::{runtime::Handle, time::sleep};

use crate::SpawnError;

/// Returns a handle to the current runtime, or an error if there is none or if it has no timers.
pub(crate) fn current() -> Result<Handle, SpawnError> {
    let runtime = Handle::try_current().map_err(SpawnError::NoRuntime)?;
    // Creating a timer on a runtime without timers panics, and tokio has no other way to check for
    // them. Panicking here is better than in the task, where nobody would notice.
    let timers = catch_unwind(AssertUnwindSafe(|| drop(sleep(Duration::ZERO))));
    timers.map_err(|_| SpawnError::NoTimers)?;
    Ok(runtime)
}
