//! Tests of what an aggregator can be created with, and of the size of its storage.

use super::{representations::*, *};
use crate::{Exemplar, StoredMoments, StoredSample, statistics::histogram::count::Count};

/// Storage with the arrays of another one, and any shape.
struct Reshaped<M>(Shape, M);

impl<M: Storage> Storage for Reshaped<M> {
    type Repr = M::Repr;
    type Count = M::Count;
    const SHAPE: Option<Shape> = None;

    fn shape(&self) -> Shape {
        self.0
    }

    fn parts(&mut self) -> StorageParts<'_, M::Repr, M::Count> {
        self.1.parts()
    }
}

fn a_set_up_that_does_not_fit_is_refused_with_the_reason<R: Tested>() {
    let one = [WindowSpec::SECOND];
    let error_of = |shape, windows: &[WindowSpec], events: &[EventInfo], hz| {
        let (rate, storage) = (TickRate::from_hz(hz).unwrap(), Reshaped(shape, R::Memory::empty()));
        Aggregator::new(windows, events, rate, 0, storage).map(|_| ()).unwrap_err()
    };
    let shape = R::Memory::empty().shape();
    let second = core::time::Duration::from_secs(1);
    let seven = WindowSpec::new(second, 7);
    assert_eq!(error_of(shape, &[], Trading::ALL, 1), ConfigError::NoWindows);
    assert_eq!(error_of(shape, &one, &[], 1), ConfigError::NoEvents);
    let refused = ConfigError::SlicesDoNotDivide { length: second, slices: 7 };
    assert_eq!(error_of(shape, &[seven], Trading::ALL, 1), refused);
    let refused = ConfigError::DuplicateWindow { length: second };
    assert_eq!(error_of(shape, &[one[0], one[0]], Trading::ALL, 1), refused);
    let refused = ConfigError::Shape { what: "number of windows", given: 3, needed: 1 };
    assert_eq!(error_of(shape, &one, Trading::ALL, 1), refused);
    let fewer = Shape { windows: 1, slices: 10, ..shape };
    let refused = ConfigError::Storage { what: "length of `windows`", given: 3, needed: 1 };
    assert_eq!(error_of(fewer, &one, Trading::ALL, 1_000_000_000), refused);
    let refused = ConfigError::Storage { what: "length of `samples`", given: 128, needed: 136 };
    let wider = Shape { samples: 17, ..shape };
    assert_eq!(error_of(wider, &WindowSpec::DEFAULT, Trading::ALL, 1_000_000_000), refused);
    let (given, needed) = (R::IS_COMPACT.into(), (!R::IS_COMPACT).into());
    let refused = ConfigError::Storage { what: "compactness (1 or 0)", given, needed };
    let other = Shape { is_compact: !shape.is_compact, ..shape };
    assert_eq!(error_of(other, &WindowSpec::DEFAULT, Trading::ALL, 1_000_000_000), refused);
    let twice: Vec<_> =
        Trading::ALL.iter().map(|info| EventInfo { id: Trading::ALL[0].id, ..*info }).collect();
    let refused = ConfigError::DuplicateEvent { id: Trading::ALL[0].id };
    assert_eq!(error_of(shape, &WindowSpec::DEFAULT, &twice, 1_000_000_000), refused);
    let refused = ConfigError::SliceTooShort { length: second, slices: 10, hz: 4 };
    assert_eq!(error_of(shape, &WindowSpec::DEFAULT, Trading::ALL, 4), refused);
    let refused = ConfigError::Histogram { scale: 9, lowest: shape.lowest, octaves: shape.octaves };
    let finer = Shape { scale: 9, ..shape };
    assert_eq!(error_of(finer, &WindowSpec::DEFAULT, Trading::ALL, 1), refused);
}

