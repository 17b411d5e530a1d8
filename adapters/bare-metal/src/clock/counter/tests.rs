//! Tests with counters that wrap, with calls of `tick` that come too late, and with readings that
//! are interrupted.

use core::cell::Cell;

use proptest::prelude::*;

use super::*;

const RATE: TickRate = TickRate::NANOSECONDS;

proptest! {
    #[test]
    fn a_counter_that_is_ticked_in_time_gives_exact_ticks(
        bits in 8..=32_u32,
        first in prop_oneof![
            0..1_u64 << 33,
            Just((1 << 32) - 10),
            any::<u64>().prop_map(|first| first >> 3),
        ],
        steps in proptest::collection::vec((0..=1_000_u64, any::<bool>()), 1..60),
    ) {
        // The largest number of counts from one call of `tick` to the next: less than 2^bits, and
        // less than 2^31.
        let max_age = ((1_u64 << bits) - 1).min((1 << 31) - 1);
        let time = Cell::new(first);
        let read = || u32::try_from(time.get() & 0xFFFF_FFFF).unwrap();
        let clock = Counter::new(&read, bits, RATE).unwrap();
        clock.base.store(first);
        // The number of counts since the last call of `tick`.
        let mut age = 0;
        for (permille, calls_tick) in steps {
            let step = (max_age - age) * permille / 1_000;
            time.set(time.get() + step);
            age += step;
            prop_assert_eq!(clock.now(), time.get());
            if calls_tick {
                clock.tick();
                age = 0;
                prop_assert_eq!(clock.now(), time.get());
            }
        }
    }
}

/// Just before one of the reads of the counter, an interrupt occurs and calls `tick` twice, 100
/// counts apart.
#[test]
fn a_tick_in_the_middle_of_a_reading_causes_no_step() {
    struct Racing<'c> {
        time: Cell<u64>,
        reads: Cell<u32>,
        ticks_at: u32,
        clock: Cell<Option<&'c Counter<&'c Racing<'c>>>>,
    }
    impl FreeRunning for &Racing<'_> {
        fn count(&self) -> u32 {
            let read = self.reads.replace(self.reads.get() + 1);
            if read == self.ticks_at
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
        // The number of counts since the last call of `tick`. Together with the 100 counts that
        // pass during the interrupt, this may be more than the 256 counts of a wrap.
        for age in [0, 100, 200, 250] {
            for ticks_at in 0..3 {
                let racing = Racing {
                    time: Cell::new(first),
                    reads: Cell::new(0),
                    ticks_at,
                    clock: Cell::new(None),
                };
                let clock = Counter::new(&racing, 8, RATE).unwrap();
                clock.base.store(first - age);
                racing.clock.set(Some(&clock));
                let now = clock.now();
                assert!(
                    (first..=racing.time.get()).contains(&now),
                    "{first}, {age}, {ticks_at}: {now}"
                );
            }
        }
    }
}

#[test]
fn a_missed_tick_shows_as_a_step_back() {
    let time = Cell::new(0_u32);
    let read = || time.get();
    let clock = Counter::new(&read, 16, RATE).unwrap();
    time.set(0xFFFF);
    assert_eq!(clock.now(), 0xFFFF);
    time.set(0x1_0005);
    assert_eq!(clock.now(), 5, "a whole wrap period is lost");
}

#[test]
fn a_counter_that_stops_gives_the_same_tick_for_ever() {
    let stopped = || 7;
    let clock = Counter::new(&stopped, 32, RATE).unwrap();
    for _ in 0..10 {
        clock.tick();
        assert_eq!((clock.start(), clock.end()), (7, 7));
    }
}

#[test]
fn an_unsupported_number_of_bits_is_an_error_that_names_it() {
    let read = || 0;
    for bits in [0, 7, 33, 64] {
        let error = Counter::new(&read, bits, RATE).unwrap_err();
        assert_eq!(error, BitsError { bits });
        assert!(error.to_string().contains(&bits.to_string()), "{error}");
    }
}
