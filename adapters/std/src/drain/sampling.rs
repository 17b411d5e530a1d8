//! Sampling: which share of an event's spans and values is recorded, and how the share is chosen.
//!
//! Everything is recorded by default. Sampling is set for each event separately, so that a frequent
//! event does not reduce what is recorded of the others. The share is always 1 in 2^k, where k is
//! at most 15. Each record carries its k and counts 2^k times, so counts stay correct on average
//! even if the share changes. A rare slow span may be left out entirely.

mod error;

use core::{fmt, time::Duration};

use tailwatch_core::EventId;

pub use self::error::SamplingError;
use super::{event_ids::EventIds, positions::Positions};

/// The largest k: 1 in 2^15 = 32,768 spans is recorded.
const MAX_K: u8 = 15;

/// The shortest time between two checks of the events' rates.
const ADJUST_EVERY: Duration = Duration::from_millis(250);

/// An event is recorded in full again once its rate is below this share of the rate limit.
const LIFTED_BELOW: f64 = 0.8;
/// The shortest time over which the rate has to be that low. [`RECORDS_TO_JUDGE`] may require a
/// longer one.
const LIFTED_AFTER: Duration = Duration::from_secs(1);
/// The rate is averaged over a time in which an event at its rate limit would write at least this
/// many records. Fewer records vary too much by chance.
const RECORDS_TO_JUDGE: f64 = 64.0;

/// Which share of an event's spans, durations and values is recorded.
///
/// The share in force is always 1 in 2^k, with k from 0 (everything) to 15 (1 in 32,768). A
/// requested share is replaced by the nearest of these, by absolute difference: 0.1 becomes 1/8.
///
/// A recorded sample has the exact weight 2^k. What was not drawn is not known, so all numbers
/// about the occurrences of a sampled event are estimates.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampling {
    /// Always records this share, a number above 0 and at most 1.
    Rate(f64),
    /// Records everything while the event happens at most `above` times per second, and the share
    /// `sample` while it happens more often. A pass checks the rate, at most every 250 ms.
    ///
    /// Everything is recorded again once the rate, averaged over a second, is below four fifths of
    /// `above`. The average is taken over a longer time if an event that happens `above` times per
    /// second would write less than 64 records in a second.
    RateLimit {
        /// The rate in events per second up to which everything is recorded; above 0.
        above: f64,
        /// The share that is recorded above this rate; above 0 and at most 1.
        sample: f64,
    },
    /// Records as large a share as a budget for the cost of measuring allows.
    ///
    /// The cost is checked once per second, and is that of all events and the drain together. It is
    /// compared with the budget of each event that has one. Among the events whose budget it
    /// exceeds, the share of the one with the most recorded samples in the last 250 ms is halved,
    /// or reduced further if half is not enough. Once the cost is below two fifths of the budget,
    /// the lowest share is doubled. Until the first check, the share stays as it was.
    Budget {
        /// The budget as a share of one core, above 0: 0.01 is 1 %.
        max_cpu: f64,
    },
}

impl Default for Sampling {
    fn default() -> Self {
        Self::Rate(1.0)
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "a share of {rate}"),
            Self::RateLimit { above, sample } => {
                write!(f, "a share of {sample} above {above} per second")
            }
            Self::Budget { max_cpu } => {
                write!(f, "what {} % of a core allow", (max_cpu * 1e6).round() / 1e4)
            }
        }
    }
}

impl Sampling {
    /// Returns the sampling unchanged, or an error if one of its numbers is out of range.
    pub(crate) fn check(self) -> Result<Self, SamplingError> {
        let share = |rate: f64| {
            if rate > 0.0 && rate <= 1.0 { Ok(()) } else { Err(SamplingError::Rate { rate }) }
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();
        match self {
            Self::Rate(rate) => share(rate)?,
            Self::RateLimit { above, sample } => {
                share(sample)?;
                if !positive(above) {
                    return Err(SamplingError::Above { above });
                }
            }
            Self::Budget { max_cpu } if !positive(max_cpu) => {
                return Err(SamplingError::Budget { max_cpu });
            }
            Self::Budget { .. } => {}
        }
        Ok(self)
    }
}

/// Returns the k for which 2^-k is nearest to `rate`, or the smaller k if two are equally near.
/// `rate` is above 0 and at most 1.
pub(crate) fn nearest(rate: f64) -> u8 {
    let distance = |k: u8| (share(k) - rate).abs();
    (0..=MAX_K).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0)
}

