//! A span in each form, beside the floor of its clock mode.

use core::{
    error::Error,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
};

use tailwatch::{
    ClockMode, Collector, Outcome, Trading, measure, measure_tagged, record_end, record_start, record_value, time,
};

use crate::{
    floor,
    rounds::{self, Contestant, Figure},
};

/// What the guard may cost, as a multiple of the floor of its clock mode.
const TARGET: f64 = 1.25;

type Work = fn(u32);

/// The forms of a span; each is timed in both clock modes.
const FORMS: [(&str, &str, Work); 7] = [
    ("span/guard/relaxed", "span/guard/ordered", guard),
    ("span/guard_tagged/relaxed", "span/guard_tagged/ordered", guard_tagged),
    ("span/closure/relaxed", "span/closure/ordered", closure),
    ("span/explicit/relaxed", "span/explicit/ordered", explicit),
    ("span/measure_sync/relaxed", "span/measure_sync/ordered", measure_sync),
    ("span/measure_async/relaxed", "span/measure_async/ordered", measure_async),
    ("span/value/relaxed", "span/value/ordered", value),
];

fn guard(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

fn guard_tagged(times: u32) {
    for order in 0..times {
        let _span = measure_tagged(Trading::OrderPlacement, u64::from(order));
        black_box(());
    }
}

fn closure(times: u32) {
    for _ in 0..times {
        time(Trading::OrderPlacement, || black_box(()));
    }
}

fn explicit(times: u32) {
    for _ in 0..times {
        let token = record_start(Trading::OrderPlacement);
        black_box(());
        record_end(token, Outcome::Ok);
    }
}

fn measure_sync(times: u32) {
    #[measure(Trading::OrderPlacement)]
    fn work() {
        black_box(());
    }

    for _ in 0..times {
        work();
    }
}

/// A future that is ready at its first poll, polled where it stands.
fn measure_async(times: u32) {
    #[measure(Trading::OrderPlacement)]
    async fn work() {
        black_box(());
    }

    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        let ready = pin!(work()).poll(&mut context).is_ready();
        black_box(ready);
    }
}

fn value(times: u32) {
    for n in 0..times {
        record_value(Trading::QueueBacklog, u64::from(n));
    }
}

fn floor_relaxed(times: u32) {
    for _ in 0..times {
        floor::relaxed();
    }
}

fn floor_ordered(times: u32) {
    for _ in 0..times {
        floor::ordered();
    }
}

/// Times everything and prints the table.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    let (rounds, times) = if smoke { (3, 20_000) } else { (101, 200_000) };
    let start = |mode| Collector::builder().rings(2).clock_mode(mode).start();
    let collectors = [start(ClockMode::Relaxed)?, start(ClockMode::Ordered)?];
    let register = |mode: usize| {
        let collector = &collectors[mode];
        move || collector.register_thread("bench").expect("a ring for the only thread")
    };

    let mut contestants = vec![
        Contestant { name: "floor/relaxed", prepare: Box::new(|| ()), work: Box::new(floor_relaxed) },
        Contestant { name: "floor/ordered", prepare: Box::new(|| ()), work: Box::new(floor_ordered) },
    ];
    for (relaxed, ordered, work) in FORMS {
        for (mode, name) in [relaxed, ordered].into_iter().enumerate() {
            contestants.push(Contestant { name, prepare: Box::new(register(mode)), work: Box::new(work) });
        }
    }
    let disabled = |times| {
        collectors[0].set_enabled(false);
        guard(times);
        collectors[0].set_enabled(true);
    };
    contestants.push(Contestant { name: "span/disabled", prepare: Box::new(register(0)), work: Box::new(disabled) });

    let figures = rounds::run(&mut contestants, rounds, times);
    print(&contestants, &figures);
    println!("\n{rounds} interleaved rounds of {times} spans each; the drain runs at its normal pace meanwhile");
    Ok(())
}

fn print(contestants: &[Contestant<'_>], figures: &[Figure]) {
    println!("{:<28} {:>9} {:>9} {:>9} {:>8}", "", "median ns", "min ns", "max ns", "x floor");
    for (contestant, figure) in contestants.iter().zip(figures) {
        let floor = figures[usize::from(contestant.name.ends_with("ordered"))].median;
        let ratio = figure.median / floor;
        let verdict = match contestant.name {
            name if !name.starts_with("span/guard/") => "",
            _ if ratio <= TARGET => "pass",
            _ => "fall-short",
        };
        let Figure { median, min, max } = figure;
        let line = format!("{:<28} {median:>9.2} {min:>9.2} {max:>9.2} {ratio:>8.3} {verdict}", contestant.name);
        println!("{}", line.trim_end());
    }
    println!("target: span/guard at most {TARGET} x the floor of its clock mode");
}
