//! A ring of records between one producer and one consumer, in which new records overwrite the
//! oldest.
//!
//! The ring is a fixed array. Pushing is wait-free and never fails: a full ring overwrites its
//! oldest record, and the consumer counts the records that it lost. For each consumer, this holds
//! exactly: `produced == delivered + overwritten + pending`.
//!
//! # The protocol
//!
//! Neither side locks, waits or uses compare-and-swap. Both need only loads and stores of machine
//! words, which a Cortex-M0 has as well. The producer never reads what the consumer writes, so a
//! slow, dead or absent consumer costs the hot path nothing.
//!
//! Three counters count records. They wrap at the range of `usize`.
//!
//! - `head` counts the published records. The producer writes it.
//! - `reserved` runs ahead of `head` by up to [`batch`] records. Every record below it *may*
//!   already be in the process of being written, and thereby of overwriting an older one. The
//!   producer writes it once per [`batch`] records, *before* it writes those records.
//! - `tail` counts the records that the consumer has finished with. The consumer writes it, so that
//!   the next consumer can continue from there.
//!
//! ```text
//! producer                                    consumer
//!   seq = head                                  h = head, once for the whole pass  (Acquire)
//!   if seq == reserved:                         skip all records before h - capacity
//!      reserved = seq + batch     (Relaxed)     for each chunk:
//!      fence                      (Release)        copy the words of its records   (Relaxed)
//!   store the words of the record (Relaxed)        fence                           (Acquire)
//!   head = seq + 1                (Release)        r = reserved                    (Relaxed)
//!                                                  record q is whole iff r - q <= capacity
//! ```
//!
//! | place | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `ring: head is published` | producer, `head` store, Release | consumer, `head` load, Acquire | a record is delivered before its words are visible: a stale or half-written record | `a_producer_laps_a_consumer` |
//! | `ring: a look at head` | consumer, `head` load, Acquire | producer, `head` store, Release | the same | `a_producer_laps_a_consumer` |
//! | `ring: reserved is announced` | producer, fence after the `reserved` store, Release | consumer, fence before the `reserved` load, Acquire | the consumer copies words of a newer record without seeing that they were reserved, and delivers a torn record | `counters_wrap` |
//! | `ring: before reserved is read` | consumer, fence before the `reserved` load, Acquire | both fences of the producer, Release | the same | `a_consumer_attaches_to_a_lapped_ring` |
//! | `ring: on attaching` | producer, fence on attaching, Release | consumer, fence before the `reserved` load, Acquire | the same, for the records that the reservation of the *previous* producer still covers: a fence orders only the stores of its own thread | `a_second_producer_takes_over` |
//! | `ring: head on attaching` | producer, `head` load on attaching, Acquire | the previous producer's `head` store, Release | nothing, as long as the hand-over itself orders the two producers, which the contract requires; for a ring that outlives its process in a mapped file, nothing else orders them | none |
//!
//! `.ci/run loom` weakens one ordering after the other and requires that the model in its row
//! fails. The models are in `tests/loom.rs` and run under the model checker loom. The hand-over
//! from one producer to the next, and from one consumer to the next, is ordered by the code that
//! hands the ring over: by the lock of a pool, or by the end of a borrow.
//!
//! A slot stores its record as an array of atomic machine words. A data race on plain memory would
//! be undefined behaviour; a race on relaxed atomics is not, and the consumer detects a torn record
//! afterwards. This is the idea of a seqlock. The counter that announces writes in advance comes
//! from Aeron's broadcast buffer, the word-wise atomic copy from the fallback of portable-atomic.
//!
//! # Limits
//!
//! - Only the newest `capacity − batch` records are sure to be readable.
//! - A consumer that is away while the counters run through their whole range (2^64 records; 2^32
//!   on 32-bit targets) miscounts the overwritten records by a multiple of that range.

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

/// Returns how many records a producer reserves at once in a ring of this capacity: an eighth of
/// it, at least 1 and at most 64.
pub const fn batch(capacity: usize) -> usize {
    if cfg!(tailwatch_loom) {
        // The models use small rings, in which an eighth would be a batch of one. They must cover
        // several records that share a reservation.
        return capacity / 2;
    }
    match capacity / 8 {
        0 => 1,
        eighth if eighth > 64 => 64,
        eighth => eighth,
    }
}

/// The counters that the producer writes. They have cache lines of their own, so that the
/// consumer's writes to `tail` do not take the lines away from the producer.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
struct Published {
    head: AtomicUsize,
    reserved: AtomicUsize,
}

/// The counter that the consumer writes.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
struct Consumed {
    tail: AtomicUsize,
}

/// A ring of records that overwrites the oldest; see the [module](self) for its protocol.
///
/// A `Ring<[Slot; N]>` is placed in a `static` or on the heap. A reference to it coerces to the
/// unsized `&Ring` that all other code takes. A ring contains no pointers and is all zero when new,
/// so it can also be placed in `.bss`, in fresh pages or in a mapped file.
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
/// A capacity that is not a power of two, or is below 8, does not compile:
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

/// The smallest capacity of a ring, in records.
pub const MIN_CAPACITY: usize = if cfg!(tailwatch_loom) { 2 } else { 8 };

