//! Compares the table of open spans with a model, for spans of several threads whose records come
//! in any order.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use tailwatch_core::{
    Aggregator, Compact, DiscardReason, EventId, EventInfo, Kind, Outcome, Pairing, Record, Repr,
    Shape, TickRate, Wide, WindowSpec,
};

use crate::memory::Memory;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Chooses the size of the table, and the representation.
    places: u8,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// Begins a span of one of the two events, at one of the last four ticks.
    Start(bool, u8),
    /// Ends one of the spans that have begun, or discards it.
    End(u8, bool),
    /// Records an END before its START, which [`Late`](Self::Late) records some passes later, or
    /// which never comes.
    Early(bool, u8),
    /// Records the START of the oldest early END.
    Late,
    /// Records an END whose START never comes.
    Stray(bool, u8),
    /// Begins a pass this many milliseconds later; the pass before it has drained everything.
    Pass(u16),
    MarkLost,
    /// Gives up one of the spans that have begun, because its END is known to be lost.
    Abandon(u8),
}

const EVENTS: [u16; 2] = [1, 2];
/// The ticks of a millisecond.
const MILLISECOND: u64 = 1_000_000;
/// An uncertain span is abandoned after this many ticks.
const ABANDON_AFTER: u64 = 60_000 * MILLISECOND;

/// The index of a span's event and the tick at which the span began. Spans may have both in common.
type Span = (usize, u64);

/// The expected state of the table.
#[derive(Debug, Default)]
struct Model {
    /// How many spans with this event and tick are open, and since which tick they are uncertain.
    open: BTreeMap<Span, (u64, Option<u64>)>,
    /// The pass of the last END with this event and tick that waits for its START, and how many
    /// such ENDs wait.
    early: BTreeMap<Span, (u64, u64)>,
    pairing: [Pairing; 2],
}

impl Model {
    fn start(&mut self, span: Span) {
        let pairing = &mut self.pairing[span.0];
        if let Some((_, count)) = self.early.get_mut(&span) {
            *count -= 1;
            if *count == 0 {
                self.early.remove(&span);
            }
            pairing.early -= 1;
            pairing.paired += 1;
        } else {
            let (count, uncertain) = self.open.entry(span).or_default();
            *count += 1;
            pairing.open += 1;
            pairing.uncertain += u64::from(uncertain.is_some());
        }
    }

    fn end(&mut self, span: Span, pass: u64) {
        let pairing = &mut self.pairing[span.0];
        if let Some((count, uncertain)) = self.open.get_mut(&span) {
            *count -= 1;
            pairing.open -= 1;
            pairing.paired += 1;
            pairing.uncertain -= u64::from(uncertain.is_some());
            if *count == 0 {
                self.open.remove(&span);
            }
        } else {
            let (last, count) = self.early.entry(span).or_default();
            (*last, *count) = (pass, *count + 1);
            pairing.early += 1;
        }
    }

    /// Abandons a span, of which the table has at least one.
    fn abandon_one(&mut self, span: Span) {
        let Some((count, uncertain)) = self.open.get_mut(&span) else { return };
        let pairing = &mut self.pairing[span.0];
        *count -= 1;
        pairing.open -= 1;
        pairing.abandoned += 1;
        pairing.uncertain -= u64::from(uncertain.is_some());
        if *count == 0 {
            self.open.remove(&span);
        }
    }

    fn mark_uncertain(&mut self, now: u64) {
        for ((event, _), (count, uncertain)) in &mut self.open {
            if uncertain.is_none() {
                *uncertain = Some(now);
                self.pairing[*event].uncertain += *count;
            }
        }
    }

    /// Abandons the spans that have been uncertain for too long.
    fn abandon(&mut self, now: u64) {
        let pairing = &mut self.pairing;
        self.open.retain(|(event, _), (count, uncertain)| {
            let stays = uncertain.is_none_or(|since| since >= now.saturating_sub(ABANDON_AFTER));
            if !stays {
                let pairing = &mut pairing[*event];
                pairing.open -= *count;
                pairing.uncertain -= *count;
                pairing.abandoned += *count;
            }
            stays
        });
    }

    /// Counts ENDs that have waited since an earlier pass as orphans.
    fn expire_orphans(&mut self, pass: u64) {
        let pairing = &mut self.pairing;
        self.early.retain(|(event, _), (last, count)| {
            let stays = *last >= pass;
            if !stays {
                pairing[*event].early -= *count;
                pairing[*event].orphans += *count;
            }
            stays
        });
    }

    /// Returns the number of entries that the table needs: one for each event and tick.
    fn entries(&self) -> usize {
        self.open.len() + self.early.len()
    }
}

fn id(event: usize) -> EventId {
    EventId::new(EVENTS[event]).expect("a valid id")
}

/// Returns the record that ends or discards `span` at the tick `now`.
fn end_record(span: Span, now: u64, discards: bool) -> Record {
    if discards {
        let event = u64::from(EVENTS[span.0]);
        Record::from_words([
            span.1,
            (DiscardReason::Discarded as u64) << 18 | (Kind::Forget as u64) << 11 | event,
        ])
    } else {
        Record::end(now, id(span.0), 0, Outcome::Ok, now - span.1)
    }
}

