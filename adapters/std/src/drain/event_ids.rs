//! A set of events, as a bit for each event id.

use tailwatch_core::EventId;

/// The number of words that have a bit for every event id.
const WORDS: usize = (EventId::MAX as usize + 1).div_ceil(64);

/// A set of events. It has the same size, 256 bytes, whatever it contains.
#[derive(Clone, Debug)]
pub(crate) struct EventIds([u64; WORDS]);

impl EventIds {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// Inserts an event.
    // Inlined, because the drain calls this for each record.
    #[inline(always)]
    pub(crate) fn insert(&mut self, id: EventId) {
        let (word, bit) = place(id);
        // Most records are of events that are in the set. Not storing the word again keeps one
        // record from waiting for the store of the previous one.
        if self.0[word] & bit == 0 {
            self.0[word] |= bit;
        }
    }

    /// Inserts or removes an event.
    pub(crate) fn set(&mut self, id: EventId, is_in: bool) {
        let (word, bit) = place(id);
        self.0[word] = if is_in { self.0[word] | bit } else { self.0[word] & !bit };
    }

    /// Returns whether the event is in the set.
    pub(crate) fn contains(&self, id: EventId) -> bool {
        let (word, bit) = place(id);
        self.0[word] & bit != 0
    }

    /// Removes all events.
    pub(crate) fn clear(&mut self) {
        *self = Self::EMPTY;
    }

    /// Returns whether the set has no event.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Inserts all events of another set.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Returns the events in ascending order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = EventId> + use<'_> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let rest = |left: &u64| Some(left & (left - 1)).filter(|left| *left > 0);
            core::iter::successors(Some(*word).filter(|word| *word > 0), rest).filter_map(
                move |left| {
                    u16::try_from(index * 64 + left.trailing_zeros() as usize)
                        .ok()
                        .and_then(EventId::new)
                },
            )
        })
    }
}

/// Returns the index of the word that has the bit of this event, and the bit.
#[inline(always)]
fn place(id: EventId) -> (usize, u64) {
    let id = usize::from(id.get());
    // The remainder changes nothing. It spares the check of the index.
    (id / 64 % WORDS, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u16]) -> EventIds {
        let mut set = EventIds::EMPTY;
        for id in ids {
            set.insert(EventId::new(*id).unwrap());
        }
        set
    }

    fn ids(set: &EventIds) -> Vec<u16> {
        set.iter().map(EventId::get).collect()
    }

    #[test]
    fn a_set_has_the_events_that_were_inserted_in_ascending_order() {
        let mut events = set(&[2_047, 1, 64, 63, 65, 1]);
        assert_eq!((ids(&events), events.len()), (vec![1, 63, 64, 65, 2_047], 5));
        let [one, two] = [1, 2].map(|id| EventId::new(id).unwrap());
        assert!(events.contains(one) && !events.contains(two));
        events.insert_all(&set(&[2, 64]));
        events.set(one, false);
        assert_eq!(ids(&events), [2, 63, 64, 65, 2_047]);
        assert!(!events.is_empty());
        events.clear();
        assert!(events.is_empty() && ids(&events).is_empty());
    }
}
