//! Measures how many instructions and how much stack tailwatch takes. `.ci/check_budgets.py`
//! compares the results with the budgets.
//!
//! The program runs in QEMU with `-machine lm3s6965evb`. There, one instruction lasts several ticks
//! of the timer, so the timer can count single instructions.

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
use tailwatch_firmware::{board, stack_usage, work::execute};

events! {
    enum Four {
        Sample = 1,
        Filter = 2,
        Control = 3,
        Send = 4,
    }
}

/// Windows of one second and of five seconds, in five slices each.
const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

/// The shape of the image `histogram` in `sizes`.
const HISTOGRAM: Shape =
    Shape { samples: 64, in_flight: 8, slowest: 0, ..Shape::small(Four::ALL, &WINDOWS) };
/// The shape of the image `exact` in `sizes`.
const EXACT: Shape = Shape { octaves: 0, scale: 0, ..HISTOGRAM };

/// A clock whose reading takes two instructions. `.ci/check_budgets.py` subtracts them.
#[derive(Clone, Copy, Debug)]
struct TwoInstructionClock;

impl Clock for TwoInstructionClock {
    #[inline(always)]
    fn start(&self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: the assembly only loads two constants into registers.
        unsafe {
            asm!(
                "movs {0}, #9",
                "movs {1}, #0",
                out(reg) low,
                out(reg) high,
                options(nomem, nostack)
            );
        }
        u64::from(high) << 32 | u64::from(low)
    }

    fn rate(&self) -> TickRate {
        RATE
    }
}

const RATE: TickRate = TickRate::from_hz(1_000_000).expect("not zero");

/// Returns how many ticks of the timer `work` takes.
#[inline(always)]
fn ticks(work: impl FnOnce()) -> u32 {
    let before = SYST::get_current();
    work();
    let after = SYST::get_current();
    before.wrapping_sub(after) & 0xFF_FFFF
}

/// Prints how many ticks of the timer `work` takes. `row` names what is measured, and `times` is
/// how often `work` does it.
#[inline(always)]
fn count(row: &str, times: u32, work: impl FnOnce()) {
    let ticks = ticks(work);
    println!("ticks {row} {times} {ticks}");
}

/// Repeats an expression eight times. This is not a loop, because the instructions of a loop would
/// be counted as well.
macro_rules! eight_times {
    ($($work:tt)*) => {
        $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*; $($work)*;
    };
}

storage!(ExactStorage: EXACT, u16);
storage!(HistogramStorage: HISTOGRAM, u16);

#[entry]
fn main() -> ! {
    static mut EXACT_STORAGE: ExactStorage = ExactStorage::new();
    static mut HISTOGRAM_STORAGE: HistogramStorage = HistogramStorage::new();
    let Some(mut peripherals) = cortex_m::Peripherals::take() else { process::exit(1) };
    board::set_full_clock_rate();
    let timer = &mut peripherals.SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(0xFF_FFFF);
    timer.clear_current();
    timer.enable_counter();

    // These two calibrate the others: the ticks that counting itself takes, and the ticks of 1,000
    // instructions.
    count("nothing", 1, || ());
    count("thousand", 1, || execute(1_000));
    clock();
    spans();
    drain_and_report("exact", EXACT_STORAGE);
    drain_and_report("histogram", HISTOGRAM_STORAGE);
    process::exit(0)
}

/// Counts the instructions of a reading of the 64-bit clock.
fn clock() {
    count("systick", 8, || {
        eight_times!(consume(board::clock().start()));
    });
}

/// Forces the compiler to compute `number`. Takes no instruction itself.
#[inline(always)]
fn consume(number: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit number")]
    let (low, high) = (number as u32, (number >> 32) as u32);
    // SAFETY: the assembly is empty.
    unsafe {
        asm!("/* {0} {1} */", in(reg) low, in(reg) high, options(nomem, nostack, preserves_flags))
    };
}

