//! A co-located box: the bot is pinned to a core of its own, its rings are locked in memory, and
//! the drain runs on another core.
//!
//! The program has its own settings. The operator of the box can override them by a file and by
//! environment variables:
//!
//! `TAILWATCH_DRAIN_CORE=0 TAILWATCH_MLOCK=false cargo run --release --example edge_box`

use core::{error::Error, hint::black_box, time::Duration};

use core_affinity::CoreId;
use tailwatch::{BuildError, Collector, DrainPriority, Trading, measure_tagged};
use tailwatch_examples::console::{print_line, print_note};

fn main() -> Result<(), Box<dyn Error>> {
    let cores =
        core_affinity::get_core_ids().ok_or("the cores of this machine cannot be listed")?;
    let (&trading, others) = cores.split_last().ok_or("this process may run on no core")?;

    // The drain runs on another core. A machine with a single core can only give it a lower
    // priority.
    let set_up = |locked: bool| {
        let builder = Collector::builder().rings(2).ring_capacity(131_072).mlock(locked);
        match others.first() {
            Some(CoreId { id }) => builder.drain_core(*id),
            None => builder.drain_priority(DrainPriority::Idle),
        }
    };
    let collector = match set_up(true).start() {
        Err(BuildError::Lock { .. }) => {
            print_note("the rings cannot be locked in memory, because RLIMIT_MEMLOCK is too low");
            set_up(false).start()?
        }
        started => started?,
    };
    collector.install()?;
    print_line(collector.explain())?; // the settings in force and their sources

    // Pin the thread and give it a ring before the first order.
    if !core_affinity::set_for_current(trading) {
        return Err(format!("this thread could not be pinned to core {}", trading.id).into());
    }
    collector.register_thread("trading")?;
    for order in 0..50_000_u64 {
        let _placing = measure_tagged(Trading::OrderPlacement, order);
        black_box(order.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    collector.stop();
    let minute = collector
        .stats(Trading::OrderPlacement, Duration::from_mins(1))?
        .ok_or("no order was measured")?;
    let (count, p99_9, max) = (minute.count, minute.p99_9, minute.max);
    print_line(format_args!("{count} orders, p99.9 {p99_9} ns, max {max} ns"))?;
    let health = collector.health();
    let (overwritten, produced) = (health.overwritten, health.produced);
    print_line(format_args!("{overwritten} of {produced} records overwritten"))?;
    Ok(())
}
