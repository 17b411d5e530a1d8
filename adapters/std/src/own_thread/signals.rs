//! Which signals the threads of the library take: none that another thread could take.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals that the threads of the library do not block.
///
/// A fault of a thread raises all but the last of them on the thread itself. If they were blocked,
/// the kernel would end the process without calling the program's handlers. Profilers sample the
/// running thread by the last one.
const NOT_BLOCKED: [Signal; 8] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGABRT,
    Signal::SIGPROF,
];

/// Calls `spawn` while the current thread blocks signals. A thread inherits this from the one that
/// starts it, so it never runs without.
pub(super) fn while_blocked<T>(spawn: impl FnOnce() -> T) -> T {
    /// Restores the signals that the thread blocked before, even if `spawn` panics.
    struct Restore(Option<SigSet>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                // This cannot fail, because the set is valid.
                let _ = before.thread_set_mask();
            }
        }
    }
    let mut blocked = SigSet::all();
    for signal in NOT_BLOCKED {
        blocked.remove(signal);
    }
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok());
    spawn()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_blocks_signals_and_the_one_that_starts_it_does_not() {
        let before = SigSet::thread_get_mask().unwrap();
        let spawned = while_blocked(|| thread::spawn(|| SigSet::thread_get_mask().unwrap()));
        let mask = spawned.join().unwrap();
        for signal in Signal::iterator() {
            let is_fixed = matches!(signal, Signal::SIGKILL | Signal::SIGSTOP);
            let is_blocked = !is_fixed && !NOT_BLOCKED.contains(&signal);
            assert_eq!(mask.contains(signal), is_blocked, "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
