//! Main and a timer's interrupt record, idle drains, and what came of it is printed.

#![no_std]
#![no_main]

use semihosting::{eprintln, println, process};
use tailwatch_core::{
    Aggregator, Clock, ConfigError, Consumer, Period, Recorder, Ring, Shape, Slot, Storage, WindowSpec, storage,
};
use tailwatch_firmware::{
    board::{self, entry},
    events::Work,
    plan::{self, GATE},
};

const WINDOWS: [WindowSpec; 2] = {
    let [second, five] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
    [WindowSpec::new(second.length, 5), WindowSpec::new(five.length, 5)]
};

// 33 µs to 17 ms in steps of 41 %, so that it fits the smallest board.
const SHAPE: Shape = Shape { scale: 1, lowest: 15, octaves: 9, in_flight: 8, ..Shape::small(Work::ALL, &WINDOWS) };

// A ring for each context that records: neither waits for the other, whatever interrupts whatever.
static OF_MAIN: Ring<[Slot; 64]> = Ring::new();
static OF_TIMER: Ring<[Slot; 32]> = Ring::new();

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
fn SysTick() {
    static mut RECORDER: Option<plan::BoardRecorder<'static>> = None;
    board::interrupted();
    let recorder = RECORDER.get_or_insert_with(|| {
        let ring: &Ring = &OF_TIMER;
        Recorder::new(ring.attach_producer(), &GATE, board::clock())
    });
    plan::timer(recorder, board::interrupts());
}

#[cfg(target_arch = "riscv32")]
#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn machine_timer() {
    board::interrupted();
    // Attached anew each time, which is a few loads: a handler has nowhere to keep a recorder here.
    let ring: &Ring = &OF_TIMER;
    plan::timer(&Recorder::new(ring.attach_producer(), &GATE, board::clock()), board::interrupts());
}

#[cfg(target_arch = "arm")]
#[entry]
fn main() -> ! {
    static mut STORAGE: storage!(SHAPE, u16) = <storage!(SHAPE, u16)>::new();
    end(run(STORAGE))
}

#[cfg(target_arch = "riscv32")]
#[entry]
fn main() -> ! {
    let mut storage = <storage!(SHAPE, u16)>::new();
    end(run(&mut storage))
}

fn end(result: Result<(), ConfigError>) -> ! {
    match result {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            process::exit(1)
        }
    }
}

/// Records for half a second, tells what came of it, waits until the shorter window has forgotten it, and tells again.
fn run<S: Storage>(storage: S) -> Result<(), ConfigError> {
    if !board::start() {
        process::exit(1);
    }
    let clock = board::clock();
    let [of_main, of_timer]: [&Ring; 2] = [&OF_MAIN, &OF_TIMER];
    let recorder = Recorder::new(of_main.attach_producer(), &GATE, clock);
    let mut consumers = [of_main.attach_consumer(), of_timer.attach_consumer()];
    let mut aggregator = Aggregator::new(SHAPE, &WINDOWS, Work::ALL, clock.rate(), clock.start(), storage)?;

    let mut seen = board::interrupts();
    for round in 0..plan::ROUNDS {
        idle(&mut aggregator, &mut consumers, &clock, &mut seen);
        plan::round(&recorder, round);
    }
    while board::interrupts() <= plan::TIMER_SPANS {
        idle(&mut aggregator, &mut consumers, &clock, &mut seen);
    }
    tell("first", &mut aggregator, &consumers);

    let from = clock.start();
    while clock.start() - from < clock.rate().hz() * 3 / 2 {
        idle(&mut aggregator, &mut consumers, &clock, &mut seen);
    }
    tell("later", &mut aggregator, &consumers);
    Ok(())
}

/// Drains, then waits until the timer interrupts.
fn idle<S: Storage>(
    aggregator: &mut Aggregator<S>,
    consumers: &mut [Consumer<'_>; 2],
    clock: &impl Clock,
    seen: &mut u32,
) {
    let as_of = clock.start();
    for consumer in &mut *consumers {
        consumer.look();
    }
    aggregator.begin_pass(clock.start());
    for (source, consumer) in (0..).zip(consumers) {
        aggregator.drain(source, consumer, |_, _| ());
    }
    aggregator.settle(aggregator.pass());
    aggregator.watch(as_of, |transition| println!("{transition:?}"));
    while board::interrupts() == *seen {
        board::wait();
    }
    *seen = board::interrupts();
}

/// Prints what a check on the host reads: a line for each event and period, and one for what was lost.
fn tell<S: Storage>(when: &str, aggregator: &mut Aggregator<S>, consumers: &[Consumer<'_>; 2]) {
    for info in Work::ALL {
        for (name, period) in [("1s", Period::Window(0)), ("5s", Period::Window(1)), ("total", Period::Total)] {
            let Some(summary) = aggregator.summary(info.id, period) else {
                println!("{when} {} {name} none", info.name);
                continue;
            };
            println!(
                "{when} {} {name} count={} min={} p50={} p95={} p99={} p99_9={} max={} mean={} stddev={} ppm={} complete={}",
                info.name,
                summary.count,
                summary.min,
                summary.p50,
                summary.p95,
                summary.p99,
                summary.p99_9,
                summary.max,
                summary.mean,
                summary.stddev,
                summary.accuracy.max_relative_error_ppm(),
                summary.complete,
            );
        }
    }
    let [main, timer] = consumers.each_ref().map(|consumer| (consumer.produced(), consumer.total()));
    println!(
        "{when} rings produced={} delivered={} overwritten={}",
        main.0 + timer.0,
        main.1.delivered + timer.1.delivered,
        main.1.overwritten + timer.1.overwritten,
    );
    println!("{when} counters {:?}", aggregator.counters());
}
