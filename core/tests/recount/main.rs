//! Compares everything that an aggregator returns with values that a model recomputes from plain
//! lists of records. The aggregator and the model share no code. Storage is wide in about half of
//! the cases, and compact in the others.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the models use other types than the code under test"
)]

mod absent_parts;
mod coordinated_omission;
mod definitions;
mod full_counters;
mod harness;
mod harness_limits;
mod hostile;
mod late_commits;
mod limits;
mod memory;
mod model;
mod open_spans;
mod ring_drain;
mod steps;
mod tags;
mod whole_range;

use proptest::prelude::*;
use tailwatch_core::{
    Aggregator, Compact, EventId, EventInfo, Limit, Quantile, Record, Repr, Shape, Threshold,
    TickRate, TimeUnit, Wide, WindowSpec,
};

use crate::{
    definitions::{MILLI, SECOND},
    harness::Harness,
    memory::Memory,
    steps::{Pass, Setup, passes, setup},
};

/// Runs the passes on an aggregator and the model, and compares all results after each.
fn run(setup: &Setup, passes: &[Pass]) {
    fn run_on<R: Repr>(setup: &Setup, passes: &[Pass]) {
        let mut harness = Harness::<R>::new(setup);
        for pass in passes {
            harness.pass(pass);
        }
    }
    if setup.is_compact { run_on::<Compact>(setup, passes) } else { run_on::<Wide>(setup, passes) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn all_results_equal_the_model_after_every_pass(
        setup in setup(),
        passes in passes(10 * MILLI),
    ) {
        run(&setup, &passes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_a_clock_restart_earlier_samples_count_in_the_total_only(
        setup in setup(),
        passes in passes(200 * SECOND),
    ) {
        run(&setup, &passes);
    }
}

/// A duration exceeds a threshold if the duration in whole nanoseconds does. What matters is not
/// the value in internal units, but the rounded one. Half a nanosecond is rounded up.
#[test]
fn a_duration_that_is_rounded_up_above_the_threshold_exceeds_it() {
    const EVENT: EventInfo = EventInfo::new(EventId::new(1).unwrap(), "event");
    fn check<R: Repr>() {
        // At 2^40 ticks per second, 2^30 ticks are 976,562.5 ns.
        let threshold = Threshold::value(Quantile::P50, 976_562);
        for (length, over) in [(1 << 30, 1), ((1 << 30) - 1, 0)] {
            let shape = Shape {
                samples: 1,
                unit: TimeUnit::Fine,
                ..Shape::server(&[EVENT], &WindowSpec::DEFAULT)
            };
            let memory = Memory::<u32, R>::new(&shape);
            let rate = TickRate::from_hz(1 << 40).unwrap();
            let mut aggregator =
                Aggregator::new(&WindowSpec::DEFAULT, &[EVENT], rate, 0, memory).unwrap();
            aggregator.set_limits(EVENT.id, &[Limit::Quantile(threshold)]).unwrap();
            assert!(aggregator.record(0, Record::duration(0, EVENT.id, 0, length)));
            aggregator.evaluate_limits(0, |_| ());
            let mut statuses = vec![];
            aggregator.limits(|status| {
                statuses.push((status.over, status.observed.unwrap() - threshold.max));
            });
            assert_eq!(statuses, [(over, over)]);
        }
    }
    check::<Wide>();
    check::<Compact>();
}
