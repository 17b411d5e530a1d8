//! The cost of a span in each form, and of the peers, compared with the floor of the clock mode.

mod aligned;
mod burst;
pub(crate) mod cold;
mod collectors;
mod forms;
mod outcome;

use core::error::Error;
use std::path::Path;

use tailwatch::ClockMode;

use self::{
    cold::{Single, Singles},
    collectors::{Collectors, Fate, LongTurns, SMALL_RING},
    outcome::{Floors, Outcome, Row, Target},
};
use crate::{
    peers::{self, Peer, Peers},
    processor::{self, Vendor},
    rounds::{self, Contestant, Figure, figure, middle},
};

/// The spans in a turn. Their records fit into a ring of the default size, so that nothing is
/// overwritten unless it is meant to be.
const TURN: u32 = 8_000;

/// The spans in a long turn, in which the drain takes part: it lasts for several poll intervals, of
/// which the shortest is 1 ms.
const LONG_TURN: u32 = 200_000;

pub(crate) type Work = fn(u32);

/// The forms of a span, in both clock modes.
const FORMS: [(&str, &str, Work, Fate); 13] = [
    ("span/guard/relaxed", "span/guard/ordered", forms::guard, Fate::Delivered),
    (
        "span/guard_tagged/relaxed",
        "span/guard_tagged/ordered",
        forms::guard_tagged,
        Fate::Delivered,
    ),
    ("span/guard_send/relaxed", "span/guard_send/ordered", forms::guard_send, Fate::Delivered),
    ("span/stamp/relaxed", "span/stamp/ordered", forms::stamp, Fate::Delivered),
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

/// The forms that are also timed once each after cold work, and in bursts.
const COLD: [(&str, &str, Work); 4] = [
    ("span/guard/relaxed", "span/guard/ordered", forms::guard),
    ("span/guard_send/relaxed", "span/guard_send/ordered", forms::guard_send),
    ("span/measure_async/relaxed", "span/measure_async/ordered", forms::measure_async),
    ("span/value/relaxed", "span/value/ordered", forms::value),
];

/// The most that spans may cost on the processors of one vendor.
struct Most {
    /// A guard in each clock mode, as a multiple of the floor.
    guard: [f64; 2],
    /// A relaxed guard, as a multiple of two pushes into a queue of `rtrb`.
    guard_of_rtrb: f64,
    /// The same after cold work.
    cold_guard_of_rtrb: f64,
}

const MOST_ON_AMD: Most =
    Most { guard: [1.05, 1.06], guard_of_rtrb: 1.05, cold_guard_of_rtrb: 0.7 };
const MOST_ON_INTEL: Most =
    Most { guard: [1.12, 1.15], guard_of_rtrb: 1.0, cold_guard_of_rtrb: 0.9 };

/// The most that other forms may cost, as a multiple of a guard.
const MOST_OF_GUARD: [(&str, f64); 4] =
    [("guard_tagged", 1.04), ("guard_send", 1.04), ("stamp", 1.1), ("measure_async", 1.04)];

/// The most that a guard may cost while its records are drained or overwritten, as a multiple of
/// its cost otherwise.
const MOST_BUSY: f64 = 1.05;

/// The most that a span may cost with recording turned off, as a multiple of the floor.
const MOST_DISABLED: f64 = 0.04;

const MODES: [(ClockMode, &str); 2] =
    [(ClockMode::Relaxed, "relaxed"), (ClockMode::Ordered, "ordered")];

/// Runs the bench, prints the tables and writes them to `json`.
pub(crate) fn run(smoke: bool, json: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let [rounds, cold_rounds] = if smoke { [3, 20] } else { [301, 2_001] };
    let Peers { present, left_out } = peers::all(TURN);
    // On the heap, because a collector has all its settings.
    let collectors =
        [ClockMode::Relaxed, ClockMode::Ordered].map(|mode| Collectors::start(mode).map(Box::new));
    let [relaxed, ordered] = collectors;
    let collectors = [relaxed?, ordered?];
    let mut contestants = ours(&collectors);
    let copies = contestants.len();
    contestants.extend(aligned(&collectors));
    let others = contestants.len();
    let kinds: Vec<_> = present.iter().map(|peer| (peer.name, peer.mode, peer.like)).collect();
    let contend = |Peer { name, upkeep, work, .. }| Contestant {
        prepare: upkeep,
        ..Contestant::new(name, work)
    };
    contestants.extend(present.into_iter().map(contend));

    let is_long = |name: &str| DRAINED.contains(&name) || UNDRAINED.contains(&name);
    let times = |name: &str| if is_long(name) { LONG_TURN } else { TURN };
    let figures = rounds::run_each(&mut contestants, rounds, times);
    let names: Vec<_> = contestants.iter().map(|contestant| contestant.name).collect();

    let is_ordered = |name: &str| {
        let peer = kinds.iter().find(|(peer, ..)| *peer == name);
        peer.map_or(name.ends_with("/ordered"), |(_, mode, _)| *mode == ClockMode::Ordered)
    };
    let floors = Floors { relaxed: figures[0].median, ordered: figures[1].median };
    let floor = |name: &str| if is_ordered(name) { floors.ordered } else { floors.relaxed };
    let row = |(name, figure): (&&'static str, &Figure)| Row::new(*name, *figure, floor(name));
    let pairs = || names.iter().zip(&figures);
    let mut rows: Vec<Row> = pairs().take(copies).chain(pairs().skip(others)).map(row).collect();
    rows.extend(combine_copies(&names[copies..others], &figures[copies..others]));
    let peers: Vec<_> = contestants.drain(others..).collect();
    drop(contestants);
    let (cold_rows, peers) = after_cold_work(&collectors, peers, cold_rounds, is_ordered);
    rows.extend(cold_rows);
    rows.extend(in_bursts(&collectors, peers, rounds));
    let targets = targets(&rows, &kinds, processor::vendor());
    let outcome = Outcome { floors, rows, targets };

    let long = [collectors[0].check()?, collectors[1].check()?];
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
         mean: of the middle 80 % of the rounds, which lie between the bounds beside it\n\
         cold/: a single span after a walk through memory, timed until its stores have left the \
         core; compared with the cold floor; {cold_rounds} rounds\n\
         cold/warm_code/: the same, but the code is in the second-level cache again\n\
         cold/floor/timing: what the timing itself takes; the other cold rows do not include it\n\
         burst/: {} spans after an idle period of 1 ms, per span; a reader drains the ring of \
         ours, and pauses for 10 µs between passes",
        aligned::POSITIONS,
        burst::BURST
    );
    if let Some(path) = json {
        outcome.write(path)?;
    }
    Ok(())
}

/// Returns the rows of single spans after cold work, and the peers. `is_ordered` returns whether
/// the contestant of this name is compared with the ordered floor.
fn after_cold_work<'c>(
    collectors: &'c [Box<Collectors>; 2],
    peers: Vec<Contestant<'c>>,
    rounds: usize,
    is_ordered: impl Fn(&str) -> bool,
) -> (Vec<Row>, Vec<Contestant<'c>>) {
    let single = |contestant| Single { contestant, code: None };
    let mut singles: Vec<_> = floors().map(single).into();
    for fetch in [false, true] {
        for (form, collectors, name) in cold_forms(collectors) {
            let contestant = collectors.contestant(name, form, Fate::Delivered);
            singles.push(Single { contestant, code: fetch.then_some(form) });
        }
        let disabled = collectors[0].contestant("span/disabled", forms::guard, Fate::Unrecorded);
        singles.push(Single { contestant: disabled, code: fetch.then_some(forms::guard) });
    }
    let ours = singles.len();
    singles.extend(peers.into_iter().map(single));
    let Singles { contestants: nanos, timing } = cold::run(&mut singles, rounds);
    let floors = [&nanos[0], &nanos[1]].map(|nanos| middle(nanos).mean);
    let mut rows = vec![Row::by_middle("cold/floor/timing", timing, floors[0])];
    for (Single { contestant: Contestant { name, .. }, code }, nanos) in singles.iter().zip(nanos) {
        let code = if code.is_some() { "warm_code/" } else { "" };
        let floor = floors[usize::from(is_ordered(name))];
        rows.push(Row::by_middle(format!("cold/{code}{name}"), nanos, floor));
    }
    (rows, singles.drain(ours..).map(|single| single.contestant).collect())
}

