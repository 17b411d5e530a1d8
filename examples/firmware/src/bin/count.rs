//! Counts the instructions and the stack that things take: `.ci/check_budgets.py` compares them with what they may take.
//!
//! For `-machine lm3s6965evb`, whose timer goes in steps of less than an instruction.

#![no_std]
#![no_main]

use core::{arch::asm, hint::black_box};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::{entry, exception};
use semihosting::{println, process};
use tailwatch_bare_metal::clock::SysTick;
use tailwatch_core::{
    Aggregator, Clock, Consumer, EventInfo, Gate, Outcome, Period, Producer, Record, Recorder, Ring, Shape, Slot,
    Storage, TickRate, WindowSpec, events, storage,
};
use tailwatch_firmware::{board, painted, work::execute};

events! {
    enum Four {
        Sample = 1,
        Filter = 2,
        Control = 3,
        Send = 4,
    }
}

const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// Those of the images in `sizes`.
const HISTOGRAM: Shape = Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };
const EXACT: Shape = Shape { octaves: 0, scale: 0, ..HISTOGRAM };

/// A clock that takes two instructions, which are taken off.
#[derive(Clone, Copy, Debug)]
struct TwoInstructions;

impl Clock for TwoInstructions {
    #[inline(always)]
    fn start(&self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: two constants.
        unsafe {
            asm!("movs {0}, #9", "movs {1}, #0", out(reg) low, out(reg) high, options(nomem, nostack));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        self.start()
    }

    fn rate(&self) -> TickRate {
        RATE
    }
}

const RATE: TickRate = TickRate::from_hz(1_000_000).expect("not zero");

/// Prints how many of the timer's ticks `work` takes, which does so many things.
#[inline(always)]
fn count(row: &str, things: u32, work: impl FnOnce()) {
    let before = SYST::get_current();
    work();
    let after = SYST::get_current();
    println!("ticks {row} {things} {}", before.wrapping_sub(after) & 0xFF_FFFF);
}

/// Eight times the same, without a loop whose instructions would count.
macro_rules! eight_times {
    ($($work:tt)*) => {
        $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*;
    };
}

#[entry]
fn main() -> ! {
    static mut EXACTLY: storage!(EXACT, u16) = <storage!(EXACT, u16)>::new();
    static mut COUNTED: storage!(HISTOGRAM, u16) = <storage!(HISTOGRAM, u16)>::new();
    let Some(mut peripherals) = cortex_m::Peripherals::take() else { process::exit(1) };
    board::fast();
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(0xFF_FFFF);
    timer.clear_current();
    timer.enable_counter();

    // The first ones tell how many ticks an instruction takes, and what counting itself takes.
    count("nothing", 1, || ());
    count("thousand", 1, || execute(1_000));
    clock();
    spans();
    drained("exact", EXACT, EXACTLY);
    drained("histogram", HISTOGRAM, COUNTED);
    process::exit(0)
}

static CLOCK: SysTick = SysTick::new(200_000_000, 1 << 24);

// Never called, as the timer does not interrupt here; but without it the clock would be known to stand still.
#[exception]
fn SysTick() {
    CLOCK.on_wrap();
}

/// The 64-bit clock.
fn clock() {
    count("systick", 8, || {
        eight_times!(take(CLOCK.start()));
    });
}

/// Takes a number, which costs nothing.
#[inline(always)]
fn take(number: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let (low, high) = (number as u32, (number >> 32) as u32);
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} {1} */", in(reg) low, in(reg) high, options(nomem, nostack, preserves_flags)) };
}

/// What a program that is measured pays.
fn spans() {
    static GATE: Gate<5> = Gate::new();
    static RING: Ring<[Slot; 64]> = Ring::new();
    let ring: &Ring = black_box(&RING);
    let recorder = Recorder::new(ring.attach_producer(), &GATE, TwoInstructions);
    count("record", 16, || {
        eight_times!(drop(recorder.measure(Four::Sample)));
    });
    count("value", 8, || {
        eight_times!(recorder.value(Four::Sample, 7));
    });
    GATE.set_enabled(black_box(false));
    count("disabled", 8, || {
        eight_times!(drop(recorder.measure(Four::Sample)));
    });
}

const SPANS: u32 = 64;
type FullRing = Ring<[Slot; 2 * SPANS as usize]>;

/// Drains a full ring of spans, and sums up.
fn drained<S: Storage>(name: &str, shape: Shape, storage: S) {
    static RING: FullRing = Ring::new();
    let ring: &Ring = &RING;
    let (producer, mut consumer) = (ring.attach_producer(), ring.attach_consumer());
    let Ok(mut aggregator) = Aggregator::new(shape, &WINDOWS, Four::ALL, RATE, 0, storage) else { process::exit(1) };
    for round in 0..2 {
        let now = (round + 1) * 20_000;
        fill(&producer, now - 20_000);
        consumer.look();
        aggregator.begin_pass(now);
        if round == 0 {
            // The first one begins everything.
            aggregator.drain(0, &mut consumer, |_, _| ());
        } else {
            count(name, 2 * SPANS, || {
                aggregator.drain(0, &mut consumer, |_, _| ());
            });
        }
        aggregator.settle(aggregator.pass());
    }
    fill(&producer, 2 * 20_000);
    let used = painted::stack_of(|| drain_and_report(&mut aggregator, &mut consumer, 3 * 20_000));
    println!("stack {name} {used}");
}

fn fill(producer: &Producer<'_>, from: u64) {
    let mut tick = from;
    for (number, info) in (0..u64::from(SPANS)).zip(Four::ALL.iter().cycle()) {
        let length = 1_000 + number * 7_919 % 900;
        producer.push(Record::start(tick, info.id, 0, number));
        producer.push(Record::end(tick + length, info.id, 0, Outcome::Ok, length));
        tick += 300;
    }
}

/// A whole pass, and a summary of each event and period.
#[inline(never)]
fn drain_and_report<S: Storage>(aggregator: &mut Aggregator<S>, consumer: &mut Consumer<'_>, now: u64) {
    consumer.look();
    aggregator.begin_pass(now);
    aggregator.drain(0, consumer, |_, _| ());
    aggregator.settle(aggregator.pass());
    aggregator.watch(now, |transition| {
        black_box(transition);
    });
    for EventInfo { id, .. } in Four::ALL {
        for period in [Period::Window(0), Period::Window(1), Period::Total] {
            black_box(aggregator.summary(*id, period));
        }
    }
}
