//! Counters that wrap, are ticked in time or not, and are interrupted.

use core::cell::Cell;

use proptest::prelude::*;

use super::*;

const RATE: TickRate = TickRate::NANOSECONDS;

proptest! {
    #[test]
    fn a_counter_that_is_ticked_in_time_is_followed_to_the_tick(
        bits in 8..=32_u32,
        first in prop_oneof![0..1_u64 << 33, Just((1 << 32) - 10), any::<u64>().prop_map(|first| first >> 3)],
        steps in proptest::collection::vec((0..=1_000_u64, any::<bool>()), 1..60),
    ) {
        // Less than a wrap, and than 2^31, from one `tick` to the next.
        let most = ((1_u64 << bits) - 1).min((1 << 31) - 1);
        let time = Cell::new(first);
        let read = || u32::try_from(time.get() & 0xFFFF_FFFF).unwrap();
        let clock = Counter::new(&read, bits, RATE).unwrap();
        clock.base.store(first);
        let mut since = 0;
        for (share, ticks) in steps {
            let step = (most - since) * share / 1_000;
            time.set(time.get() + step);
            since += step;
            prop_assert_eq!(clock.now(), time.get());
            if ticks {
                clock.tick();
                since = 0;
                prop_assert_eq!(clock.now(), time.get());
            }
        }
    }
}

/// An interrupt that ticks, for a while, before a look at the counter.
#[test]
fn a_tick_in_the_midst_of_a_read_is_no_step_of_the_clock() {
    struct Racing<'c> {
        time: Cell<u64>,
        looks: Cell<u32>,
        ticks_at: u32,
        clock: Cell<Option<&'c Counter<&'c Racing<'c>>>>,
    }
    impl FreeRunning for &Racing<'_> {
        fn count(&self) -> u32 {
            let look = self.looks.replace(self.looks.get() + 1);
            if look == self.ticks_at
                && let Some(clock) = self.clock.get()
            {
                clock.tick();
                self.time.set(self.time.get() + 100);
                clock.tick();
            }
            u32::try_from(self.time.get() & 0xFF).unwrap()
        }
    }
    for first in 300..900_u64 {
        // How long ago it was looked at: with the time that the interrupt takes it may be more than a wrap.
        for age in [0, 100, 200, 250] {
            for ticks_at in 0..3 {
                let racing = Racing {
                    time: Cell::new(first),
                    looks: Cell::new(0),
                    ticks_at,
                    clock: Cell::new(None),
                };
                let clock = Counter::new(&racing, 8, RATE).unwrap();
                clock.base.store(first - age);
                racing.clock.set(Some(&clock));
                let told = clock.now();
                assert!(
                    (first..=racing.time.get()).contains(&told),
                    "{first}, {age}, {ticks_at}: {told}"
                );
            }
        }
    }
}

#[test]
fn a_wrap_between_two_ticks_too_many_is_seen_as_a_step_back() {
    let time = Cell::new(0_u32);
    let read = || time.get();
    let clock = Counter::new(&read, 16, RATE).unwrap();
    time.set(0xFFFF);
    assert_eq!(clock.now(), 0xFFFF);
    time.set(0x1_0005);
    assert_eq!(clock.now(), 5, "a whole wrap period is lost");
}

#[test]
fn a_counter_that_stops_tells_the_same_tick_for_ever() {
    let stopped = || 7;
    let clock = Counter::new(&stopped, 32, RATE).unwrap();
    for _ in 0..10 {
        clock.tick();
        assert_eq!((clock.start(), clock.end()), (7, 7));
    }
}

#[test]
fn bits_that_no_counter_has_are_refused_and_the_error_names_them() {
    let read = || 0;
    for bits in [0, 7, 33, 64] {
        let error = Counter::new(&read, bits, RATE).unwrap_err();
        assert_eq!(error, BitsError { bits });
        assert!(error.to_string().contains(&bits.to_string()), "{error}");
    }
}
