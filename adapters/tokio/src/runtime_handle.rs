//! The runtime that a task is started on.

use core::{panic::AssertUnwindSafe, time::Duration};
use std::panic::catch_unwind;

use tokio::{runtime::Handle, time::sleep};

use crate::SpawnError;

/// The current runtime, whose timers work.
pub(crate) fn current() -> Result<Handle, SpawnError> {
    let runtime = Handle::try_current().map_err(SpawnError::NoRuntime)?;
    // There is no other way to ask: without timers, to make one panics. Better here than in the task, where nobody would notice.
    let timers = catch_unwind(AssertUnwindSafe(|| drop(sleep(Duration::ZERO))));
    timers.map_err(|_| SpawnError::NoTimers)?;
    Ok(runtime)
}