/// Returns the share that is recorded at this k: 2^-k.
pub(crate) fn share(k: u8) -> f64 {
    0.5_f64.powi(i32::from(k))
}

/// The sampler's state of one event.
#[derive(Debug)]
struct SampledEvent {
    id: EventId,
    sampling: Sampling,
    /// 1 in 2^k spans is recorded at present.
    k: u8,
    /// The number of occurrences at the last check of the rates, including an estimate of those
    /// that sampling left out. `None` after the share has become adaptive, until a check finds
    /// records of the event. That check finds the number; the next one finds a rate.
    seen: Option<u64>,
    /// The rate in events per second at the check `rated_at`, the last one at which it was not 0.
    rate: f64,
    /// When the rate was found, as the time since the start.
    rated_at: Duration,
    /// For a rate limit that is in effect: the time from which the rate is averaged to decide
    /// whether to record everything again, and `seen` as of that time.
    calm_since: (Duration, Option<u64>),
    /// Whether not everything was recorded at some time since the last call of
    /// [`Sampler::take_thinned`].
    was_thinned: bool,
}

/// Chooses which share of each event is recorded.
#[derive(Debug)]
pub(crate) struct Sampler {
    events: Vec<SampledEvent>,
    positions: Positions,
    /// The positions of the events whose share may change by itself.
    adaptive: Vec<usize>,
    /// The positions of the events whose `was_thinned` is set.
    thinned: Vec<usize>,
    /// When the rates were last checked, as the time since the start.
    checked_at: Duration,
}

impl SampledEvent {
    /// An event that is recorded in full.
    fn new(id: EventId) -> Self {
        Self {
            id,
            sampling: Sampling::default(),
            k: 0,
            seen: None,
            rate: 0.0,
            rated_at: Duration::ZERO,
            calm_since: (Duration::ZERO, None),
            was_thinned: false,
        }
    }
}

impl Sampler {
    /// Creates a sampler that records all of these events in full.
    pub(crate) fn new(events: impl Iterator<Item = EventId>) -> Self {
        let events: Vec<_> = events.map(SampledEvent::new).collect();
        Self {
            positions: Positions::new(events.iter().map(|event| event.id)),
            events,
            adaptive: Vec::new(),
            thinned: Vec::new(),
            checked_at: Duration::ZERO,
        }
    }

    /// Sets how an event is sampled. Returns the k that is in force from now on, or `None` if the
    /// collector does not have the event.
    pub(crate) fn set(&mut self, id: EventId, sampling: Sampling) -> Option<u8> {
        let position = self.positions.of(id)?;
        let event = self.events.get_mut(position)?;
        if matches!(sampling, Sampling::Rate(_)) {
            self.adaptive.retain(|adaptive| *adaptive != position);
        } else if let Err(index) = self.adaptive.binary_search(&position) {
            self.adaptive.insert(index, position);
            // All that happened before the first check happened since the start.
            event.seen = self.checked_at.is_zero().then_some(0);
        }
        event.sampling = sampling;
        event.k = match sampling {
            Sampling::Rate(rate) => nearest(rate),
            Sampling::RateLimit { .. } => 0,
            // The share stays what it is until the next check of the budget.
            Sampling::Budget { .. } => event.k,
        };
        let k = event.k;
        self.note_thinned(position);
        Some(k)
    }

    /// Notes that an event is thinned, if it is.
    fn note_thinned(&mut self, position: usize) {
        let event = &mut self.events[position];
        if event.k > 0 && !event.was_thinned {
            event.was_thinned = true;
            self.thinned.push(position);
        }
    }

    /// Sets the k of an event, and calls `changed` with the event and k if k is a new one.
    fn set_k(&mut self, position: usize, k: u8, changed: &mut impl FnMut(EventId, u8)) {
        let event = &mut self.events[position];
        if event.k != k {
            event.k = k;
            changed(event.id, k);
            self.note_thinned(position);
        }
    }

    /// Adds an event, which is recorded in full.
    pub(crate) fn add_event(&mut self, id: EventId) {
        self.positions.add(id, self.events.len());
        self.events.push(SampledEvent::new(id));
    }

    /// Returns the events of which not everything was recorded at some time since the last call.
    pub(crate) fn take_thinned(&mut self) -> impl Iterator<Item = EventId> {
        let Self { events, thinned, .. } = self;
        let mut index = 0;
        core::iter::from_fn(move || {
            let event = &mut events[*thinned.get(index)?];
            if event.k > 0 {
                index += 1;
            } else {
                event.was_thinned = false;
                thinned.swap_remove(index);
            }
            Some(event.id)
        })
    }

