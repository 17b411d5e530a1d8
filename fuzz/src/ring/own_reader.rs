//! A reader with a position of its own, and the model that it is compared with.

use arbitrary::Arbitrary;
use tailwatch_core::{Reader, Record, Ring, ring::batch};

use super::numbered;

/// With which record a reader begins.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Beginning {
    First,
    Oldest,
    Now,
}

/// A reader, and which records it has yet to read. The numbers are those of [`numbered`]. Records
/// from before the first push have negative ones, and are all zero.
pub(super) struct OwnReader<'m> {
    reader: Reader<'m>,
    capacity: i128,
    /// The number of the next record to read.
    position: i128,
}

impl<'m> OwnReader<'m> {
    /// Begins to read a ring whose next record has the sequence number `head` and the number
    /// `next`.
    pub(super) fn new(ring: &'m Ring, beginning: Beginning, head: usize, next: u64) -> Self {
        let reader = match beginning {
            Beginning::First => ring.reader_from_first(),
            Beginning::Oldest => ring.reader_from_oldest(),
            Beginning::Now => ring.reader_from_now(),
        };
        let position = i128::from(next) - head.wrapping_sub(reader.first_seq()) as i128;
        let capacity = ring.capacity() as i128;
        Self { reader, capacity, position }
    }

    /// Checks where a reader has begun in a ring that is not damaged.
    pub(super) fn check_beginning(&self, beginning: Beginning, head: usize) {
        let behind = head.wrapping_sub(self.reader.first_seq());
        let capacity = self.reader.capacity();
        let (least, most) = match beginning {
            Beginning::First => (head, head),
            Beginning::Oldest => (head.min(capacity - batch(capacity)), head.min(capacity)),
            Beginning::Now => (0, 0),
        };
        assert!((least..=most).contains(&behind), "{behind} records behind {head}");
    }

    /// Looks for new records. `next` is the number of the next record, unless the ring is damaged.
    pub(super) fn refresh(&mut self, next: Option<u64>) {
        let pending = self.reader.refresh();
        if let Some(next) = next {
            let all = i128::from(next) - self.position;
            // Whole rounds of the counters are not noticed.
            assert_eq!(pending as i128, all & i128::from(u64::MAX), "all that was pushed");
            self.position = i128::from(next) - pending as i128;
        }
        self.check_law();
    }

    /// Reads up to `max` records. `next` is the number of the next record, unless the ring is
    /// damaged.
    pub(super) fn drain(&mut self, max: usize, next: Option<u64>) {
        let (before, capacity) = (self.reader.pending(), self.reader.capacity());
        let mut seen = vec![];
        let drained = self.reader.drain_up_to(max, |record| seen.push(record));
        assert_eq!(drained.delivered, seen.len() as u64);
        assert!(seen.len() <= max.min(capacity));
        // What was overwritten at the refresh does not count towards `max`.
        let lapped = before.saturating_sub(capacity);
        let settled = lapped + max.min(before - lapped);
        let counted = drained.delivered.wrapping_add(drained.overwritten);
        assert_eq!((counted, self.reader.pending()), (settled as u64, before - settled));
        self.check_law();
        let Some(next) = next else { return };
        let first = self.position;
        self.position += settled as i128;
        // Those that the producer cannot have begun to overwrite must be there.
        let whole = i128::from(next) - (self.capacity - batch(capacity) as i128);
        let least = (self.position - whole.max(first)).max(0);
        let held = i128::from(next) - self.capacity;
        let most = (self.position - held.max(first)).max(0);
        let delivered = seen.len() as i128;
        assert!((least..=most).contains(&delivered), "{delivered} of {least} to {most} delivered");
        let expected = (self.position - delivered..self.position)
            .map(|number| u64::try_from(number).map_or(Record::EMPTY, numbered));
        assert!(seen.into_iter().eq(expected), "the newest of them must be delivered in order");
    }

    fn check_law(&self) {
        let total = self.reader.total();
        let accounted = total
            .delivered
            .wrapping_add(total.overwritten)
            .wrapping_add(self.reader.pending() as u64);
        assert_eq!(self.reader.produced(), accounted, "the loss law of a reader");
    }
}