/// A sample in compact storage has 16 bits for the slices of all windows, and the temporary memory
/// for quantiles holds 16-bit indices of samples. Wide storage has neither limit, so there only the
/// lengths of the arrays are wrong.
fn more_samples_or_slices_than_the_buffer_can_hold_are_refused<R: Tested>() {
    let five =
        [1, 2, 3, 4, 5].map(|seconds| WindowSpec::new(core::time::Duration::from_secs(seconds), 8));
    let error_of = |shape, windows: &[WindowSpec]| {
        let (rate, storage) = (TickRate::NANOSECONDS, Reshaped(shape, R::Memory::empty()));
        Aggregator::new(windows, Trading::ALL, rate, 0, storage).map(|_| ()).unwrap_err()
    };
    let shape = R::Memory::empty().shape();
    let many_samples = Shape { samples: (1 << 16) + 1, ..shape };
    let many_slices = Shape { windows: 5, slices: 40, limit_slices: 12, ..shape };
    let expected = if R::IS_COMPACT {
        let bits =
            "bits for the slice numbers of all windows (3 for up to 7 slices, 4 for up to 15)";
        [
            ConfigError::TooMany { what: "samples per event", given: 65_537, max: 65_536 },
            ConfigError::TooMany { what: bits, given: 20, max: 16 },
        ]
    } else {
        [
            ConfigError::Storage { what: "length of `samples`", given: 128, needed: 8 * 65_537 },
            ConfigError::Storage { what: "length of `windows`", given: 3, needed: 5 },
        ]
    };
    assert_eq!(
        [error_of(many_samples, &WindowSpec::DEFAULT), error_of(many_slices, &five)],
        expected
    );
}

/// The arrays in [`StorageParts`].
const ARRAYS: [&str; 14] = [
    "row_of_id",
    "windows",
    "rows",
    "slices",
    "counts",
    "totals",
    "folded",
    "samples",
    "scratch",
    "in_flight",
    "slowest",
    "limits",
    "tallies",
    "silences",
];

/// Storage in which one of the [`ARRAYS`] lacks its last element.
struct Shortened<M>(M, &'static str);

impl<M: Storage> Storage for Shortened<M> {
    type Repr = M::Repr;
    type Count = M::Count;
    const SHAPE: Option<Shape> = None;

    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn parts(&mut self) -> StorageParts<'_, M::Repr, M::Count> {
        fn shortened<T>(array: &mut [T]) -> &mut [T] {
            array.split_last_mut().unwrap().1
        }
        let parts = self.0.parts();
        match self.1 {
            "row_of_id" => StorageParts { row_of_id: shortened(parts.row_of_id), ..parts },
            "windows" => StorageParts { windows: shortened(parts.windows), ..parts },
            "rows" => StorageParts { rows: shortened(parts.rows), ..parts },
            "slices" => StorageParts { slices: shortened(parts.slices), ..parts },
            "counts" => StorageParts { counts: shortened(parts.counts), ..parts },
            "totals" => StorageParts { totals: shortened(parts.totals), ..parts },
            "folded" => StorageParts { folded: shortened(parts.folded), ..parts },
            "samples" => StorageParts { samples: shortened(parts.samples), ..parts },
            "scratch" => StorageParts { scratch: shortened(parts.scratch), ..parts },
            "in_flight" => StorageParts { in_flight: shortened(parts.in_flight), ..parts },
            "slowest" => StorageParts { slowest: shortened(parts.slowest), ..parts },
            "limits" => StorageParts { limits: shortened(parts.limits), ..parts },
            "tallies" => StorageParts { tallies: shortened(parts.tallies), ..parts },
            _ => StorageParts { silences: shortened(parts.silences), ..parts },
        }
    }
}

fn an_array_that_is_too_short_is_refused<R: Tested>() {
    for array in ARRAYS {
        let (rate, storage) = (TickRate::NANOSECONDS, Shortened(R::Paced::empty(), array));
        let result = Aggregator::new(&WindowSpec::DEFAULT, &PACED, rate, 0, storage).map(|_| ());
        let Err(ConfigError::Storage { what, given, needed }) = result else {
            panic!("{array} is too short, but the result is {result:?}")
        };
        assert_eq!(what, std::format!("length of `{array}`"));
        assert_eq!(given + 1, needed);
    }
}

