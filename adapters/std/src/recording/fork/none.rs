//! Systems on which a process cannot fork. The models do not fork either.

use std::io;

/// Does nothing.
#[expect(clippy::unnecessary_wraps, reason = "as on systems with `fork`")]
pub(crate) fn install_handlers() -> io::Result<()> {
    Ok(())
}

/// Returns 0: there are no forks.
pub(crate) fn forks() -> usize {
    0
}