/// Counts the instructions that recording adds to the measured program: for a record of a span, for
/// a value, and for a span while recording is switched off.
fn spans() {
    static GATE: Gate<5> = Gate::new();
    static RING: Ring<[Slot; 64]> = Ring::new();
    let ring: &Ring = black_box(&RING);
    let recorder = Recorder::new(ring.attach_producer(), &GATE, TwoInstructionClock);
    // A span is two records.
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

/// The number of spans that fill the ring, of two records each.
const SPANS: u32 = 64;
/// The number of passes of the drain that are made before the counted passes.
const WARM_UP_PASSES: u64 = 4;
/// The number of passes whose instructions are counted.
const COUNTED_PASSES: u64 = 8;
/// The number of ticks of 1 µs from one pass to the next.
const PASS_TICKS: u64 = 20_000;
/// The number of ticks in a slice of the shorter window.
const SLICE_TICKS: u64 = 200_000;
/// A number of ticks that is longer than the shorter window, so samples of this age are too late
/// for the window.
const TOO_LATE_TICKS: u64 = 1_500_000;
/// The sampling exponent of records that each stand for 2^3 = 8 events.
const SAMPLED: u8 = 3;

type FullRing = Ring<[Slot; 2 * SPANS as usize]>;

/// Counts the instructions of draining a full ring, and the bytes of stack that a pass of the drain
/// and a report take.
fn drain_and_report<S: Storage>(name: &str, storage: S) {
    static RING: FullRing = Ring::new();
    let ring: &Ring = &RING;
    let (producer, mut consumer) = (ring.attach_producer(), ring.attach_consumer());
    let Ok(mut aggregator) = Aggregator::new(&WINDOWS, Four::ALL, RATE, 0, storage) else {
        process::exit(1)
    };
    // The first passes are not counted, because they start slices and fill the buffers. The counted
    // passes are so many that they include the work which the aggregator defers to a later pass.
    let mut counted_ticks = 0;
    for pass in 0..WARM_UP_PASSES + COUNTED_PASSES {
        fill(&producer, pass * PASS_TICKS);
        consumer.refresh();
        aggregator.begin_pass((pass + 1) * PASS_TICKS);
        let ticks = ticks(|| {
            aggregator.drain(0, &mut consumer, |_, _| ());
        });
        counted_ticks += if pass < WARM_UP_PASSES { 0 } else { ticks };
        aggregator.expire_orphans(aggregator.pass());
    }
    println!("ticks {name} {} {counted_ticks}", 2 * SPANS * COUNTED_PASSES as u32);
    let now = (WARM_UP_PASSES + COUNTED_PASSES + 1) * PASS_TICKS + TOO_LATE_TICKS;
    // The stack is measured with records that make the drain call its functions most deeply: as
    // many samples of one event as the aggregator can collect before it must add them to the
    // windows, a new slice, and samples that are too old for a window. All records have a sampling
    // exponent, some do not belong to spans, and some durations are so long that their sums need
    // more bits.
    for from in [now - PASS_TICKS, now - PASS_TICKS - SLICE_TICKS, now - TOO_LATE_TICKS] {
        for number in 0..u64::from(SPANS / 4) {
            producer.push(Record::duration(from + number, Four::ALL[0].id, SAMPLED, 1_000_000));
        }
        fill_with(&producer, from, SPANS / 8, &Four::ALL[..1], SAMPLED);
    }
    fill_with(&producer, now - PASS_TICKS, SPANS / 4, &Four::ALL[..1], SAMPLED);
    let used = stack_usage::stack_used_by(|| {
        drain(&mut aggregator, &mut consumer, now);
        report(&mut aggregator);
    });
    println!("stack {name} {used}");
}

/// Fills the ring with spans of all events, the first of which starts at tick `from`.
fn fill(producer: &Producer<'_>, from: u64) {
    fill_with(producer, from, SPANS, Four::ALL, 0);
}

/// Records `spans` spans of `events` in turn, the first of which starts at tick `from`. Each record
/// stands for 2^`sampling` events.
fn fill_with(producer: &Producer<'_>, from: u64, spans: u32, events: &[EventInfo], sampling: u8) {
    let mut tick = from;
    for (number, info) in (0..u64::from(spans)).zip(events.iter().cycle()) {
        let duration = 1_000 + number * 7_919 % 900;
        producer.push(Record::start(tick, info.id, sampling, number));
        producer.push(Record::end(tick + duration, info.id, sampling, Outcome::Ok, duration));
        tick += 300;
    }
}

/// Makes a whole pass of the drain at tick `now`.
#[inline(never)]
fn drain<S: Storage>(aggregator: &mut Aggregator<S>, consumer: &mut Consumer<'_>, now: u64) {
    consumer.refresh();
    aggregator.begin_pass(now);
    aggregator.drain(0, consumer, |_, _| ());
    aggregator.expire_orphans(aggregator.pass());
    aggregator.evaluate_limits(now, |change| {
        black_box(change);
    });
}

/// Computes the summary of each event over each window and over the time since the start.
#[inline(never)]
fn report<S: Storage>(aggregator: &mut Aggregator<S>) {
    for EventInfo { id, .. } in Four::ALL {
        for scope in [Scope::Window(0), Scope::Window(1), Scope::Total] {
            black_box(&aggregator.summary(*id, scope));
        }
    }
}
