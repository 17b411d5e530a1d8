//! Exemplars: the slowest samples of a scope, with the information that identifies them.
//!
//! "p99.9 was 80 ms" does not explain anything, but "order 4711, at 14:03:07.2, on the order
//! thread" shows where to look. A list of the K slowest samples cannot be corrected when some of
//! them leave the window. Therefore each slice has a list of its own, and a query merges the lists
//! of the window's slices. A list is sorted, the slowest sample first, and its unused entries are
//! at the end.

/// One of the slowest samples, or an unused entry of a list, which is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exemplar {
    value: u64,
    start: u64,
    /// From the highest bit: 16 bits of the source, 1 bit that is set if the entry is in use, and
    /// 47 bits of the tag field. The tag field is the tag plus 1, or 0 if there is no tag, or
    /// [`AWAITED`].
    marks: u64,
}

const IN_USE: u64 = 1 << 47;
/// The tag field of a span whose START is still to come. Larger than any tag plus 1. Also the mask
/// of the tag field.
const AWAITED: u64 = IN_USE - 1;
const SOURCE_SHIFT: u32 = 48;

impl Exemplar {
    pub(crate) const EMPTY: Self = Self { value: 0, start: 0, marks: 0 };

    pub(crate) fn new(value: u64, start: u64, tag: Option<u64>, source: u16) -> Self {
        let mut exemplar = Self { value, start, marks: u64::from(source) << SOURCE_SHIFT | IN_USE };
        exemplar.set_tag(tag);
        exemplar
    }

    /// Marks the tag as still to come, with the START of the span.
    pub(crate) const fn awaiting_tag(self) -> Self {
        Self { marks: self.marks | AWAITED, ..self }
    }

    const fn awaits_tag(&self) -> bool {
        self.marks & AWAITED == AWAITED
    }

    pub(crate) const fn is_in_use(&self) -> bool {
        self.marks & IN_USE != 0
    }

    // A tag has 46 bits, so that the tag plus 1 fits into the 47 bits of the field.
    fn set_tag(&mut self, tag: Option<u64>) {
        self.marks = self.marks & !AWAITED | tag.map_or(0, |tag| (tag + 1) & AWAITED);
    }

    /// Returns the value in internal units: units of time, or a plain number. A
    /// [`UnitConverter`](crate::UnitConverter) converts it.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// Returns the tick at which the span started. For a plain number, this is the tick at which it
    /// was recorded.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the tag of the span's START, or `None` if the START was not seen.
    pub const fn tag(&self) -> Option<u64> {
        if self.awaits_tag() { None } else { (self.marks & AWAITED).checked_sub(1) }
    }

    /// Returns the source that delivered the sample: the number that the caller of
    /// [`Aggregator::record`](crate::Aggregator::record) passed.
    pub const fn source(&self) -> u16 {
        (self.marks >> SOURCE_SHIFT) as u16
    }
}

/// Returns whether a sample of this value belongs into the list: the list is not full, or the value
/// exceeds the smallest one in it.
#[inline]
pub(crate) fn is_slow(list: &[Exemplar], value: u64) -> bool {
    list.last().is_some_and(|last| !last.is_in_use() || value > last.value)
}

/// Returns the smallest value for which [`is_slow`] returns `true`, or `u64::MAX` if the list has
/// no entries.
pub(crate) fn slow_from(list: &[Exemplar]) -> u64 {
    match list.last() {
        Some(fastest) if fastest.is_in_use() => fastest.value.saturating_add(1),
        Some(_) => 0,
        None => u64::MAX,
    }
}

/// Inserts an exemplar at its position in the list. Drops the last entry if the list is full. Among
/// equal values, the earlier one stays in front.
pub(crate) fn insert(list: &mut [Exemplar], exemplar: Exemplar) {
    let place = list.partition_point(|other| other.is_in_use() && other.value >= exemplar.value);
    if let Some(rest) = list.get_mut(place..)
        && !rest.is_empty()
    {
        rest.rotate_right(1);
        rest[0] = exemplar;
    }
}

/// Inserts the exemplars of another list.
pub(crate) fn merge(list: &mut [Exemplar], others: &[Exemplar]) {
    for exemplar in others {
        // The other list is sorted: if this one is not slow enough, neither are the following ones.
        if !exemplar.is_in_use() || !is_slow(list, exemplar.value) {
            return;
        }
        insert(list, *exemplar);
    }
}

/// Returns the entries of a list that are in use.
pub(crate) fn in_use(list: &[Exemplar]) -> &[Exemplar] {
    &list[..list.partition_point(Exemplar::is_in_use)]
}

/// Sets the tag of the exemplar that started at `start` and awaits its tag, if there is one.
pub(crate) fn set_awaited_tag(list: &mut [Exemplar], start: u64, tag: u64) {
    let awaiting = |exemplar: &&mut Exemplar| exemplar.awaits_tag() && exemplar.start == start;
    if let Some(exemplar) = list.iter_mut().find(awaiting) {
        exemplar.set_tag(Some(tag));
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
        fn a_list_keeps_the_slowest_samples(
            values in proptest::collection::vec(0..40_u64, 0..60),
            len in 0..6_usize,
        ) {
            let mut list = vec![Exemplar::EMPTY; len];
            for (n, value) in (0..).zip(&values) {
                let exemplar = Exemplar::new(*value, n, Some(n), 7);
                if is_slow(&list, *value) {
                    insert(&mut list, exemplar);
                }
            }
            let mut expected: Vec<(u64, u64)> = values.iter().copied().zip(0..).collect();
            // The sort is stable: among equal values, the earlier ones come first.
            expected.sort_by_key(|(value, _)| core::cmp::Reverse(*value));
            expected.truncate(len);
            let listed: Vec<_> =
                in_use(&list).iter().map(|exemplar| (exemplar.value(), exemplar.start())).collect();
            prop_assert_eq!(listed, expected);
        }

        #[test]
        fn an_exemplar_returns_what_it_was_created_with(
            value: u64,
            start: u64,
            tag in proptest::option::of(0..=crate::MAX_PAYLOAD),
            source: u16,
        ) {
            let exemplar = Exemplar::new(value, start, tag, source);
            prop_assert_eq!((exemplar.value(), exemplar.start()), (value, start));
            prop_assert_eq!((exemplar.tag(), exemplar.source()), (tag, source));
            prop_assert!(exemplar.is_in_use() && !Exemplar::EMPTY.is_in_use());
        }
    }
}
