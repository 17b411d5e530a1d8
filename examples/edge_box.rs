//! A co-located box: the bot on its own core, pinned, its rings locked in memory; no drain on the trading core.
//!
//! Settings stand in the program here; the operator of the box has the last word, by a file and by variables:
//! `TAILWATCH_DRAIN_CORE=0 TAILWATCH_MLOCK=false cargo run --release --example edge_box`

use core::{error::Error, hint::black_box, time::Duration};

use core_affinity::CoreId;
use tailwatch::{BuildError, Collector, DrainPriority, Trading, measure_tagged};

fn main() -> Result<(), Box<dyn Error>> {
    let cores = core_affinity::get_core_ids().ok_or("no cores to pin to")?;
    let (&trading, others) = cores.split_last().ok_or("no core at all")?;

    // The drain lives elsewhere. On a box with a single core it can only be given less of it.
    let set_up = |locked: bool| {
        let builder = Collector::builder().rings(2).ring_capacity(131_072).mlock(locked);
        match others.first() {
            Some(CoreId { id }) => builder.drain_core(*id),
            None => builder.drain_priority(DrainPriority::Idle),
        }
    };
    let collector = match set_up(true).start() {
        Err(BuildError::Lock { .. }) => {
            eprintln!("the rings are not locked in memory: RLIMIT_MEMLOCK is too low");
            set_up(false).start()?
        }
        started => started?,
    };
    collector.install()?;
    println!("{}", collector.explain()); // what is in force, and why

    // Before the first order: a ring for this thread, and the thread on its core.
    if !core_affinity::set_for_current(trading) {
        return Err(format!("this thread could not be pinned to core {}", trading.id).into());
    }
    collector.register_thread("trading")?;
    for order in 0..50_000_u64 {
        let _placing = measure_tagged(Trading::OrderPlacement, order);
        black_box(order.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    collector.stop();
    let minute =
        collector.stats(Trading::OrderPlacement, Duration::from_mins(1))?.ok_or("no orders")?;
    println!("{} orders, p99.9 {} ns, max {} ns", minute.count, minute.p99_9, minute.max);
    println!(
        "{} of {} records overwritten",
        collector.health().overwritten,
        collector.health().produced
    );
    Ok(())
}
