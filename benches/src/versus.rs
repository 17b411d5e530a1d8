//! The cost of a span in each form, and of the peers, compared with the floor of the clock mode.

mod aligned;
mod cold;
mod collectors;
mod forms;
mod outcome;

use core::error::Error;
use std::path::Path;

use tailwatch::ClockMode;

use self::{
    collectors::{Collectors, Fate, LongTurns, SMALL_RING},
    outcome::{Floors, Outcome, Row, Target},
};
use crate::{
    peers::{self, Peer, Peers},
    rounds::{self, Contestant, Figure, figure},
};

/// The spans in a turn. Their records fit into a ring of the default size, so that nothing is
/// overwritten unless it is meant to be.
const TURN: u32 = 8_000;

/// The spans in a long turn, in which the drain takes part: it lasts for several poll intervals, of
/// which the shortest is 1 ms.
const LONG_TURN: u32 = 200_000;

type Work = fn(u32);

/// The forms of a span, in both clock modes.
const FORMS: [(&str, &str, Work, Fate); 12] = [
    ("span/guard/relaxed", "span/guard/ordered", forms::guard, Fate::Delivered),
    (
        "span/guard_tagged/relaxed",
        "span/guard_tagged/ordered",
        forms::guard_tagged,
        Fate::Delivered,
    ),
    ("span/guard_send/relaxed", "span/guard_send/ordered", forms::guard_send, Fate::Delivered),
    ("span/closure/relaxed", "span/closure/ordered", forms::closure, Fate::Delivered),
    (
        "span/measure_sync/relaxed",
        "span/measure_sync/ordered",
        forms::measure_sync,
        Fate::Delivered,
    ),
    (
        "span/measure_async/relaxed",
        "span/measure_async/ordered",
        forms::measure_async,
        Fate::Delivered,
    ),
    ("span/explicit/relaxed", "span/explicit/ordered", forms::explicit, Fate::Delivered),
    ("span/value/relaxed", "span/value/ordered", forms::value, Fate::Delivered),
    ("span/sampled/relaxed", "span/sampled/ordered", forms::guard, Fate::Sampled),
    (DRAINED[0], DRAINED[1], forms::guard, Fate::Drained),
    (UNDRAINED[0], UNDRAINED[1], forms::guard, Fate::Undrained),
    ("span/guard_overflow/relaxed", "span/guard_overflow/ordered", forms::guard, Fate::Overwritten),
];

const DRAINED: [&str; 2] = ["span/guard_drained/relaxed", "span/guard_drained/ordered"];

/// The same turns without a drain, which show the effect of interruptions on turns of this length.
const UNDRAINED: [&str; 2] = ["long/span/guard/relaxed", "long/span/guard/ordered"];

/// The most that the forms may cost in each clock mode, as multiples of the floor.
const MOST: [(&str, [f64; 2]); 4] = [
    ("guard", [1.10, 1.12]),
    ("guard_tagged", [1.13; 2]),
    ("guard_send", [1.20; 2]),
    ("measure_async", [1.25; 2]),
];

/// The most that a guard may cost while its records are drained or overwritten, as a multiple of
/// its cost otherwise.
const MOST_BUSY: f64 = 1.05;

/// The most that a span may cost with recording turned off, as a multiple of the floor.
const MOST_DISABLED: f64 = 0.05;

const MODES: [(ClockMode, &str); 2] =
    [(ClockMode::Relaxed, "relaxed"), (ClockMode::Ordered, "ordered")];

