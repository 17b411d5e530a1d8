//! The tags of the open spans in a trace, which the rows of their ENDs show as well.

use std::collections::{HashMap, HashSet, VecDeque};

use tailwatch_core::{EventId, Kind, Record};

/// The most open spans that have an entry. An older one makes room for a newer one.
const MAX_OPEN: usize = 65_536;

/// Finds the tag of the START of an END or FORGET, if the START was read before it. Spans of one
/// event that begin at the same tick can be taken for each other.
#[derive(Debug, Default)]
pub(super) struct OpenTags {
    open: HashMap<Begun, Open>,
    /// The spans in the order of their STARTs, with some that have ended.
    order: VecDeque<Begun>,
}

/// What an END shows of its START: the event, and the tick.
type Begun = (EventId, u64);

/// The spans of an event that began at the same tick.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// `None` if the spans have different tags.
    tag: Option<u64>,
    spans: u32,
}

impl OpenTags {
    /// Takes note of a record. Returns the tag of a START, and that of the START of an END or
    /// FORGET. `None` if the START has not been read, or if it cannot be distinguished from another
    /// one.
    pub(super) fn tag(&mut self, record: &Record) -> Option<u64> {
        let event = record.event()?;
        match record.kind() {
            Kind::Start => {
                self.begin((event, record.ticks()), record.payload());
                Some(record.payload())
            }
            // An interval that would be negative: it closes no span.
            Kind::Forget if record.is_negative_difference() => None,
            Kind::Forget => self.end((event, record.ticks())),
            kind if kind.outcome().is_some() => {
                self.end((event, record.ticks().checked_sub(record.payload())?))
            }
            _ => None,
        }
    }

    fn begin(&mut self, begun: Begun, tag: u64) {
        if let Some(open) = self.open.get_mut(&begun) {
            open.tag = open.tag.filter(|other| *other == tag);
            open.spans = open.spans.saturating_add(1);
            return;
        }
        if self.order.len() >= 2 * MAX_OPEN {
            let mut kept = HashSet::new();
            self.order.retain(|begun| self.open.contains_key(begun) && kept.insert(*begun));
        }
        while self.open.len() >= MAX_OPEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.insert(begun, Open { tag: Some(tag), spans: 1 });
        self.order.push_back(begun);
    }

    fn end(&mut self, begun: Begun) -> Option<u64> {
        let open = self.open.get_mut(&begun)?;
        let tag = open.tag;
        open.spans -= 1;
        if open.spans == 0 {
            self.open.remove(&begun);
        }
        tag
    }
}

#[cfg(test)]
mod tests {
    use tailwatch_core::{Event, Outcome, Trading};

    use super::*;

    const ORDER: Trading = Trading::OrderFill;

    fn start(tick: u64, tag: u64) -> Record {
        Record::start(tick, ORDER.id(), 0, tag)
    }

    fn end(tick: u64, duration: u64) -> Record {
        Record::end(tick, ORDER.id(), 0, Outcome::Ok, duration)
    }

    #[test]
    fn an_end_has_the_tag_of_its_start_once_that_was_read() {
        let mut tags = OpenTags::default();
        assert_eq!(tags.tag(&end(7, 5)), None, "its START comes later");
        assert_eq!([tags.tag(&start(1, 11)), tags.tag(&start(3, 13))], [Some(11), Some(13)]);
        let other = Record::start(3, Trading::OrderPlacement.id(), 0, 14);
        assert_eq!(tags.tag(&other), Some(14));
        assert_eq!(tags.tag(&end(9, 6)), Some(13));
        assert_eq!(tags.tag(&end(9, 6)), None, "it has ended");
        assert_eq!(tags.tag(&end(10, 9)), Some(11));
        assert_eq!(tags.tag(&end(1, 2)), None, "a damaged record");
        assert_eq!(tags.open.len(), 1);
    }

    #[test]
    fn an_end_has_no_tag_if_it_may_belong_to_starts_with_different_tags() {
        let mut tags = OpenTags::default();
        for tag in [1, 1, 2] {
            tags.tag(&start(5, tag));
        }
        assert_eq!([6, 7, 8].map(|tick| tags.tag(&end(tick, tick - 5))), [None; 3]);
        for tag in [4, 4] {
            tags.tag(&start(9, tag));
        }
        assert_eq!([10, 11].map(|tick| tags.tag(&end(tick, tick - 9))), [Some(4); 2]);
        assert!(tags.open.is_empty());
    }

    #[test]
    fn spans_that_never_end_take_bounded_memory() {
        let mut tags = OpenTags::default();
        let max = MAX_OPEN as u64;
        for tick in 0..3 * max {
            tags.tag(&start(tick, tick));
            // Of each four spans, three end.
            if tick % 4 > 0 {
                assert_eq!(tags.tag(&end(tick + 1, 1)), Some(tick));
            }
        }
        for tick in (0..8 * max).step_by(4) {
            tags.tag(&start(3 * max + tick, tick));
        }
        assert_eq!(tags.open.len(), MAX_OPEN);
        assert!(tags.order.len() <= 2 * MAX_OPEN, "{}", tags.order.len());
        let last = 8 * max - 4;
        assert_eq!(tags.tag(&end(3 * max + last + 1, 1)), Some(last));
        assert_eq!(tags.tag(&end(1, 1)), None, "the oldest one gave way");
    }
}