fn limits_that_no_further_event_can_have_are_refused<R: Tested>() {
    let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::from_hz(10).unwrap());
    let storage = R::Memory::empty();
    let mut aggregator = Aggregator::new(windows, Trading::ALL, rate, 0, storage).unwrap();
    let limit = |max| Threshold::value(Quantile::P99, max);
    let too_short = limit(1).over(core::time::Duration::from_millis(1));
    let refused = LimitError::Window { window: too_short.window };
    assert_eq!(aggregator.check_limits(Unit::Time, &[Limit::Quantile(too_short)]), Err(refused));
    let twice = [Limit::Quantile(limit(1)); 2];
    assert_eq!(
        aggregator.check_limits(Unit::Time, &twice),
        Err(LimitError::Duplicate { limit: twice[0] })
    );
    assert_eq!(aggregator.check_limits(Unit::Time, &twice[..1]), Ok(()));
    // These are the same limit: they differ only in what decides when it is reported.
    let after = core::time::Duration::from_millis;
    for other in [
        limit(1).min_samples(2),
        limit(1).auto_min_samples(),
        limit(1).raise_after(after(1)),
        limit(1).clear_after(after(1)),
    ] {
        let limit = Limit::Quantile(other);
        let both = aggregator.check_limits(Unit::Time, &[twice[0], limit]);
        assert_eq!(both, Err(LimitError::Duplicate { limit }));
        assert_eq!(aggregator.check_limits(Unit::Time, &[limit]), Ok(()));
    }
    let most = Threshold::MAX_DELAY;
    for delay in [most + after(1), core::time::Duration::MAX, after(5) / 2] {
        let refused = Err(LimitError::Delay { delay });
        for impossible in [limit(1).raise_after(delay), limit(1).clear_after(delay)] {
            assert_eq!(
                aggregator.check_limits(Unit::Time, &[Limit::Quantile(impossible)]),
                refused
            );
        }
    }
    let longest = limit(1).raise_after(most).clear_after(most);
    assert_eq!(aggregator.check_limits(Unit::Time, &[Limit::Quantile(longest)]), Ok(()));

    let room = aggregator.shape().limits;
    let most: Vec<_> = (1..=room as u64).map(|max| Limit::Quantile(limit(max))).collect();
    for info in Trading::ALL {
        aggregator.set_limits(info.id, &[]).unwrap();
    }
    aggregator.set_limits(Trading::ALL[0].id, &most).unwrap();
    assert_eq!(aggregator.check_limits(Unit::Time, &twice[..1]), Err(LimitError::NoRoom { room }));
}

tests_on_both! {
    a_set_up_that_does_not_fit_is_refused_with_the_reason,
    limits_that_no_further_event_can_have_are_refused,
    more_samples_or_slices_than_the_buffer_can_hold_are_refused,
    an_array_that_is_too_short_is_refused,
}

#[test]
fn a_limit_on_silence_without_room_is_refused() {
    const SMALL: Shape = Shape { samples: 1, ..Shape::small(Trading::ALL, &WindowSpec::DEFAULT) };
    const WIDE: Shape = Shape { is_compact: false, ..SMALL };
    storage!(SmallMemory: SMALL, u16);
    storage!(WideSmallMemory: WIDE, u16);
    fn check(storage: impl Storage) {
        let (windows, rate) = (&WindowSpec::DEFAULT, TickRate::NANOSECONDS);
        let mut aggregator = Aggregator::new(windows, Trading::ALL, rate, 0, storage).unwrap();
        let silence = Limit::Silence(core::time::Duration::from_secs(1));
        let result = aggregator.set_limits(Trading::OrderFill.id(), &[silence]);
        assert_eq!(result, Err(LimitError::NoRoomForSilence));
    }
    check(&mut *Box::new(SmallMemory::new()));
    check(&mut *Box::new(WideSmallMemory::new()));
}

