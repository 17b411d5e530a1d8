//! Random set-ups, and random steps that happen between two passes.

use core::time::Duration;

use proptest::{collection::vec, prelude::*, sample::Index};
use tailwatch_core::{
    DiscardReason, MAX_PAYLOAD, Outcome, Quantile, Threshold, TimeUnit, WindowSpec,
};

use crate::definitions::{MILLI, SECOND};

/// The number of events: two measured in time, one in plain numbers.
pub(crate) const EVENTS: usize = 3;
pub(crate) const SPANS: usize = 2;
pub(crate) const NUMBERS: usize = 2;

const MINUTE: Duration = Duration::from_mins(1);
const fn millis(millis: u64, slices: u16) -> WindowSpec {
    WindowSpec::new(Duration::from_millis(millis), slices)
}
pub(crate) const WINDOWS: [&[WindowSpec]; 4] = [
    &WindowSpec::DEFAULT,
    &[WindowSpec::SECOND, WindowSpec::MINUTE],
    &[millis(4_000, 4), millis(700, 7), millis(10_000, 1)],
    &[millis(50, 5)],
];

const fn limit(ppm: u32, limit: u64, window_millis: u64, min_samples: u32) -> Threshold {
    let Some(quantile) = Quantile::from_ppm(ppm) else { panic!("the ppm are at most 1,000,000") };
    let window = Duration::from_millis(window_millis);
    Threshold::value(quantile, limit).over(window).min_samples(min_samples)
}
/// The limits that events have, some at a time. Two of them differ only in `min_samples`.
pub(crate) const LIMITS: [Threshold; 9] = [
    limit(500_000, MILLI, 1_000, 1),
    limit(950_000, MILLI, 1_000, 10),
    limit(950_000, MILLI, 1_000, 1),
    limit(990_000, 50 * MILLI, 60_000, 1),
    limit(0, 1_000, 2_000, 1),
    limit(1_000_000, 2 * SECOND, 10_000, 3),
    limit(333_333, 20, 700, 0),
    limit(999_000, 3 * SECOND, 5_000, 1),
    limit(750_000, MILLI, 50, 2),
];
pub(crate) const DECLARED: &[Threshold] = &[LIMITS[0], LIMITS[5]];
pub(crate) const DECLARED_SILENCE: Duration = Duration::from_millis(250);
const SILENCES: [Duration; 3] = [DECLARED_SILENCE, Duration::from_secs(5), Duration::from_nanos(1)];

/// How an aggregator is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) hz: u64,
    pub(crate) first: u64,
    pub(crate) windows: &'static [WindowSpec],
    pub(crate) samples: usize,
    pub(crate) scale: u8,
    pub(crate) octaves: u8,
    pub(crate) unit: TimeUnit,
    pub(crate) in_flight: usize,
    pub(crate) slowest: usize,
    /// How many limits it has room for.
    pub(crate) limits: usize,
    /// Whether some records are sampled.
    pub(crate) is_sampled: bool,
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let clock = (
        prop_oneof![
            4 => Just(1_000_000_000_u64),
            2 => Just(2_600_000_000),
            2 => Just(24_000_000),
            1 => Just(999_999_937),
            1 => Just(32_768),
        ],
        prop_oneof![Just(0_u64), 0..100 * SECOND, Just(1 << 61)],
        prop_oneof![2 => Just(TimeUnit::Fine), 1 => Just(TimeUnit::Coarse)],
    );
    let counted = (
        (0..WINDOWS.len()).prop_map(|set| WINDOWS[set]),
        prop_oneof![1 => Just(0_usize), 4 => 1..12_usize, 2 => Just(64)],
        prop_oneof![4 => 0..4_u8, 1 => Just(5)],
        prop_oneof![4 => Just(40_u8), 1 => Just(20), 1 => Just(0)],
    );
    let noted = (
        prop_oneof![2 => Just(64_usize), 1 => Just(8), 1 => Just(16), 1 => Just(2), 1 => Just(0)],
        0..4_usize,
        2..14_usize,
        any::<bool>(),
    );
    (clock, counted, noted).prop_map(
        |(
            (hz, first, unit),
            (windows, samples, scale, octaves),
            (in_flight, slowest, limits, is_sampled),
        )| Setup {
            hz,
            first,
            windows,
            samples,
            scale,
            octaves,
            unit,
            in_flight,
            slowest,
            limits,
            is_sampled,
        },
    )
}

