//! Random set-ups of an aggregator, and the random steps of its passes.

use core::{ops::Range, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index};
use tailwatch_core::{
    DiscardReason, Limit, MAX_PAYLOAD, Outcome, Quantile, Threshold, TimeUnit, WindowSpec,
};

use crate::definitions::{MILLI, SECOND};

/// The number of events: two that are measured in time, one in plain numbers.
pub(crate) const EVENTS: usize = 3;
/// The number of events that are measured in time. Their indices are 0 and 1.
pub(crate) const SPANS: usize = 2;
/// The index of the event whose summaries cover failed spans.
pub(crate) const COVERS_FAILED: usize = 1;
/// The index of the event that is measured in plain numbers.
pub(crate) const NUMBERS: usize = 2;

const MINUTE: Duration = Duration::from_mins(1);
/// Returns a window of this many milliseconds.
const fn millis(millis: u64, slices: u16) -> WindowSpec {
    WindowSpec::new(Duration::from_millis(millis), slices)
}
/// The sets of windows, of which a set-up has one.
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
const fn delayed(threshold: Threshold, raise_millis: u64, clear_millis: u64) -> Threshold {
    let raised = threshold.raise_after(Duration::from_millis(raise_millis));
    raised.clear_after(Duration::from_millis(clear_millis))
}
/// The limits that events can have, of which each has a random selection. Two of them differ only
/// in `min_samples` and the delays, so an event cannot have both.
pub(crate) const LIMITS: [Limit; 13] = [
    Limit::Quantile(limit(500_000, MILLI, 1_000, 1)),
    Limit::Quantile(delayed(limit(950_000, MILLI, 1_000, 10), 40, 700)),
    Limit::Quantile(limit(950_000, MILLI, 1_000, 1).auto_min_samples()),
    Limit::Quantile(limit(990_000, 50 * MILLI, 60_000, 1)),
    Limit::Quantile(limit(0, 1_000, 2_000, 1).raise_after(Duration::from_millis(300))),
    Limit::Quantile(limit(1_000_000, 2 * SECOND, 10_000, 3)),
    Limit::Quantile(limit(333_333, 20, 700, 0)),
    Limit::Quantile(limit(999_000, 3 * SECOND, 5_000, 1).clear_after(Duration::ZERO)),
    Limit::Quantile(limit(750_000, MILLI, 50, 2)),
    Limit::Quantile(delayed(limit(700_000, MILLI, 60_000, 1), 2_000, 1).auto_min_samples()),
    Limit::Errors(Threshold::error_rate(0).over(Duration::from_secs(1))),
    Limit::Errors(Threshold::error_rate(333_333)),
    Limit::Errors(Threshold::error_rate(700_000).auto_min_samples()),
];
/// The indices of the limits that only events which are measured in time can have.
pub(crate) const ERROR_RATES: Range<usize> = 10..13;
/// The limits that the event with index 1 declares.
pub(crate) const DECLARED: &[Threshold] =
    &[limit(500_000, MILLI, 1_000, 1), limit(1_000_000, 2 * SECOND, 10_000, 3)];
/// The error rate that the event with index 1 declares.
pub(crate) const DECLARED_ERROR_RATE: Threshold = Threshold::error_rate(333_333);
/// The longest silence that the event with index 1 declares.
pub(crate) const DECLARED_SILENCE: Duration = Duration::from_millis(250);
/// The longest silences that limits can allow.
const SILENCES: [Duration; 3] = [DECLARED_SILENCE, Duration::from_secs(5), Duration::from_nanos(1)];

/// How an aggregator is set up. The fields without docs are those of
/// [`Shape`](tailwatch_core::Shape).
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Whether the storage is compact. If not, it is wide.
    pub(crate) is_compact: bool,
    /// The number of ticks per second.
    pub(crate) hz: u64,
    /// The tick at which the aggregator is created.
    pub(crate) first: u64,
    pub(crate) windows: &'static [WindowSpec],
    pub(crate) samples: usize,
    pub(crate) scale: u8,
    pub(crate) octaves: u8,
    pub(crate) unit: TimeUnit,
    pub(crate) in_flight: usize,
    pub(crate) slowest: usize,
    /// How many limits on quantiles there is room for.
    pub(crate) limits: usize,
    /// Whether there is room for summaries of failed spans.
    pub(crate) keeps_failed: bool,
    /// Whether some records have a weight above 1.
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
        prop_oneof![4 => Just(48_u8), 1 => Just(20), 1 => Just(0)],
    );
    let noted = (
        prop_oneof![2 => Just(64_usize), 1 => Just(8), 1 => Just(16), 1 => Just(2), 1 => Just(0)],
        0..4_usize,
        3..15_usize,
        any::<[bool; 2]>(),
    );
    (any::<bool>(), clock, counted, noted).prop_map(
        |(
            is_compact,
            (hz, first, unit),
            (windows, samples, scale, octaves),
            (in_flight, slowest, limits, [keeps_failed, is_sampled]),
        )| Setup {
            is_compact,
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
            keeps_failed,
            is_sampled,
        },
    )
}

