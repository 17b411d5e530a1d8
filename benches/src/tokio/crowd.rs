//! Many measured tasks at once: whether each is counted, and the number in flight is right.

use core::error::Error;
use std::{sync::Arc, thread, time::Instant};

use ::tokio::{
    runtime,
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tailwatch::Trading;
use tailwatch_tokio::{CancellationToken, MeasureExt};

use crate::verdict;

const EVENT: Trading = Trading::OrderPlacement;

/// The capacity of a ring: enough for a START and an END of a hundred thousand spans.
const RING: usize = 262_144;

/// Starts `tasks` tasks, aborts every other one, lets the others end, and prints what was counted.
pub(super) fn run(tasks: u32) -> Result<(), Box<dyn Error>> {
    let collector = Arc::new(super::builder().ring_capacity(RING).start()?);
    let registering = Arc::clone(&collector);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .on_thread_start(move || {
            let name = format!("{:?}", thread::current().id());
            registering.register_thread(&name).expect("each worker gets a ring");
        })
        .build()?;
    collector.register_thread("main")?;
    let token = CancellationToken::new();
    let (in_flight, report, elapsed) = runtime.block_on(async {
        let drain = tailwatch_tokio::spawn_drain(Arc::clone(&collector), token.clone())?;
        let begun = Arc::new(Semaphore::new(0));
        let (go, _) = watch::channel(false);
        let start = Instant::now();
        let spawn = |order: u32| {
            let (begun, mut released) = (Arc::clone(&begun), go.subscribe());
            let work = async move {
                begun.add_permits(1);
                // The sender lives until all tasks have ended.
                let _ = released.wait_for(|released| *released).await;
            };
            ::tokio::spawn(work.measured_tagged(EVENT, u64::from(order)))
        };
        let spawned: Vec<_> = (0..tasks).map(spawn).collect();
        let all = begun.acquire_many(tasks).await?;
        drain.flush().await;
        let in_flight = drain
            .reports()
            .borrow()
            .event(EVENT)
            .ok_or("the report does not list the event")?
            .in_flight;
        spawned.iter().step_by(2).for_each(JoinHandle::abort);
        go.send_replace(true);
        for task in spawned {
            // Half of the tasks were aborted, so errors are expected.
            let _ = task.await;
        }
        let elapsed = start.elapsed();
        drop(all);
        token.cancel();
        Ok::<_, Box<dyn Error>>((in_flight, drain.join().await?, elapsed))
    })?;
    let event = report.event(EVENT).ok_or("the report does not list the event")?;
    let (outcomes, health, left) = (event.outcomes, &report.health, event.in_flight);
    println!(
        "\n{tasks} tasks in {elapsed:.1?}: {} in flight at once, {} of them in the table of open \
         spans; at the end {} ok, {} cancelled, {} in flight; {} overwritten, {} unregistered, {} \
         orphans\n",
        in_flight.open + in_flight.untracked,
        in_flight.open,
        outcomes.ok,
        outcomes.cancelled,
        left.open + left.untracked,
        health.overwritten,
        health.unregistered,
        health.orphans,
    );
    let tasks = u64::from(tasks);
    let aborted = tasks.div_ceil(2);
    let ends = (outcomes.ok, outcomes.cancelled) == (tasks - aborted, aborted);
    verdict::print(
        "every END and every cancellation is counted",
        format!("{} of {tasks}", outcomes.ok + outcomes.cancelled),
        ends,
    );
    let flying = in_flight.open + in_flight.untracked;
    let is_right = flying == tasks && left.open + left.untracked == 0;
    verdict::print("every task is in flight until it ends", flying, is_right);
    verdict::print("nothing is overwritten", health.overwritten, health.overwritten == 0);
    Ok(())
}
