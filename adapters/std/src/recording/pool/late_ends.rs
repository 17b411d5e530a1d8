//! ENDs that go into the rings of a collector whose last pass is over. Their spans may have begun
//! in another collector, which must know that they have ended.

use tailwatch_core::{EventId, Ring};

use super::Pool;
use crate::{
    recording::{lane::Lane, process},
    sync::lock,
};

/// An END or FORGET: its event, and the tick at which its span began.
pub(crate) type LateEnd = (EventId, u64);

impl Pool {
    /// Takes the records that threads have written since the last pass, which must be over, and
    /// counts them as unregistered. Returns the ENDs among them.
    pub(crate) fn take_late_ends(&self) -> Vec<LateEnd> {
        let _free = lock(&self.free);
        let used = &self.lanes[..self.used_lanes()];
        used.iter().flat_map(|lane| self.take_late_ends_of(lane)).collect()
    }

    /// Does the same for one lane. The last pass must be over, and the lock of the free lanes be
    /// held.
    pub(super) fn take_late_ends_of(&self, lane: &Lane) -> Vec<LateEnd> {
        let Some(ring) = lane.ring_other_than(None) else { return Vec::new() };
        let (ends, records) = late_ends(ring.ring());
        self.count_unregistered(records);
        ends
    }
}

/// Returns the pending ENDs and the number of all pending records, and takes all from the ring.
fn late_ends(ring: &Ring) -> (Vec<LateEnd>, usize) {
    let mut ends = Vec::new();
    let mut consumer = ring.attach_consumer();
    let pending = consumer.refresh();
    consumer.drain(|record| ends.extend(process::ended_span(record)));
    (ends, pending)
}
