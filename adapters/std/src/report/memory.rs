//! The memory that a report takes.

use std::sync::Arc;

use tailwatch_core::Shape;

use super::{
    EventReport, Report, WindowReport,
    owned_data::OwnedData,
    sla::SlaReport,
    statistics::{SlowSample, Statistics},
};
use crate::tag_names::MAX_SHOWN_BYTES;

/// What an [`Arc`] takes besides its contents: its two counters.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// Returns the largest size of a report in bytes, without the names in its health. It has the
/// statistics of every window of every event and of its total, or room for them.
pub(crate) fn max_bytes(shape: &Shape) -> usize {
    let values = OwnedData::max_heap_bytes(shape.samples, shape.buckets_per_histogram());
    let statistics = shape.slowest * (size_of::<SlowSample>() + TAG_NAME_BYTES) + values;
    let event = size_of::<EventReport>()
        + shape.windows * size_of::<WindowReport>()
        // Those of failed spans are allocated on their own.
        + (shape.windows + 1) * (2 * statistics + size_of::<Statistics>());
    let limits = (shape.limits + shape.silences) * size_of::<SlaReport>();
    ARC_BYTES + size_of::<Report>() + shape.events * event + limits
}

/// The largest size of the text of a tag.
const TAG_NAME_BYTES: usize = text_bytes(MAX_SHOWN_BYTES);

/// Returns the size of an `Arc<str>` with a text of this length.
const fn text_bytes(len: usize) -> usize {
    (ARC_BYTES + len).next_multiple_of(align_of::<usize>())
}

/// Returns the size of a report with these parts in bytes, without what their
/// [`Statistics`] have on the heap and without the texts in its health. Takes constant time.
pub(crate) fn bytes_without_data(events: &Vec<EventReport>, sla: &Vec<SlaReport>) -> usize {
    // The windows of all events are allocated with the same capacity.
    let windows = events.first().map_or(0, |event| event.windows.capacity());
    ARC_BYTES
        + size_of::<Report>()
        + events.capacity() * size_of::<EventReport>()
        + events.len() * windows * size_of::<WindowReport>()
        + sla.capacity() * size_of::<SlaReport>()
}

impl Statistics {
    /// Returns how many bytes the statistics have on the heap. The names of threads are not
    /// included, because reports share them.
    pub(crate) fn heap_bytes(&self) -> usize {
        let tag_name = |slow: &SlowSample| slow.tag_name.as_ref().map(Arc::as_ptr);
        let names = self.slowest.iter().enumerate().filter_map(|(index, slow)| {
            let is_shared =
                self.slowest[..index].iter().any(|other| tag_name(other) == tag_name(slow));
            slow.tag_name.as_ref().filter(|_| !is_shared)
        });
        self.slowest.capacity() * size_of::<SlowSample>()
            + names.map(|name| text_bytes(name.len())).sum::<usize>()
            + self.data().heap_bytes()
    }
}
