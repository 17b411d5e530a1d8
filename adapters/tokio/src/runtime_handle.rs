//! Finds the tokio runtime on which the functions of this crate start their tasks.

use core::{panic::AssertUnwindSafe, time::Duration};
use std::panic::catch_unwind;

use tokio::{runtime::Handle, time::sleep};

use crate::SpawnError;

/// Returns a handle to the runtime in whose context this function is called. Returns an error if
/// there is no such runtime, or if the runtime was built without timers.
pub(crate) fn current() -> Result<Handle, SpawnError> {
    let runtime = Handle::try_current().map_err(SpawnError::NoRuntime)?;
    // Creating a timer on a runtime without timers panics, and tokio offers no other way to check
    // for timers. The panic is caught here and becomes an error. Without this check, the new task
    // would panic, which nobody would notice.
    let timer = catch_unwind(AssertUnwindSafe(|| drop(sleep(Duration::ZERO))));
    timer.map_err(|_| SpawnError::NoTimers)?;
    Ok(runtime)
}
