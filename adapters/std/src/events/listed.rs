//! The events that are listed for a collector.

use tailwatch_core::EventInfo;
use tailwatch_record::EventSet;

/// A set of events: what [`Builder::events`](crate::Builder::events) takes. It is either of the
/// constants `ALL` that [`events!`](crate::events!) declares.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Events<'a> {
    /// Events that state their numbers.
    Stated(&'a [EventInfo]),
    /// A set that is numbered when the first collector that has it is built.
    Numbered(EventSet),
}

impl<'a> From<&'a [EventInfo]> for Events<'a> {
    fn from(events: &'a [EventInfo]) -> Self {
        Self::Stated(events)
    }
}

impl<'a, const N: usize> From<&'a [EventInfo; N]> for Events<'a> {
    fn from(events: &'a [EventInfo; N]) -> Self {
        Self::Stated(events)
    }
}

impl<'a> From<&'a Vec<EventInfo>> for Events<'a> {
    fn from(events: &'a Vec<EventInfo>) -> Self {
        Self::Stated(events)
    }
}

impl From<EventSet> for Events<'_> {
    fn from(set: EventSet) -> Self {
        Self::Numbered(set)
    }
}

/// What was listed for a collector by one call, in the order of the calls.
#[derive(Clone, Debug)]
pub(crate) enum Listed {
    /// Events that state their numbers.
    Stated(Vec<EventInfo>),
    /// A set without stated numbers.
    Numbered(EventSet),
    /// An event that was made when the program ran, with its number.
    Made(EventInfo),
}
