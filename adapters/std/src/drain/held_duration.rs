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

#[cfg(all(test, not(tailwatch_loom)))]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tailwatch_core::{Clock, Event, TimeScale, TimeUnit, Trading};

    use super::*;
    use crate::clock::{Anchor, HostClock};

    /// Something that happens to the records of a lane.
    enum Step {
        /// A record is read, with whether it is a sample or the TAG of the DURATION before it.
        Read(Record, bool),
        PassEnds,
    }

    /// Returns the kind, the tag and the mark of each delivery after these steps.
    fn delivered(steps: &[Step]) -> Vec<(Kind, Option<u64>, bool)> {
        let clock = HostClock::monotonic();
        let anchor = Anchor::take(&clock);
        let scales = Scales {
            anchor: &anchor,
            rate: clock.rate(),
            time: TimeScale::new(clock.rate(), TimeUnit::Fine),
        };
        let seen = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&seen);
        let observer = move |delivery: &crate::Delivery<'_>| {
            let delivered = (delivery.kind, delivery.tag, delivery.is_repeated_tag);
            log.lock().unwrap_or_else(PoisonError::into_inner).push(delivered);
        };
        let mut observers = Observers::new(vec![Box::new(observer)], vec![], Trading::ALL);
        let (mut held, thread) = (HeldDuration::default(), Identity::named("thread".into()));
        for step in steps {
            match *step {
                Step::Read(record, is_noted) => {
                    held.pass_on(record, is_noted, &thread, &mut observers, &scales);
                }
                Step::PassEnds => held.release(&mut observers, &scales),
            }
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    #[test]
    fn a_duration_is_passed_on_with_its_tag_once_the_record_behind_it_is_known() {
        let event = Trading::OrderFill.id();
        let duration = || Step::Read(Record::duration(9, event, 0, 5), true);
        let tag = |is_noted| Step::Read(Record::tag(9, event, 0, 7), is_noted);
        let start = || Step::Read(Record::start(9, event, 0, 3), false);
        let (plain, tagged) = ((Kind::Duration, None, false), (Kind::Duration, Some(7), false));
        let (repeated, own) = ((Kind::Tag, Some(7), true), (Kind::Tag, Some(7), false));
        let began = (Kind::Start, Some(3), false);

        assert_eq!(delivered(&[duration()]), []);
        assert_eq!(delivered(&[duration(), tag(true)]), [tagged, repeated]);
        assert_eq!(delivered(&[duration(), start()]), [plain, began]);
        assert_eq!(delivered(&[duration(), duration(), tag(true)]), [plain, tagged, repeated]);
        // The record behind the DURATION was lost, so the TAG belongs to another one.
        assert_eq!(delivered(&[duration(), tag(false)]), [plain, own]);
        // A flush does not wait for the TAG.
        assert_eq!(delivered(&[duration(), Step::PassEnds, tag(true)]), [plain, own]);
        // The second tag of an open span.
        assert_eq!(delivered(&[start(), tag(false)]), [began, own]);
    }
}
