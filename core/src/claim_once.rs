//! A claim that only one context can win, on targets without compare-and-swap.
//!
//! The method is the entry of Lamport's fast mutual exclusion (*A Fast Mutual Exclusion Algorithm*,
//! ACM TOCS 5:1, 1987), which needs only loads and stores. A claimant writes its name, checks that
//! the door is open, closes the door, and has won if the name is still its own.
//!
//! Two claimants cannot both win. Suppose that both did, and that the name of A was written before
//! the name of B. A read its own name back, so it did so before B wrote. By then A had closed the
//! door, so B found the door closed and lost. This argument needs that at least one of two
//! claimants sees what the other stored before its fence, which the two `SeqCst` fences ensure.
//!
//! | place | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `once: before the door is looked at` | a claim, fence between its name and the door, `SeqCst` | another claim, fence between the door and the name, `SeqCst` | two claims win | `at_most_one_of_two_claims_wins` |
//! | `once: before the name is looked at` | a claim, fence between the door and the name, `SeqCst` | another claim, fence between its name and the door, `SeqCst` | two claims win | `at_most_one_of_two_claims_wins` |

use core::fmt;

use crate::sync::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence_at,
};

/// Something that can be claimed once, such as one end of a ring in a `static`. All zero when new.
pub struct ClaimOnce {
    /// The name of the latest claimant that found the door open: the address of one of its locals.
    name: AtomicUsize,
    /// 0 while the door is open, 1 once it is closed.
    door: AtomicUsize,
}

impl ClaimOnce {
    /// Creates a claim that nobody has won.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "it is made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        Self { name: AtomicUsize::new(0), door: AtomicUsize::new(0) }
    }

    /// Creates a claim that nobody has won.
    #[cfg(tailwatch_loom)]
    pub fn new() -> Self {
        Self { name: AtomicUsize::new(0), door: AtomicUsize::new(0) }
    }

    /// Tries to win the claim, and returns whether this call did. Wait-free.
    ///
    /// Among calls that interrupt each other on one core, exactly one wins: if a call is
    /// interrupted before it closes the door, the interrupting call wins and the interrupted one
    /// finds the door closed or another name. Among calls that run at once on several cores, at
    /// most one wins, and possibly none.
    pub fn claim(&self) -> bool {
        self.claim_in_steps(|_| ())
    }

    /// Does the work of [`claim`](Self::claim), and calls `before` with the number of each step,
    /// from 0.
    #[inline(always)]
    fn claim_in_steps(&self, mut before: impl FnMut(u8)) -> bool {
        // The address of a local is a unique name: no two calls in progress share one.
        let local = 0_u8;
        let me = core::ptr::from_ref(&local).addr();
        before(0);
        if self.door.load(Relaxed) != 0 {
            return false;
        }
        before(1);
        self.name.store(me, Relaxed);
        before(2);
        // Paired with the fence below in another claim. Without it, two claims could each miss what
        // the other stored: both would find the door open, and their own name afterwards.
        fence_at("once: before the door is looked at", SeqCst);
        if self.door.load(Relaxed) != 0 {
            return false;
        }
        before(3);
        self.door.store(1, Relaxed);
        before(4);
        // Paired with the fence above in another claim, with the same consequence.
        fence_at("once: before the name is looked at", SeqCst);
        self.name.load(Relaxed) == me
    }

    /// Returns whether no further claim can win, because one has won or the door is closed.
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

    /// Claims, and is interrupted at step `at[0]` by another claim, which is interrupted at step
    /// `at[1]` by a third one, and so on. Counts the winners.
    fn nested(once: &ClaimOnce, at: &[u8], winners: &Cell<u32>) {
        let won = once.claim_in_steps(|step| {
            if let [first, rest @ ..] = at
                && *first == step
            {
                nested(once, rest, winners);
            }
        });
        winners.set(winners.get() + u32::from(won));
    }

    #[test]
    fn exactly_one_claim_wins_at_whatever_steps_claims_interrupt_each_other() {
        for script in 0..6_u32.pow(4) {
            // There is no step 5, so it stands for "not interrupted".
            let at: Vec<u8> =
                (0..4).map(|level| u8::try_from(script / 6_u32.pow(level) % 6).unwrap()).collect();
            let (once, winners) = (ClaimOnce::new(), Cell::new(0));
            nested(&once, &at, &winners);
            assert_eq!(winners.get(), 1, "interrupted at {at:?}");
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
