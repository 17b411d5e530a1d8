//! A measured future, beside the plain one and the floor.

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

/// Futures of a turn, whose records fit into a ring.
const TURN: u32 = 4_000;

/// As many times one that yields is pending.
const YIELDS: u32 = 16;

/// What measuring may add, as a multiple of the floor.
const MOST: f64 = 1.25;

const SPAN: Trading = Trading::OrderPlacement;

/// Is ready at its first poll.
async fn ready() {
    black_box(());
}

/// Is pending so many times.
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

/// Polls where it stands: a part of another future, which is inlined there.
#[inline(always)]
fn in_place(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

/// Polls as a runtime does, which does not know what it polls; without one, as what it takes besides would only hide the rest.
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
    // Two records besides those of the span.
    PollTimeEvents::NONE.polled(Trading::OrderFill).waiting(Trading::EventBusHandle)
}

/// The contestants of one clock mode, in this order: floor, ready, measured, yields, measured, split.
fn contestants(collector: &Collector, mode: ClockMode) -> [Contestant<'_>; 6] {
    let contestant = |name, work: Box<dyn FnMut(u32)>| {
        let prepare = || {
            collector.flush();
            collector.register_thread("bench").expect("a ring for the only thread");
        };
        Contestant { name, prepare: Box::new(prepare), work }
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

/// Times them, in both clock modes, and prints the table.
pub(super) fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut targets = Vec::new();
    println!("{:<26} {:>9} {:>9} {:>9} {:>8}", "ns a future", "median", "min", "max", "x floor");
    for (mode, name) in [(ClockMode::Relaxed, "relaxed"), (ClockMode::Ordered, "ordered")] {
        // Two rings, as the one of another collector is given back a little later.
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
            format!("a measured ready future, {name}, x floor: at most {MOST}"),
            ready / floor,
        ));
        let more = (yields - plain) / floor;
        targets.push((
            format!("what measuring adds to {YIELDS} yields, {name}, x floor: at most {MOST}"),
            more,
        ));
        drop(contestants);
        collector.stop();
        let health = collector.health();
        if (health.overwritten, health.unregistered) != (0, 0) {
            return Err(format!("records were lost: {health:?}").into());
        }
    }
    println!("\n{rounds} interleaved rounds of {TURN} futures each, polled in place\n");
    for (target, measured) in targets {
        verdict::say(target, format!("{measured:.2}"), measured <= MOST);
    }
    Ok(())
}
