//! A ring of records with one producer and any number of readers, in which new records overwrite
//! the oldest.
//!
//! The ring is a fixed array. Pushing a record is wait-free and never fails: once the array is
//! full, each push overwrites the oldest record, whether or not anything has read it. Each reader
//! counts the records that were lost to it this way or may have been. The counts of each always
//! satisfy `produced == delivered + overwritten + pending`.
//!
//! The position of one of the readers, the *consumer*, is stored in the ring, so that another one
//! can continue from there. All others keep their positions themselves and write nothing into the
//! ring.
//!
//! # The protocol
//!
//! Neither side locks, waits or uses compare-and-swap. Both need only loads and stores of machine
//! words, which even a Cortex-M0 has. The producer never reads what a reader writes, so a slow,
//! dead or absent reader costs the hot path nothing.
//!
//! Records have *sequence numbers*, in the order in which they are pushed. The record with number
//! `q`, or record `q` for short, is written to slot `q % capacity`, where it overwrites record
//! `q - capacity`. Three counters hold such numbers. They wrap at the range of `usize`.
//!
//! - `head` is the number of the next record to publish. Every record below it is published: its
//!   words are visible to a reader that sees this `head`. The producer writes it.
//! - `reserved` is ahead of `head` by up to [`batch`] records. The producer *may* already be
//!   writing any record below it, and thereby overwriting an older record. The producer writes this
//!   counter once per [`batch`] records, *before* it writes any of them.
//! - `tail` is the number of the next record to consume. The consumer writes it, so that the next
//!   consumer can continue from there. Other readers neither read nor write it.
//!
//! ```text
//! producer                                    reader
//!   seq = head                                  h = head, once per refresh          (Relaxed)
//!   if seq == reserved:                         fence                               (Acquire)
//!      reserved = seq + batch     (Relaxed)     skip all records before h - capacity
//!      fence                      (Release)     for each chunk:
//!   store the words of the record (Relaxed)        copy the words of its records   (Relaxed)
//!   head = seq + 1                (Release)        fence                           (Acquire)
//!                                                  r = reserved                    (Relaxed)
//!                                                  record q is intact iff r - q <= capacity
//! ```
//!
//! A copied record `q` is *intact* unless the producer may have begun to overwrite it in the
//! meantime. Record `q + capacity` overwrites it, and the producer writes that record only once
//! `reserved` is above its number. So record `q` is intact if `r <= q + capacity`.
//!
//! A reader that begins with the oldest record looks at `head` and then at `reserved`, as above,
//! and begins with record `r - capacity`.
//!
//! All loads of a reader are Relaxed, and fences order them, because only Relaxed loads are sure to
//! work in memory that is mapped read-only.
//!
//! The orderings above other than Relaxed, and those with which a producer attaches to a ring, have
//! names in the source. This table gives the reason for each:
//!
//! | name | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `ring: head is published` | producer, `head` store, Release | reader, fence after the `head` load, Acquire | a record is delivered before its words are visible: a stale or half-written record | `a_producer_laps_a_consumer` |
//! | `ring: a look at head` | reader, fence after the `head` load, Acquire | producer, `head` store, Release | a record is delivered before its words are visible: a stale or half-written record | `a_producer_laps_a_consumer` |
//! | `ring: reserved is announced` | producer, fence after the `reserved` store, Release | reader, fence before the `reserved` load, Acquire | the reader copies words of a newer record without seeing that it was reserved, and delivers a torn record | `counters_wrap` |
//! | `ring: before reserved is read` | reader, fence before the `reserved` load, Acquire | both fences of the producer, Release | the reader copies words of a newer record without seeing that it was reserved, and delivers a torn record | `a_consumer_attaches_to_a_lapped_ring` |
//! | `ring: on attaching` | producer, fence on attaching, Release | reader, fence before the `reserved` load, Acquire | a torn record is delivered, if the newer record was reserved by the *previous* producer: the fence after its reservation orders only the stores of its own thread | `a_second_producer_takes_over` |
//! | `ring: head on attaching` | producer, `head` load on attaching, Acquire | the previous producer's `head` store, Release | nothing, as long as the hand-over itself orders the two producers, which [`Ring::attach_producer`] requires; for a ring that outlives its process in a mapped file, nothing else orders them | none |
//!
//! `.ci/run loom` weakens one ordering after the other, except one whose row names no model
//! (`none`), and requires that the model in its row fails. The models are in `tests/loom.rs` and
//! run under the model checker loom. The hand-over from one producer to the next, and from one
//! consumer to the next, is ordered by the code that hands the ring over: by the lock of a pool, or
//! by the end of a borrow.
//!
//! A slot stores its record as an array of atomic machine words. A data race on plain memory would
//! be undefined behaviour. A race on relaxed atomics is not: at worst a reader reads a torn
//! record, a mixture of several, and detects that afterwards. This is the idea of a seqlock. The
//! counter that announces writes in advance comes from Aeron's broadcast buffer, the word-wise
//! atomic copy from the fallback of portable-atomic.
//!
//! # Limits
//!
//! - Only the newest `capacity − batch` records are sure to be readable, because the producer may
//!   already be overwriting the [`batch`] records before them.
//! - Each time the counters run through their whole range (2^64 records; 2^32 on 32-bit targets)
//!   between two drains, that many overwritten records are missing from the reader's counts.
//! - While the number of the next record is below the capacity after the counters have wrapped, a
//!   reader that begins with the oldest record begins with record 0, because the ring looks new.

