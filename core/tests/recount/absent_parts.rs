//! If the type of a storage has a constant shape ([`Storage::SHAPE`]), this only makes the code
//! smaller: the results are the same as with storage whose shape is only known at run time.

use core::time::Duration;

use proptest::{collection::vec, prelude::*};
use tailwatch_core::{
    Aggregator, EventInfo, Quantile, Ring, Shape, Slot, Storage, Threshold, TickRate, Unit,
    WindowSpec, storage,
};

use crate::{
    memory::Memory,
    ring_drain::{MILLISECOND, RING, Step, results, step},
};

const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
/// The events of the [steps](Step). All are measured in time, so a VALUE record is invalid for
/// them.
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

/// A shape that has room for no feature that can be absent.
const BARE: Shape = Shape {
    samples: 8,
    octaves: 0,
    scale: 0,
    in_flight: 0,
    slowest: 0,
    ..Shape::small(&EVENTS, &WINDOWS)
};
const WITH_HISTOGRAM: Shape = Shape { octaves: 24, scale: 3, ..BARE };
const WITH_FINE_HISTOGRAM: Shape = Shape { scale: 4, ..WITH_HISTOGRAM };
const WITH_OPEN_SPANS: Shape = Shape { in_flight: 8, ..BARE };
const WITH_EXEMPLARS: Shape = Shape { in_flight: 8, slowest: 2, samples: 0, ..WITH_HISTOGRAM };

/// The same events, but with every property that needs a feature: a limit, a limit on silence,
/// plain numbers, and an expected interval.
const DEMANDING: [EventInfo; 4] = {
    const LIMITS: &[Threshold] = &[Threshold::duration(Quantile::P95, Duration::from_millis(1))];
    const ERROR_RATE: Threshold = Threshold::error_rate(100_000);
    let mut events = EVENTS;
    events[0].limits = LIMITS;
    events[1].max_silence = Some(Duration::from_secs(1));
    events[1].max_error_rate = Some(&ERROR_RATE);
    events[2].unit = Unit::One;
    events[3].expected_interval = Some(Duration::from_micros(300));
    events
};
/// A shape that has room for every feature.
const NOTHING_ABSENT: Shape = Shape {
    samples: 8,
    octaves: 24,
    scale: 3,
    in_flight: 8,
    slowest: 2,
    failed: DEMANDING.len(),
    ..Shape::small(&DEMANDING, &WINDOWS)
};
const WITHOUT_HISTOGRAM: Shape = Shape { octaves: 0, scale: 0, in_flight: 0, ..NOTHING_ABSENT };

/// Declares two types of storage for each shape: a compact and a wide one.
macro_rules! storages {
    ($($compact:ident, $wide:ident: $shape:expr, $count:ty;)*) => {
        $(
            storage!($compact: $shape, $count);
            storage!($wide: Shape { is_compact: false, ..$shape }, $count);
        )*
    };
}

storages! {
    Bare, WideBare: BARE, u16;
    WithHistogram, WideWithHistogram: WITH_HISTOGRAM, u16;
    WithFineHistogram, WideWithFineHistogram: WITH_FINE_HISTOGRAM, u32;
    WithOpenSpans, WideWithOpenSpans: WITH_OPEN_SPANS, u16;
    WithExemplars, WideWithExemplars: WITH_EXEMPLARS, u64;
    NothingAbsent, WideNothingAbsent: NOTHING_ABSENT, u16;
    WithoutHistogram, WideWithoutHistogram: WITHOUT_HISTOGRAM, u16;
}

/// Runs the steps on `storage`, whose type has a constant shape, and on storage of the same shape
/// in vectors. Compares all results.
fn agree<S: Storage>(
    events: &[EventInfo],
    storage: S,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut now = 100_000 * MILLISECOND;
    let begin = now - 10_000 * MILLISECOND;
    let memory = Memory::<S::Count, S::Repr>::new(&storage.shape());
    let mut general =
        Aggregator::new(&WINDOWS, events, TickRate::NANOSECONDS, begin, memory).unwrap();
    let mut specialised =
        Aggregator::new(&WINDOWS, events, TickRate::NANOSECONDS, begin, storage).unwrap();
    let mut rings = [(); 2].map(|()| Box::new(Ring::<[Slot; RING]>::new()));
    let [(to_general, mut from_general), (to_specialised, mut from_specialised)] =
        rings.each_mut().map(|ring| ring.split());
    for step in steps.iter().chain([&Step::Pass(1, true)]) {
        for record in step.records(now) {
            to_general.push(record);
            to_specialised.push(record);
        }
        match step {
            Step::Lost => {
                general.mark_lost();
                specialised.mark_lost();
            }
            Step::Pass(milliseconds, _) => now += milliseconds * MILLISECOND,
            Step::Back(milliseconds) => now -= milliseconds * MILLISECOND,
            _ => continue,
        }
        general.begin_pass(now);
        specialised.begin_pass(now);
        from_general.refresh();
        from_specialised.refresh();
        let (mut some, mut others) = (vec![], vec![]);
        let drained =
            general.drain(0, &mut from_general, |record, is_sample| some.push((record, is_sample)));
        prop_assert_eq!(
            specialised.drain(0, &mut from_specialised, |record, is_sample| others
                .push((record, is_sample))),
            drained
        );
        prop_assert_eq!(others, some);
        general.expire_orphans(general.pass());
        specialised.expire_orphans(specialised.pass());
        let (mut some, mut others) = (vec![], vec![]);
        general.evaluate_limits(now, |change| some.push(*change));
        specialised.evaluate_limits(now, |change| others.push(*change));
        prop_assert_eq!(others, some);
        if !matches!(step, Step::Pass(_, false)) {
            prop_assert_eq!(results(&mut specialised, events), results(&mut general, events));
            for info in events {
                prop_assert_eq!(specialised.moments(info.id), general.moments(info.id));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn absent_parts_do_not_change_any_result(
        is_compact in any::<bool>(),
        steps in vec(step(), 0..300),
    ) {
        if is_compact {
            agree(&EVENTS, &mut Bare::new(), &steps)?;
            agree(&EVENTS, &mut WithHistogram::new(), &steps)?;
            agree(&EVENTS, &mut WithFineHistogram::new(), &steps)?;
            agree(&EVENTS, &mut WithOpenSpans::new(), &steps)?;
            agree(&EVENTS, &mut WithExemplars::new(), &steps)?;
            agree(&DEMANDING, &mut NothingAbsent::new(), &steps)?;
            agree(&DEMANDING, &mut WithoutHistogram::new(), &steps)?;
        } else {
            agree(&EVENTS, &mut WideBare::new(), &steps)?;
            agree(&EVENTS, &mut WideWithHistogram::new(), &steps)?;
            agree(&EVENTS, &mut WideWithFineHistogram::new(), &steps)?;
            agree(&EVENTS, &mut WideWithOpenSpans::new(), &steps)?;
            agree(&EVENTS, &mut WideWithExemplars::new(), &steps)?;
            agree(&DEMANDING, &mut WideNothingAbsent::new(), &steps)?;
            agree(&DEMANDING, &mut WideWithoutHistogram::new(), &steps)?;
        }
    }
}
