//! Sampling: which share of an event's spans is recorded, and how the share is chosen.
//!
//! Everything is recorded by default. Sampling is set per event, so that a frequent event does not
//! reduce what is recorded of the others. Each record carries its sampling rate, so counts are
//! weighted by the rate that was in force when the record was written. A rare slow span may be left
//! out entirely.

use core::{error, fmt, time::Duration};

use tailwatch_core::EventId;

/// The largest k. At this k, 1 in 2^15 spans is recorded.
const MAX_K: u8 = 15;

/// The time between two checks of the events' rates.
const ADJUST_EVERY: Duration = Duration::from_millis(250);

// A rate limit is lifted once the rate has been below `LIFTED_BELOW` times the limit for the time
// `LIFTED_AFTER`. The time is longer if fewer than `RECORDS_TO_JUDGE` records would come in it at
// the limit, because the number of so few records varies too much by chance.
const LIFTED_BELOW: f64 = 0.8;
const LIFTED_AFTER: Duration = Duration::from_secs(1);
const RECORDS_TO_JUDGE: f64 = 64.0;

/// Which share of an event's spans is recorded.
///
/// The share in force is always a power of two from 1 to 2^-15: the one nearest to the requested
/// share.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampling {
    /// Always records this share, which is above 0 and at most 1. A share of 1 records everything.
    Rate(f64),
    /// Records everything while there are at most `above` events per second, and the share `sample`
    /// while there are more.
    ///
    /// Everything is recorded again once the rate has been below four fifths of `above` for a
    /// second, or for longer if a second has too few records for a reliable estimate of the rate.
    RateLimit {
        /// The number of events per second up to which everything is recorded.
        above: f64,
        /// The share that is recorded above this rate.
        sample: f64,
    },
    /// Records as much as the cost of measuring allows.
    ///
    /// The cost is that of all events and the drain together. Every second in which it exceeds the
    /// budget, the share of the event with the most records is halved, or reduced further if half
    /// is not enough. Once the cost is below two fifths of the budget, the lowest share is doubled.
    Budget {
        /// The budget as a share of one core: 0.01 is 1 %.
        max_cpu: f64,
    },
}

impl Default for Sampling {
    fn default() -> Self {
        Self::Rate(1.0)
    }
}

impl Sampling {
    /// Returns the sampling itself, or an error if one of its numbers is out of range.
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

/// Returns the k for which 2^-k is nearest to `rate`. Of two that are equally near, returns the
/// smaller k.
///
/// The rate is above 0 and at most 1.
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
    /// 1 in 2^k spans is recorded.
    k: u8,
    /// The number of events at the last check of the rates, including those that sampling left out.
    seen: u64,
    /// Events per second at the last check of the rates.
    rate: f64,
    /// The time, and the number of events at that time, from which the rate is averaged to decide
    /// whether the rate limit can be lifted.
    calm_since: (Duration, u64),
    /// Whether the event was sampled at some time since the last [`Sampler::take_thinned`].
    was_thinned: bool,
}

/// Chooses the share of each event that is recorded.
#[derive(Debug)]
pub(crate) struct Sampler {
    events: Vec<SampledEvent>,
    /// The time of the last check of the rates, since the start.
    checked_at: Duration,
}

impl Sampler {
    pub(crate) fn new(events: impl Iterator<Item = EventId>) -> Self {
        let sampled = |id| SampledEvent {
            id,
            sampling: Sampling::default(),
            k: 0,
            seen: 0,
            rate: 0.0,
            calm_since: (Duration::ZERO, 0),
            was_thinned: false,
        };
        Self { events: events.map(sampled).collect(), checked_at: Duration::ZERO }
    }

    /// Sets how an event is sampled. Returns the k that is now in force, or `None` if there is no
    /// such event.
    pub(crate) fn set(&mut self, id: EventId, sampling: Sampling) -> Option<u8> {
        let event = self.events.iter_mut().find(|event| event.id == id)?;
        event.sampling = sampling;
        event.calm_since = (self.checked_at, event.seen);
        event.k = match sampling {
            Sampling::Rate(rate) => nearest(rate),
            Sampling::RateLimit { .. } => 0,
            // The budget adjusts the present k.
            Sampling::Budget { .. } => event.k,
        };
        event.was_thinned |= event.k > 0;
        Some(event.k)
    }