    /// Returns the events that are not recorded in full at present, each with its k, which is at
    /// least 1.
    pub(crate) fn thinned(&self) -> impl Iterator<Item = (EventId, u8)> {
        let thinned = self.thinned.iter().map(|position| &self.events[*position]);
        thinned.filter(|event| event.k > 0).map(|event| (event.id, event.k))
    }

    /// Returns all events, each with its sampling and the k that is in force.
    pub(crate) fn all(&self) -> impl Iterator<Item = (EventId, Sampling, u8)> {
        self.events.iter().map(|event| (event.id, event.sampling, event.k))
    }

    /// Adjusts the shares of all events.
    ///
    /// `since_start` is the time since the start. `recorded` has the events that have happened
    /// since the last check of the rates; a check clears it. `count` returns how often an event has
    /// happened so far, including an estimate of what sampling left out. It is called only for
    /// events whose share may change by itself, because it makes the aggregator add up their newest
    /// samples. `cost` is the share of a
    /// core that measuring takes; it is `Some` once per second. Calls `changed` with each event
    /// whose k changes, and the new k.
    pub(crate) fn adjust(
        &mut self,
        since_start: Duration,
        cost: Option<f64>,
        recorded: &mut EventIds,
        mut count: impl FnMut(EventId) -> u64,
        mut changed: impl FnMut(EventId, u8),
    ) {
        let elapsed = since_start.saturating_sub(self.checked_at);
        if elapsed >= ADJUST_EVERY {
            self.checked_at = since_start;
            for index in 0..self.adaptive.len() {
                let position = self.adaptive[index];
                let event = &mut self.events[position];
                if recorded.contains(event.id) {
                    let seen = count(event.id);
                    let before = event.seen.replace(seen).unwrap_or(seen);
                    #[expect(
                        clippy::cast_precision_loss,
                        reason = "a rate needs only a few digits"
                    )]
                    let happened = seen.saturating_sub(before) as f64;
                    event.rate = happened / elapsed.as_secs_f64();
                    event.rated_at = since_start;
                }
                if let Some(k) = self.events[position].k_within_limit(since_start) {
                    self.set_k(position, k, &mut changed);
                }
            }
            recorded.clear();
        }
        if let Some(cost) = cost {
            self.keep_budgets(cost, &mut changed);
        }
    }

    /// Reduces the share of one event if the cost exceeds its budget, or raises one share if the
    /// cost is far below its budget. Calls `changed` with the event and its new k.
    fn keep_budgets(&mut self, cost: f64, changed: &mut impl FnMut(EventId, u8)) {
        let budget = |event: &SampledEvent| match event.sampling {
            Sampling::Budget { max_cpu } => Some(max_cpu),
            _ => None,
        };
        let checked_at = self.checked_at;
        let records_per_second = |event: &SampledEvent| event.rate_at(checked_at) * share(event.k);
        let spends_too_much = |event: &SampledEvent| {
            event.k < MAX_K
                && records_per_second(event) > 0.0
                && budget(event).is_some_and(|budget| cost > budget)
        };
        let adaptive = || self.adaptive.iter().map(|position| (*position, &self.events[*position]));
        let over_budget = adaptive().filter(|(_, event)| spends_too_much(event));
        if let Some((position, event)) = over_budget
            .max_by(|(_, a), (_, b)| records_per_second(a).total_cmp(&records_per_second(b)))
        {
            // If this event causes all of the cost, this many halvings bring the cost down to the
            // budget: cost / 2^halvings <= budget.
            let halvings =
                budget(event).map_or(1.0, |budget| (cost / budget).log2().ceil()).clamp(1.0, 15.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 15"
            )]
            let halvings = halvings as u8;
            let k = (event.k + halvings).min(MAX_K);
            self.set_k(position, k, changed);
            return;
        }
        // Doubling the share of one event at most doubles the cost.
        let can_spend = |event: &SampledEvent| {
            event.k > 0 && budget(event).is_some_and(|budget| 2.0 * cost < LIFTED_BELOW * budget)
        };
        if let Some((position, event)) =
            adaptive().filter(|(_, event)| can_spend(event)).max_by_key(|(_, event)| event.k)
        {
            let k = event.k - 1;
            self.set_k(position, k, changed);
        }
    }
}

