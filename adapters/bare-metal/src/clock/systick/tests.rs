//! Tests with a simulated timer. The timer can advance before each access to its registers, and its
//! exception can be handled before each access.

use core::cell::Cell;

use super::*;

const RATE: TickRate = TickRate::NANOSECONDS;
/// The number of register accesses of a reading of the clock that is repeated once because of a
/// wrap.
const ACCESSES: usize = 5;

/// A timer that behaves as the manual describes: its value is 0 at each multiple of the period, and
/// from then on its exception is pending until the handler is entered.
#[derive(Debug)]
struct Timer<'c> {
    period: u32,
    /// The number of ticks since the timer was started.
    ticks: Cell<u64>,
    /// The number of wraps up to and including the last wrap that was handled.
    handled: Cell<u64>,
    /// Whether a wrap occurred while an earlier wrap was pending. The hardware loses such a wrap.
    lost: Cell<bool>,
    /// The number of ticks that pass before each access to the registers.
    steps: [u32; ACCESSES],
    /// The number of accesses to the registers so far.
    accesses: Cell<usize>,
    /// A bit for each access: whether the exception is handled before the access, if it is pending.
    interrupts: u32,
    /// The clock whose `on_wrap` the handler calls; `None` if no handler is installed.
    clock: Cell<Option<&'c SysTick<&'c Timer<'c>>>>,
}

impl Timer<'_> {
    /// Creates a timer that has been running for `ticks`, with or without a pending exception.
    fn new(period: u32, ticks: u64, is_pending: bool) -> Self {
        Self {
            period,
            ticks: Cell::new(ticks),
            handled: Cell::new(ticks / u64::from(period) - u64::from(is_pending)),
            lost: Cell::new(false),
            steps: [0; ACCESSES],
            accesses: Cell::new(0),
            interrupts: 0,
            clock: Cell::new(None),
        }
    }

    /// Returns the number of wraps that have not been handled.
    fn unhandled(&self) -> u64 {
        self.ticks.get() / u64::from(self.period) - self.handled.get()
    }

    /// Runs the exception handler if the exception is pending.
    fn handle(&self) {
        if self.unhandled() > 0 {
            self.handled.set(self.ticks.get() / u64::from(self.period));
            if let Some(clock) = self.clock.get() {
                clock.on_wrap();
            }
        }
    }

    /// Makes everything happen that is planned before the next access to the registers.
    fn access(&self) {
        let access = self.accesses.replace(self.accesses.get() + 1);
        let step = self.steps.get(access).copied().unwrap_or(0);
        self.ticks.set(self.ticks.get() + u64::from(step));
        self.lost.set(self.lost.get() || self.unhandled() > 1);
        if access < ACCESSES && self.interrupts >> access & 1 != 0 {
            self.handle();
        }
    }
}

impl SysTickRegisters for &Timer<'_> {
    fn current(&self) -> u32 {
        self.access();
        let elapsed = u32::try_from(self.ticks.get() % u64::from(self.period)).unwrap();
        if elapsed == 0 { 0 } else { self.period - elapsed }
    }

    fn is_wrap_pending(&self) -> bool {
        self.access();
        self.unhandled() > 0
    }
}

/// Creates a clock over `timer` that has counted the wraps which were handled so far.
fn clock_of<'c>(timer: &'c Timer<'c>) -> SysTick<&'c Timer<'c>> {
    let clock = SysTick::with_registers(RATE, timer.period, timer).unwrap();
    let counted = timer.handled.get() * u64::from(timer.period);
    clock.low.store(u32::try_from(counted & 0xFFFF_FFFF).unwrap(), Relaxed);
    clock.high.store(u32::try_from(counted >> 32).unwrap(), Relaxed);
    clock
}

/// Tries all ways in which wraps and runs of the handler can fall between the register accesses of
/// a reading. The reading must return a tick count that the timer had during the reading.
#[test]
fn a_reading_that_races_a_wrap_is_between_its_start_and_its_end() {
    const PERIOD: u32 = 4;
    let (mut wraps, mut repeated) = (0, 0);
    // A clock that was started recently, and clocks whose low word is about to wrap.
    for first in [4_u64, (1 << 32) - 8, (1 << 40) - 8] {
        for phase in 0..u64::from(PERIOD) {
            // A script is a number that encodes 0, 1 or 2 ticks before each of the 5 accesses, a
            // bit for each access whether the handler runs before it, and a bit whether the
            // exception is pending at the start.
            for script in 0..3_u32.pow(5) * 64 {
                let steps = [0, 1, 2, 3, 4].map(|n| script / 64 / 3_u32.pow(n) % 3);
                let mut timer = Timer::new(PERIOD, first + phase, script & 1 != 0);
                (timer.steps, timer.interrupts) = (steps, script % 64 / 2);
                let clock = clock_of(&timer);
                timer.clock.set(Some(&clock));
                let now = clock.now();
                if timer.lost.get() {
                    continue;
                }
                let [start, end] = [first + phase, timer.ticks.get()];
                assert!(
                    (start..=end).contains(&now),
                    "{script}: steps {steps:?}, interrupts {:b}: {now} is not in {start}..={end}",
                    timer.interrupts
                );
                wraps += u32::from(start / u64::from(PERIOD) != end / u64::from(PERIOD));
                repeated += u32::from(timer.accesses.get() > 2);
                // The next reading must not be earlier.
                timer.handle();
                assert!(clock.now() >= now);
            }
        }
    }
    assert!(
        wraps > 10_000 && repeated > 10_000,
        "only {wraps} readings raced a wrap, and {repeated} were repeated"
    );
}

#[test]
fn each_tick_of_a_period_is_distinct_and_zero_is_the_first() {
    let timer = Timer::new(5, 0, false);
    let clock = clock_of(&timer);
    timer.clock.set(Some(&clock));
    for tick in 0..100 {
        timer.ticks.set(tick);
        // The exception is pending from tick 0 of the period on, and handled at tick 1.
        assert_eq!(clock.now(), tick);
        if tick % 5 == 1 {
            timer.handle();
        }
        assert_eq!(clock.now(), tick);
    }
}

#[test]
fn ticks_are_counted_beyond_32_bits() {
    let timer = Timer::new(MAX_PERIOD, 0, false);
    let clock = clock_of(&timer);
    timer.clock.set(Some(&clock));
    for wrap in 0..1_000_u64 {
        timer.ticks.set((wrap << 24) + 77);
        timer.handle();
        assert_eq!(clock.now(), (wrap << 24) + 77);
    }
}

#[test]
fn holding_the_exception_off_for_more_than_a_period_shows_as_a_step_back() {
    let timer = Timer::new(1_000, 0, false);
    let clock = clock_of(&timer);
    timer.ticks.set(1_900);
    let before = clock.now();
    assert_eq!(before, 1_900, "one pending wrap is counted");
    timer.ticks.set(2_100);
    assert!(clock.now() < before, "a second wrap is lost");
}

#[test]
fn an_unsupported_period_is_an_error_that_names_it() {
    let timer = Timer::new(2, 0, false);
    for period in [0, 1, MAX_PERIOD + 1, u32::MAX] {
        let error = SysTick::with_registers(RATE, period, &timer).unwrap_err();
        assert_eq!(error, PeriodError { period });
        assert!(error.to_string().contains(&period.to_string()), "{error}");
    }
    assert_eq!(SysTick::with_registers(RATE, MAX_PERIOD, &timer).unwrap().period(), MAX_PERIOD);
}
