//! A claim that only one context can win, on targets without compare-and-swap.
//!
//! A *context* is a thread, a task or an interrupt handler, and a *claimant* is a call of
//! [`ClaimOnce::claim`]. The method is the entry of Lamport's fast mutual exclusion (*A Fast Mutual
//! Exclusion Algorithm*, ACM TOCS 5:1, 1987), which needs only loads and stores. Two words are
//! shared: a name, and a *door* that is open until a claimant closes it. A claimant
//!
//! 0. gives up if the door is already closed,
//! 1. writes its name,
//! 2. gives up if the door is closed now,
//! 3. closes the door,
//! 4. and has won if the name is still its own.
//!
//! Two claimants A and B cannot both win. Suppose that A writes its name before B does. A wins only
//! if it reads its own name back in step 4, and so does not see what B writes in step 1. The
//! `SeqCst` fences after step 1 and before step 4 have a total order. In this order, A's fence
//! before step 4 must precede B's fence after step 1: otherwise A would see B's name. So B, after
//! its fence, sees that A has closed the door, which A did before its own fence. B gives up in step
//! 2.
//!
//! Step 0 is not in Lamport's algorithm, and the proof does not need it. It matters for claimants
//! that interrupt each other. Suppose that B interrupts A after step 3 and runs to its end before A
//! continues. If B wrote its name, A would not find its own in step 4, and neither would win.
//! Because of step 0, B gives up without writing its name.
//!
//! Each row of the table describes one of the two fences: its label in the source (`name`), the
//! fence of the other claimant that it is paired with (`partner`), and the test in `tests/loom.rs`
//! that fails if the fence is weakened (`model`).
//!
//! | name | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `once: before the door is looked at` | a claim, fence between its name and the door, `SeqCst` | another claim, fence between the door and the name, `SeqCst` | two claims win | `at_most_one_of_two_claims_wins` |
//! | `once: before the name is looked at` | a claim, fence between the door and the name, `SeqCst` | another claim, fence between its name and the door, `SeqCst` | two claims win | `at_most_one_of_two_claims_wins` |

use core::fmt;

use crate::sync::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence_at,
};

/// Lets one context claim something that only one may have, such as the producer of a ring in a
/// `static`. All zero when new.
pub struct ClaimOnce {
    /// The name that was written last, which is the address of a local variable of its claimant. 0
    /// before the first claim.
    name: AtomicUsize,
    /// 0 while the door is open, 1 once it is closed.
    door: AtomicUsize,
}

impl ClaimOnce {
    /// Creates the state before the first claim: the door is open.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self { name: AtomicUsize::new(0), door: AtomicUsize::new(0) }
    }

    /// Creates the state before the first claim: the door is open.
    #[cfg(tailwatch_loom)]
    pub fn new() -> Self {
        Self { name: AtomicUsize::new(0), door: AtomicUsize::new(0) }
    }

    /// Tries to claim the thing, and returns whether this call has won. At most one call ever wins.
    /// Wait-free.
    ///
    /// - If no two calls overlap, the first one wins.
    /// - If calls are *nested*, as those of interrupt handlers are, exactly one wins. A nested call
    ///   begins and ends while the call that it interrupts stands still.
    /// - If calls of several threads overlap in any other way, on one core or several, possibly
    ///   none wins. All later calls fail, too.
    // Nested calls: one that interrupts another before the door is closed wins, unless a further
    // call interrupts it in the same way and wins instead. The interrupted call then finds the door
    // closed or a name that is not its own. One that interrupts another later gives up and leaves
    // the name unchanged, so the interrupted call is not affected.
    pub fn claim(&self) -> bool {
        self.claim_in_steps(|_| ())
    }

    /// Does the work of [`claim`](Self::claim). Calls `before_access` before each access to the
    /// shared words, with the number of the access from 0. A test uses that to interrupt the call.
    #[inline(always)]
    fn claim_in_steps(&self, mut before_access: impl FnMut(u8)) -> bool {
        // The address of a local variable is a unique name: no two calls in progress share it.
        let local = 0_u8;
        let own_name = core::ptr::from_ref(&local).addr();
        before_access(0);
        // Step 0. This call may have interrupted the claimant that closed the door. If it wrote its
        // name, that claimant would no longer find its own, and none would win.
        if self.door.load(Relaxed) != 0 {
            return false;
        }
        before_access(1);
        self.name.store(own_name, Relaxed);
        before_access(2);
        // Paired with the fence below in another claim. Without this fence, two claims could each
        // miss what the other stored: both would find the door open, and later their own name.
        fence_at("once: before the door is looked at", SeqCst);
        if self.door.load(Relaxed) != 0 {
            return false;
        }
        before_access(3);
        self.door.store(1, Relaxed);
        before_access(4);
        // Paired with the fence above in another claim. Without this fence, too, two claims could
        // each miss what the other stored, and both win.
        fence_at("once: before the name is looked at", SeqCst);
        self.name.load(Relaxed) == own_name
    }

    /// Returns whether a call of [`claim`](Self::claim) has closed the door. No call that begins
    /// later can win then. This does not mean that one has won: the call that closed the door may
    /// still be running, and if threads raced, possibly none has won.
    pub fn is_claimed(&self) -> bool {
        self.door.load(Relaxed) != 0
    }
}

impl fmt::Debug for ClaimOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimOnce").field("is_claimed", &self.is_claimed()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::cell::Cell;
    use std::{sync::Barrier, vec::Vec};

    use super::*;

    /// Makes a claim that is interrupted before its access number `interrupt_at[0]` by a second
    /// claim, which is interrupted before its access number `interrupt_at[1]` by a third claim, and
    /// so on. Counts the winners.
    fn nested_claims(once: &ClaimOnce, interrupt_at: &[u8], winners: &Cell<u32>) {
        let won = once.claim_in_steps(|access| {
            if let [first, rest @ ..] = interrupt_at
                && *first == access
            {
                nested_claims(once, rest, winners);
            }
        });
        winners.set(winners.get() + u32::from(won));
    }

    #[test]
    fn exactly_one_of_several_nested_claims_wins() {
        // Each digit to base 6 is the access at which one claim is interrupted. There is no access
        // 5, so this digit stands for "not interrupted".
        for digits in 0..6_u32.pow(4) {
            let interrupt_at: Vec<u8> =
                (0..4).map(|level| u8::try_from(digits / 6_u32.pow(level) % 6).unwrap()).collect();
            let (once, winners) = (ClaimOnce::new(), Cell::new(0));
            nested_claims(&once, &interrupt_at, &winners);
            assert_eq!(winners.get(), 1, "interrupted at {interrupt_at:?}");
            assert!(!once.claim() && once.is_claimed());
        }
    }

    #[test]
    fn at_most_one_of_two_threads_wins() {
        for _ in 0..2_000 {
            let (once, barrier) = (ClaimOnce::new(), Barrier::new(2));
            let claim = || {
                barrier.wait();
                u32::from(once.claim())
            };
            let winners = std::thread::scope(|scope| {
                let other = scope.spawn(claim);
                claim() + other.join().unwrap()
            });
            assert!(winners <= 1);
        }
    }
}