/// Runs the steps that the bytes encode.
///
/// # Panics
/// If STARTs and ENDs are not accounted for, or the table differs from the model although there was
/// always room for all entries.
pub fn run(data: &[u8]) {
    let Some(Input { places, steps }) = crate::input(data) else { return };
    let places = usize::from(places);
    let in_flight = [0, 2, 4, 8, 32, 256][places % 6];
    if (places / 6).is_multiple_of(2) {
        run_with::<Wide>(in_flight, steps);
    } else {
        run_with::<Compact>(in_flight, steps);
    }
}

/// Runs the steps on a table with this many entries in the representation `R`.
fn run_with<R: Repr>(in_flight: usize, steps: Vec<Step>) {
    let infos = [EventInfo::new(id(0), "one"), EventInfo::new(id(1), "two")];
    let windows = [WindowSpec::SECOND];
    let shape = Shape { in_flight, samples: 2, scale: 0, ..Shape::server(&infos, &windows) };
    let room = in_flight - (in_flight / 8).max(1).min(in_flight);
    let mut now = 1_000_000 * MILLISECOND;
    let storage = Memory::<u32, R>::new(&shape);
    let mut aggregator = Aggregator::new(&windows, &infos, TickRate::NANOSECONDS, now, storage)
        .expect("the storage fits the shape");
    aggregator.begin_pass(now);

    let (mut model, mut had_room) = (Model::default(), true);
    let (mut begun, mut early_ends) = (Vec::<Span>::new(), Vec::<Span>::new());
    let (mut starts, mut ends) = ([0_u64; 2], [0_u64; 2]);
    for step in steps {
        // Only four ticks, so that spans collide.
        let tick = |near: u8, now: u64| now - u64::from(near % 4);
        let mut start = |aggregator: &mut Aggregator<_>, span: Span, model: &mut Model| {
            starts[span.0] += 1;
            aggregator.record(0, Record::start(span.1, id(span.0), 0, 5));
            model.start(span);
        };
        let mut end =
            |aggregator: &mut Aggregator<_>, span: Span, discards: bool, model: &mut Model| {
                ends[span.0] += 1;
                let pass = aggregator.pass();
                aggregator.record(0, end_record(span, now, discards));
                model.end(span, pass);
            };
        match step {
            Step::Start(event, near) => {
                let span = (usize::from(event), tick(near, now));
                begun.push(span);
                start(&mut aggregator, span, &mut model);
            }
            Step::End(which, discards) if !begun.is_empty() => {
                let span = begun.swap_remove(usize::from(which) % begun.len());
                end(&mut aggregator, span, discards, &mut model);
            }
            Step::Early(event, near) => {
                let span = (usize::from(event), tick(near, now));
                early_ends.push(span);
                end(&mut aggregator, span, false, &mut model);
            }
            Step::Late if !early_ends.is_empty() => {
                let span = early_ends.remove(0);
                start(&mut aggregator, span, &mut model);
            }
            Step::Stray(event, near) => {
                end(&mut aggregator, (usize::from(event), tick(near, now)), false, &mut model);
            }
            Step::Pass(milliseconds) => {
                aggregator.expire_orphans(aggregator.pass());
                model.expire_orphans(aggregator.pass());
                now += u64::from(milliseconds) * MILLISECOND;
                aggregator.begin_pass(now);
                model.abandon(now);
            }
            Step::MarkLost => {
                aggregator.mark_lost();
                model.mark_uncertain(now);
            }
            Step::Abandon(which) if !begun.is_empty() => {
                let span = begun.swap_remove(usize::from(which) % begun.len());
                let before = aggregator.pairing(id(span.0));
                let is_counted = aggregator.abandon(id(span.0), span.1);
                let after = aggregator.pairing(id(span.0));
                assert_eq!(after.abandoned, before.abandoned + u64::from(is_counted));
                model.abandon_one(span);
            }
            Step::End(..) | Step::Late | Step::Abandon(_) => (),
        }
        had_room &= model.entries() <= room;
        for event in 0..2 {
            let pairing = aggregator.pairing(id(event));
            assert_eq!(
                starts[event],
                pairing.paired + pairing.open + pairing.untracked + pairing.abandoned,
                "{pairing:?}"
            );
            assert_eq!(
                ends[event],
                pairing.paired + pairing.early + pairing.orphans,
                "{pairing:?}"
            );
            assert!(pairing.uncertain <= pairing.open, "{pairing:?}");
            if had_room {
                assert_eq!(pairing, model.pairing[event]);
                let oldest = model
                    .open
                    .keys()
                    .filter(|(index, _)| *index == event)
                    .map(|(_, start)| now - start)
                    .max();
                assert_eq!(aggregator.oldest(id(event)).map(|(age, _)| age), oldest);
            }
        }
    }
}
