//! Where a reader keeps its position in the ring: in the ring itself or on its own.

use crate::sync::{AtomicUsize, Ordering::Relaxed};

/// The counter that the consumer writes; the docs of [`ring`](super) explain it. Nobody outside
/// this crate can name this type and thereby implement or call what takes it.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(128)))]
pub struct Consumed {
    pub(super) tail: AtomicUsize,
}

/// Where a [`Reader`](super::Reader) keeps its position: [`OwnPosition`] or [`StoredPosition`].
///
/// No other type can implement this trait.
pub trait Position {
    /// Stores the sequence number of the next record to read, if the ring has a place for it.
    #[doc(hidden)]
    fn store(consumed: &Consumed, tail: usize);
}

/// The position of a [`Consumer`](super::Consumer). It is stored in the ring, so that the next
/// consumer continues there.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StoredPosition(pub(super) ());

impl Position for StoredPosition {
    #[inline(always)]
    fn store(consumed: &Consumed, tail: usize) {
        // Relaxed: `Ring::pending` is only approximate, and the code that hands the ring to the
        // next consumer orders that consumer's load after this store.
        consumed.tail.store(tail, Relaxed);
    }
}

/// The position of a [`Reader`](super::Reader) that is not stored in the ring, and where the reader
/// began.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OwnPosition {
    pub(super) start: ReaderStart,
    pub(super) first_seq: usize,
}

impl Position for OwnPosition {
    #[inline(always)]
    fn store(_: &Consumed, _: usize) {}
}

/// With which record a [`Reader`](super::Reader) begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReaderStart {
    /// With the first record of the ring, whether it is still there or not.
    First,
    /// With the oldest record that was whole when the reader was created.
    Oldest,
    /// With the first record that was published after the reader was created.
    Now,
}