/// A length, in nanoseconds, at which something changes: a limit, a slice, a window, a silence.
fn edge() -> impl Strategy<Value = u64> {
    let slices = WINDOWS
        .concat()
        .into_iter()
        .map(|spec| (spec.length / u32::from(spec.slices)).as_nanos() as u64);
    let limits = LIMITS.iter().map(|threshold| threshold.limit);
    let silences = SILENCES.iter().map(|length| length.as_nanos() as u64);
    let lengths =
        [SECOND, 2 * SECOND, 10 * SECOND, 10 * MILLI, 100 * MILLI, MINUTE.as_nanos() as u64];
    proptest::sample::select(
        slices.chain(limits).chain(silences).chain(lengths).collect::<Vec<_>>(),
    )
}

/// A length of time in nanoseconds, plus or minus a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) nanos: u64,
    pub(crate) ticks: i64,
}

pub(crate) fn length() -> impl Strategy<Value = Length> {
    let nanos = prop_oneof![
        3 => edge(),
        2 => 0..100_u64,
        3 => (0..300 * SECOND, 0..38_u32).prop_map(|(nanos, shift)| nanos >> shift),
    ];
    (nanos, prop_oneof![2 => Just(0_i64), 1 => -1..=1_i64])
        .prop_map(|(nanos, ticks)| Length { nanos, ticks })
}

/// How long ago something happened. Optionally moved to the beginning of a slice of that time, or a
/// tick before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) length: Length,
    /// A window, and how many ticks before the beginning of one of its slices.
    pub(crate) bound: Option<(Index, u64)>,
}

fn age() -> impl Strategy<Value = Age> {
    let length = prop_oneof![
        6 => Just(Length { nanos: 0, ticks: 0 }),
        4 => (0..SECOND / 5).prop_map(|nanos| Length { nanos, ticks: 0 }),
        2 => (0..80 * SECOND).prop_map(|nanos| Length { nanos, ticks: 0 }),
        2 => length(),
    ];
    let bound = proptest::option::weighted(0.3, (any::<Index>(), 0..=1_u64));
    (length, bound).prop_map(|(length, bound)| Age { length, bound })
}

#[derive(Clone, Debug)]
pub(crate) enum Advance {
    By(Length),
    /// To the beginning of the next or a later slice of a window, or a tick before it.
    Bound {
        window: Index,
        after: u64,
        before: u64,
    },
    /// Until a running span has this age.
    Aged {
        span: Index,
        length: Length,
    },
    Back(u64),
}

fn advance(most_back: u64) -> impl Strategy<Value = Advance> {
    let ahead = prop_oneof![
        1 => Just(0_u64),
        3 => 0..50 * MILLI,
        3 => 0..SECOND,
        2 => 0..8 * SECOND,
        1 => 0..300 * SECOND,
        3 => edge(),
    ];
    prop_oneof![
        8 => (ahead, 0..=1_i64).prop_map(|(nanos, ticks)| Advance::By(Length { nanos, ticks })),
        4 => (any::<Index>(), 1..=13_u64, 0..=1_u64)
            .prop_map(|(window, after, before)| Advance::Bound { window, after, before }),
        2 => (any::<Index>(), length()).prop_map(|(span, length)| Advance::Aged { span, length }),
        if most_back > 10 * MILLI { 3 } else { 1 } =>
            prop_oneof![0..=most_back, Just(10 * MILLI)].prop_map(Advance::Back),
    ]
}

