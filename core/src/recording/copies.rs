//! What a recorder keeps copies of, so that a span of most events reads nothing but its recorder.

use crate::{
    event::EventId,
    recording::gate::{Decision, Gate},
    ring::producer::Producer,
    sync::{AtomicU8, Cell, Ordering::Relaxed},
};

/// The copies that a [`Recorder`](crate::Recorder) keeps: [`NoCopies`] or [`ThreadCopies`].
pub trait Copies {
    /// Returns whether and how to record `event`. `gate` is the recorder's gate.
    fn decision<const IDS: usize>(&self, gate: &Gate<IDS>, event: EventId) -> Decision;

    /// Returns the sequence number of the next record if it is already reserved, or `None` if a
    /// reservation has to be made first.
    fn next_reserved(&self, producer: &Producer<'_>) -> Option<usize>;

    /// Reserves the next records and returns the sequence number of the first of them. May move
    /// `producer` to another ring before.
    fn reserve(&self, producer: &Producer<'_>) -> usize;

    /// Notes that the record before `seq` was written.
    fn advance(&self, seq: usize);
}

/// Nothing is copied: a span reads the gate and the counters of the ring where they are. A recorder
/// takes the least memory this way, and a record the fewest instructions.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoCopies;

impl Copies for NoCopies {
    #[inline(always)]
    fn decision<const IDS: usize>(&self, gate: &Gate<IDS>, event: EventId) -> Decision {
        gate.decision(event)
    }

    #[inline(always)]
    fn next_reserved(&self, producer: &Producer<'_>) -> Option<usize> {
        producer.next_reserved()
    }

    #[inline(always)]
    fn reserve(&self, producer: &Producer<'_>) -> usize {
        producer.reserve()
    }

    #[inline(always)]
    fn advance(&self, _: usize) {}
}

/// How many bytes of the gate are copied: those of the event ids below it. With the rest of a
/// recorder of the crate `tailwatch`, they fill 128 bytes on a 64-bit target, two cache lines.
///
/// It is 2 under the model checker, which tracks every atomic as an object of its own, and whose
/// models need no more.
const COPIED_IDS: usize = if cfg!(tailwatch_loom) { 2 } else { 80 };

/// Where a recorder may find a larger ring, to which it then moves.
pub trait LargerRing {
    /// Returns the producer of the ring that the recorder has to move to, if there is one. The next
    /// records go into that ring. Those that were written before stay in the former one, which a
    /// drain has to read to its end first.
    ///
    /// A recorder asks before it [reserves](crate::ring) its next batch of records.
    fn take(&self) -> Option<Producer<'static>>;
}

impl<L: LargerRing> LargerRing for &L {
    fn take(&self) -> Option<Producer<'static>> {
        (*self).take()
    }
}

/// A recorder keeps its ring.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SameRing;

impl LargerRing for SameRing {
    #[inline(always)]
    fn take(&self) -> Option<Producer<'static>> {
        None
    }
}

/// Copies of the ring's counters and of the gate's first bytes. Apart from its recorder, a span of
/// an event with an id below 80 then touches only what it writes: a slot for each record, and the
/// head of the ring. That matters when the caches are cold, because reads that depend on each other
/// wait for each other, and writes do not. `L` is where the recorder finds a larger ring, if it may
/// move to one.
///
/// The copies of the gate do not change by themselves: whoever changes the gate must also call
/// [`follow`](Self::follow). An event whose id is 80 or more has no copy, so its byte is read from
/// the gate.
///
/// ```
/// use tailwatch_core::{EventId, Gate, Recorder, Ring, Slot};
///
/// let (gate, mut ring) = (Gate::<128>::new(), Ring::<[Slot; 8]>::new());
/// let recorder = Recorder::new(ring.split().0, &gate, ()).with_copies();
/// let [low, high] = [79, 80].map(|id| EventId::new(id).unwrap());
/// gate.set_enabled(false);
/// assert!(recorder.decision(low).is_always() && recorder.decision(high).is_off());
/// recorder.copies().follow(&gate, None);
/// assert!(recorder.decision(low).is_off());
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct ThreadCopies<L = SameRing> {
    /// The number of the next record, as in the ring.
    head: Cell<usize>,
    /// The number up to which records are reserved, as in the ring.
    reserved: Cell<usize>,
    /// The first bytes of the gate.
    switches: [AtomicU8; COPIED_IDS],
    larger_ring: L,
}

impl<L> ThreadCopies<L> {
    /// Copies the counters of the ring of `producer`, and the first bytes of `gate`.
    pub(super) fn of<const IDS: usize>(
        producer: &Producer<'_>,
        gate: &Gate<IDS>,
        larger_ring: L,
    ) -> Self {
        let copies = Self {
            head: Cell::new(producer.head()),
            reserved: Cell::new(producer.reserved()),
            switches: core::array::from_fn(|_| AtomicU8::new(0)),
            larger_ring,
        };
        copies.follow(gate, None);
        copies
    }

    /// Creates the copies of a closed gate and of a ring that nothing is written into.
    #[cfg(not(tailwatch_loom))]
    pub(super) const fn closed(larger_ring: L) -> Self {
        Self {
            head: Cell::new(0),
            reserved: Cell::new(0),
            switches: [const { AtomicU8::new(Decision::CLOSED.0) }; COPIED_IDS],
            larger_ring,
        }
    }

    /// Copies the bytes of `gate` that have changed: if `before` is given, since then, otherwise
    /// since they were copied.
    ///
    /// Any thread may call this method while the recorder is in use, but only one at a time. With
    /// `before`, copies of other bytes are not even read, so that the cache line stays with the
    /// recording thread.
    pub fn follow<const IDS: usize>(&self, gate: &Gate<IDS>, before: Option<&CopiedBytes>) {
        let CopiedBytes(now) = CopiedBytes::of(gate);
        for (id, copy) in self.switches.iter().enumerate() {
            let former = before.map_or_else(|| copy.load(Relaxed), |CopiedBytes(bytes)| bytes[id]);
            if now[id] != former {
                copy.store(now[id], Relaxed);
            }
        }
    }
}

/// The bytes of a gate that [`ThreadCopies`] are copies of, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct CopiedBytes([u8; COPIED_IDS]);

impl CopiedBytes {
    /// Returns the bytes of `gate`.
    pub fn of<const IDS: usize>(gate: &Gate<IDS>) -> Self {
        Self(core::array::from_fn(|id| gate.decision_of(id).0))
    }
}

impl<L: LargerRing> Copies for ThreadCopies<L> {
    #[inline(always)]
    fn decision<const IDS: usize>(&self, gate: &Gate<IDS>, event: EventId) -> Decision {
        match self.switches.get(usize::from(event.get())) {
            // Relaxed: as in the gate.
            Some(copy) => Decision(copy.load(Relaxed)),
            None => gate.decision(event),
        }
    }

    #[inline(always)]
    fn next_reserved(&self, _: &Producer<'_>) -> Option<usize> {
        let seq = self.head.get();
        (seq != self.reserved.get()).then_some(seq)
    }

    #[cold]
    #[inline(never)]
    fn reserve(&self, producer: &Producer<'_>) -> usize {
        if let Some(larger) = self.larger_ring.take() {
            producer.replace(&larger);
        }
        let seq = producer.reserve();
        self.reserved.set(producer.reserved());
        seq
    }

    #[inline(always)]
    fn advance(&self, seq: usize) {
        self.head.set(seq);
    }
}
