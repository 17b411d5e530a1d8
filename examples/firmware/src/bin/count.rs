//! Counts the instructions and the stack that things take: `.ci/check_budgets.py` compares them with what they may take.
//!
//! For `-machine lm3s6965evb`, whose timer goes in steps of less than an instruction.

#![no_std]
#![no_main]

use core::{arch::asm, hint::black_box};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::entry;
use semihosting::{println, process};
use tailwatch_core::{
    Aggregator, Clock, Consumer, EventInfo, Gate, Outcome, Producer, Record, Recorder, Ring, Scope,
    Shape, Slot, Storage, TickRate, WindowSpec, events, storage,
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
const HISTOGRAM: Shape =
    Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };
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

/// How many of the timer's ticks `work` takes.
#[inline(always)]
fn ticks(work: impl FnOnce()) -> u32 {
    let before = SYST::get_current();
    work();
    let after = SYST::get_current();
    before.wrapping_sub(after) & 0xFF_FFFF
}

/// Prints how many of the timer's ticks `work` takes, which does so many things.
#[inline(always)]
fn count(row: &str, things: u32, work: impl FnOnce()) {
    let ticks = ticks(work);
    println!("ticks {row} {things} {ticks}");
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

/// The 64-bit clock.
fn clock() {
    count("systick", 8, || {
        eight_times!(take(board::clock().start()));
    });
}

/// Takes a number, which costs nothing.
#[inline(always)]
fn take(number: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let (low, high) = (number as u32, (number >> 32) as u32);
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} {1} */", in(reg) low, in(reg) high, options(nomem, nostack, preserves_flags))
    };
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
/// Passes before those that are counted, these, and the ticks of each.
const BEGINNING: u64 = 4;
const ROUNDS: u64 = 8;
const LONG: u64 = 20_000;
/// A slice of the shorter window, and more than that window.
const SLICE: u64 = 200_000;
const LATE: u64 = 1_500_000;
/// Each stands for 8 of its like.
const SAMPLED: u8 = 3;

type FullRing = Ring<[Slot; 2 * SPANS as usize]>;

/// Drains a full ring of spans, and sums up.
fn drained<S: Storage>(name: &str, shape: Shape, storage: S) {
    static RING: FullRing = Ring::new();
    let ring: &Ring = &RING;
    let (producer, mut consumer) = (ring.attach_producer(), ring.attach_consumer());
    let Ok(mut aggregator) = Aggregator::new(shape, &WINDOWS, Four::ALL, RATE, 0, storage) else {
        process::exit(1)
    };
    // Of the first passes nothing is told: they begin everything. The others are enough for what is put off to come due.
    let mut all = 0;
    for round in 0..BEGINNING + ROUNDS {
        fill(&producer, round * LONG);
        consumer.refresh();
        aggregator.begin_pass((round + 1) * LONG);
        let ticks = ticks(|| {
            aggregator.drain(0, &mut consumer, |_, _| ());
        });
        all += if round < BEGINNING { 0 } else { ticks };
        aggregator.expire_orphans(aggregator.pass());
    }
    println!("ticks {name} {} {all}", 2 * SPANS * ROUNDS as u32);
    let now = (BEGINNING + ROUNDS + 1) * LONG + LATE;
    // The deepest ways there are within a drain: as many samples of one event as may wait, another slice, and a sample that is too old
    // for a window; all of them sampled, some of no spans, and so long that their sums have more bits.
    for from in [now - LONG, now - LONG - SLICE, now - LATE] {
        for number in 0..u64::from(SPANS / 4) {
            producer.push(Record::duration(from + number, Four::ALL[0].id, SAMPLED, 1_000_000));
        }
        fill_with(&producer, from, SPANS / 8, &Four::ALL[..1], SAMPLED);
    }
    fill_with(&producer, now - LONG, SPANS / 4, &Four::ALL[..1], SAMPLED);
    let used = painted::stack_of(|| {
        drain(&mut aggregator, &mut consumer, now);
        report(&mut aggregator);
    });
    println!("stack {name} {used}");
}

fn fill(producer: &Producer<'_>, from: u64) {
    fill_with(producer, from, SPANS, Four::ALL, 0);
}

/// Records so many spans of these events in turn, sampled like this.
fn fill_with(producer: &Producer<'_>, from: u64, spans: u32, events: &[EventInfo], sampling: u8) {
    let mut tick = from;
    for (number, info) in (0..u64::from(spans)).zip(events.iter().cycle()) {
        let length = 1_000 + number * 7_919 % 900;
        producer.push(Record::start(tick, info.id, sampling, number));
        producer.push(Record::end(tick + length, info.id, sampling, Outcome::Ok, length));
        tick += 300;
    }
}

/// A whole pass.
#[inline(never)]
fn drain<S: Storage>(aggregator: &mut Aggregator<S>, consumer: &mut Consumer<'_>, now: u64) {
    consumer.refresh();
    aggregator.begin_pass(now);
    aggregator.drain(0, consumer, |_, _| ());
    aggregator.expire_orphans(aggregator.pass());
    aggregator.watch(now, |change| {
        black_box(change);
    });
}

/// A summary of each event and period.
#[inline(never)]
fn report<S: Storage>(aggregator: &mut Aggregator<S>) {
    for EventInfo { id, .. } in Four::ALL {
        for period in [Scope::Window(0), Scope::Window(1), Scope::Total] {
            black_box(&aggregator.summary(*id, period));
        }
    }
}
