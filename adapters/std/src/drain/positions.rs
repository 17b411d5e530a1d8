//! The position of each event among the events of a collector.

use tailwatch_core::EventId;

/// What an id that belongs to no event has instead of a position.
const NONE: u16 = u16::MAX;

/// Finds the position of an event by its id, without a search.
#[derive(Debug)]
pub(crate) struct Positions(Box<[u16]>);

impl Positions {
    /// Creates the positions of these events, of which there are at most 2,047.
    pub(crate) fn new(events: impl Iterator<Item = EventId>) -> Self {
        let mut positions = vec![NONE; usize::from(EventId::MAX) + 1];
        for (position, id) in (0..NONE).zip(events) {
            if let Some(place) = positions.get_mut(usize::from(id.get())) {
                *place = position;
            }
        }
        Self(positions.into_boxed_slice())
    }

    /// Adds an event at `position`, which no other event has.
    pub(crate) fn add(&mut self, id: EventId, position: usize) {
        if let Some(place) = self.0.get_mut(usize::from(id.get())) {
            *place = u16::try_from(position).unwrap_or(NONE);
        }
    }

    /// Returns the position of an event, or `None` if the collector does not have it.
    pub(crate) fn of(&self, id: EventId) -> Option<usize> {
        let position = *self.0.get(usize::from(id.get()))?;
        (position != NONE).then_some(usize::from(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_at_its_position() {
        let events = [7, 2_047, 1].map(|id| EventId::new(id).unwrap());
        let positions = Positions::new(events.into_iter());
        assert_eq!(events.map(|id| positions.of(id)), [Some(0), Some(1), Some(2)]);
        assert_eq!(positions.of(EventId::new(2).unwrap()), None);
    }
}