/// Runs the bench, prints the tables and writes them to `json`.
pub(crate) fn run(smoke: bool, json: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let rounds = if smoke { 3 } else { 301 };
    let Peers { present, left_out } = peers::all(TURN);
    let collectors =
        [Collectors::start(ClockMode::Relaxed)?, Collectors::start(ClockMode::Ordered)?];
    let mut contestants = ours(&collectors);
    let copies = contestants.len();
    contestants.extend(aligned(&collectors));
    let others = contestants.len();
    let kinds: Vec<_> = present.iter().map(|peer| (peer.name, peer.mode, peer.like)).collect();
    let contend = |Peer { name, upkeep, work, .. }| Contestant { name, prepare: upkeep, work };
    contestants.extend(present.into_iter().map(contend));

    let is_long = |name: &str| DRAINED.contains(&name) || UNDRAINED.contains(&name);
    let times = |name: &str| if is_long(name) { LONG_TURN } else { TURN };
    let figures = rounds::run_each(&mut contestants, rounds, times);
    let names: Vec<_> = contestants.iter().map(|contestant| contestant.name).collect();
    let cold = |name: &str| {
        ["floor/", "span/guard/", "peer/", "reference/"].iter().any(|kind| name.starts_with(kind))
    };
    let mut contestants: Vec<_> =
        contestants.into_iter().filter(|contestant| cold(contestant.name)).collect();
    let cold_figures = cold::run(&mut contestants, rounds);

    let floors = Floors { relaxed: figures[0].median, ordered: figures[1].median };
    let is_ordered = |name: &str| {
        let peer = kinds.iter().find(|(peer, ..)| *peer == name);
        peer.map_or(name.ends_with("/ordered"), |(_, mode, _)| *mode == ClockMode::Ordered)
    };
    let floor = |name: &str| if is_ordered(name) { floors.ordered } else { floors.relaxed };
    let row = |(name, figure): (&&'static str, &Figure)| Row::new(*name, *figure, floor(name));
    let pairs = || names.iter().zip(&figures);
    let mut rows: Vec<Row> = pairs().take(copies).chain(pairs().skip(others)).map(row).collect();
    rows.extend(combine_copies(&names[copies..others], &figures[copies..others]));
    for (Contestant { name, .. }, figure) in contestants.iter().zip(&cold_figures) {
        let floor = cold_figures[usize::from(is_ordered(name))].median;
        rows.push(Row::new(format!("cold/{name}"), *figure, floor));
    }
    let targets = targets(&rows, &kinds);
    let outcome = Outcome { floors, rows, targets };

    drop(contestants);
    // Each turn follows one that is not timed, and so does each single span.
    let (turns, singles) = (2 * (rounds as u64 + 1), 2 * rounds as u64);
    let long = [collectors[0].check(turns, singles)?, collectors[1].check(turns, singles)?];
    outcome.print();
    for left_out in left_out {
        println!("left out: {left_out}");
    }
    println!("\n{rounds} interleaved rounds of {TURN} spans each; min and max are over rounds");
    for ((_, mode), LongTurns { taken, drained_ns, undrained_ns }) in MODES.iter().zip(&long) {
        println!(
            "guard_drained/{mode}: {LONG_TURN} spans per turn; the drain took {:.0} % of their \
             records; a span took {drained_ns:.2} ns of its thread's processor time, and \
             {undrained_ns:.2} ns without a drain",
            taken * 100.0
        );
    }
    println!(
        "guard_overflow: a ring of {SMALL_RING} records that nobody drains\n\
         aligned/: min and max are over the medians at {} positions of the code\n\
         cold/: a single span after a walk through memory, timed until its stores have left the \
         core; compared with the cold floor",
        aligned::POSITIONS
    );
    if let Some(path) = json {
        outcome.write(path)?;
    }
    Ok(())
}

/// Returns the floors and tailwatch's forms.
fn ours(collectors: &[Collectors; 2]) -> Vec<Contestant<'_>> {
    let floor =
        |name, work: Work| Contestant { name, prepare: Box::new(|| ()), work: Box::new(work) };
    let mut contestants = vec![
        floor("floor/relaxed", forms::floor_relaxed),
        floor("floor/ordered", forms::floor_ordered),
    ];
    for (relaxed, ordered, work, fate) in FORMS {
        contestants.push(collectors[0].contestant(relaxed, work, fate));
        contestants.push(collectors[1].contestant(ordered, work, fate));
    }
    contestants.push(collectors[0].contestant("span/disabled", forms::guard, Fate::Unrecorded));
    contestants
}

/// Returns the floors and the guard, at several positions of the code.
fn aligned(collectors: &[Collectors; 2]) -> Vec<Contestant<'_>> {
    let mut contestants = Vec::new();
    for (name, copies) in aligned::FLOORS {
        contestants.extend(copies.map(|work| Contestant {
            name,
            prepare: Box::new(|| ()),
            work: Box::new(work),
        }));
    }
    for (name, collectors) in
        ["aligned/guard/relaxed", "aligned/guard/ordered"].into_iter().zip(collectors)
    {
        contestants
            .extend(aligned::GUARD.map(|work| collectors.contestant(name, work, Fate::Delivered)));
    }
    contestants
}

/// Returns one row for all copies of the same loop: the floors of both modes, then the guard.
fn combine_copies(names: &[&'static str], figures: &[Figure]) -> Vec<Row> {
    let names = names.iter().step_by(aligned::POSITIONS);
    let over = |copies: &[Figure]| figure(copies.iter().map(|figure| figure.median).collect());
    let figures: Vec<Figure> = figures.chunks(aligned::POSITIONS).map(over).collect();
    names
        .zip(&figures)
        .enumerate()
        .map(|(n, (name, figure))| Row::new(*name, *figure, figures[n % 2].median))
        .collect()
}

/// Returns the targets, with what was measured.
fn targets(rows: &[Row], peers: &[(&'static str, ClockMode, Option<&'static str>)]) -> Vec<Target> {
    let row = |name: &str| rows.iter().find(|row| row.name == name).expect("every row was timed");
    let mut targets = Vec::new();
    for (form, most) in MOST {
        for ((_, mode), most) in MODES.into_iter().zip(most) {
            let name = format!("span/{form}/{mode}");
            targets.push(Target::at_most(format!("{name} x floor"), most, row(&name).ratio));
        }
    }
    let overflowing = MODES
        .map(|(_, mode)| (format!("span/guard_overflow/{mode}"), format!("span/guard/{mode}")));
    let drained =
        MODES.map(|(_, mode)| (format!("span/guard_drained/{mode}"), format!("span/guard/{mode}")));
    for (busy, idle) in overflowing.into_iter().chain(drained) {
        let measured = row(&busy).median / row(&idle).median;
        targets.push(Target::at_most(format!("{busy} x {idle}"), MOST_BUSY, measured));
    }
    targets.push(Target::at_most(
        "span/disabled x floor",
        MOST_DISABLED,
        row("span/disabled").ratio,
    ));
    for (name, mode, like) in peers {
        let Some(like) = like else { continue };
        let (_, mode) = MODES[usize::from(*mode == ClockMode::Ordered)];
        let ours = format!("span/{like}/{mode}");
        targets.push(Target::at_most(
            format!("{ours} x {name}"),
            1.0,
            row(&ours).median / row(name).median,
        ));
    }
    targets
}