/// Returns the rows of bursts: the floors, tailwatch's forms and the references among the peers.
fn in_bursts<'c>(
    collectors: &'c [Box<Collectors>; 2],
    peers: Vec<Contestant<'c>>,
    rounds: usize,
) -> Vec<Row> {
    let mut contestants: Vec<_> = floors().into();
    for (form, collectors, name) in cold_forms(collectors) {
        contestants.push(collectors.contestant(name, form, Fate::Read));
    }
    contestants.push(collectors[0].contestant("span/disabled", forms::guard, Fate::Unrecorded));
    contestants.extend(peers.into_iter().filter(|peer| peer.name.starts_with("reference/")));
    let run = || burst::run(&mut contestants, rounds);
    let nanos = collectors[0].with_reader(|| collectors[1].with_reader(run));
    let floors = [&nanos[0], &nanos[1]].map(|nanos| middle(nanos).mean);
    let row = |(contestant, nanos): (&Contestant<'_>, Vec<f64>)| {
        let floor = floors[usize::from(contestant.name.ends_with("/ordered"))];
        Row::by_middle(format!("burst/{}", contestant.name), nanos, floor)
    };
    contestants.iter().zip(nanos).map(row).collect()
}

/// Returns the forms that are timed after cold work, each with the collectors of its clock mode and
/// its name.
fn cold_forms(
    collectors: &[Box<Collectors>; 2],
) -> impl Iterator<Item = (Work, &Box<Collectors>, &'static str)> {
    let both = |(relaxed, ordered, form)| {
        [(form, &collectors[0], relaxed), (form, &collectors[1], ordered)]
    };
    COLD.into_iter().flat_map(both)
}

