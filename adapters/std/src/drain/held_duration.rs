//! Passes the records of a lane on to the observers, each DURATION together with its tag.
//!
//! The TAG of a DURATION is the record behind it, which may come with the next pass. Therefore a
//! DURATION is held back until the record behind it has been read. It is passed on without a tag at
//! the end of a flush, and in the first pass that finds no more records in the lane.

use tailwatch_core::{Kind, Record};

use crate::{
    observer::{Delivered, Observers, Scales},
    recording::identity::Identity,
};

/// The DURATION of a lane that is held back, if any.
#[derive(Debug, Default)]
pub(super) struct HeldDuration(Option<Delivered>);

impl HeldDuration {
    /// Passes a record on, which this thread wrote. `is_noted` is whether it became a
    /// sample or, if it is a TAG, whether it belongs to the DURATION before it.
    pub(super) fn pass_on(
        &mut self,
        record: Record,
        is_noted: bool,
        thread: &Identity,
        observers: &mut Observers,
        scales: &Scales<'_>,
    ) {
        let is_tag = record.kind() == Kind::Tag;
        let belongs = is_tag && is_noted;
        let is_repeated_tag = belongs && self.0.is_some();
        if let Some(duration) = &mut self.0 {
            duration.tag = belongs.then(|| record.payload());
            self.release(observers, scales);
        }
        let delivered = Delivered {
            record,
            is_sample: is_noted && !is_tag,
            tag: None,
            is_repeated_tag,
            thread: thread.clone(),
        };
        if record.kind() == Kind::Duration {
            self.0 = Some(delivered);
        } else {
            observers.notify_record(&delivered, scales);
        }
    }

    /// Passes on what is held back.
    pub(super) fn release(&mut self, observers: &mut Observers, scales: &Scales<'_>) {
        if let Some(duration) = self.0.take() {
            observers.notify_record(&duration, scales);
        }
    }
}