#[test]
fn storage_in_arrays_has_the_size_that_its_shape_computes() {
    assert!(size_of::<WideMemory>().abs_diff(SHAPE.bytes::<u32>()) < 128);
    assert!(size_of::<WidePacedNarrow>().abs_diff(PACED_SHAPE.bytes::<u16>()) < 128);
    assert!(size_of::<CompactMemory>().abs_diff(compact(SHAPE).bytes::<u32>()) < 128);
    assert!(size_of::<CompactPacedNarrow>().abs_diff(compact(PACED_SHAPE).bytes::<u16>()) < 128);
}

#[test]
fn the_bytes_in_use_grow_with_the_first_sample_of_each_event() {
    let mut aggregator = paced::<Wide>(0);
    let shape = aggregator.shape();
    assert_eq!(aggregator.used_bytes(), shape.bytes_once());

    // Passes, open spans and records without a sample need no memory of their event.
    let [ready, _, placed, filled, ..] = PACED.map(|info| info.id);
    aggregator.begin_pass(SECOND);
    aggregator.record(0, Record::start(SECOND, ready, 0, 7));
    aggregator.record(0, Record::duration(SECOND, ready, 0, MAX_PAYLOAD));
    assert_eq!(aggregator.used_bytes(), shape.bytes_once());

    let (event, further) =
        (shape.bytes_per_event::<u16>(), shape.bytes_per_further_summary::<u16>());
    for (id, tick, at_most) in [
        (ready, SECOND, event),
        (ready, SECOND, event),
        (placed, SECOND, 2 * event + further),
        // From the future, and again when it is no longer.
        (filled, 3 * SECOND, 3 * event + 2 * further),
        (filled, SECOND, 3 * event + 2 * further),
    ] {
        aggregator.record(0, Record::duration(tick, id, 0, 1));
        check_used_bytes(&mut aggregator, at_most);
    }
    // Samples of other slices, also after a restart of the clock.
    for pass in [60 * SECOND, 200 * SECOND, MILLI] {
        aggregator.begin_pass(pass);
        aggregator.record(0, Record::duration(pass, ready, 0, 1));
        check_used_bytes(&mut aggregator, 3 * event + 2 * further);
    }
    // A failed span takes the memory of the summary of its event's failed spans.
    aggregator.record(0, Record::end(MILLI, filled, 0, Outcome::Error, 1));
    check_used_bytes(&mut aggregator, 3 * event + 3 * further);
    let mut payload = 1;
    for _ in 0..40 {
        payload = (payload * 7) % MAX_PAYLOAD;
        for info in PACED {
            let record = if info.unit == Unit::One { Record::value } else { Record::duration };
            aggregator.record(0, record(MILLI, info.id, 0, payload));
        }
        check_used_bytes(&mut aggregator, shape.bytes::<u16>());
    }
}

/// Compares the bytes in use of what events need with the size of all elements that are not empty,
/// once nothing is staged, and with `at_most`.
fn check_used_bytes<S: Storage<Repr = Wide>>(aggregator: &mut Aggregator<S>, at_most: usize) {
    fn not_empty<T: PartialEq>(elements: &[T], empty: &T) -> usize {
        elements.iter().filter(|element| *element != empty).count() * size_of::<T>()
    }
    let staged = aggregator.used_bytes();
    aggregator.commit_all();
    let (used, once) = (aggregator.used_bytes(), aggregator.shape().bytes_once());
    let StorageParts { slices, counts, totals, samples, slowest, .. } = aggregator.storage.parts();
    let counts = counts.iter().filter(|count| count.get() > 0).count() * size_of::<S::Count>();
    let least = not_empty(slices, &StoredMoments::<Wide>::EMPTY)
        + counts
        + not_empty(totals, &0)
        + not_empty(samples, &StoredSample::EMPTY)
        + not_empty(slowest, &Exemplar::EMPTY);
    assert!(staged - once <= at_most && used - once <= at_most, "{staged}, {used}");
    assert!(used - once >= least, "{used} - {once} < {least}");
}
