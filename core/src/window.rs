//! Sliding windows, cut into slices.
//!
//! A slice begins at a multiple of its length. The window that ends now consists of the current slice, which is not over
//! yet, and the full ones before it: it covers between its length less one slice and its length.

use core::{ops::Range, time::Duration};

use crate::{
    TickRate,
    clock::{duration_of, nanos_of},
    wide,
};

/// A window's length and in how many slices it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WindowSpec {
    /// How far it reaches back at the most.
    pub length: Duration,
    /// In how many slices it is cut: it moves on by one at a time. They divide the length into whole nanoseconds.
    pub slices: u16,
}

impl WindowSpec {
    /// 1 s in slices of 100 ms.
    pub const SECOND: Self = Self::new(Duration::from_secs(1), 10);
    /// 5 s in slices of 500 ms.
    pub const FIVE_SECONDS: Self = Self::new(Duration::from_secs(5), 10);
    /// 60 s in slices of 5 s.
    pub const MINUTE: Self = Self::new(Duration::from_mins(1), 12);
    /// 1 s, 5 s and 60 s.
    pub const DEFAULT: [Self; 3] = [Self::SECOND, Self::FIVE_SECONDS, Self::MINUTE];

    /// A window of this length in so many slices.
    pub const fn new(length: Duration, slices: u16) -> Self {
        Self { length, slices }
    }
}

/// Where a window stands. All zero until it is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    length_nanos: u64,
    slice_ticks: u64,
    /// The first tick of the current slice, a multiple of the slice's length: cached, so that a record needs no division.
    begins: u64,
    /// The place of that slice, and of its first one, among those of all windows of an event.
    current_place: usize,
    first: usize,
    slices: u16,
    /// The lowest of the bits in which the kept samples have the number of its slice.
    #[cfg(not(target_pointer_width = "64"))]
    shift: u8,
}

impl Window {
    pub(crate) const EMPTY: Self = Self {
        length_nanos: 0,
        slice_ticks: 0,
        begins: 0,
        current_place: 0,
        first: 0,
        slices: 0,
        #[cfg(not(target_pointer_width = "64"))]
        shift: 0,
    };

    /// The window that ends at `now` and whose slices begin at the place `first`, or `None` if a slice is shorter than a tick
    /// or there are none.
    pub(crate) const fn new(spec: WindowSpec, rate: TickRate, now: u64, first: usize) -> Option<Self> {
        let Some(length_nanos) = nanos_of(spec.length) else { return None };
        if spec.slices == 0 {
            return None;
        }
        let slice_ticks = rate.ticks_in_nanos(wide::narrow_quotient(length_nanos, spec.slices as u64));
        if slice_ticks == 0 {
            return None;
        }
        let mut window = Self { length_nanos, slice_ticks, first, slices: spec.slices, ..Self::EMPTY };
        window.enter(now);
        Some(window)
    }

    /// Stands at `now`, wherever it stood.
    const fn enter(&mut self, now: u64) {
        self.begins = wide::narrow_quotient(now, self.slice_ticks) * self.slice_ticks;
        self.current_place = self.first;
    }

    /// How far it reaches back at the most.
    pub(crate) const fn length(&self) -> Duration {
        duration_of(self.length_nanos)
    }

    /// In how many slices it is cut.
    pub(crate) const fn slices(&self) -> u16 {
        self.slices
    }

    /// How long a slice is.
    pub(crate) const fn slice_ticks(&self) -> u64 {
        self.slice_ticks
    }

    /// The places of its slices among those of all windows of an event.
    pub(crate) const fn places(&self) -> Range<usize> {
        self.first..self.first + self.slices as usize
    }

    /// The first tick that belongs to it.
    pub const fn start(&self) -> u64 {
        self.begins.saturating_sub(self.slice_ticks.saturating_mul(self.slices as u64 - 1))
    }

    /// Moves on to the slice of `now`, and calls `expired` with the place of each slice that begins anew. A `now` before the
    /// current slice changes nothing.
    #[expect(clippy::cast_possible_truncation, reason = "fewer than there are slices")]
    pub(crate) fn advance(&mut self, now: u64, mut expired: impl FnMut(usize)) {
        if !self.ends_by(now) {
            return;
        }
        let passed = wide::narrow_quotient(now - self.begins, self.slice_ticks);
        self.begins += passed * self.slice_ticks;
        let passed = if passed < u64::from(self.slices) { passed as usize } else { usize::from(self.slices) };
        for _ in 0..passed {
            let next = self.current_place + 1;
            self.current_place = if next < self.places().end { next } else { self.first };
            expired(self.current_place);
        }
    }

    /// Whether the current slice is over by then.
    pub(crate) const fn ends_by(&self, now: u64) -> bool {
        now >= self.begins.saturating_add(self.slice_ticks)
    }

    /// How many bits number its slices from 1.
    #[cfg(not(target_pointer_width = "64"))]
    pub(crate) const fn bits(slices: u16) -> u32 {
        u16::BITS - slices.leading_zeros()
    }