const fn is_capacity(capacity: usize) -> bool {
    // The upper bound leaves the wrapping difference of two counters unambiguous: "ahead" is less
    // than half of their range.
    capacity.is_power_of_two() && capacity >= MIN_CAPACITY && capacity <= 1 << (usize::BITS - 2)
}

/// The error returned when a ring cannot have the requested capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct CapacityError {
    /// The requested capacity, in records.
    pub capacity: usize,
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a ring cannot hold {} records: the capacity must be a power of two, at least \
             {MIN_CAPACITY}, and its records must fit the address space",
            self.capacity
        )
    }
}

impl error::Error for CapacityError {}

impl<const N: usize> Ring<[Slot; N]> {
    /// Creates an empty ring.
    #[cfg(not(tailwatch_loom))]
    #[expect(
        clippy::new_without_default,
        reason = "rings are made in constants, where `Default` cannot be called"
    )]
    pub const fn new() -> Self {
        const { assert!(is_capacity(N), "a ring's capacity must be a power of two, at least 8") };
        Self {
            published: Published { head: AtomicUsize::new(0), reserved: AtomicUsize::new(0) },
            consumed: Consumed { tail: AtomicUsize::new(0) },
            slots: [const { Slot::new() }; N],
        }
    }

    /// Creates an empty ring whose counters start at `first`, to model that they wrap.
    #[cfg(tailwatch_loom)]
    pub fn starting_at(first: usize) -> Self {
        assert!(is_capacity(N), "a ring's capacity must be a power of two, at least 2");
        Self {
            published: Published {
                head: AtomicUsize::new(first),
                reserved: AtomicUsize::new(first),
            },
            consumed: Consumed { tail: AtomicUsize::new(first) },
            slots: core::array::from_fn(|_| Slot::new()),
        }
    }

    /// Returns the two ends of the ring.
    pub fn split(&mut self) -> (Producer<'_>, Consumer<'_>) {
        let ring: &Ring = self;
        (ring.attach_producer(), ring.attach_consumer())
    }
}

impl Ring {
    /// Returns the capacity, in records.
    #[inline]
    pub const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of records that are published and not consumed yet.
    ///
    /// Any thread may call it. The number is approximate while a producer or consumer is at work,
    /// because the two counters are read with relaxed loads, one after the other.
    pub fn pending(&self) -> usize {
        let tail = self.consumed.tail.load(Relaxed);
        self.published.head.load(Relaxed).wrapping_sub(tail)
    }

    /// Attaches a producer.
    ///
    /// The caller must ensure that the ring has *one* producer at a time, and that all pushes of
    /// the previous one happen before this call (by joining its thread, or by a lock). Two
    /// producers at once do not violate memory safety, but they write torn records.
    pub fn attach_producer(&self) -> Producer<'_> {
        Producer::attach(self)
    }

    /// Attaches a consumer, which continues where the previous one stopped.
    ///
    /// The caller must ensure that the ring has *one* consumer at a time, and that everything the
    /// previous one did happens before this call. Two consumers at once do not violate memory
    /// safety, but they deliver records twice.
    pub fn attach_consumer(&self) -> Consumer<'_> {
        Consumer::attach(self)
    }

    /// Returns the size and alignment of a ring of `capacity` records.
    ///
    /// # Errors
    ///
    /// Returns a [`CapacityError`] if `capacity` is not a power of two, is below [`MIN_CAPACITY`]
    /// or is too large for the address space.
    pub fn layout(capacity: usize) -> Result<Layout, CapacityError> {
        if !is_capacity(capacity) {
            return Err(CapacityError { capacity });
        }
        let layout = Layout::array::<Slot>(capacity)
            .and_then(|slots| Layout::new::<Ring<[Slot; 0]>>().extend(slots))
            .map_err(|_| CapacityError { capacity })?;
        Ok(layout.0.pad_to_align())
    }

    /// Returns the ring that is stored in `memory`. All-zero memory is an empty ring.
    ///
    /// Every content is a valid ring. Arbitrary content gives meaningless counters and records, but
    /// a consumer never panics on them or reads outside the ring, and
    /// [`Aggregator`](crate::Aggregator) counts the invalid records.
    ///
    /// # Errors
    ///
    /// Returns a [`CapacityError`] in the same cases as [`Ring::layout`].
    ///
    /// # Safety
    ///
    /// Throughout `'a`, `memory` must be valid for reads and writes of the size that
    /// [`Ring::layout`] returns for this capacity, be aligned to its alignment, be initialised, and
    /// be accessed only through rings that this function returned.
    #[cfg(not(tailwatch_loom))]
    pub unsafe fn from_memory<'a>(
        memory: core::ptr::NonNull<u8>,
        capacity: usize,
    ) -> Result<&'a Self, CapacityError> {
        let layout = Self::layout(capacity)?;
        #[expect(clippy::cast_ptr_alignment, reason = "the caller guarantees the alignment")]
        let ring = core::ptr::slice_from_raw_parts(memory.as_ptr(), capacity) as *const Self;
        debug_assert_eq!(align_of::<Ring<[Slot; 0]>>(), layout.align());
        // SAFETY: the caller guarantees that the memory is valid, aligned and initialised
        // throughout `'a`. Apart from padding, a ring consists only of atomic integers (`repr(C)`).
        // Every content is valid for them, and the ring is changed only through them.
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
