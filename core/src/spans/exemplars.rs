//! Exemplars: the slowest samples of a window or of the time since the start, with the information
//! that identifies them.
//!
//! "p99.9 was 80 ms" does not explain anything, but "order 4711, at 14:03:07.2, on the order
//! thread" shows where to look.
//!
//! When one of the slowest samples leaves a window, the slowest of the others takes its place, and
//! a single list of the slowest would not contain it. Therefore a window is cut into *slices*,
//! intervals of equal length. Each slice has a list of its own, and a query merges the lists of the
//! window's slices. The time since the start has one more list, and so have the *staged* samples,
//! those that are not yet committed to the windows and the total. A list has a
//! fixed length. It is sorted, the slowest sample first, and its unused entries are at the end.

use crate::{record::Outcome, statistics::select::WeightedSample};

/// One of the slowest samples of an event (the largest, for plain numbers), or an unused entry of a
/// list, which is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "zeroable", derive(bytemuck::Zeroable))]
pub struct Exemplar {
    /// The duration in the aggregator's internal [unit of time](crate::TimeUnit) (not in ticks), or
    /// the plain number, in the lowest 60 bits. Above it, 2 bits with the outcome: 0 if there is
    /// none, and otherwise one more than its number in [`Outcomes`](crate::Outcomes).
    value_and_outcome: u64,
    /// The tick at which the span or duration started, or the plain number was recorded.
    start: u64,
    /// From the highest bit on: 16 bits with the source, the bit [`IN_USE`], and the tag field of
    /// 47 bits. The tag field is the tag plus 1 (a span that was given no tag has the tag 0). It is
    /// 0 if the sample is of no span and has no tag. It is [`AWAITED`] if the START was not found;
    /// the START may still arrive.
    source_and_tag: u64,
}

/// The bit that is set if an entry is in use.
const IN_USE: u64 = 1 << 47;
/// The tag field of a span whose END was drained, but whose START, which carries the tag, was not
/// found. Larger than any tag plus 1. Because all its bits are set, this is also the mask of the
/// tag field.
const AWAITED: u64 = IN_USE - 1;
/// The position of the lowest bit of the source.
const SOURCE_SHIFT: u32 = 48;
/// The position of the lowest bit of the outcome.
const OUTCOME_SHIFT: u32 = WeightedSample::VALUE_BITS;

impl Exemplar {
    /// An unused entry.
    pub const EMPTY: Self = Self { value_and_outcome: 0, start: 0, source_and_tag: 0 };

    /// Creates an entry in use of a sample without an outcome: see
    /// [`with_outcome`](Self::with_outcome). `value` is in the internal unit of time or a plain
    /// number, and has the 60 bits that a sample has. `tag` is
    /// the tag of the span's START, which is 0 for a span that was given no tag, or that of a
    /// duration. It is `None` if there is none, or if the START was not found. In the latter case,
    /// call [`awaiting_tag`](Self::awaiting_tag) on the result.
    pub(crate) fn new(value: u64, start: u64, tag: Option<u64>, source: u16) -> Self {
        let source_and_tag = u64::from(source) << SOURCE_SHIFT | IN_USE;
        let mut exemplar = Self { value_and_outcome: value, start, source_and_tag };
        exemplar.set_tag(tag);
        exemplar
    }

    /// Returns a copy that is marked as awaiting its tag: the tag may still arrive with the START
    /// of the span, from a ring that is drained later than the ring with the END.
    pub(crate) const fn awaiting_tag(self) -> Self {
        Self { source_and_tag: self.source_and_tag | AWAITED, ..self }
    }

    /// Returns a copy that is of a span with this outcome.
    pub(crate) const fn with_outcome(self, outcome: Outcome) -> Self {
        let number = outcome as u64 - Outcome::Ok as u64 + 1;
        Self { value_and_outcome: self.value() | number << OUTCOME_SHIFT, ..self }
    }

    const fn awaits_tag(&self) -> bool {
        self.source_and_tag & AWAITED == AWAITED
    }

    pub(crate) const fn is_in_use(&self) -> bool {
        self.source_and_tag & IN_USE != 0
    }

    fn set_tag(&mut self, tag: Option<u64>) {
        // A tag has 46 bits, so the tag plus 1 fits into the 47 bits of the field.
        self.source_and_tag =
            self.source_and_tag & !AWAITED | tag.map_or(0, |tag| (tag + 1) & AWAITED);
    }

    /// Returns the duration in the aggregator's internal [unit of time](crate::TimeUnit) (not in
    /// ticks), or the plain number. A [`UnitConverter`](crate::UnitConverter) converts durations to
    /// nanoseconds.
    pub const fn value(&self) -> u64 {
        self.value_and_outcome & ((1 << OUTCOME_SHIFT) - 1)
    }

