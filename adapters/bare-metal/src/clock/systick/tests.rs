//! A model of the timer, advanced at each access, and of the exception that comes at any of them.

use core::cell::Cell;

use super::*;

const RATE: TickRate = TickRate::NANOSECONDS;
/// As many accesses as a read makes that goes the long way once.
const ACCESSES: usize = 5;

/// The timer as the manual describes it: it has been running for `ticks`, is 0 at each multiple of the period, and its exception has
/// been pending since then until the handler is entered.
#[derive(Debug)]
struct Timer<'c> {
    period: u32,
    ticks: Cell<u64>,
    /// How many wraps the handler was entered for.
    handled: Cell<u64>,
    /// Whether a wrap came while another one was pending: the hardware forgets it.
    lost: Cell<bool>,
    /// How many ticks pass before each access.
    steps: [u32; ACCESSES],
    accesses: Cell<usize>,
    /// Before which accesses the handler comes, if it is pending: a bit for each.
    interrupts: u32,
    clock: Cell<Option<&'c SysTick<&'c Timer<'c>>>>,
}

impl Timer<'_> {
    /// One that has been running for so long, with its exception pending or not.
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

    fn unhandled(&self) -> u64 {
        self.ticks.get() / u64::from(self.period) - self.handled.get()
    }

    fn handle(&self) {
        if self.unhandled() > 0 {
            self.handled.set(self.ticks.get() / u64::from(self.period));
            if let Some(clock) = self.clock.get() {
                clock.on_wrap();
            }
        }
    }

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

/// The clock of this timer, which has counted the wraps that were handled.
fn clock_of<'c>(timer: &'c Timer<'c>) -> SysTick<&'c Timer<'c>> {
    let clock = SysTick::with_registers(RATE, timer.period, timer).unwrap();
    let counted = timer.handled.get() * u64::from(timer.period);
    clock.low.store(u32::try_from(counted & 0xFFFF_FFFF).unwrap(), Relaxed);
    clock.high.store(u32::try_from(counted >> 32).unwrap(), Relaxed);
    clock
}

/// Every position of wraps among the accesses of a read, and every set of accesses that the handler comes before: what is read is what
/// the timer stood at some time during the read. The model is told the time, the clock is not.
#[test]
fn a_read_that_races_the_wrap_tells_a_time_between_its_beginning_and_its_end() {
    const PERIOD: u32 = 4;
    let (mut wraps, mut long_ways) = (0, 0);
    // From a young clock, and from one whose low word is about to wrap.
    for first in [4_u64, (1 << 32) - 8, (1 << 40) - 8] {
        for phase in 0..u64::from(PERIOD) {
            for script in 0..3_u32.pow(5) * 64 {
                let steps = [0, 1, 2, 3, 4].map(|n| script / 64 / 3_u32.pow(n) % 3);
                let mut timer = Timer::new(PERIOD, first + phase, script & 1 != 0);
                (timer.steps, timer.interrupts) = (steps, script % 64 / 2);
                let clock = clock_of(&timer);
                timer.clock.set(Some(&clock));
                let told = clock.now();
                if timer.lost.get() {
                    continue;
                }
                let [begun, ended] = [first + phase, timer.ticks.get()];
                assert!(
                    (begun..=ended).contains(&told),
                    "at {begun}, {script}: steps {steps:?}, interrupts {:b}: {told} is not within {begun}..={ended}",
                    timer.interrupts
                );
                wraps += u32::from(begun / u64::from(PERIOD) != ended / u64::from(PERIOD));
                long_ways += u32::from(timer.accesses.get() > 2);
                // Whatever came before, the next read is no earlier.
                timer.handle();
                assert!(clock.now() >= told);
            }
        }
    }
    assert!(
        wraps > 10_000 && long_ways > 10_000,
        "only {wraps} reads raced a wrap, {long_ways} went the long way"
    );
}

#[test]
fn each_tick_of_a_period_is_told_once_and_zero_is_its_first() {
    let timer = Timer::new(5, 0, false);
    let clock = clock_of(&timer);
    timer.clock.set(Some(&clock));
    for tick in 0..100 {
        timer.ticks.set(tick);
        // Pending as the timer reaches 0; the handler comes a tick later.
        assert_eq!(clock.now(), tick);
        if tick % 5 == 1 {
            timer.handle();
        }
        assert_eq!(clock.now(), tick);
    }
}

#[test]
fn periods_count_on_beyond_32_bits() {
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
fn an_exception_that_is_held_off_for_more_than_a_period_is_seen_as_a_step_back() {
    let timer = Timer::new(1_000, 0, false);
    let clock = clock_of(&timer);
    timer.ticks.set(1_900);
    let before = clock.now();
    assert_eq!(before, 1_900, "one wrap that is pending is counted");
    timer.ticks.set(2_100);
    assert!(clock.now() < before, "a second one is lost, and shows");
}

#[test]
fn a_period_that_no_timer_has_is_refused_and_the_error_names_it() {
    let timer = Timer::new(2, 0, false);
    for period in [0, 1, MAX_PERIOD + 1, u32::MAX] {
        let error = SysTick::with_registers(RATE, period, &timer).unwrap_err();
        assert_eq!(error, PeriodError { period });
        assert!(error.to_string().contains(&period.to_string()), "{error}");
    }
    assert_eq!(SysTick::with_registers(RATE, MAX_PERIOD, &timer).unwrap().period(), MAX_PERIOD);
}
