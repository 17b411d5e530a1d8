//! The bytes that the rings of a collector may take.

use std::sync::Arc;

use tailwatch_core::sync::{AtomicUsize, Ordering::Relaxed};

/// What a ring is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A thread that has no ring yet gets it, at once or later.
    First,
    /// A thread moves to it from a smaller one.
    Growth,
}

/// The bytes that the rings of a collector take, and may take. Lock-free: taking some retries a
/// compare-and-swap.
#[derive(Debug)]
pub(crate) struct RingBudget {
    max_bytes: usize,
    in_use: AtomicUsize,
    /// How often growth was refused.
    refused: AtomicUsize,
}

impl RingBudget {
    /// Creates the budget of a collector whose rings may take `max_bytes` together.
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, in_use: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    /// Returns how many bytes may be in use once a ring for this purpose is there. Growth may take
    /// three quarters of all. The rest is for the first rings of further threads, so that few busy
    /// threads do not keep many others from recording.
    fn limit(&self, purpose: Purpose) -> usize {
        match purpose {
            Purpose::First => self.max_bytes,
            Purpose::Growth => self.max_bytes / 4 * 3,
        }
    }

    /// Returns whether a ring of `bytes` bytes fits at present.
    pub(crate) fn fits(&self, bytes: usize, purpose: Purpose) -> bool {
        self.in_use.load(Relaxed).saturating_add(bytes) <= self.limit(purpose)
    }

    /// Takes `bytes` for a ring until the result is dropped. Returns `None` if they do not fit.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, purpose: Purpose) -> Option<Taken> {
        // Relaxed: the number guards no other memory.
        let more = |in_use: usize| {
            in_use.checked_add(bytes).filter(|in_use| *in_use <= self.limit(purpose))
        };
        self.in_use.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Taken { budget: Arc::clone(self), bytes })
    }

    /// Returns how many bytes the rings take.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    /// Counts that a thread was refused a larger ring.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Returns how often a thread was refused a larger ring.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }
}

/// The bytes of one ring, which are in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    budget: Arc<RingBudget>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.in_use.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    use super::*;

    #[test]
    fn growth_leaves_a_quarter_to_first_rings() {
        let budget = RingBudget::new(400);
        let grown = budget.take(300, Purpose::Growth).unwrap();
        assert!(!budget.fits(1, Purpose::Growth) && budget.take(1, Purpose::Growth).is_none());
        let first = budget.take(100, Purpose::First).unwrap();
        assert_eq!(budget.in_use(), 400);
        for bytes in [1, usize::MAX] {
            assert!(!budget.fits(bytes, Purpose::First));
            assert!(budget.take(bytes, Purpose::First).is_none());
        }
        drop(grown);
        assert!(budget.take(200, Purpose::Growth).is_some());
        drop(first);
        assert_eq!(budget.in_use(), 0);
    }
}
