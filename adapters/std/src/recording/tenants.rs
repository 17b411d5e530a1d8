//! Which threads had a lane one after the other, and which records of its rings each of them wrote.

use std::collections::VecDeque;

use super::identity::Identity;

/// A thread that has or had a lane.
#[derive(Debug)]
struct Tenant {
    identity: Identity,
    /// The address of the ring in which its records begin.
    ring: usize,
    /// The sequence number of its first record in that ring.
    first: usize,
}

/// The threads that had a lane, oldest first. The records of each end where those of the next one
/// begin.
#[derive(Debug, Default)]
pub(crate) struct Tenants(VecDeque<Tenant>);

impl Tenants {
    /// Adds a thread whose records begin at the sequence number `first` of the ring at this
    /// address. The ring holds `capacity` records.
    pub(crate) fn push(&mut self, identity: Identity, ring: usize, first: usize, capacity: usize) {
        // Forgets threads whose records have all been overwritten. Without this, many threads that
        // record little would take memory without a bound while nobody drains. Those before the
        // first one in this ring have records in the former ring.
        let in_this_ring = self.0.iter().position(|tenant| tenant.ring == ring);
        let oldest = in_this_ring.unwrap_or(self.0.len());
        while let Some(next) = self.0.get(oldest + 1)
            && first.wrapping_sub(next.first) >= capacity
        {
            self.0.remove(oldest);
        }
        // A thread that wrote nothing.
        if self.0.back().is_some_and(|last| last.ring == ring && last.first == first) {
            self.0.pop_back();
        }
        self.0.push_back(Tenant { identity, ring, first });
    }

    /// Returns the thread that wrote record `seq` of this ring, and how many records
    /// follow until the first one of the next thread. Forgets the threads before.
    pub(crate) fn of(&mut self, ring: usize, seq: usize) -> (Identity, usize) {
        let until_next = loop {
            let next = self.0.get(1).filter(|next| next.ring == ring);
            // The difference wraps as the numbers do. A record that is not yet written is less than
            // half of their range ahead.
            match next.map(|next| next.first.wrapping_sub(seq)) {
                Some(ahead) if ahead == 0 || ahead > usize::MAX / 2 => self.0.pop_front(),
                ahead => break ahead.unwrap_or(usize::MAX),
            };
        };
        (self.0.front().map(|tenant| tenant.identity.clone()).unwrap_or_default(), until_next)
    }

    /// Notes that all records of the ring `from` have been read, and that the ring `to` follows.
    pub(crate) fn go_on(&mut self, from: usize, to: usize) {
        while self.0.get(1).is_some_and(|next| next.ring == from) {
            self.0.pop_front();
        }
        if let Some(tenant) = self.0.front_mut() {
            (tenant.ring, tenant.first) = (to, 0);
        }
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    use super::*;

    /// The addresses of two rings.
    const SMALL: usize = 1;
    const LARGE: usize = 2;

    fn name(tenants: &mut Tenants, ring: usize, seq: usize) -> (String, usize) {
        let (thread, records) = tenants.of(ring, seq);
        (thread.name.to_string(), records)
    }

    #[test]
    fn each_record_belongs_to_the_thread_that_had_the_lane() {
        let mut tenants = Tenants::default();
        // The counters wrap.
        let start = usize::MAX - 1;
        for (thread, first) in [("a", 0), ("b", 3), ("nobody", 5), ("c", 5)] {
            tenants.push(thread.into(), SMALL, start.wrapping_add(first), 8);
        }
        for (seq, expected) in [(0, ("a", 3)), (2, ("a", 1)), (3, ("b", 2)), (5, ("c", usize::MAX))]
        {
            let found = name(&mut tenants, SMALL, start.wrapping_add(seq));
            assert_eq!(found, (expected.0.to_owned(), expected.1));
        }
        assert_eq!(name(&mut Tenants::default(), SMALL, 0), (String::new(), usize::MAX));
    }

    #[test]
    fn a_thread_that_moved_keeps_its_records_in_both_rings() {
        let mut tenants = Tenants::default();
        tenants.push("a".into(), SMALL, 0, 8);
        tenants.push("b".into(), SMALL, 4, 8);
        // `b` moves to the large ring, writes 10 records there, and ends.
        tenants.push("c".into(), LARGE, 10, 16);
        assert_eq!(name(&mut tenants, SMALL, 0), ("a".to_owned(), 4));
        assert_eq!(name(&mut tenants, SMALL, 4), ("b".to_owned(), usize::MAX));
        tenants.go_on(SMALL, LARGE);
        assert_eq!(name(&mut tenants, LARGE, 0), ("b".to_owned(), 10));
        assert_eq!(name(&mut tenants, LARGE, 10), ("c".to_owned(), usize::MAX));
        // The last thread of a ring moved before any of its records was read.
        let mut tenants = Tenants::default();
        tenants.push("a".into(), SMALL, 0, 8);
        tenants.push("b".into(), SMALL, 4, 8);
        tenants.go_on(SMALL, LARGE);
        assert_eq!(name(&mut tenants, LARGE, 0), ("b".to_owned(), usize::MAX));
    }

    #[test]
    fn threads_whose_records_are_overwritten_are_forgotten() {
        let mut tenants = Tenants::default();
        for n in 0..1_000 {
            tenants.push((&*n.to_string()).into(), SMALL, n, 8);
        }
        assert_eq!(tenants.0.len(), 9);
        assert_eq!(name(&mut tenants, SMALL, 995).0, "995");

        // The records of `a` are in the former ring, which is not read yet.
        let mut tenants = Tenants::default();
        tenants.push("a".into(), SMALL, 0, 8);
        for (name, first) in [("b", 4), ("c", 8), ("d", 20), ("e", 40)] {
            tenants.push(name.into(), LARGE, first, 16);
        }
        assert_eq!(tenants.0.len(), 3);
        assert_eq!(name(&mut tenants, SMALL, 0), ("a".to_owned(), usize::MAX));
        tenants.go_on(SMALL, LARGE);
        assert_eq!(name(&mut tenants, LARGE, 24), ("d".to_owned(), 16));
        assert_eq!(name(&mut tenants, LARGE, 40), ("e".to_owned(), usize::MAX));
    }
}
