//! A claim that one context makes good, on targets without compare-and-swap.

use tailwatch_core::sync::{AtomicUsize, Ordering::SeqCst};

/// Something that is given out once. All zero until then.
///
/// The method is the way in of Lamport's fast mutual exclusion (*A Fast Mutual Exclusion Algorithm*, ACM TOCS 5:1, 1987), which has
/// loads and stores alone: who finds its own name still there, after it has closed the door behind itself, is the only one who did.
pub(crate) struct Once {
    /// Who came last before the door was closed.
    name: AtomicUsize,
    /// Not 0 once the door is closed.
    closed: AtomicUsize,
}

impl Once {
    pub(crate) const fn new() -> Self {
        Self { name: AtomicUsize::new(0), closed: AtomicUsize::new(0) }
    }

    /// Whether this call is the one that gets it: wait-free.
    ///
    /// Of contexts that interrupt each other on one core exactly one does: whoever is interrupted finds another name, or the door
    /// closed, by one that ran to its end. Of several cores at once at most one does, maybe none.
    pub(crate) fn claim(&self) -> bool {
        self.claim_with(|_| ())
    }

    /// The same; `between` is called between any two steps.
    ///
    /// All are `SeqCst`, each the partner of the others in another context: that a name was stored is to be seen by who stored another
    /// one later, before either looks at the door; else both could find their own name.
    #[inline(always)]
    fn claim_with(&self, mut between: impl FnMut(u8)) -> bool {
        // No two calls that are under way have a variable at the same address.
        let mark = 0_u8;
        let me = core::ptr::from_ref(&mark).addr();
        between(0);
        if self.closed.load(SeqCst) != 0 {
            return false;
        }
        between(1);
        self.name.store(me, SeqCst);
        between(2);
        if self.closed.load(SeqCst) != 0 {
            return false;
        }
        between(3);
        self.closed.store(1, SeqCst);
        between(4);
        self.name.load(SeqCst) == me
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.closed.load(SeqCst) != 0
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::sync::Barrier;

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
            let at: Vec<u8> = (0..4).map(|level| u8::try_from(script / 6_u32.pow(level) % 6).unwrap()).collect();
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
