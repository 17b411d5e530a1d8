//! The ring: a fixed array of records between one producer and one consumer that overwrites the oldest.
//!
//! # The protocol
//!
//! No lock, no compare-and-swap, no wait on either side; loads and stores of machine words only, so that it runs on a
//! Cortex-M0 as well. The producer never reads what the consumer writes: a slow, dead or absent consumer costs the hot path
//! nothing. Three counters, all of which count records and wrap:
//!
//! - `head`: records published. Written by the producer.
//! - `reserved`: runs ahead of `head` by up to [`batch`] records: everything below it *may* be overwritten already.
//!   Written by the producer, once in [`batch`] records, *before* the records it announces.
//! - `tail`: records that the consumer is done with. Written by the consumer, so that another consumer can go on from it.
//!
//! ```text
//! producer                                       consumer
//!   seq = head                                     head, once for the whole pass          (Acquire)
//!   if seq == reserved:                            skip what is further behind than the capacity
//!      reserved = seq + BATCH     (Relaxed)        for each chunk:
//!      fence                      (Release)           copy the words of its records       (Relaxed)
//!   store the words of the record (Relaxed)           fence                               (Acquire)
//!   head = seq + 1                (Release)           r = reserved                        (Relaxed)
//!                                                     record q is whole iff r - q <= capacity
//! ```
//!
//! | place | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `ring: head is published` | producer, `head` store, Release | consumer, `head` load, Acquire | a record is delivered before its words: stale or half of one | `a_producer_laps_a_consumer` |
//! | `ring: a look at head` | consumer, `head` load, Acquire | producer, `head` store, Release | the same | `a_producer_laps_a_consumer` |
//! | `ring: reserved is announced` | producer, fence after `reserved`, Release | consumer, fence before `reserved`, Acquire | the consumer copies words of a newer record and does not see that they were reserved: a torn record passes | `counters_wrap` |
//! | `ring: before reserved is read` | consumer, fence before `reserved`, Acquire | both fences of the producer, Release | the same | `a_consumer_comes_late` |
//! | `ring: on attaching` | producer, fence on attaching, Release | consumer, fence before `reserved`, Acquire | the same, for the records that the *former* producer's reservation still covers: a fence orders only the stores of its own thread | `a_second_producer_goes_on` |
//! | `ring: head on attaching` | producer, `head` load on attaching, Acquire | the former producer's `head` store, Release | nothing while whoever hands the ring over orders it, as the contract says; where a ring outlives its process in a mapped file, it is all that does | none |
//!
//! `.ci/run loom` weakens one place after the other and requires that the model in its row fails. The models are those of
//! `tests/loom.rs`, explored by the model checker. The hand-over from one producer to the next (and from one consumer to the
//! next) is ordered by whoever hands it over: a pool's lock, the end of a borrow.
//!
//! A record of a slot is an array of machine words, each an atomic: to race on plain memory is undefined behaviour, on
//! relaxed atomics it is not, and a torn record is recognised afterwards (the idea of a seqlock; *intent counter beside tail
//! counter*: Aeron's broadcast buffer; *word-wise atomic copy*: portable-atomic's fallback).
//!
//! # Limits
//!
//! The newest `capacity − batch` records are always there. A consumer that is away for longer than the counters' range
//! (2^64 records; 2^32 on 32-bit targets) misjudges how many were overwritten: by a multiple of that range.

mod consumer;
mod producer;
mod slot;

use core::{alloc::Layout, error, fmt};

pub use self::{
    consumer::{Consumer, Drained},
    producer::Producer,
    slot::Slot,
};
use crate::sync::{AtomicUsize, Ordering::Relaxed};

/// How many records the producer announces at once, in a ring of this capacity.
pub const fn batch(capacity: usize) -> usize {
    if cfg!(tailwatch_loom) {
        // Small rings keep the model small; a batch of one would leave out that several records share a reservation.
        return capacity / 2;
    }
    match capacity / 8 {
        0 => 1,
        eighth if eighth > 64 => 64,
        eighth => eighth,
    }
}

/// Counters that the producer writes, on cache lines of their own: the consumer writing its `tail` must not take them away.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
struct Published {
    head: AtomicUsize,
    reserved: AtomicUsize,
}

/// What the consumer writes.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
struct Consumed {
    tail: AtomicUsize,
}

/// A ring of records; see the [module](self) for its protocol.
///
/// `Ring<[Slot; N]>` lies in a `static` or on the heap; everything else takes the unsized `&Ring` that it coerces to. It
/// holds no pointer and is all-zero when empty, so it lies in `.bss`, or in fresh pages, or in a mapped file.
///
/// ```
/// use tailwatch_core::{EventId, Record, Ring, Slot};
///
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let event = EventId::new(1).unwrap();
/// for n in 0..100 {
///     producer.push(Record::value(n, event, 0, n)); // wait-free, and never full
/// }
/// let mut seen = Vec::new();
/// consumer.refresh();
/// let drained = consumer.drain(|record| seen.push(record.payload()));
/// assert_eq!(drained.delivered + drained.overwritten, 100);
/// assert_eq!(seen.last(), Some(&99)); // the oldest were overwritten
/// ```
///
/// A capacity that is no power of two, or below 8, does not compile:
///
/// ```compile_fail
/// let ring = tailwatch_core::Ring::<[tailwatch_core::Slot; 100]>::new();
/// ```
#[repr(C)]
pub struct Ring<S: ?Sized = [Slot]> {
    published: Published,
    consumed: Consumed,
    slots: S,
}

