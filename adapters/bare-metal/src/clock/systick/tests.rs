//! A model of the timer, advanced at each access, and of the exception that comes at any of them.

use core::cell::Cell;

use super::*;

/// The timer as the manual describes it: it has been running for `ticks`, is 0 at each multiple of the period, and its exception has
/// been pending since then until the handler is entered.
#[derive(Debug)]
struct Timer {
    period: u32,
    ticks: Cell<u64>,
    /// How many wraps the handler was entered for.
    handled: Cell<u64>,
    /// How many ticks pass before each access.
    steps: [u32; 4],
    accesses: Cell<usize>,
    /// Before which access the handler comes, if it is pending.
    interrupted_at: usize,
    clock: Cell<Option<&'static SysTick<&'static Timer>>>,
}

impl Timer {
    fn is_pending(&self) -> bool {
        self.ticks.get() / u64::from(self.period) > self.handled.get()
    }

    fn handle(&self) {
        if self.is_pending() {
            self.handled.set(self.handled.get() + 1);
            if let Some(clock) = self.clock.get() {
                clock.on_wrap();
            }
        }
    }

    fn access(&self) {
        let access = self.accesses.replace(self.accesses.get() + 1);
        let step = self.steps.get(access).copied().unwrap_or(0);
        self.ticks.set(self.ticks.get() + u64::from(step));
        if access == self.interrupted_at {
            self.handle();
        }
    }
}

impl SysTickRegisters for &Timer {
    fn current(&self) -> u32 {
        self.access();
        let elapsed = u32::try_from(self.ticks.get() % u64::from(self.period)).unwrap();
        if elapsed == 0 { 0 } else { self.period - elapsed }
    }

    fn is_wrap_pending(&self) -> bool {
        self.access();
        self.is_pending()
    }
}

const RATE: TickRate = TickRate::NANOSECONDS;

/// A clock that has counted so many ticks, and its timer; both leaked, as a clock in a `static` is.
fn clock_at(period: u32, ticks: u64, steps: [u32; 4], interrupted_at: usize) -> &'static SysTick<&'static Timer> {
    let timer: &'static Timer = Box::leak(Box::new(Timer {
        period,
        ticks: Cell::new(ticks),
        handled: Cell::new(ticks / u64::from(period)),
        steps,
        accesses: Cell::new(0),
        interrupted_at,
        clock: Cell::new(None),
    }));
    let clock: &'static SysTick<&Timer> = Box::leak(Box::new(SysTick::with_registers(RATE, period, timer).unwrap()));
    let counted = ticks / u64::from(period) * u64::from(period);
    clock.low.store(u32::try_from(counted & 0xFFFF_FFFF).unwrap(), Relaxed);
    clock.high.store(u32::try_from(counted >> 32).unwrap(), Relaxed);
    timer.clock.set(Some(clock));
    clock
}

/// Every position of the wrap among the accesses of a read, and every one of the handler: what is read is what the timer stood at
/// some time during the read. The model is told the time, the clock is not.
#[test]
fn a_read_that_races_the_wrap_tells_a_time_between_its_beginning_and_its_end() {
    const PERIOD: u32 = 8;
    let mut wraps = 0;
    // From a young clock, and from one whose low word is about to wrap.
    for first in [0_u64, (1 << 31) - 16, (1 << 32) - 16, (1 << 40) - 8] {
        for phase in 0..u64::from(PERIOD) {
            // Up to 7 ticks pass in all, so that it wraps once at the most.
            for script in 0..3_u32.pow(4) {
                let steps = [0, 1, 2, 3].map(|n| script / 3_u32.pow(n) % 3);
                if steps.iter().sum::<u32>() >= PERIOD {
                    continue;
                }
                for interrupted_at in 0..=4 {
                    let clock = clock_at(PERIOD, first + phase, steps, interrupted_at);
                    let timer = clock.registers;
                    let told = clock.now();
                    let [begun, ended] = [first + phase, timer.ticks.get()];
                    assert!(
                        (begun..=ended).contains(&told),
                        "at {begun}, steps {steps:?}, interrupted at {interrupted_at}: {told} is not within {begun}..={ended}"
                    );
                    wraps += u32::from(begun / u64::from(PERIOD) != ended / u64::from(PERIOD));
                    // Whatever came before, the next read is no earlier.
                    timer.handle();
                    assert!(clock.now() >= told);
                }
            }
        }
    }
    assert!(wraps > 1_000, "only {wraps} reads raced a wrap");
}

#[test]
fn each_tick_of_a_period_is_told_once_and_zero_is_its_first() {
    let clock = clock_at(5, 0, [0; 4], usize::MAX);
    for tick in 0..100 {
        clock.registers.ticks.set(tick);
        // Pending as the timer reaches 0; the handler comes a tick later.
        assert_eq!(clock.now(), tick);
        if tick % 5 == 1 {
            clock.registers.handle();
        }
        assert_eq!(clock.now(), tick);
    }
}

#[test]
fn periods_count_on_beyond_32_bits() {
    let clock = clock_at(MAX_PERIOD, 0, [0; 4], usize::MAX);
    for wrap in 0..1_000_u64 {
        clock.registers.ticks.set((wrap << 24) + 77);
        clock.registers.handle();
        assert_eq!(clock.now(), (wrap << 24) + 77);
    }
}

#[test]
fn an_exception_that_is_held_off_for_more_than_a_period_is_seen_as_a_step_back() {
    let clock = clock_at(1_000, 0, [0; 4], usize::MAX);
    clock.registers.ticks.set(1_900);
    let before = clock.now();
    assert_eq!(before, 1_900, "one wrap that is pending is counted");
    clock.registers.ticks.set(2_100);
    assert!(clock.now() < before, "a second one is lost, and shows");
}

#[test]
fn a_period_that_no_timer_has_is_refused_and_the_error_names_it() {
    let clock = clock_at(2, 0, [0; 4], usize::MAX);
    for period in [0, 1, MAX_PERIOD + 1, u32::MAX] {
        let error = SysTick::with_registers(RATE, period, clock.registers).unwrap_err();
        assert_eq!(error, PeriodError { period });
        assert!(error.to_string().contains(&period.to_string()), "{error}");
    }
    assert_eq!(SysTick::with_registers(RATE, MAX_PERIOD, clock.registers).unwrap().period(), MAX_PERIOD);
}