#[doc(hidden)]
pub mod claim_once;
pub(crate) mod consumer;
pub(crate) mod position;
pub(crate) mod producer;
pub(crate) mod progress;
pub(crate) mod reader;
pub(crate) mod slot;

use core::{alloc::Layout, error, fmt};

use self::position::Consumed;
pub use self::{
    consumer::Consumer,
    position::{OwnPosition, Position, ReaderStart, StoredPosition},
    producer::Producer,
    progress::{PassStart, Pending, RingPass, RingProgress},
    reader::{Drained, Reader},
    slot::Slot,
};
use crate::sync::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed},
    fence_at,
};

/// Returns how many records a producer reserves at once in a ring of `capacity` records: an eighth
/// of the capacity, at least 1 and at most 64.
///
/// The [protocol](self#the-protocol) explains reservations.
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

/// The counters that the producer writes; the docs of this module explain them.
///
/// On 64-bit targets they have cache lines of their own, so that the consumer's stores to `tail` do
/// not take the lines away from the producer. 128 bytes are two usual cache lines, because
/// processors prefetch lines in pairs.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
struct Published {
    head: AtomicUsize,
    reserved: AtomicUsize,
}

impl Published {
    /// Returns `head`, on behalf of a reader.
    fn look_at_head(&self) -> usize {
        let head = self.head.load(Relaxed);
        // Acquire, paired with the producer's Release store of `head`: it makes the words of all
        // records below `head` visible. Without this fence, stale words could be delivered as new
        // records.
        fence_at("ring: a look at head", Acquire);
        head
    }
}

/// A ring of records, written by one [`Producer`] and read by one [`Consumer`] and any number of
/// [`Reader`]s. Once the ring is full, each new record overwrites the oldest one.
///
/// A `Ring<[Slot; N]>` holds `N` records and can be placed in a `static` or on the heap. A
/// reference to it coerces to the unsized `&Ring` that all other code takes. A ring contains no
/// pointers and is all zero when new, so it can also be placed in `.bss`, in fresh pages or in a
/// mapped file.
///
/// The docs of the [module](self) describe the protocol between the two sides.
///
/// ```
/// use tailwatch_core::{EventId, Record, Ring, Slot};
///
/// let mut ring = Ring::<[Slot; 64]>::new();
/// let (producer, mut consumer) = ring.split();
/// let event = EventId::new(1).unwrap();
/// for n in 0..100 {
///     producer.push(Record::value(n, event, 0, n)); // wait-free, even if the ring is full
/// }
/// let mut seen = Vec::new();
/// consumer.refresh();
/// let drained = consumer.drain(|record| seen.push(record.payload()));
/// assert_eq!(drained.delivered + drained.overwritten, 100);
/// assert_eq!(seen.last(), Some(&99)); // the newest records are there, the oldest are overwritten
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

/// Returns whether a ring can have this capacity, in records.
const fn is_valid_capacity(capacity: usize) -> bool {
    // The upper bound, a quarter of the counters' range, leaves room above the capacity in a
    // difference of two counters: a consumer that is a few laps behind still sees that it is.
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
        let capacity = self.capacity;
        write!(
            f,
            "a ring cannot hold {capacity} records; its capacity must be a power of two of at \
             least {MIN_CAPACITY}"
        )?;
        let nearest = capacity.max(MIN_CAPACITY).checked_next_power_of_two();
        match nearest.filter(|capacity| is_valid_capacity(*capacity)) {
            Some(nearest) => write!(f, ", such as {nearest}"),
            None => f.write_str(", and not larger than the address space allows"),
        }
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
        const {
            assert!(is_valid_capacity(N), "a ring's capacity must be a power of two, at least 8");
        };
        Self {
            published: Published { head: AtomicUsize::new(0), reserved: AtomicUsize::new(0) },
            consumed: Consumed { tail: AtomicUsize::new(0) },
            slots: [const { Slot::new() }; N],
        }
    }

    /// Creates an empty ring whose first record has the number `first`. A model that starts near
    /// the end of the range covers counters that wrap.
    #[cfg(tailwatch_loom)]
    pub fn starting_at(first: usize) -> Self {
        assert!(is_valid_capacity(N), "a ring's capacity must be a power of two, at least 2");
        Self {
            published: Published {
                head: AtomicUsize::new(first),
                reserved: AtomicUsize::new(first),
            },
            consumed: Consumed { tail: AtomicUsize::new(first) },
            slots: core::array::from_fn(|_| Slot::new()),
        }
    }

    /// Returns the producer, which writes records, and the consumer, which reads them.
    pub fn split(&mut self) -> (Producer<'_>, Consumer<'_>) {
        let ring: &Ring = self;
        (ring.attach_producer(), ring.attach_consumer())
    }
}