/// Returns lengths, in nanoseconds, at which results change: those of limits, slices, windows,
/// silences and tolerances.
fn edge() -> impl Strategy<Value = u64> {
    let slices = WINDOWS
        .concat()
        .into_iter()
        .map(|spec| (spec.length / u32::from(spec.slices)).as_nanos() as u64);
    let limits = LIMITS.iter().filter_map(|limit| match limit {
        Limit::Quantile(threshold) => Some(threshold.max),
        _ => None,
    });
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

/// How long ago something happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) length: Length,
    /// If set, the tick is moved to the beginning of the slice that it belongs to: the index of a
    /// window, and how many ticks before the beginning.
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

/// How the clock changes from one pass to the next.
#[derive(Clone, Debug)]
pub(crate) enum Advance {
    /// It advances by this length.
    By(Length),
    /// It advances to the beginning of a slice of a window: `after` slices after the current one,
    /// and `before` ticks before this beginning.
    Bound { window: Index, after: u64, before: u64 },
    /// It advances until a running span has this age.
    Aged { span: Index, length: Length },
    /// It steps back by this many nanoseconds.
    Back(u64),
}

/// Returns changes of a clock that steps back by at most `max_back` nanoseconds.
fn advance(max_back: u64) -> impl Strategy<Value = Advance> {
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
        if max_back > 10 * MILLI { 3 } else { 1 } =>
            prop_oneof![0..=max_back, Just(10 * MILLI)].prop_map(Advance::Back),
    ]
}

/// Records that are invalid or have the largest payload, 2^46 − 1.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Invalid {
    /// A record of kind 0 and event 0.
    Empty,
    /// A record of an event that the aggregator does not have.
    UnknownEvent,
    /// A VALUE of an event that is measured in time.
    ValueOfSpan,
    /// An END of an event that is measured in plain numbers.
    EndOfNumber,
    /// A START of an event that is measured in plain numbers.
    StartOfNumber,
    /// A TAG of an event that is measured in plain numbers.
    TagOfNumber,
    /// A DURATION with the largest payload: the duration was too long for the record.
    TooLong,
    /// A VALUE with the largest payload: the number was too large for the record.
    TooLarge,
    /// An END with the largest payload, which is valid in an END.
    LongestEnd,
}

/// What happens in a pass.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A span begins. If `is_withheld`, its START stays in its ring for now.
    Begin { event: usize, age: Age, tag: u64, is_withheld: bool },
    /// A withheld START is processed.
    Deliver(Index),
    /// A running span ends.
    End { span: Index, age: Age, outcome: Outcome },
    /// A running span is discarded.
    Discard { span: Index, reason: DiscardReason },
    /// A running span gets a second tag. Its START may be withheld or untracked.
    Tag { span: Index, tag: u64 },
    /// There is a TAG at a tick at which hardly any span began.
    StrayTag { event: usize, age: Age },
    /// There is a FORGET of an interval that would have ended this much before its start.
    Negative { event: usize, age: Age, length: Length },
    /// There is an END of a span that did not begin, unless its START tick is that of another span
    /// by chance.
    Stray { event: usize, age: Age, length: Length, outcome: Outcome },
    /// There is a DURATION.
    Duration { event: usize, age: Age, length: Length },
    /// There is a DURATION that began at the same tick as a running span of its event.
    DurationOfOpenSpan(Index),
    /// There is a VALUE.
    Value { age: Age, number: u64 },
    /// There is a DURATION or VALUE whose tick is ahead of the clock, by the tolerance plus
    /// `beyond` ticks. `length` is its duration or number.
    Future { event: usize, beyond: i64, length: Length },
    /// There is an invalid or extreme record.
    Invalid(Invalid),
    /// Records are reported lost.
    Lost,
    /// Sampling is reported to have left out records of this event.
    SampledAway(usize),
    /// The silence of this event begins anew.
    ResetSilence(usize),
    /// The limits of an event are replaced: bit i of `chosen` stands for the limit with index i in
    /// [`LIMITS`], and `silence` is an index for [`silence`].
    Limits { event: usize, chosen: u16, silence: Option<usize>, is_reversed: bool },
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
    let reasons = vec![
        DiscardReason::Discarded,
        DiscardReason::ClockSteppedBack,
        DiscardReason::TooLong,
        DiscardReason::HandedOver,
    ];
    let invalid = vec![
        Invalid::Empty,
        Invalid::UnknownEvent,
        Invalid::ValueOfSpan,
        Invalid::EndOfNumber,
        Invalid::StartOfNumber,
        Invalid::TagOfNumber,
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
        4 => (index(), any::<u64>()).prop_map(|(span, tag)| Step::Tag { span, tag }),
        1 => (0..SPANS, age()).prop_map(|(event, age)| Step::StrayTag { event, age }),
        2 => (0..SPANS, age(), length())
            .prop_map(|(event, age, length)| Step::Negative { event, age, length }),
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

/// Returns the longest silence with this index.
pub(crate) fn silence(number: usize) -> Duration {
    SILENCES[number]
}

#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// How the clock changes at the beginning of the pass.
    pub(crate) advance: Advance,
    pub(crate) steps: Vec<Step>,
    /// Whether early ENDs expire at the end of the pass.
    pub(crate) expires_orphans: bool,
    /// A quantile to compute at the end of the pass, in millionths.
    pub(crate) ppm: u32,
}

/// Returns passes between which the clock steps back by at most `max_back` nanoseconds.
pub(crate) fn passes(max_back: u64) -> impl Strategy<Value = Vec<Pass>> {
    let ppm = prop_oneof![0..=1_000_000_u32, Just(0), Just(1_000_000)];
    let steps = prop_oneof![1 => vec(step(), 0..3), 3 => vec(step(), 0..25)];
    let pass = (advance(max_back), steps, proptest::bool::weighted(0.9), ppm);
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
