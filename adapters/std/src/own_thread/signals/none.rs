//! Systems without signals that a thread can block.

/// Calls `spawn`.
pub(super) fn while_blocked<T>(spawn: impl FnOnce() -> T) -> T {
    spawn()
}
