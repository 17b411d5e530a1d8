//! Limits of the program and of the configuration file, and errors about them.

use tailwatch_core::{EventInfo, LimitError, Quantile, Threshold};

use super::*;
use crate::{
    events::error::EventError,
    settings::{limit_overrides::LimitOverrides, selection::DeclaredFamily},
};

#[test]
fn a_limit_replaces_the_same_limit_of_lower_precedence_and_no_other() {
    let threshold = |quantile, millis| Limit::Quantile(Threshold::duration(quantile, millis * MS));
    let declared = [(Quantile::P95, 20), (Quantile::P99, 50)]
        .map(|(quantile, millis)| Threshold::duration(quantile, millis * MS));
    let mut settings = Settings::default();
    settings.declare_limits(&[EventInfo {
        limits: declared.to_vec().leak(),
        ..EventInfo::new(Trading::OrderPlacement.id(), "order_placement")
    }]);
    let order = Trading::OrderPlacement.id();
    let second = Threshold::duration(Quantile::P95, 30 * MS).over(Duration::from_secs(1));
    settings.override_limits_by_builder(&LimitOverrides::from(&[
        (order, threshold(Quantile::P99, 40)),
        (order, Limit::Quantile(second)),
        (Trading::OrderFill.id(), Limit::Silence(MS)),
    ]));
    let text = "[tailwatch]\nrings = 1\n\
        [[sla]]\nevent = 'order_placement'\nquantile = 'p99'\nlimit = '10ms'\nmin_samples = 9\n\
        [[sla]]\nevent = 'order_fill'\nmax_silence = '5s'\n";
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), &preset()).unwrap();
    let line = |line| Origin::File { path: "bot.toml".into(), line };
    let set = |value, origin| Setting { value, origin };
    let p99 = Threshold::duration(Quantile::P99, 10 * MS).min_samples(9);
    assert_eq!(
        settings.limits,
        [
            (order, set(threshold(Quantile::P95, 20), Origin::Default)),
            (order, set(Limit::Quantile(second), Origin::Builder)),
            (order, set(Limit::Quantile(p99), line(3))),
            (Trading::OrderFill.id(), set(Limit::Silence(5_000 * MS), line(8))),
        ]
    );
    let replaced: Vec<_> = settings
        .replaced_limits
        .iter()
        .map(|replaced| (replaced.limit.clone(), replaced.by.clone()))
        .collect();
    assert_eq!(
        replaced,
        [
            (set(threshold(Quantile::P99, 50), Origin::Default), Origin::Builder),
            (set(threshold(Quantile::P99, 40), Origin::Builder), line(3)),
            (set(Limit::Silence(MS), Origin::Builder), line(8)),
        ]
    );

    // With `replace = true`, all limits of the event from elsewhere are dropped.
    let text = "[[sla]]\nevent = 'order_placement'\nmax_silence = '1s'\nreplace = true\n\
        [[sla]]\nevent = 'order_placement'\nquantile = 'p50'\nlimit = '1ms'\n";
    settings.read_config(Path::new("ops.toml"), text.as_bytes(), &preset()).unwrap();
    let of_order = settings.limits.iter().filter(|(event, _)| *event == order);
    let of_order: Vec<_> = of_order.map(|(_, set)| set.value).collect();
    assert_eq!(of_order, [Limit::Silence(1_000 * MS), threshold(Quantile::P50, 1)]);
    assert_eq!(settings.limits.len(), 3, "{:?}", settings.limits);
}

#[test]
fn the_error_for_a_limit_that_cannot_be_watched_names_its_line() {
    let of = |event, window| {
        format!(
            "[[sla]]\nevent = '{event}'\nquantile = 'p50'\nlimit = '1ms'\nwindow = '{window}'\n"
        )
    };
    let text = [of("order_fill", "1ns"), of("order_placement", "1s"), of("order_placement", "1ns")];
    let limits_error = |event: Trading| {
        let error = LimitError::Window { window: Duration::from_nanos(1) };
        BuildError::Limits { event: event.id(), error }
    };
    for (event, line) in [(Trading::OrderFill, 1), (Trading::OrderPlacement, 11)] {
        let message = file(&text.concat()).unwrap().add_origin(limits_error(event)).to_string();
        assert_eq!(message, format!("bot.toml:{line}: `sla`: {}", limits_error(event)));
    }

    // Of an event that does not exist yet.
    let families = ["family_one", "family_two"]
        .map(|name| DeclaredFamily { name: name.to_owned(), key: "symbol".to_owned() });
    let text = "[[sla]]\nevent = 'family_one'\nmax_silence = '1s'\n\
        [[sla]]\nevent = 'family_two'\nmax_silence = '1s'";
    let mut settings = Settings::default();
    let events = Selectable::new(&[], &families);
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), &events).unwrap();
    let error = LimitError::Window { window: Duration::from_nanos(1) };
    let event = "family_two".to_owned();
    let message =
        settings.add_origin(BuildError::Events(EventError::Limits { event, error })).to_string();
    let expected = "bot.toml:4: `sla`: the limits of the event `family_two` cannot be watched: ";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn the_error_for_a_limit_of_the_program_does_not_name_the_file() {
    let text = "[[sla]]\nevent = 'order_fill'\nquantile = 'p99'\nlimit = '1ms'\n";
    let error = LimitError::Zero { quantile: Some(Quantile::P95) };
    let event = Trading::OrderFill.id();
    let zero = Limit::Quantile(Threshold::value(Quantile::P95, 0));
    let mut settings = Settings::default();
    settings.override_limits_by_builder(&LimitOverrides::from(&[(event, zero)]));
    settings.read_config(Path::new("bot.toml"), text.as_bytes(), &preset()).unwrap();
    let message = settings.add_origin(BuildError::Limits { event, error }).to_string();
    assert!(!message.contains("bot.toml"), "{message}");
}

#[test]
fn later_overrides_replace_the_same_limits_of_earlier_ones() {
    let threshold = |quantile, millis| Limit::Quantile(Threshold::duration(quantile, millis * MS));
    let (fill, order) = (Trading::OrderFill, Trading::OrderPlacement);
    let first = LimitOverrides::new()
        .with(fill, threshold(Quantile::P95, 1))
        .with(fill, threshold(Quantile::P99, 2))
        .with(order, threshold(Quantile::P99, 3));
    let second = LimitOverrides::new().with(fill, threshold(Quantile::P99, 4));
    let both = first.and(&second.dropping_others(order));
    let expected =
        [(fill.id(), threshold(Quantile::P95, 1)), (fill.id(), threshold(Quantile::P99, 4))];
    assert_eq!(*both, expected);
    assert_eq!(both.dropping(), [order.id()]);
}