    /// Returns the events that were sampled at some time since the last call: not everything was
    /// recorded of them.
    pub(crate) fn take_thinned(&mut self) -> impl Iterator<Item = EventId> {
        self.events.iter_mut().filter_map(|event| {
            let was = core::mem::replace(&mut event.was_thinned, event.k > 0);
            was.then_some(event.id)
        })
    }

    /// Returns the events that are sampled at present, with their k, which is at least 1.
    pub(crate) fn thinned(&self) -> impl Iterator<Item = (EventId, u8)> {
        self.events.iter().filter(|event| event.k > 0).map(|event| (event.id, event.k))
    }

    /// Returns how each event is sampled, with its k.
    pub(crate) fn all(&self) -> impl Iterator<Item = (EventId, Sampling, u8)> {
        self.events.iter().map(|event| (event.id, event.sampling, event.k))
    }

    /// Adjusts the shares of all events.
    ///
    /// `count` returns the number of events so far, including those that sampling left out. `cost`
    /// is the share of a core that measuring takes, given once per second. Calls `changed` with
    /// each event whose k changes, and the new k.
    pub(crate) fn adjust(
        &mut self,
        since_start: Duration,
        cost: Option<f64>,
        mut count: impl FnMut(EventId) -> u64,
        mut changed: impl FnMut(EventId, u8),
    ) {
        let elapsed = since_start.saturating_sub(self.checked_at);
        if elapsed >= ADJUST_EVERY {
            self.checked_at = since_start;
            for event in &mut self.events {
                let seen = count(event.id);
                #[expect(clippy::cast_precision_loss, reason = "a rate needs only a few digits")]
                let came = seen.saturating_sub(event.seen) as f64;
                event.seen = seen;
                event.rate = came / elapsed.as_secs_f64();
                event.limit_rate(since_start, &mut changed);
            }
        }
        if let Some(cost) = cost {
            self.keep_budgets(cost, &mut changed);
        }
    }

    fn keep_budgets(&mut self, cost: f64, changed: &mut impl FnMut(EventId, u8)) {
        let budget = |event: &SampledEvent| match event.sampling {
            Sampling::Budget { max_cpu } => Some(max_cpu),
            _ => None,
        };
        let recorded = |event: &SampledEvent| event.rate * share(event.k);
        let spends_too_much = |event: &&mut SampledEvent| {
            event.k < MAX_K
                && recorded(event) > 0.0
                && budget(event).is_some_and(|budget| cost > budget)
        };
        let most = self.events.iter_mut().filter(spends_too_much);
        if let Some(event) = most.max_by(|a, b| recorded(a).total_cmp(&recorded(b))) {
            // So many halvings bring the cost below the budget if this event causes all of it.
            let halvings =
                budget(event).map_or(1.0, |budget| (cost / budget).log2().ceil()).clamp(1.0, 15.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 15"
            )]
            let halvings = halvings as u8;
            event.set_k((event.k + halvings).min(MAX_K), changed);
            return;
        }
        // Recording twice as many of one event at most doubles the cost.
        let can_spend = |event: &&mut SampledEvent| {
            event.k > 0 && budget(event).is_some_and(|budget| 2.0 * cost < LIFTED_BELOW * budget)
        };
        if let Some(event) = self.events.iter_mut().filter(can_spend).max_by_key(|event| event.k) {
            event.set_k(event.k - 1, changed);
        }
    }
}

