//! The consumer: the reader whose position is stored in the ring.

use super::{Ring, position::StoredPosition, reader::Reader};
use crate::sync::Ordering::Relaxed;

/// The [`Reader`] whose position is stored in the ring, so that the next consumer continues where
/// this one stopped. A ring has one consumer at a time: see [`Ring::attach_consumer`].
pub type Consumer<'r> = Reader<'r, StoredPosition>;

impl<'r> Consumer<'r> {
    /// Creates the consumer of a ring: see [`Ring::attach_consumer`].
    pub(super) fn attach(ring: &'r Ring) -> Self {
        // Relaxed: the code that hands the ring over orders this load after the stores of the
        // previous consumer.
        let tail = ring.consumed.tail.load(Relaxed);
        Self::begin(ring, tail, StoredPosition(()))
    }
}