impl Ring {
    /// Returns how many records the ring holds.
    #[inline]
    pub const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of records that are published and not consumed yet. It exceeds the
    /// capacity if records have been overwritten that the consumer has not counted yet.
    ///
    /// Any thread may call this method. The number is approximate while a producer or consumer is
    /// at work, because two counters are read one after the other, with relaxed loads.
    pub fn pending(&self) -> usize {
        let tail = self.consumed.tail.load(Relaxed);
        self.published.head.load(Relaxed).wrapping_sub(tail)
    }

    /// Creates a producer, which appends records behind those of the previous producer.
    ///
    /// The caller must ensure that the ring has *one* producer at a time, and that all pushes of
    /// the previous producer happen before this call, for example by joining its thread or by a
    /// lock. Two producers at once do not violate memory safety, but they write torn records.
    pub fn attach_producer(&self) -> Producer<'_> {
        Producer::attach(self)
    }

    /// Creates a consumer, which continues where the previous consumer stopped.
    ///
    /// The caller must ensure that the ring has *one* consumer at a time, and that everything the
    /// previous consumer did happens before this call, for example by joining its thread or by a
    /// lock. Two consumers at once do not violate memory safety, but they deliver records twice.
    pub fn attach_consumer(&self) -> Consumer<'_> {
        Consumer::attach(self)
    }

    /// Creates a reader that keeps its position itself and begins with the oldest record that is
    /// still whole. Earlier records do not count as overwritten.
    ///
    /// Nothing is [`pending`](Reader::pending) before the first [`refresh`](Reader::refresh). Until
    /// that record is read, it may have been overwritten, and then counts as such.
    ///
    /// Any thread may call this method, at any time. Its time is constant.
    pub fn reader_from_oldest(&self) -> Reader<'_> {
        Reader::from_oldest(self)
    }

    /// Creates a reader that keeps its position itself and begins with the first record of the ring.
    /// Those that are not there any more count as overwritten.
    ///
    /// Any thread may call this method, at any time. Its time is constant.
    pub fn reader_from_first(&self) -> Reader<'_> {
        Reader::from_first(self)
    }

    /// Creates a reader that keeps its position itself and begins with the next record that the
    /// producer publishes. Earlier records do not count as overwritten.
    ///
    /// Any thread may call this method, at any time. Its time is constant.
    pub fn reader_from_now(&self) -> Reader<'_> {
        Reader::from_now(self)
    }

    /// Returns the size and alignment of a ring of `capacity` records.
    ///
    /// # Errors
    ///
    /// Returns a [`CapacityError`] if `capacity` is not a power of two, is below [`MIN_CAPACITY`]
    /// or is too large for the address space.
    pub fn layout(capacity: usize) -> Result<Layout, CapacityError> {
        if !is_valid_capacity(capacity) {
            return Err(CapacityError { capacity });
        }
        let layout = Layout::array::<Slot>(capacity)
            .and_then(|slots| Layout::new::<Ring<[Slot; 0]>>().extend(slots))
            .map_err(|_| CapacityError { capacity })?;
        Ok(layout.0.pad_to_align())
    }

    /// Returns the ring of `capacity` records that is stored in `memory`. All-zero memory is an
    /// empty ring.
    ///
    /// Memory with any other content is a valid ring too. If no ring left that content there, the
    /// counters and records have no meaning. But a reader never panics on them or reads outside
    /// the ring, and [`Aggregator`](crate::Aggregator) counts the invalid records.
    ///
    /// # Errors
    ///
    /// Returns a [`CapacityError`] if [`Ring::layout`] returns one for this capacity.
    ///
    /// # Safety
    ///
    /// Throughout `'a`, `memory` must be valid for reads and writes of the size that
    /// [`Ring::layout`] returns for this capacity, be aligned to its alignment, be initialised, and
    /// be accessed only through rings that this function returned, in this process or others. If
    /// nothing but readers that keep their positions themselves is attached to the returned ring,
    /// `memory` need not be valid for writes.
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
        // throughout `'a`. Apart from padding, a ring consists only of atomic integers, in an order
        // that `repr(C)` fixes. Any bits are valid for them, and the ring is changed only through
        // them.
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
