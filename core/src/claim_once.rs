//! A claim that one context makes good, on targets without compare-and-swap.
//!
//! The method is the way in of Lamport's fast mutual exclusion (*A Fast Mutual Exclusion Algorithm*, ACM TOCS 5:1, 1987), which has
//! loads and stores alone: who finds its own name still there, after it has closed the door behind itself, is the only one who did.
//!
//! Two claims can both be made good only if one finds the door open after it stored its name, and the other its own name after it
//! closed the door: each would have missed what the other stored before it looked.
//!
//! | place | is | its partner | without it | model |
//! |---|---|---|---|---|
//! | `once: before the door is looked at` | a claim, fence between its name and the door, `SeqCst` | another claim, fence between the door and the name, `SeqCst` | two get it | `one_alone_gets_it` |
//! | `once: before the name is looked at` | a claim, fence between the door and the name, `SeqCst` | another claim, fence between its name and the door, `SeqCst` | two get it | `one_alone_gets_it` |

use core::fmt;

use crate::sync::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence_at,
};

/// Something that is given out once. All zero until then.
pub struct Once {
    /// Who came last before the door was closed.
    name: AtomicUsize,
    /// Not 0 once the door is closed.
    closed: AtomicUsize,
}

impl Once {
    /// Not given out yet.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        Self { name: AtomicUsize::new(0), closed: AtomicUsize::new(0) }
    }

    /// Not given out yet.
    #[cfg(tailwatch_loom)]
    pub fn new() -> Self {
        Self { name: AtomicUsize::new(0), closed: AtomicUsize::new(0) }
    }

    /// Whether this call is the one that gets it: wait-free.
    ///
    /// Of contexts that interrupt each other on one core exactly one does: whoever is interrupted finds another name, or the door
    /// closed, by one that ran to its end. Of several cores at once at most one does, maybe none.
    pub fn claim(&self) -> bool {
        self.claim_with(|_| ())
    }

    /// The same; `between` is called between any two steps.
    #[inline(always)]
    fn claim_with(&self, mut between: impl FnMut(u8)) -> bool {
        // No two calls that are under way have a variable at the same address.
        let mark = 0_u8;
        let me = core::ptr::from_ref(&mark).addr();
        between(0);
        if self.closed.load(Relaxed) != 0 {
            return false;
        }
        between(1);
        self.name.store(me, Relaxed);
        between(2);
        fence_at("once: before the door is looked at", SeqCst);
        if self.closed.load(Relaxed) != 0 {
            return false;
        }
        between(3);
        self.closed.store(1, Relaxed);
        between(4);
        fence_at("once: before the name is looked at", SeqCst);
        self.name.load(Relaxed) == me
    }

    /// Whether somebody got it, or nobody ever will.
    pub fn is_claimed(&self) -> bool {
        self.closed.load(Relaxed) != 0
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("is_claimed", &self.is_claimed()).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::cell::Cell;
    use std::{sync::Barrier, vec::Vec};

    use super::*;

    /// Claims, and is interrupted at the step `at[0]` by one that claims and is interrupted at `at[1]`, and so on.
    fn nested(once: &Once, at: &[u8], winners: &Cell<u32>) {
        let won = once.claim_with(|step| {
            if let [first, rest @ ..] = at
                && *first == step
            {
                nested(once, rest, winners);
            }
        });
        winners.set(winners.get() + u32::from(won));
    }

    #[test]
    fn of_interrupts_that_come_at_any_step_of_each_other_exactly_one_gets_it() {
        for script in 0..6_u32.pow(4) {
            // 5 is no step: no interrupt.
            let at: Vec<u8> =
                (0..4).map(|level| u8::try_from(script / 6_u32.pow(level) % 6).unwrap()).collect();
            let (once, winners) = (Once::new(), Cell::new(0));
            nested(&once, &at, &winners);
            assert_eq!(winners.get(), 1, "interrupted at {at:?}");
            assert!(!once.claim() && once.is_claimed());
        }
    }

    #[test]
    fn of_threads_on_several_cores_no_two_get_it() {
        for _ in 0..2_000 {
            let (once, barrier) = (Once::new(), Barrier::new(2));
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
