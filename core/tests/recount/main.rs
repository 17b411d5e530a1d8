//! Everything that an aggregator tells, recounted from plain lists by the rules of the design: the two share no code.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "oracles compute in other types than what they judge"
)]

mod corrected;
mod counters;
mod drained;
mod flights;
mod hostile;
mod lacking;
mod limits;
mod lists;
mod memory;
mod numbers;
mod steps;
mod world;

use proptest::prelude::*;
use tailwatch_core::{
    Aggregator, EventId, EventInfo, Limit, Quantile, Record, Shape, Threshold, TickRate, TimeUnit,
    WindowSpec,
};

use crate::{
    memory::Memory,
    numbers::{MILLI, SECOND},
    steps::{passes, setup},
    world::World,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn after_every_pass_all_that_is_told_equals_a_recount(setup in setup(), passes in passes(10 * MILLI)) {
        let mut world = World::new(&setup);
        for pass in &passes {
            world.pass(pass);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_clock_that_begins_again_leaves_what_was_before_to_the_totals(setup in setup(), passes in passes(200 * SECOND)) {
        let mut world = World::new(&setup);
        for pass in &passes {
            world.pass(pass);
        }
    }
}

/// Half a nanosecond is told as a whole one: what is told decides, not what is counted inside.
#[test]
fn a_duration_that_is_rounded_up_beyond_its_limit_violates_it() {
    const EVENT: EventInfo = EventInfo::new(EventId::new(1).unwrap(), "event");
    // With 2^40 ticks a second, 2^30 ticks are 976,562.5 ns.
    let limit = Threshold::value(Quantile::P50, 976_562);
    for (length, over) in [(1 << 30, 1), ((1 << 30) - 1, 0)] {
        let shape = Shape {
            samples: 1,
            unit: TimeUnit::Fine,
            ..Shape::server(&[EVENT], &WindowSpec::DEFAULT)
        };
        let memory = Memory::<u32>::new(&shape);
        let rate = TickRate::from_hz(1 << 40).unwrap();
        let mut aggregator =
            Aggregator::new(shape, &WindowSpec::DEFAULT, &[EVENT], rate, 0, memory).unwrap();
        aggregator.set_limits(EVENT.id, &[Limit::Quantile(limit)]).unwrap();
        assert!(aggregator.record(0, Record::duration(0, EVENT.id, 0, length)));
        aggregator.watch(0, |_| ());
        let mut told = vec![];
        aggregator
            .limits(|status| told.push((status.over, status.observed.unwrap() - limit.limit)));
        assert_eq!(told, [(over, over)]);
    }
}
