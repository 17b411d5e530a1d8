//! Which spans are open, beside a list of them: spans of several threads, whose records come in any order.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use tailwatch_core::{
    Aggregator, DiscardReason, EventId, EventInfo, Kind, Outcome, Pairing, Record, Shape, TickRate,
    WindowSpec,
};

use crate::memory::Memory;

#[derive(Debug, Arbitrary)]
struct Input {
    places: u8,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// A span begins: of an event, at one of a few ticks.
    Start(bool, u8),
    /// One of those that have begun ends, or is forgotten.
    End(u8, bool),
    /// An END comes before its START, which comes some passes later, or never.
    Early(bool, u8),
    /// The START of the oldest early END.
    Late,
    /// An END of a span that nobody began.
    Stray(bool, u8),
    /// A pass, so many milliseconds later, which drains all.
    Pass(u16),
    Lost,
}

const EVENTS: [u16; 2] = [1, 2];
const MILLISECOND: u64 = 1_000_000;
/// An uncertain span is given up after so long.
const ABANDON_AFTER: u64 = 60_000 * MILLISECOND;

/// One span: its event and when it began.
type Span = (usize, u64);

/// What should be known.
#[derive(Debug, Default)]
struct Model {
    /// Of each kind of span, how many are open, and since when they are uncertain.
    open: BTreeMap<Span, (u64, Option<u64>)>,
    /// ENDs that wait for their START, the pass of the last of each kind, and how many of them.
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

    fn lose(&mut self, now: u64) {
        for ((event, _), (count, uncertain)) in &mut self.open {
            if uncertain.is_none() {
                *uncertain = Some(now);
                self.pairing[*event].uncertain += *count;
            }
        }
    }

    /// What was uncertain for too long is given up.
    fn give_up(&mut self, now: u64) {
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

    /// ENDs of earlier passes wait in vain.
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

    /// Kinds of spans in the table.
    fn kinds(&self) -> usize {
        self.open.len() + self.early.len()
    }
}

fn id(event: usize) -> EventId {
    EventId::new(EVENTS[event]).expect("an id")
}

/// Does what the bytes say.
///
/// # Panics
/// If other spans are open than the list has, or the law of DESIGN does not hold when there is no room for all.
pub fn run(data: &[u8]) {
    let Some(Input { places, steps }) = crate::input(data) else { return };
    let infos = [EventInfo::new(id(0), "one"), EventInfo::new(id(1), "two")];
    let windows = [WindowSpec::SECOND];
    let shape = Shape {
        in_flight: [0, 2, 4, 8, 32, 256][usize::from(places) % 6],
        samples: 2,
        scale: 0,
        ..Shape::server(&infos, &windows)
    };
    let room = shape.in_flight - (shape.in_flight / 8).max(1).min(shape.in_flight);
    let mut now = 1_000_000 * MILLISECOND;
    let storage = Memory::<u32>::new(&shape);
    let mut aggregator =
        Aggregator::new(shape, &windows, &infos, TickRate::NANOSECONDS, now, storage)
            .expect("it fits");
    aggregator.begin_pass(now);

    let (mut model, mut had_room) = (Model::default(), true);
    let (mut begun, mut promised) = (Vec::<Span>::new(), Vec::<Span>::new());
    let (mut starts, mut ends) = ([0_u64; 2], [0_u64; 2]);
    for step in steps {
        // A few ticks, so that spans collide.
        let tick = |near: u8, now: u64| now - u64::from(near % 4);
        let mut start = |aggregator: &mut Aggregator<_>, span: Span, model: &mut Model| {
            starts[span.0] += 1;
            aggregator.record(0, Record::start(span.1, id(span.0), 0, 5));
            model.start(span);
        };
        let mut end = |aggregator: &mut Aggregator<_>,
                       span: Span,
                       forgets: bool,
                       model: &mut Model| {
            ends[span.0] += 1;
            let record = if forgets {
                let event = u64::from(EVENTS[span.0]);
                Record::from_words([
                    span.1,
                    (DiscardReason::Discarded as u64) << 18 | (Kind::Forget as u64) << 11 | event,
                ])
            } else {
                Record::end(now, id(span.0), 0, Outcome::Ok, now - span.1)
            };
            let pass = aggregator.pass();
            aggregator.record(0, record);
            model.end(span, pass);
        };
        match step {
            Step::Start(event, near) => {
                let span = (usize::from(event), tick(near, now));
                begun.push(span);
                start(&mut aggregator, span, &mut model);
            }
            Step::End(which, forgets) if !begun.is_empty() => {
                let span = begun.swap_remove(usize::from(which) % begun.len());
                end(&mut aggregator, span, forgets, &mut model);
            }
            Step::Early(event, near) => {
                let span = (usize::from(event), tick(near, now));
                promised.push(span);
                end(&mut aggregator, span, false, &mut model);
            }
            Step::Late if !promised.is_empty() => {
                let span = promised.remove(0);
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
                model.give_up(now);
            }
            Step::Lost => {
                aggregator.mark_lost();
                model.lose(now);
            }
            Step::End(..) | Step::Late => (),
        }
        had_room &= model.kinds() <= room;
        for event in 0..2 {
            let told = aggregator.pairing(id(event));
            assert_eq!(
                starts[event],
                told.paired + told.open + told.untracked + told.abandoned,
                "{told:?}"
            );
            assert_eq!(ends[event], told.paired + told.early + told.orphans, "{told:?}");
            assert!(told.uncertain <= told.open, "{told:?}");
            if had_room {
                assert_eq!(told, model.pairing[event]);
                let oldest = model
                    .open
                    .keys()
                    .filter(|(of, _)| *of == event)
                    .map(|(_, start)| now - start)
                    .max();
                assert_eq!(aggregator.oldest(id(event)).map(|(age, _)| age), oldest);
            }
        }
    }
}