/// The least capacity of a ring.
pub const MIN_CAPACITY: usize = if cfg!(tailwatch_loom) { 2 } else { 8 };

const fn is_capacity(capacity: usize) -> bool {
    // Half of the counters' range, so that "behind" and "ahead" can be told apart.
    capacity.is_power_of_two() && capacity >= MIN_CAPACITY && capacity <= 1 << (usize::BITS - 2)
}

/// A number of records that no ring can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CapacityError {
    /// The capacity that was asked for.
    pub capacity: usize,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a ring cannot hold {} records: the capacity is a power of two, {MIN_CAPACITY} or more",
            self.capacity
        )
    }
}

impl error::Error for CapacityError {}

impl<const N: usize> Ring<[Slot; N]> {
    /// An empty ring.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "`const` is the point of it, and `Default::default` is not"
    )]
    pub const fn new() -> Self {
        const { assert!(is_capacity(N), "a ring's capacity is a power of two, 8 or more") };
        Self {
            published: Published { head: AtomicUsize::new(0), reserved: AtomicUsize::new(0) },
            consumed: Consumed { tail: AtomicUsize::new(0) },
            slots: [const { Slot::new() }; N],
        }
    }

    /// An empty ring whose counters begin at `first`, to model that they wrap.
    #[cfg(tailwatch_loom)]
    pub fn starting_at(first: usize) -> Self {
        assert!(is_capacity(N), "a ring's capacity is a power of two");
        Self {
            published: Published {
                head: AtomicUsize::new(first),
                reserved: AtomicUsize::new(first),
            },
            consumed: Consumed { tail: AtomicUsize::new(first) },
            slots: core::array::from_fn(|_| Slot::new()),
        }
    }

    /// The two ends of the ring.
    pub fn split(&mut self) -> (Producer<'_>, Consumer<'_>) {
        let ring: &Ring = self;
        (ring.attach_producer(), ring.attach_consumer())
    }
}

impl Ring {
    /// How many records it holds.
    #[inline]
    pub const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Records published and not consumed yet, as far as the calling thread sees: a look from outside, by neither end.
    pub fn pending(&self) -> usize {
        let tail = self.consumed.tail.load(Relaxed);
        self.published.head.load(Relaxed).wrapping_sub(tail)
    }

    /// The producer's end.
    ///
    /// The contract: a ring has *one* producer at a time, and what the former one did happens before (the end of its thread,
    /// a lock). Two at once harm no memory, but write torn records.
    pub fn attach_producer(&self) -> Producer<'_> {
        Producer::attach(self)
    }

    /// The consumer's end; it begins where the former one ended.
    ///
    /// The contract: a ring has *one* consumer at a time, and what the former one did happens before. Two at once harm no
    /// memory, but deliver records twice.
    pub fn attach_consumer(&self) -> Consumer<'_> {
        Consumer::attach(self)
    }

    /// The size and alignment of a ring that holds `capacity` records.
    ///
    /// # Errors
    /// If that is no power of two or too small; the error names it.
    pub fn layout(capacity: usize) -> Result<Layout, CapacityError> {
        if !is_capacity(capacity) {
            return Err(CapacityError { capacity });
        }
        let layout = Layout::array::<Slot>(capacity)
            .and_then(|slots| Layout::new::<Ring<[Slot; 0]>>().extend(slots))
            .map_err(|_| CapacityError { capacity })?;
        Ok(layout.0.pad_to_align())
    }

    /// The ring that lies in `memory`: an empty one if that is zero, else as it was left there.
    ///
    /// Any content is a ring: what it says may be nonsense, which the consumer survives and counts.
    ///
    /// # Errors
    /// If `capacity` is no power of two or too small; the error names it.
    ///
    /// # Safety
    /// For all of `'a`, `memory` is valid for reads and writes of [`Ring::layout`] of this capacity, aligned as that says,
    /// initialised, and accessed by nothing but such rings.
    #[cfg(not(tailwatch_loom))]
    pub unsafe fn from_memory<'a>(
        memory: core::ptr::NonNull<u8>,
        capacity: usize,
    ) -> Result<&'a Self, CapacityError> {
        let layout = Self::layout(capacity)?;
        #[expect(clippy::cast_ptr_alignment, reason = "the caller vouches for the alignment")]
        let ring = core::ptr::slice_from_raw_parts(memory.as_ptr(), capacity) as *const Self;
        debug_assert_eq!(align_of::<Ring<[Slot; 0]>>(), layout.align());
        // SAFETY: the caller vouches for the memory; a ring consists of atomic integers only (`repr(C)`, padding aside), for
        // which every content is valid, and is changed only through them.
        Ok(unsafe { &*ring })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.capacity())
            .field("published", &self.published)
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