impl SampledEvent {
    /// Returns the rate in events per second at the last check, which was made at `checked_at`.
    fn rate_at(&self, checked_at: Duration) -> f64 {
        if self.rated_at == checked_at { self.rate } else { 0.0 }
    }

    /// Returns the k that a [`Sampling::RateLimit`] requires after a check of the rates; `None` if
    /// it stays the same or if the sampling is another one. `now` is the time since the start.
    fn k_within_limit(&mut self, now: Duration) -> Option<u8> {
        let Sampling::RateLimit { above, sample } = self.sampling else { return None };
        if self.k == 0 {
            let is_exceeded = self.rate_at(now) > above;
            if is_exceeded {
                self.calm_since = (now, self.seen);
            }
            return is_exceeded.then(|| nearest(sample));
        }
        let (since, seen) = self.calm_since;
        let elapsed = now.saturating_sub(since);
        if elapsed < LIFTED_AFTER
            || elapsed.as_secs_f64() * above * share(self.k) < RECORDS_TO_JUDGE
        {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs only a few digits")]
        let rate =
            self.seen.unwrap_or(0).saturating_sub(seen.unwrap_or(0)) as f64 / elapsed.as_secs_f64();
        self.calm_since = (now, self.seen);
        (rate < LIFTED_BELOW * above).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EventId = EventId::new(1).unwrap();
    const TWO: EventId = EventId::new(2).unwrap();

    fn set(ids: &[EventId]) -> EventIds {
        let mut set = EventIds::EMPTY;
        for id in ids {
            set.insert(*id);
        }
        set
    }

    #[test]
    fn the_nearest_power_of_two_is_chosen() {
        for (rate, k) in
            [(1.0, 0), (0.76, 0), (0.75, 0), (0.74, 1), (0.1, 3), (0.01, 7), (1e-9, 15), (0.5, 1)]
        {
            assert_eq!(nearest(rate), k, "{rate}");
        }
        assert!((share(3) - 0.125).abs() < f64::EPSILON);
    }

    #[test]
    fn samplings_out_of_range_are_refused() {
        for sampling in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY].map(Sampling::Rate) {
            assert!(sampling.check().is_err(), "{sampling:?}");
        }
        let limit = |above, sample| Sampling::RateLimit { above, sample }.check();
        assert!(
            limit(0.0, 0.1).is_err() && limit(f64::NAN, 0.1).is_err() && limit(1.0, 0.0).is_err()
        );
        assert!(limit(1_000.0, 0.1).is_ok());
        assert!(Sampling::Budget { max_cpu: 0.0 }.check().is_err());
        assert!(Sampling::Budget { max_cpu: f64::INFINITY }.check().is_err());
    }

    /// Lets event `ONE` happen this many times in the next quarter of a second, adjusts the shares
    /// and returns each k that was set. `so_far` counts quarters of a second and events.
    fn adjust_after(sampler: &mut Sampler, so_far: &mut (u32, u64), events: u64) -> Vec<u8> {
        let mut changes = vec![];
        *so_far = (so_far.0 + 1, so_far.1 + events);
        let count = |id| if id == ONE { so_far.1 } else { 0 };
        sampler.adjust(so_far.0 * ADJUST_EVERY, None, &mut set(&[ONE]), count, |id, k| {
            assert_eq!(id, ONE);
            changes.push(k);
        });
        changes
    }

    #[test]
    fn a_rate_limit_holds_until_it_has_been_calm_for_a_second() {
        let mut sampler = Sampler::new([ONE, TWO].into_iter());
        assert_eq!(sampler.set(ONE, Sampling::RateLimit { above: 1_000.0, sample: 0.1 }), Some(0));
        let mut so_far = (0, 0);
        let mut after = |events| adjust_after(&mut sampler, &mut so_far, events);
        assert_eq!(after(250), [0_u8; 0], "1,000 per second do not exceed 1,000");
        assert_eq!(after(251), [3]);
        // The average over each second is at least four fifths of the limit.
        for events in [10_000, 0, 0, 0, 200, 200, 200, 200] {
            assert_eq!(after(events), [0_u8; 0], "the rate is not low enough");
        }
        for events in [200, 200, 199] {
            assert_eq!(after(events), [0_u8; 0], "the rate is not low for long enough");
        }
        assert_eq!(after(200), [0]);
        assert_eq!(after(900), [3]);
        assert_eq!(sampler.thinned().collect::<Vec<_>>(), [(ONE, 3)]);
        assert_eq!(sampler.set(ONE, Sampling::Rate(1.0)), Some(0));
        assert_eq!(
            sampler.take_thinned().collect::<Vec<_>>(),
            [ONE],
            "sampled until the last change"
        );
        assert_eq!(sampler.take_thinned().count(), 0);
        assert_eq!(sampler.set(EventId::new(3).unwrap(), Sampling::Rate(1.0)), None);
    }

    #[test]
    fn a_rate_limit_with_a_small_share_is_not_lifted_by_chance() {
        let mut sampler = Sampler::new([ONE].into_iter());
        sampler.set(ONE, Sampling::RateLimit { above: 1_000.0, sample: 0.001 });
        let mut random = 7_u64;
        let (mut seen, mut k, mut changes) = (0, 0_u8, 0);
        let mut quarter = |quarter: u32, events: u64| {
            for _ in 0..events {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random >> 32 & ((1 << k) - 1) == 0 {
                    seen += 1 << k;
                }
            }
            sampler.adjust(
                quarter * ADJUST_EVERY,
                None,
                &mut set(&[ONE]),
                |_| seen,
                |_, now| {
                    k = now;
                    changes += 1;
                },
            );
            (k, changes)
        };
        // Twice the limit for ten minutes. At 1 in 1,024, mostly no record comes between two
        // checks.
        for n in 1..=2_400 {
            quarter(n, 500);
        }
        assert_eq!(quarter(2_401, 500), (10, 1));
        for n in 2_402..=3_000 {
            quarter(n, 20);
        }
        assert_eq!(quarter(3_001, 20), (0, 2), "the limit is lifted once the rate has fallen");
    }

    #[test]
    fn a_new_rate_limit_ignores_the_rate_before_it_was_set() {
        let mut sampler = Sampler::new([ONE].into_iter());
        let mut so_far = (0, 0);
        for _ in 0..100 {
            adjust_after(&mut sampler, &mut so_far, 5_000);
        }
        adjust_after(&mut sampler, &mut so_far, 2);
        sampler.set(ONE, Sampling::RateLimit { above: 1_000.0, sample: 0.1 });
        assert_eq!(adjust_after(&mut sampler, &mut so_far, 2), [0_u8; 0]);
        assert_eq!(adjust_after(&mut sampler, &mut so_far, 250), [0_u8; 0]);
        assert_eq!(adjust_after(&mut sampler, &mut so_far, 251), [3]);
    }

    #[test]
    fn a_budget_reduces_the_most_frequent_event_first_and_recovers() {
        let mut sampler = Sampler::new([ONE, TWO].into_iter());
        for id in [ONE, TWO] {
            sampler.set(id, Sampling::Budget { max_cpu: 0.01 });
        }
        let mut seconds = 0_u32;
        let mut after_a_second = |cost| {
            seconds += 1;
            let mut changes = vec![];
            // A million of event 1 per second, a thousand of event 2.
            let count = |id| {
                if id == ONE { u64::from(seconds) * 1_000_000 } else { u64::from(seconds) * 1_000 }
            };
            let (now, mut recorded) = (Duration::from_secs(seconds.into()), set(&[ONE, TWO]));
            sampler.adjust(now, Some(cost), &mut recorded, count, |id, k| changes.push((id, k)));
            changes
        };
        assert_eq!(after_a_second(0.009), [], "within the budget");
        assert_eq!(after_a_second(0.07), [(ONE, 3)], "seven times the budget: an eighth");
        assert_eq!(after_a_second(0.009), []);
        assert_eq!(after_a_second(0.0041), [], "twice the cost is above 80 % of the budget");
        assert_eq!(after_a_second(0.003), [(ONE, 2)]);
        assert_eq!(after_a_second(100.0), [(ONE, 15)]);
        assert_eq!(after_a_second(0.02), [(TWO, 1)], "event 1 cannot be reduced further");
    }

    #[test]
    fn a_fixed_rate_never_changes_by_itself() {
        let mut sampler = Sampler::new([ONE].into_iter());
        assert_eq!(sampler.set(ONE, Sampling::Rate(0.1)), Some(3));
        sampler.adjust(
            ADJUST_EVERY,
            Some(1.0),
            &mut set(&[ONE]),
            |_| panic!("nothing asks for the count at a fixed rate"),
            |_, _| panic!("a fixed rate does not change"),
        );
    }
}