/// Invalid records, by cause.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Invalid {
    Empty,
    UnknownEvent,
    ValueOfSpan,
    EndOfNumber,
    StartOfNumber,
    TooLong,
    TooLarge,
    LongestEnd,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A span begins. Its START may stay in its ring for a while.
    Begin {
        event: usize,
        age: Age,
        tag: u64,
        is_withheld: bool,
    },
    /// A withheld START is delivered.
    Deliver(Index),
    End {
        span: Index,
        age: Age,
        outcome: Outcome,
    },
    Discard {
        span: Index,
        reason: DiscardReason,
    },
    /// An END without a START, unless one matches by chance.
    Stray {
        event: usize,
        age: Age,
        length: Length,
        outcome: Outcome,
    },
    Duration {
        event: usize,
        age: Age,
        length: Length,
    },
    /// A DURATION that began together with a running span.
    DurationOfOpenSpan(Index),
    Value {
        age: Age,
        number: u64,
    },
    /// A record from the future. `beyond` counts ticks beyond the tolerance, and `length` is its
    /// duration or number.
    Future {
        event: usize,
        beyond: i64,
        length: Length,
    },
    Invalid(Invalid),
    Lost,
    SampledAway(usize),
    ResetSilence(usize),
    Limits {
        event: usize,
        chosen: u16,
        silence: Option<usize>,
        is_reversed: bool,
    },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    proptest::sample::select(vec![Outcome::Ok, Outcome::Error, Outcome::Cancelled])
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let tag = prop_oneof![0..10_u64, Just(MAX_PAYLOAD), any::<u64>()];
    let number = prop_oneof![
        0..50_u64,
        990..1_010_u64,
        (0..1_u64 << 45, 0..45_u32).prop_map(|(n, shift)| n >> shift)
    ];
    let reasons =
        vec![DiscardReason::Discarded, DiscardReason::ClockSteppedBack, DiscardReason::TooLong];
    let invalid = vec![
        Invalid::Empty,
        Invalid::UnknownEvent,
        Invalid::ValueOfSpan,
        Invalid::EndOfNumber,
        Invalid::StartOfNumber,
        Invalid::TooLong,
        Invalid::TooLarge,
        Invalid::LongestEnd,
    ];
    let begin = (0..SPANS, age(), tag, proptest::bool::weighted(0.25));
    let limits = (
        0..EVENTS,
        0..1_u16 << LIMITS.len(),
        proptest::option::of(0..SILENCES.len()),
        any::<bool>(),
    );
    prop_oneof![
        30 => begin.prop_map(|(event, age, tag, is_withheld)| {
            Step::Begin { event, age, tag, is_withheld }
        }),
        10 => index().prop_map(Step::Deliver),
        30 => (index(), age(), outcome())
            .prop_map(|(span, age, outcome)| Step::End { span, age, outcome }),
        4 => (index(), proptest::sample::select(reasons))
            .prop_map(|(span, reason)| Step::Discard { span, reason }),
        4 => (0..SPANS, age(), length(), outcome())
            .prop_map(|(event, age, length, outcome)| Step::Stray { event, age, length, outcome }),
        30 => (0..SPANS, age(), length())
            .prop_map(|(event, age, length)| Step::Duration { event, age, length }),
        2 => index().prop_map(Step::DurationOfOpenSpan),
        15 => (age(), number).prop_map(|(age, number)| Step::Value { age, number }),
        3 => (0..EVENTS, prop_oneof![-1..=1_i64, -300_000..300_000_i64, 1..1_i64 << 60], length())
            .prop_map(|(event, beyond, length)| Step::Future { event, beyond, length }),
        2 => proptest::sample::select(invalid).prop_map(Step::Invalid),
        2 => Just(Step::Lost),
        1 => (0..EVENTS).prop_map(Step::SampledAway),
        1 => (0..EVENTS).prop_map(Step::ResetSilence),
        3 => limits.prop_map(|(event, chosen, silence, is_reversed)| {
            Step::Limits { event, chosen, silence, is_reversed }
        }),
    ]
}

pub(crate) fn silence(number: usize) -> Duration {
    SILENCES[number]
}

#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) advance: Advance,
    pub(crate) steps: Vec<Step>,
    /// Whether early ENDs expire at the end of the pass.
    pub(crate) expires_orphans: bool,
    /// A quantile to query.
    pub(crate) ppm: u32,
}

/// Returns passes whose clock steps back by at most so many nanoseconds.
pub(crate) fn passes(most_back: u64) -> impl Strategy<Value = Vec<Pass>> {
    let ppm = prop_oneof![0..=1_000_000_u32, Just(0), Just(1_000_000)];
    let steps = prop_oneof![1 => vec(step(), 0..3), 3 => vec(step(), 0..25)];
    let pass = (advance(most_back), steps, proptest::bool::weighted(0.9), ppm);
    vec(
        pass.prop_map(|(advance, steps, expires_orphans, ppm)| Pass {
            advance,
            steps,
            expires_orphans,
            ppm,
        }),
        1..16,
    )
}
