//! The slowest samples of a time, with what leads to them.
//!
//! "p99.9 was 80 ms" is no answer; "order 4711, at 14:03:07.2, on the order thread" is one. Each slice keeps its slowest K, since
//! what is gone from a window cannot be subtracted from a list; a query folds the lists of a window's slices.

/// One of the slowest samples. All zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exemplar {
    value: u64,
    start: u64,
    /// From the top: 16 bits of the source, one that says that the entry is taken, 47 of one more than the tag, or 0, or
    /// [`AWAITED`].
    marks: u64,
}

const TAKEN: u64 = 1 << 47;
/// Stands for the tag of a span whose START is still to come; more than any tag.
const AWAITED: u64 = TAKEN - 1;
const SOURCE_SHIFT: u32 = 48;

impl Exemplar {
    pub(crate) const EMPTY: Self = Self { value: 0, start: 0, marks: 0 };

    pub(crate) fn new(value: u64, start: u64, tag: Option<u64>, source: u16) -> Self {
        let mut slow = Self { value, start, marks: u64::from(source) << SOURCE_SHIFT | TAKEN };
        slow.set_tag(tag);
        slow
    }

    /// The same, but the START that has its tag is still to come.
    pub(crate) const fn awaiting_tag(self) -> Self {
        Self { marks: self.marks | AWAITED, ..self }
    }

    const fn awaits_tag(&self) -> bool {
        self.marks & AWAITED == AWAITED
    }

    pub(crate) const fn is_taken(&self) -> bool {
        self.marks & TAKEN != 0
    }

    /// A tag has 46 bits, so that one more has 47 at the most.
    fn set_tag(&mut self, tag: Option<u64>) {
        self.marks = self.marks & !AWAITED | tag.map_or(0, |tag| (tag + 1) & AWAITED);
    }

    /// As it is counted inside, units of time or a number; a [`UnitConverter`](crate::UnitConverter) tells it.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// The tick at which it began.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The tag of its START; `None` if that was not seen.
    pub const fn tag(&self) -> Option<u64> {
        if self.awaits_tag() { None } else { (self.marks & AWAITED).checked_sub(1) }
    }

    /// Which source delivered its end, as the caller of [`record`](crate::Aggregator::record) numbers them.
    pub const fn source(&self) -> u16 {
        (self.marks >> SOURCE_SHIFT) as u16
    }
}

/// Whether a sample of this value is one for this list, which is full or not, the slowest first.
#[inline]
pub(crate) fn is_slow(list: &[Exemplar], value: u64) -> bool {
    list.last().is_some_and(|last| !last.is_taken() || value > last.value)
}

/// The least value that is one for this list.
pub(crate) fn slow_from(list: &[Exemplar]) -> u64 {
    match list.last() {
        Some(fastest) if fastest.is_taken() => fastest.value.saturating_add(1),
        Some(_) => 0,
        None => u64::MAX,
    }
}

/// Puts it where it belongs; what is behind the end of the list is forgotten. Of equals the earlier one stays in front.
pub(crate) fn insert(list: &mut [Exemplar], slow: Exemplar) {
    let place = list.partition_point(|other| other.is_taken() && other.value >= slow.value);
    if let Some(rest) = list.get_mut(place..)
        && !rest.is_empty()
    {
        rest.rotate_right(1);
        rest[0] = slow;
    }
}

/// Puts those of `others`, another list, among those of `list` where they belong.
pub(crate) fn merge(list: &mut [Exemplar], others: &[Exemplar]) {
    for slow in others {
        // None of those behind it is any slower.
        if !slow.is_taken() || !is_slow(list, slow.value) {
            return;
        }
        insert(list, *slow);
    }
}

/// What is taken of a list.
pub(crate) fn taken(list: &[Exemplar]) -> &[Exemplar] {
    &list[..list.partition_point(Exemplar::is_taken)]
}

/// Tells one that waits for it its tag.
pub(crate) fn tell_tag(list: &mut [Exemplar], start: u64, tag: u64) {
    if let Some(slow) = list.iter_mut().find(|slow| slow.awaits_tag() && slow.start == start) {
        slow.set_tag(Some(tag));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_keeps_the_slowest(values in proptest::collection::vec(0..40_u64, 0..60), len in 0..6_usize) {
            let mut list = vec![Exemplar::EMPTY; len];
            for (n, value) in (0..).zip(&values) {
                let slow = Exemplar::new(*value, n, Some(n), 7);
                if is_slow(&list, *value) {
                    insert(&mut list, slow);
                }
            }
            let mut expected: Vec<(u64, u64)> = values.iter().copied().zip(0..).collect();
            // Stable: of equals the earlier ones.
            expected.sort_by_key(|(value, _)| core::cmp::Reverse(*value));
            expected.truncate(len);
            let told: Vec<_> = taken(&list).iter().map(|slow| (slow.value(), slow.start())).collect();
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn what_is_put_in_comes_out(value: u64, start: u64, tag in proptest::option::of(0..=crate::MAX_PAYLOAD), source: u16) {
            let slow = Exemplar::new(value, start, tag, source);
            prop_assert_eq!((slow.value(), slow.start(), slow.tag(), slow.source()), (value, start, tag, source));
            prop_assert!(slow.is_taken() && !Exemplar::EMPTY.is_taken());
        }
    }
}