impl SampledEvent {
    fn limit_rate(&mut self, now: Duration, changed: &mut impl FnMut(EventId, u8)) {
        let Sampling::RateLimit { above, sample } = self.sampling else { return };
        if self.k == 0 {
            if self.rate > above {
                self.calm_since = (now, self.seen);
                self.set_k(nearest(sample), changed);
            }
            return;
        }
        let (since, seen) = self.calm_since;
        let elapsed = now.saturating_sub(since);
        if elapsed < LIFTED_AFTER
            || elapsed.as_secs_f64() * above * share(self.k) < RECORDS_TO_JUDGE
        {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs only a few digits")]
        let rate = self.seen.saturating_sub(seen) as f64 / elapsed.as_secs_f64();
        self.calm_since = (now, self.seen);
        if rate < LIFTED_BELOW * above {
            self.set_k(0, changed);
        }
    }

    fn set_k(&mut self, k: u8, changed: &mut impl FnMut(EventId, u8)) {
        if self.k != k {
            self.k = k;
            self.was_thinned |= k > 0;
            changed(self.id, k);
        }
    }
}

/// The error returned when an event cannot be sampled as requested.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SamplingError {
    /// The collector has no such event.
    UnknownEvent {
        /// The event's number.
        id: EventId,
    },
    /// The share is not above 0 and at most 1.
    Rate {
        /// The requested share.
        rate: f64,
    },
    /// The rate limit is not a finite number above 0.
    Above {
        /// The requested limit in events per second.
        above: f64,
    },
    /// The budget is not a finite number above 0.
    Budget {
        /// The requested budget as a share of one core.
        max_cpu: f64,
    },
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent { id } => {
                write!(
                    f,
                    "the collector has no event {id}, so it cannot be sampled; add it with \
                     `Builder::events`"
                )
            }
            Self::Rate { rate } => write!(
                f,
                "the sampling rate is {rate}; expected a number above 0 and at most 1 (to record \
                 nothing of an event, switch it off)"
            ),
            Self::Above { above } => {
                write!(
                    f,
                    "the rate limit is {above} per second; expected a finite number above 0, such \
                     as 1000"
                )
            }
            Self::Budget { max_cpu } => {
                write!(
                    f,
                    "the budget is {max_cpu}; expected a finite number above 0, such as 0.01 for \
                     1 % of a core"
                )
            }
        }
    }
}

impl error::Error for SamplingError {}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EventId = EventId::new(1).unwrap();
    const TWO: EventId = EventId::new(2).unwrap();

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

    /// Lets `came` events of number 1 happen in a quarter of a second, and returns the changes of
    /// k.
    fn decide(sampler: &mut Sampler, from: &mut (u32, u64), came: u64) -> Vec<u8> {
        let mut changes = vec![];
        *from = (from.0 + 1, from.1 + came);
        let count = |id| if id == ONE { from.1 } else { 0 };
        sampler.adjust(from.0 * ADJUST_EVERY, None, count, |id, k| {
            assert_eq!(id, ONE);
            changes.push(k);
        });
        changes
    }

    #[test]
    fn a_rate_limit_holds_until_it_has_been_calm_for_a_second() {
        let mut sampler = Sampler::new([ONE, TWO].into_iter());
        assert_eq!(sampler.set(ONE, Sampling::RateLimit { above: 1_000.0, sample: 0.1 }), Some(0));
        let mut from = (0, 0);
        let mut after = |came| decide(&mut sampler, &mut from, came);
        assert_eq!(after(250), [0_u8; 0], "1,000 per second do not exceed 1,000");
        assert_eq!(after(251), [3]);
        // The average over each second is at least four fifths of the limit.
        for came in [10_000, 0, 0, 0, 200, 200, 200, 200] {
            assert_eq!(after(came), [0_u8; 0], "the rate is not low enough");
        }
        for came in [200, 200, 199] {
            assert_eq!(after(came), [0_u8; 0], "the rate is not low for long enough");
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
        let mut quarter = |quarter: u32, came: u64| {
            for _ in 0..came {
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
        let mut from = (0, 0);
        for _ in 0..100 {
            decide(&mut sampler, &mut from, 5_000);
        }
        decide(&mut sampler, &mut from, 2);
        sampler.set(ONE, Sampling::RateLimit { above: 1_000.0, sample: 0.1 });
        assert_eq!(decide(&mut sampler, &mut from, 2), [0_u8; 0]);
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
            sampler.adjust(Duration::from_secs(u64::from(seconds)), Some(cost), count, |id, k| {
                changes.push((id, k));
            });
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
            |_| u64::MAX,
            |_, _| panic!("a fixed rate does not change"),
        );
    }
}
