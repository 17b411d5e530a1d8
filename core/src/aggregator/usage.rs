//! Which events are in use, and whether anything changed without a record: what a drain needs to
//! publish only what changed.

use super::{Aggregator, counters::Counters};
use crate::{repr::Wide, storage::Storage};

impl<S: Storage> Aggregator<S> {
    /// Returns the [`counters`](Self::counters) without committing staged samples. If some did not
    /// fit into [`full_counters`](Counters::full_counters), a later call shows this: summaries
    /// commit the samples of their event. Takes constant time.
    pub const fn committed_counters(&self) -> Counters {
        self.counters
    }

    /// Returns a number that increases whenever the summaries or the open spans of several events
    /// change without a record of theirs: because records were lost, because early ENDs or
    /// open spans were given up, or because the clock restarted. In [compact](crate::Compact)
    /// storage, it is always 0.
    ///
    /// Summaries also change without a record when the [start](Self::window_start) of a window
    /// moves and when an event is [marked as sampled](Self::mark_sampled), which do not increase
    /// this number.
    pub const fn unrecorded_changes(&self) -> u64 {
        self.unrecorded_changes + self.occupancy.given_up() as u64
    }
}

impl<S: Storage<Repr = Wide>> Aggregator<S> {
    /// Returns how many events have had a sample since the aggregator was created. Takes constant
    /// time.
    pub fn used_events(&self) -> usize {
        usize::from(self.used_events)
    }

    /// Returns how many bytes of the storage have come into use: those that are
    /// [always](crate::Shape::bytes_once) in use, and those of each event that has had a sample.
    /// The rest of the storage still consists of the zeros that it was created with. Takes constant
    /// time.
    ///
    /// An event counts in full from its first sample on. The slices of its windows really come into
    /// use one after another.
    pub fn used_bytes(&self) -> usize {
        let shape = self.storage.shape();
        shape.bytes_once()
            + usize::from(self.used_events) * shape.bytes_per_event::<S::Count>()
            + usize::from(self.used_corrections) * shape.bytes_per_correction::<S::Count>()
    }
}
