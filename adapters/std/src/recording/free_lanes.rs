//! The lanes that a thread may take: free ones with a ring, the *spares*, free ones without a ring,
//! and ending ones.

use core::time::Duration;
use std::{collections::VecDeque, time::Instant};

/// How long a spare has to be unneeded before its ring is released. Threads that come and go more
/// often than this reuse the same rings.
const UNNEEDED_FOR: Duration = Duration::from_secs(1);

/// How many rings are released at once, because unmapping them holds the drain up.
pub(super) const MAX_RELEASED: usize = 16;

/// The indices of the lanes that a thread may take.
#[derive(Debug)]
pub(super) struct FreeLanes {
    /// The lanes with a ring. The one that became free last is taken first, because the caches are
    /// most likely to hold it.
    with_ring: Vec<usize>,
    /// The lanes whose threads have ended, and whose last records are not drained yet.
    ending: VecDeque<usize>,
    without_ring: Vec<usize>,
    /// The smallest length of `with_ring` since `watched_since`: so many were not needed.
    unneeded: usize,
    watched_since: Option<Instant>,
}

impl FreeLanes {
    /// All of `lanes` lanes are free and have no ring.
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            // The lane with the lowest index is taken first.
            without_ring: (0..lanes).rev().collect(),
            // Allocated now: a lock is held later, and the program's allocator may record.
            with_ring: Vec::with_capacity(lanes),
            ending: VecDeque::with_capacity(lanes),
            unneeded: 0,
            watched_since: None,
        }
    }

    /// Returns the number of free lanes with a ring.
    pub(super) fn spares(&self) -> usize {
        self.with_ring.len()
    }

    /// Returns the number of ending lanes.
    pub(super) fn ending(&self) -> usize {
        self.ending.len()
    }

    /// Returns the number of free lanes without a ring.
    pub(super) fn empty(&self) -> usize {
        self.without_ring.len()
    }

    /// Removes and returns the best lane for a thread:
    ///
    /// 1. a free one with a ring,
    /// 2. the one that has been ending for the longest time, if it `has_room`: the drain is likely
    ///    to read it soon, so few of its records are in danger,
    /// 3. if `may_allocate`, a free one without a ring,
    /// 4. any ending one.
    pub(super) fn pop(
        &mut self,
        may_allocate: bool,
        has_room: impl FnOnce(usize) -> bool,
    ) -> Option<usize> {
        let lane = self.with_ring.pop();
        self.unneeded = self.unneeded.min(self.with_ring.len());
        let has_room = |lane: &usize| has_room(*lane);
        let ending = || self.ending.front().is_some_and(has_room);
        if lane.is_some() {
            lane
        } else if ending() || !may_allocate || self.without_ring.is_empty() {
            self.ending.pop_front()
        } else {
            self.without_ring.pop()
        }
    }

    /// Removes and returns a lane without a ring.
    pub(super) fn pop_without_ring(&mut self) -> Option<usize> {
        self.without_ring.pop()
    }

    /// Adds an ending lane.
    pub(super) fn push_ending(&mut self, lane: usize) {
        self.ending.push_back(lane);
    }

    /// Removes an ending lane. Returns whether it was there: another thread may have taken it.
    pub(super) fn remove_ending(&mut self, lane: usize) -> bool {
        let found = self.ending.iter().position(|ending| *ending == lane);
        found.and_then(|index| self.ending.remove(index)).is_some()
    }

    /// Removes and returns all free lanes with a ring, and then all ending ones.
    pub(super) fn take_all_with_ring(&mut self) -> (Vec<usize>, VecDeque<usize>) {
        (core::mem::take(&mut self.with_ring), core::mem::take(&mut self.ending))
    }

    /// Adds a free lane.
    pub(super) fn push(&mut self, lane: usize, has_ring: bool) {
        let list = if has_ring { &mut self.with_ring } else { &mut self.without_ring };
        list.push(lane);
    }

    /// Removes the lanes with a ring that nobody needed for [`UNNEEDED_FOR`], and adds them to
    /// `surplus`, which has room for [`MAX_RELEASED`]. Leaves `keep` lanes with a ring. Does
    /// nothing if it is too early to know.
    pub(super) fn take_surplus(&mut self, keep: usize, now: Instant, surplus: &mut Vec<usize>) {
        let since = *self.watched_since.get_or_insert(now);
        if now.saturating_duration_since(since) < UNNEEDED_FOR {
            return;
        }
        let unneeded = self.unneeded.min(self.with_ring.len()).saturating_sub(keep);
        // Those that have been free for the longest time.
        surplus.extend(self.with_ring.drain(..unneeded.min(MAX_RELEASED)));
        (self.unneeded, self.watched_since) = (self.with_ring.len(), Some(now));
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    use super::*;

    #[test]
    fn lanes_with_a_ring_are_taken_first_and_the_last_one_before_all() {
        let mut free = FreeLanes::new(5);
        let pop = |free: &mut FreeLanes, may_allocate| free.pop(may_allocate, |lane| lane == 3);
        assert_eq!(pop(&mut free, false), None);
        assert_eq!([0; 4].map(|_| pop(&mut free, true)), [0, 1, 2, 3].map(Some));
        free.push(0, true);
        for lane in [2, 3] {
            free.push_ending(lane);
        }
        free.push(1, true);
        assert_eq!((free.spares(), free.ending(), free.empty()), (2, 2, 1));
        assert_eq!([0; 2].map(|_| pop(&mut free, true)), [Some(1), Some(0)]);
        assert_eq!(pop(&mut free, true), Some(4), "the oldest ending lane has no room");
        assert_eq!(pop(&mut free, true), Some(2), "there is no other one");
        assert_eq!((pop(&mut free, false), pop(&mut free, true)), (Some(3), None));
        free.push_ending(2);
        free.push(4, false);
        assert_eq!(pop(&mut free, false), Some(2), "nothing can be allocated");
        free.push_ending(2);
        assert!(free.remove_ending(2) && !free.remove_ending(2));
        assert_eq!((free.pop_without_ring(), pop(&mut free, true)), (Some(4), None));
    }

    #[test]
    fn spares_that_nobody_needs_for_a_second_are_surplus() {
        let mut free = FreeLanes::new(10);
        (0..10).for_each(|_| _ = free.pop(true, |_| false));
        (0..10).for_each(|lane| free.push(lane, true));
        let start = Instant::now();
        let after = |free: &mut FreeLanes, millis| {
            let mut surplus = vec![];
            free.take_surplus(4, start + Duration::from_millis(millis), &mut surplus);
            surplus
        };
        assert_eq!(after(&mut free, 0), [0; 0]);
        assert_eq!(after(&mut free, 1_000), [0; 0], "they have just become free");
        let taken: Vec<_> = (0..3).filter_map(|_| free.pop(true, |_| false)).collect();
        for lane in taken {
            free.push(lane, true);
        }
        assert_eq!(after(&mut free, 1_999), [0; 0]);
        assert_eq!(after(&mut free, 2_000), [0, 1, 2], "three were needed, and four are kept");
        assert_eq!(after(&mut free, 3_000), [3, 4, 5]);
        assert_eq!(after(&mut free, 9_000), [0; 0]);
        assert_eq!(free.spares(), 4);
    }
}
