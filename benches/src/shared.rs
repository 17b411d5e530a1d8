//! A span in a ring of a shared file, compared with one in a ring of the process, warm and after
//! work that took all of the core's own cache.

use core::{error::Error, hint::black_box};
use std::fs;

use tailwatch::{Builder, ClockMode, Collector, Trading, measure};

use crate::{
    rounds::{self, Contestant, middle},
    verdict,
    versus::cold::{self, Single},
};

/// The largest ratio of the two.
const TARGET: f64 = 1.03;

/// The spans of a turn, whose records fit into a ring of the default size.
const TURN: u32 = 8_000;

/// The name under which the collectors share, and those that do not.
const SHARED: [&str; 2] = ["tailwatch-bench-relaxed", "tailwatch-bench-ordered"];
const NAMES: [[&str; 2]; 2] =
    [["relaxed/private", "relaxed/shared"], ["ordered/private", "ordered/shared"]];

fn spans(times: u32) {
    for _ in 0..times {
        let _span = measure(Trading::OrderPlacement);
        black_box(());
    }
}

/// Starts the four collectors: for each clock mode one with a ring of the process, and one with a
/// ring in a shared file.
fn start() -> Result<Vec<(&'static str, Collector)>, Box<dyn Error>> {
    let builder = |mode| -> Builder {
        Collector::builder().ignore_environment().clock_mode(mode).rings(2).manual_drain()
    };
    let mut collectors = Vec::new();
    let modes = [ClockMode::Relaxed, ClockMode::Ordered];
    for ((mode, names), shared) in modes.into_iter().zip(NAMES).zip(SHARED) {
        collectors.push((names[0], builder(mode).start()?));
        collectors.push((names[1], builder(mode).share(shared).start()?));
    }
    Ok(collectors)
}

/// Returns a contestant that records into this collector.
fn contestant<'c>(name: &'static str, collector: &'c Collector) -> Contestant<'c> {
    let prepare = move || {
        collector.flush();
        collector.register_thread("bench").expect("the only thread gets a ring");
    };
    Contestant { prepare: Box::new(prepare), ..Contestant::new(name, spans) }
}

/// Runs the bench.
pub(crate) fn run(smoke: bool) -> Result<(), Box<dyn Error>> {
    if !cfg!(target_os = "linux") || fs::metadata("/dev/shm").is_err() {
        println!("left out: rings cannot be shared here");
        return Ok(());
    }
    let collectors = start()?;
    let contestants = || collectors.iter().map(|(name, collector)| contestant(name, collector));
    let warm =
        rounds::turns(&mut contestants().collect::<Vec<_>>(), if smoke { 11 } else { 2_001 }, TURN);
    let singles = contestants().map(|contestant| Single { contestant, code: Some(spans) });
    let rounds = if smoke { 101 } else { 5_001 };
    let after_cold_work = cold::run(&mut singles.collect::<Vec<_>>(), rounds).contestants;
    for (case, turns) in [("warm", warm), ("after cold work", after_cold_work)] {
        let means: Vec<f64> = turns.iter().map(|turns| middle(turns).mean).collect();
        for (pair, names) in means.chunks_exact(2).zip(NAMES) {
            let [private, shared] = [pair[0], pair[1]];
            println!("{}, {case}: {private:.2} ns; shared: {shared:.2} ns", names[0]);
            let ratio = shared / private;
            let target = format!("at most {TARGET} times a span in a ring of the process");
            verdict::print(target, format_args!("{ratio:.3}"), ratio <= TARGET);
        }
    }
    Ok(())
}