/// Returns the floors of both clock modes.
fn floors<'c>() -> [Contestant<'c>; 2] {
    [
        Contestant::new("floor/relaxed", forms::floor_relaxed),
        Contestant::new("floor/ordered", forms::floor_ordered),
    ]
}

/// Returns the floors and tailwatch's forms.
fn ours(collectors: &[Box<Collectors>; 2]) -> Vec<Contestant<'_>> {
    let mut contestants: Vec<_> = floors().into();
    for (relaxed, ordered, work, fate) in FORMS {
        contestants.push(collectors[0].contestant(relaxed, work, fate));
        contestants.push(collectors[1].contestant(ordered, work, fate));
    }
    contestants.push(collectors[0].contestant("span/disabled", forms::guard, Fate::Unrecorded));
    contestants
}

/// Returns the floors and the guard, at several positions of the code.
fn aligned(collectors: &[Box<Collectors>; 2]) -> Vec<Contestant<'_>> {
    let mut contestants = Vec::new();
    for (name, copies) in aligned::FLOORS {
        contestants.extend(copies.map(|work| Contestant::new(name, work)));
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
fn targets(
    rows: &[Row],
    peers: &[(&'static str, ClockMode, Option<&'static str>)],
    vendor: Vendor,
) -> Vec<Target> {
    let row = |name: &str| rows.iter().find(|row| row.name == name).expect("every row was timed");
    let Most { guard, guard_of_rtrb, cold_guard_of_rtrb } = match vendor {
        Vendor::Amd => MOST_ON_AMD,
        Vendor::Intel => MOST_ON_INTEL,
    };
    let mut targets = Vec::new();
    for ((_, mode), most) in MODES.into_iter().zip(guard) {
        let name = format!("span/guard/{mode}");
        targets.push(Target::at_most(format!("{name} x floor"), most, row(&name).ratio));
    }
    for (form, most) in MOST_OF_GUARD {
        for (_, mode) in MODES {
            let (name, guard) = (format!("span/{form}/{mode}"), format!("span/guard/{mode}"));
            let measured = row(&name).median / row(&guard).median;
            targets.push(Target::at_most(format!("{name} x {guard}"), most, measured));
        }
    }
    if peers.iter().any(|(name, ..)| *name == "reference/rtrb") {
        let warm = row("span/guard/relaxed").median / row("reference/rtrb").median;
        let mean = |name: &str| row(name).middle.expect("cold rows have means").mean;
        let cold = mean("cold/span/guard/relaxed") / mean("cold/reference/rtrb");
        for (prefix, most, measured) in
            [("", guard_of_rtrb, warm), ("cold/", cold_guard_of_rtrb, cold)]
        {
            let name = format!("{prefix}span/guard/relaxed x {prefix}reference/rtrb");
            targets.push(Target::at_most(name, most, measured));
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