    /// Returns how the span ended. `None` for a duration that was not measured by a span, and for a
    /// plain number.
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.value_and_outcome >> OUTCOME_SHIFT & 3 {
            1 => Some(Outcome::Ok),
            2 => Some(Outcome::Error),
            3 => Some(Outcome::Cancelled),
            _ => None,
        }
    }

    /// Returns the tick (clock reading) at which the span started. For a duration that was not
    /// measured by a span, this is the tick at which it was recorded minus the duration. For a
    /// plain number, it is the tick at which the number was recorded.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the tag of the span's START, which is 0 for a span that was given no tag, or the tag
    /// that a duration was recorded with. If several spans of the event began at the same tick, it
    /// may be the tag of another one of them, because spans are identified by event and start tick.
    ///
    /// Returns `None` in these cases:
    ///
    /// - The sample is a plain number, or a duration that was recorded without a tag or whose TAG
    ///   has not been drained yet.
    /// - The START has not been drained yet, or was lost.
    /// - The START was ignored because of an impossible tick: see
    ///   [`Counters::clock_anomalies`](crate::Counters::clock_anomalies).
    /// - The START found no room in the table of open spans, or the storage has no such table.
    /// - The END was drained before the START and found no room in that table to wait for it.
    /// - The span was given up before its END was drained, because records had been lost or the
    ///   clock had restarted: see [`Pairing::abandoned`](crate::Pairing::abandoned).
    pub const fn tag(&self) -> Option<u64> {
        if self.awaits_tag() { None } else { (self.source_and_tag & AWAITED).checked_sub(1) }
    }

    /// Returns the source of the sample: the number that the caller passed to
    /// [`record`](crate::Aggregator::record), [`drain`](crate::Aggregator::drain) or
    /// [`drain_up_to`](crate::Aggregator::drain_up_to), such as that of a ring.
    pub const fn source(&self) -> u16 {
        (self.source_and_tag >> SOURCE_SHIFT) as u16
    }
}

/// Returns whether a sample with this value belongs in the list: an entry is unused, or the value
/// is greater than the smallest one in the list.
#[inline]
pub(crate) fn is_slow(list: &[Exemplar], value: u64) -> bool {
    list.last().is_some_and(|last| !last.is_in_use() || value > last.value())
}

/// Returns the smallest value for which [`is_slow`] returns `true`, or `u64::MAX` if there is none
/// because the list has the length 0.
pub(crate) fn min_slow_value(list: &[Exemplar]) -> u64 {
    match list.last() {
        Some(smallest) if smallest.is_in_use() => smallest.value() + 1,
        Some(_) => 0,
        None => u64::MAX,
    }
}

/// Inserts an exemplar at its position in the list and drops the last entry, which is unused or has
/// the smallest value. Among equal values, the one inserted first stays in front. Does nothing if
/// every entry is in use and none has a smaller value.
pub(crate) fn insert(list: &mut [Exemplar], exemplar: Exemplar) {
    let position =
        list.partition_point(|other| other.is_in_use() && other.value() >= exemplar.value());
    if let Some(rest) = list.get_mut(position..)
        && !rest.is_empty()
    {
        // Moves the last entry to the front, where the new one replaces it.
        rest.rotate_right(1);
        rest[0] = exemplar;
    }
}

/// Inserts the exemplars of another list, `others`, that [belong](is_slow) in the list.
pub(crate) fn merge(list: &mut [Exemplar], others: &[Exemplar]) {
    for exemplar in others {
        // `others` is sorted: if one exemplar does not belong in the list, neither do the
        // following.
        if !exemplar.is_in_use() || !is_slow(list, exemplar.value()) {
            return;
        }
        insert(list, *exemplar);
    }
}

/// Returns the entries of a list that are in use, which are at its beginning.
pub(crate) fn in_use(list: &[Exemplar]) -> &[Exemplar] {
    &list[..list.partition_point(Exemplar::is_in_use)]
}

/// Sets the tag of the first exemplar in the list that awaits its tag and whose span started at
/// `start`. Does nothing if there is none.
///
/// If several spans of the event started at this tick, their STARTs can be matched with the
/// exemplars in any order: such spans cannot be distinguished.
pub(crate) fn set_awaited_tag(list: &mut [Exemplar], start: u64, tag: u64) {
    let is_awaiting = |exemplar: &&mut Exemplar| exemplar.awaits_tag() && exemplar.start == start;
    if let Some(exemplar) = list.iter_mut().find(is_awaiting) {
        exemplar.set_tag(Some(tag));
    }
}

/// Sets the tag of the first exemplar in the list that equals `untagged`, a DURATION that has no
/// tag yet. Does nothing if there is none.
///
/// DURATIONs of the event with the same value, start and source cannot be distinguished.
pub(crate) fn set_tag_of(list: &mut [Exemplar], untagged: Exemplar, tag: u64) {
    if let Some(exemplar) = list.iter_mut().find(|exemplar| **exemplar == untagged) {
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
        fn a_list_contains_the_slowest_samples_in_order(
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
        fn an_exemplar_returns_the_values_it_was_created_with(
            value in 0..1_u64 << OUTCOME_SHIFT,
            outcome in proptest::option::of(proptest::sample::select(
                &[Outcome::Ok, Outcome::Error, Outcome::Cancelled][..],
            )),
            start: u64,
            tag in proptest::option::of(0..=crate::MAX_PAYLOAD),
            source: u16,
        ) {
            let exemplar = Exemplar::new(value, start, tag, source);
            let exemplar = outcome.map_or(exemplar, |outcome| exemplar.with_outcome(outcome));
            prop_assert_eq!((exemplar.value(), exemplar.outcome()), (value, outcome));
            prop_assert_eq!(exemplar.start(), start);
            prop_assert_eq!((exemplar.tag(), exemplar.source()), (tag, source));
            prop_assert!(exemplar.is_in_use() && !Exemplar::EMPTY.is_in_use());
        }
    }
}
