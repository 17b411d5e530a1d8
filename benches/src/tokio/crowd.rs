//! Many measured tasks at once: whether each is counted, and its in-flight count is right.

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

/// A START and an END of each of a hundred thousand in one ring.
const RING: usize = 262_144;

/// Starts so many tasks, aborts every other one, lets the others end, and prints what was counted.
pub(super) fn run(tasks: u32) -> Result<(), Box<dyn Error>> {
    let collector = Arc::new(super::builder().ring_capacity(RING).start()?);
    let registering = Arc::clone(&collector);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .on_thread_start(move || {
            let name = format!("{:?}", thread::current().id());
            registering.register_thread(&name).expect("a ring for each worker");
        })
        .build()?;
    collector.register_thread("main")?;
    let token = CancellationToken::new();
    let (flying, report, elapsed) = runtime.block_on(async {
        let drain = tailwatch_tokio::spawn_drain(Arc::clone(&collector), token.clone())?;
        let begun = Arc::new(Semaphore::new(0));
        let (go, _) = watch::channel(false);
        let start = Instant::now();
        let spawn = |order: u32| {
            let (begun, mut gone) = (Arc::clone(&begun), go.subscribe());
            let work = async move {
                begun.add_permits(1);
                // The other side is there until all have ended.
                let _ = gone.wait_for(|gone| *gone).await;
            };
            ::tokio::spawn(work.measured_tagged(EVENT, u64::from(order)))
        };
        let spawned: Vec<_> = (0..tasks).map(spawn).collect();
        let all = begun.acquire_many(tasks).await?;
        drain.flush().await;
        let flying = drain.reports().borrow().event(EVENT).ok_or("it was announced")?.in_flight;
        spawned.iter().step_by(2).for_each(JoinHandle::abort);
        go.send_replace(true);
        for task in spawned {
            // That half of them are cancelled is what was asked for.
            let _ = task.await;
        }
        let elapsed = start.elapsed();
        drop(all);
        token.cancel();
        Ok::<_, Box<dyn Error>>((flying, drain.join().await?, elapsed))
    })?;
    let event = report.event(EVENT).ok_or("it was announced")?;
    let (outcomes, health, left) = (event.outcomes, &report.health, event.in_flight);
    println!(
        "\n{tasks} tasks in {elapsed:.1?}: {} in flight at once, {} of them in the table; then {} ok, {} cancelled, {} in \
         flight; {} overwritten, {} unregistered, {} orphans\n",
        flying.open + flying.untracked,
        flying.open,
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
    verdict::say(
        "every END and every cancellation is counted",
        format!("{} of {tasks}", outcomes.ok + outcomes.cancelled),
        ends,
    );
    let is_right = flying.open + flying.untracked == tasks && left.open + left.untracked == 0;
    verdict::say("in flight are as many as there are", flying.open + flying.untracked, is_right);
    verdict::say("nothing is overwritten", health.overwritten, health.overwritten == 0);
    Ok(())
}