    /// Has the kept samples have the number of its slice from this bit on; the next one behind.
    #[cfg(not(target_pointer_width = "64"))]
    #[expect(clippy::cast_possible_truncation, reason = "16 at the most")]
    pub(crate) const fn number_slices(&mut self, shift: u8) -> u8 {
        self.shift = shift;
        let next = shift as u32 + Self::bits(self.slices);
        // Where no samples are kept, there may be more slices than bits.
        if next >= u16::BITS { u16::BITS as u8 - 1 } else { next as u8 }
    }

    /// Where the kept samples have the number of its slice, from the lowest bit on, and these bits.
    #[cfg(not(target_pointer_width = "64"))]
    #[expect(clippy::cast_possible_truncation, reason = "the bits that there are")]
    pub(crate) const fn mark(&self) -> (u8, u16) {
        (self.shift, (((1_u32 << Self::bits(self.slices)) - 1) << self.shift) as u16)
    }

    /// The slice that `tick` belongs to, if that is in the window: its first tick and the first one behind it. A tick after the current
    /// slice counts as in it.
    pub(crate) fn bounds(&self, tick: u64) -> Option<Range<u64>> {
        let from = self.begins - self.back(tick)? as u64 * self.slice_ticks;
        Some(from..from.saturating_add(self.slice_ticks))
    }

    /// Stands at `now`, wherever it stood; not if it was never set up. The slices are to be emptied.
    pub(crate) const fn begin_anew(&mut self, now: u64) {
        if self.slices > 0 {
            self.enter(now);
        }
    }

    /// The place of the slice that `tick` belongs to; `None` if it is older than the window. A tick after the current slice
    /// counts as in it.
    #[inline]
    pub(crate) fn place(&self, tick: u64) -> Option<usize> {
        if tick >= self.begins { Some(self.current_place) } else { self.back(tick).map(|back| self.place_back(back)) }
    }

    /// How many slices before the current one `tick` lies; `None` if it is older than the window.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn back(&self, tick: u64) -> Option<usize> {
        if tick >= self.begins {
            return Some(0);
        }
        (tick >= self.start()).then(|| wide::small_quotient(self.begins - 1 - tick, self.slice_ticks) + 1)
    }

    /// The place of the slice that is so many before the current one, less than all.
    const fn place_back(&self, back: usize) -> usize {
        let turn = if self.current_place < self.first + back { self.slices as usize } else { 0 };
        self.current_place + turn - back
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{collections::BTreeSet, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    const TICK: TickRate = TickRate::NANOSECONDS;

    proptest! {
        /// Against a list of (tick, slice number) that is searched anew each time.
        #[test]
        fn membership_is_that_of_the_list(
            slice in 1..50_u64,
            slices in 1..12_u16,
            first in prop_oneof![0..1_000_u64, Just(u64::MAX / 2)],
            steps in proptest::collection::vec((0..400_u64, 0..200_u64), 1..60),
        ) {
            let spec = WindowSpec::new(Duration::from_nanos(slice * u64::from(slices)), slices);
            let mut window = Window::new(spec, TICK, first, 3).unwrap();
            let mut counted = vec![0; 3 + usize::from(slices)];
            let mut seen: Vec<u64> = vec![];
            let mut now = first;
            for (step, age) in steps {
                now += step;
                window.advance(now, |place| counted[place] = 0);
                let tick = now.saturating_sub(age);
                let oldest = (now / slice).saturating_sub(u64::from(slices) - 1);
                prop_assert_eq!(window.start(), oldest * slice);
                prop_assert_eq!(window.place(tick).is_some(), tick / slice >= oldest);
                let begins = tick / slice * slice;
                prop_assert_eq!(window.bounds(tick), (tick / slice >= oldest).then_some(begins..begins + slice));
                if let Some(place) = window.place(tick) {
                    counted[place] += 1;
                }
                seen.push(tick);
                seen.retain(|tick| tick / slice >= oldest);
                prop_assert_eq!(counted[3..].iter().sum::<usize>(), seen.len());
            }
        }
    }

    #[test]
    fn a_long_idle_time_expires_every_slice_once() {
        let mut window = Window::new(WindowSpec::SECOND, TICK, 0, 0).unwrap();
        let mut expired = vec![];
        window.advance(1 << 62, |place| expired.push(place));
        assert_eq!(expired.len(), 10);
        assert_eq!(expired.iter().collect::<BTreeSet<_>>().len(), 10);
        window.advance(5, |_| panic!("time went back"));
    }

    #[test]
    fn the_end_of_time_is_survived() {
        let mut window = Window::new(WindowSpec::MINUTE, TICK, u64::MAX - 1, 0).unwrap();
        window.advance(u64::MAX, |_| ());
        window.advance(u64::MAX, |_| ());
        assert!(window.place(u64::MAX).is_some());
        assert_eq!(window.place(0), None);
    }

    #[test]
    fn a_slice_below_a_tick_is_refused() {
        let slow = TickRate::from_hz(4).unwrap();
        assert_eq!(Window::new(WindowSpec::SECOND, slow, 0, 0), None);
        assert_eq!(Window::new(WindowSpec::new(Duration::from_secs(1), 0), TICK, 0, 0), None);
    }
}
