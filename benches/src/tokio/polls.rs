//! A measured future, compared with the plain one and with the floor.

use core::{
    error::Error,
    future::{Future, poll_fn},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tailwatch::{ClockMode, Collector, Trading};
use tailwatch_tokio::{MeasureExt, PollTimeEvents, PollTimesExt};

use crate::{
    floor,
    rounds::{self, Contestant},
    verdict,
};

/// The futures in a turn; their records fit into a ring.
const TURN: u32 = 4_000;

/// How many times a future that yields returns pending.
const YIELDS: u32 = 16;

/// The most that measuring may add, as a multiple of the floor.
const MOST: f64 = 1.25;

const SPAN: Trading = Trading::OrderPlacement;

/// A future that is ready at its first poll.
async fn ready() {
    black_box(());
}

/// A future that is pending [`YIELDS`] times.
async fn yields() {
    let mut left = YIELDS;
    poll_fn(move |_| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

/// Polls a future in place, as a part of another future that the compiler inlines.
#[inline(always)]
fn in_place(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

/// Polls a future through a `dyn` pointer, as a runtime does. There is no runtime, because its own
/// cost would hide the rest.
#[inline(always)]
fn as_task(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut future: Pin<&mut dyn Future<Output = ()>> = black_box(future.as_mut());
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

fn ready_times<F: Future<Output = ()>>(make: impl Fn() -> F) -> impl Fn(u32) {
    move |times| (0..times).for_each(|_| in_place(make()))
}

fn yielding_times<F: Future<Output = ()>>(make: impl Fn() -> F) -> impl Fn(u32) {
    move |times| (0..times).for_each(|_| as_task(make()))
}

fn parts() -> PollTimeEvents {
    // These events add two records to those of the span.
    PollTimeEvents::NONE.polled(Trading::OrderFill).waiting(Trading::EventBusHandle)
}

/// Returns the contestants of one clock mode, in this order: floor, ready, measured, yields,
/// measured, split.
fn contestants(collector: &Collector, mode: ClockMode) -> [Contestant<'_>; 6] {
    let contestant = |name, work: Box<dyn FnMut(u32)>| {
        let prepare = || {
            collector.flush();
            collector.register_thread("bench").expect("the only thread gets a ring");
        };
        Contestant { prepare: Box::new(prepare), ..Contestant::new(name, work) }
    };
    let floor = move |times| {
        for _ in 0..times {
            if mode == ClockMode::Relaxed { floor::relaxed() } else { floor::ordered() }
        }
    };
    [
        contestant("floor", Box::new(floor)),
        contestant("ready", Box::new(ready_times(ready))),
        contestant("ready/measured", Box::new(ready_times(|| ready().measured(SPAN)))),
        contestant("yields", Box::new(yielding_times(yields))),
        contestant("yields/measured", Box::new(yielding_times(|| yields().measured(SPAN)))),
        contestant(
            "yields/split",
            Box::new(yielding_times(|| yields().measured(SPAN).poll_times(parts()))),
        ),
    ]
}

/// Runs the bench in both clock modes and prints the table.
pub(super) fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut targets = Vec::new();
    println!("{:<26} {:>9} {:>9} {:>9} {:>8}", "ns per future", "median", "min", "max", "x floor");
    for (mode, name) in [(ClockMode::Relaxed, "relaxed"), (ClockMode::Ordered, "ordered")] {
        // Two rings, because this thread's ring of another collector is given back a little later.
        let collector = super::builder().clock_mode(mode).rings(2).start()?;
        let mut contestants = contestants(&collector, mode);
        let figures = rounds::run_each(&mut contestants, rounds, |_| TURN);
        let [floor, _, ready, plain, yields, _] =
            [0, 1, 2, 3, 4, 5].map(|n: usize| figures[n].median);
        for (contestant, figure) in contestants.iter().zip(&figures) {
            let label = format!("future/{}/{name}", contestant.name);
            let ratio = figure.median / floor;
            println!(
                "{label:<26} {:>9.2} {:>9.2} {:>9.2} {ratio:>8.2}",
                figure.median, figure.min, figure.max
            );
        }
        targets.push((
            format!("a measured ready future, {name}, at most {MOST} x floor"),
            ready / floor,
        ));
        let more = (yields - plain) / floor;
        targets.push((
            format!(
                "measuring a future that yields {YIELDS} times, {name}, adds at most {MOST} x floor"
            ),
            more,
        ));
        drop(contestants);
        collector.stop();
        let health = collector.health();
        if (health.overwritten, health.unregistered) != (0, 0) {
            return Err(format!("records were lost: {health:?}").into());
        }
    }
    println!("\n{rounds} interleaved rounds of {TURN} futures each\n");
    for (target, measured) in targets {
        verdict::print(target, format!("{measured:.2}"), measured <= MOST);
    }
    Ok(())
}
