//! What the type of a storage tells that it lacks makes a difference in code alone: it tells the same as storage whose type tells nothing.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, EventInfo, Quantile, Ring, Shape, Slot, Storage, Threshold, TickRate, Unit,
    WindowSpec, storage,
};

use crate::{
    drained::{MILLISECOND, RING, Step, step, told},
    memory::Memory,
};

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// Those of the steps, all of them spans: a number is not theirs then.
const EVENTS: [EventInfo; 4] = {
    let names = ["one", "two", "three", "four"];
    let mut events = [EventInfo::new(tailwatch_core::EventId::new(1).unwrap(), ""); 4];
    let mut number = 0;
    while number < events.len() {
        let id = tailwatch_core::EventId::new(number as u16 + 1).unwrap();
        events[number] = EventInfo::new(id, names[number]);
        number += 1;
    }
    events
};

/// With all that the type of an array of this shape can be without.
const BARE: Shape = Shape {
    samples: 8,
    octaves: 0,
    scale: 0,
    in_flight: 0,
    slowest: 0,
    ..Shape::small(&EVENTS, &WINDOWS)
};
const COUNTED: Shape = Shape { octaves: 24, scale: 3, ..BARE };
const FINELY_COUNTED: Shape = Shape { scale: 4, ..COUNTED };
const FOLLOWED: Shape = Shape { in_flight: 8, ..BARE };
const ALL_FOLLOWED: Shape = Shape { in_flight: 8, slowest: 2, samples: 0, ..COUNTED };

/// The same, with all that an event can ask for.
const DEMANDING: [EventInfo; 4] = {
    const LIMITS: &[Threshold] = &[Threshold::duration(Quantile::P95, Duration::from_millis(1))];
    let mut events = EVENTS;
    events[0].limits = LIMITS;
    events[1].max_silence = Some(Duration::from_secs(1));
    events[2].unit = Unit::One;
    events[3].expected_interval = Some(Duration::from_micros(300));
    events
};
/// Nothing is lacking; and nothing but what these events ask for.
const NOTHING: Shape = Shape {
    samples: 8,
    octaves: 24,
    scale: 3,
    in_flight: 8,
    slowest: 2,
    ..Shape::small(&DEMANDING, &WINDOWS)
};
const WITHOUT_HISTOGRAM: Shape = Shape { octaves: 0, scale: 0, in_flight: 0, ..NOTHING };

fn agree<S: Storage>(
    shape: Shape,
    events: &[EventInfo],
    arrays: S,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut now = 100_000 * MILLISECOND;
    let begin = now - 10_000 * MILLISECOND;
    let memory = Memory::<S::Count>::new(&shape);
    let mut untold =
        Aggregator::new(shape, &WINDOWS, events, TickRate::NANOSECONDS, begin, memory).unwrap();
    let mut lacking =
        Aggregator::new(shape, &WINDOWS, events, TickRate::NANOSECONDS, begin, arrays).unwrap();
    let mut rings = [(); 2].map(|()| Box::new(Ring::<[Slot; RING]>::new()));
    let [(to_untold, mut of_untold), (to_lacking, mut of_lacking)] =
        rings.each_mut().map(|ring| ring.split());
    for step in steps.iter().chain([&Step::Pass(1, true)]) {
        for record in step.records(now) {
            to_untold.push(record);
            to_lacking.push(record);
        }
        match step {
            Step::Lost => {
                untold.mark_lost();
                lacking.mark_lost();
            }
            Step::Pass(milliseconds, _) => now += milliseconds * MILLISECOND,
            Step::Back(milliseconds) => now -= milliseconds * MILLISECOND,
            _ => continue,
        }
        untold.begin_pass(now);
        lacking.begin_pass(now);
        of_untold.refresh();
        of_lacking.refresh();
        let (mut some, mut others) = (vec![], vec![]);
        let drained =
            untold.drain(0, &mut of_untold, |record, is_sample| some.push((record, is_sample)));
        prop_assert_eq!(
            lacking.drain(0, &mut of_lacking, |record, is_sample| others.push((record, is_sample))),
            drained
        );
        prop_assert_eq!(others, some);
        untold.expire_orphans(untold.pass());
        lacking.expire_orphans(lacking.pass());
        let (mut some, mut others) = (vec![], vec![]);
        untold.watch(now, |change| some.push(*change));
        lacking.watch(now, |change| others.push(*change));
        prop_assert_eq!(others, some);
        if !matches!(step, Step::Pass(_, false)) {
            prop_assert_eq!(told(&mut lacking, events), told(&mut untold, events));
            for info in events {
                prop_assert_eq!(lacking.moments(info.id), untold.moments(info.id));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_a_type_lacks_makes_no_difference(steps in vec(step(), 0..300)) {
        agree(BARE, &EVENTS, &mut <storage!(BARE, u16)>::new(), &steps)?;
        agree(COUNTED, &EVENTS, &mut <storage!(COUNTED, u16)>::new(), &steps)?;
        agree(FINELY_COUNTED, &EVENTS, &mut <storage!(FINELY_COUNTED)>::new(), &steps)?;
        agree(FOLLOWED, &EVENTS, &mut <storage!(FOLLOWED, u16)>::new(), &steps)?;
        agree(ALL_FOLLOWED, &EVENTS, &mut <storage!(ALL_FOLLOWED, u64)>::new(), &steps)?;
        agree(NOTHING, &DEMANDING, &mut <storage!(NOTHING, u16)>::new(), &steps)?;
        agree(WITHOUT_HISTOGRAM, &DEMANDING, &mut <storage!(WITHOUT_HISTOGRAM, u16)>::new(), &steps)?;
    }
}
