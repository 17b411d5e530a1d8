//! Invalid settings of the builder: `start` fails, and the error names the invalid value.

use core::time::Duration;

use tailwatch::{
    BuildError, Builder, Collector, ConfigError, Event, EventError, EventId, EventInfo, Trading,
    WindowSpec,
};

#[track_caller]
fn refused(set_up: impl FnOnce(Builder) -> Builder, names: &[&str]) -> BuildError {
    let error = set_up(Collector::builder()).start().expect_err("the settings are invalid");
    let message = error.to_string();
    for name in names {
        assert!(message.contains(name), "{name:?} is not in {message:?}");
    }
    error
}

#[track_caller]
fn refused_config(set_up: impl FnOnce(Builder) -> Builder, names: &[&str]) -> ConfigError {
    match refused(set_up, names) {
        BuildError::Config(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_list_of_windows_is_refused() {
    let error = refused_config(|builder| builder.windows(&[]), &["no windows"]);
    assert_eq!(error, ConfigError::NoWindows);
}

#[test]
fn slices_that_do_not_divide_their_window_are_refused() {
    let length = Duration::from_secs(1);
    let error =
        refused_config(|builder| builder.windows(&[WindowSpec::new(length, 7)]), &["7", "1s"]);
    assert_eq!(error, ConfigError::SlicesDoNotDivide { length, slices: 7 });
    let error = refused_config(
        |builder| builder.windows(&[WindowSpec::new(length, 0)]),
        &["0 slices", "1s"],
    );
    assert_eq!(error, ConfigError::SlicesDoNotDivide { length, slices: 0 });
}

#[test]
fn empty_duplicate_and_endless_windows_are_refused() {
    let error =
        refused_config(|builder| builder.windows(&[WindowSpec::new(Duration::ZERO, 10)]), &["0 s"]);
    assert_eq!(error, ConfigError::EmptyWindow);
    let twice = [
        WindowSpec::new(Duration::from_secs(3), 3),
        WindowSpec::MINUTE,
        WindowSpec::new(Duration::from_secs(3), 1),
    ];
    let error = refused_config(|builder| builder.windows(&twice), &["3s"]);
    assert_eq!(error, ConfigError::DuplicateWindow { length: Duration::from_secs(3) });
    let endless = [WindowSpec::new(Duration::from_secs(1 << 40), 1)];
    let error = refused_config(|builder| builder.windows(&endless), &["1099511627776s"]);
    assert!(matches!(error, ConfigError::SliceTooShort { slices: 1, .. }), "{error:?}");
}

#[test]
fn a_ring_capacity_that_is_not_a_power_of_two_is_refused() {
    for (capacity, name) in [(0, "0"), (4, "4"), (1_000, "1000"), (16_385, "16385")] {
        let error = refused(|builder| builder.ring_capacity(capacity), &[name]);
        assert!(matches!(error, BuildError::RingCapacity(_)), "{error:?}");
    }
}

#[test]
fn rings_that_exceed_the_memory_are_refused() {
    let error = refused(
        |builder| builder.ring_capacity(1 << (usize::BITS - 1)),
        &[&(1_u64 << (usize::BITS - 1)).to_string()],
    );
    assert!(
        matches!(error, BuildError::RingCapacity(_) | BuildError::RingMemory { .. }),
        "{error:?}"
    );
}

#[test]
fn zero_rings_are_refused() {
    let error = refused(|builder| builder.rings(0), &["0 rings"]);
    assert!(matches!(error, BuildError::NoRings), "{error:?}");
}

#[test]
fn two_events_with_the_same_number_are_refused() {
    const OTHER: &[EventInfo] = &[EventInfo::new(EventId::new(5).unwrap(), "other")];
    let error = refused(
        |builder| builder.events(Trading::ALL).events(OTHER),
        &["5", "`event_bus_publish`", "`other`"],
    );
    let id = Trading::EventBusPublish.id();
    assert!(
        matches!(&error, BuildError::Events(EventError::SameNumber { id: at, .. }) if *at == id),
        "{error:?}"
    );
    refused(|builder| builder.events(Trading::ALL).events(Trading::ALL), &["1"]);
}

#[test]
fn a_core_that_does_not_exist_is_refused() {
    let error = refused(|builder| builder.drain_core(98_765), &["98765"]);
    match error {
        BuildError::NoSuchCore { core, available } => {
            assert_eq!(core, 98_765);
            assert!(!available.contains(&core));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_period_that_is_too_short_or_too_long_is_refused() {
    for (period, name) in [
        (Duration::from_micros(999), "999µs"),
        (Duration::ZERO, "0ns"),
        (Duration::from_secs(3_601), "3601s"),
        (Duration::MAX, "18446744073709551615.999999999s"),
    ] {
        let error = refused(|builder| builder.max_period(period), &[name, "1ms"]);
        assert!(
            matches!(error, BuildError::Period { period: named } if named == period),
            "{error:?}"
        );
    }
}

#[test]
fn too_many_exact_samples_are_refused() {
    for (samples, name) in [(1_000_000, "1000000".to_owned()), (usize::MAX, usize::MAX.to_string())]
    {
        let error = refused(|builder| builder.exact_samples(samples), &[&name]);
        assert!(matches!(error, BuildError::TooManySamples { .. }), "{error:?}");
    }
}

#[test]
fn the_smallest_allowed_settings_are_accepted() {
    let builder = Collector::builder()
        .rings(1)
        .ring_capacity(8)
        .exact_samples(0)
        .max_period(Duration::from_millis(1))
        .windows(&[WindowSpec::new(Duration::from_millis(1), 1)]);
    builder.start().expect("the smallest allowed settings");
    // Core 0 usually exists. The test may not be allowed to run on it, and some systems report no
    // cores.
    match Collector::builder().drain_core(0).start() {
        Ok(_) | Err(BuildError::NoSuchCore { .. } | BuildError::Pin { .. }) => (),
        Err(other) => panic!("{other:?}"),
    }
}
