//! Tests of what an aggregator can be created with, and of the size of its storage.

use super::*;
use crate::Absent;

#[test]
fn a_set_up_that_does_not_fit_is_refused_with_the_reason() {
    let one = [WindowSpec::SECOND];
    let error_of = |shape, windows: &[WindowSpec], events: &[EventInfo], hz| {
        let storage = memory();
        let rate = TickRate::from_hz(hz).unwrap();
        Aggregator::new(shape, windows, events, rate, 0, storage).map(|_| ()).unwrap_err()
    };
    let second = core::time::Duration::from_secs(1);
    let seven = WindowSpec::new(second, 7);
    assert_eq!(error_of(SHAPE, &[], Trading::ALL, 1), ConfigError::NoWindows);
    assert_eq!(error_of(SHAPE, &one, &[], 1), ConfigError::NoEvents);
    let refused = ConfigError::SlicesDoNotDivide { length: second, slices: 7 };
    assert_eq!(error_of(SHAPE, &[seven], Trading::ALL, 1), refused);
    let refused = ConfigError::DuplicateWindow { length: second };
    assert_eq!(error_of(SHAPE, &[one[0], one[0]], Trading::ALL, 1), refused);
    let refused = ConfigError::Shape { what: "number of windows", given: 3, needed: 1 };
    assert_eq!(error_of(SHAPE, &one, Trading::ALL, 1), refused);
    let fewer = Shape { windows: 1, slices: 10, ..SHAPE };
    let refused = ConfigError::Storage { what: "number of windows", given: 3, needed: 1 };
    assert_eq!(error_of(fewer, &one, Trading::ALL, 1_000_000_000), refused);
    let refused =
        ConfigError::Storage { what: "number of samples per event", given: 16, needed: 17 };
    let wider = Shape { samples: 17, ..SHAPE };
    assert_eq!(error_of(wider, &WindowSpec::DEFAULT, Trading::ALL, 1_000_000_000), refused);
    let twice: Vec<_> =
        Trading::ALL.iter().map(|info| EventInfo { id: Trading::ALL[0].id, ..*info }).collect();
    let refused = ConfigError::DuplicateEvent { id: Trading::ALL[0].id };
    assert_eq!(error_of(SHAPE, &WindowSpec::DEFAULT, &twice, 1_000_000_000), refused);
    let refused = ConfigError::SliceTooShort { length: second, slices: 10, hz: 4 };
    assert_eq!(error_of(SHAPE, &WindowSpec::DEFAULT, Trading::ALL, 4), refused);
    let refused = ConfigError::Histogram { scale: 9, lowest: SHAPE.lowest, octaves: SHAPE.octaves };
    assert_eq!(
        error_of(Shape { scale: 9, ..SHAPE }, &WindowSpec::DEFAULT, Trading::ALL, 1),
        refused
    );
}

/// Storage whose type declares plain numbers absent, although its shape has room for events that
/// are measured in plain numbers.
struct DeclaresTooMuch(&'static mut Memory);

impl Storage for DeclaresTooMuch {
    type Count = <&'static mut Memory as Storage>::Count;

    const ABSENT: Absent = Absent { numbers: true, ..Absent::NOTHING };

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn parts(&mut self) -> StorageParts<'_, Self::Count> {
        self.0.parts()
    }
}

#[test]
fn a_type_that_declares_more_absent_than_its_shape_is_refused() {
    let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::NANOSECONDS);
    let refused = Aggregator::new(SHAPE, windows, Trading::ALL, rate, 0, DeclaresTooMuch(memory()))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        refused,
        ConfigError::Absent { declared: DeclaresTooMuch::ABSENT, shape: Absent::of(&SHAPE) }
    );
}

#[test]
fn a_limit_on_silence_without_room_is_refused() {
    const SMALL: Shape = Shape { samples: 1, ..Shape::small(Trading::ALL, &WindowSpec::DEFAULT) };
    let mut storage = Box::new(<storage!(SMALL, u16)>::new());
    let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::NANOSECONDS);
    let mut aggregator =
        Aggregator::new(SMALL, windows, Trading::ALL, rate, 0, &mut *storage).unwrap();
    let silence = Limit::Silence(core::time::Duration::from_secs(1));
    let result = aggregator.set_limits(Trading::OrderFill.id(), &[silence]);
    assert_eq!(result, Err(LimitError::NoRoomForSilence));
}

#[test]
fn storage_in_arrays_has_the_size_that_its_shape_computes() {
    assert!(size_of::<Memory>().abs_diff(SHAPE.bytes::<u32>()) < 128);
    assert!(size_of::<storage!(SHAPE, u16)>().abs_diff(SHAPE.bytes::<u16>()) < 128);
}
