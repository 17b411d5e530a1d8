//! Sampling: which share of an event's spans is recorded, and who decides.
//!
//! Unless asked for, everything is recorded. Sampling is set for each event by itself, so that a chatty one does not thin out
//! those that matter. What is recorded says how many it stands for, so that counts are weighted exactly, whenever the rate
//! changes; but a rare slow span among many may not be seen at all.

use core::{error, fmt, time::Duration};

use tailwatch_core::EventId;

/// The most that is left out: 1 in 2^15 is recorded.
const COARSEST: u8 = 15;

/// How often the rates of events are looked at.
const ADJUST_EVERY: Duration = Duration::from_millis(250);

/// A rate limit is lifted once the rate has been below this share of it for so long, and for as long as it would take so many
/// records to come at the limit: of fewer, chance decides how many there are.
const LIFTED_BELOW: f64 = 0.8;
const LIFTED_AFTER: Duration = Duration::from_secs(1);
const RECORDS_TO_JUDGE: f64 = 64.0;

/// Which share of an event's spans is recorded. Shares are powers of two, 1 to 2^-15: the nearest one is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sampling {
    /// This share, always; 1 records everything.
    Rate(f64),
    /// Everything, unless there are more than so many in a second: then a share, until the rate has been below four fifths of the
    /// limit for a second, or longer where so little is recorded that a second does not tell.
    RateLimit {
        /// How many in a second are recorded in full.
        above: f64,
        /// Which share is recorded beyond that.
        sample: f64,
    },
    /// As much as keeps the cost of measuring, of all events and the drain together, below this share of one core: 0.01 is 1 %.
    /// What comes most often is thinned out first, by half or more a second; and recorded twice as often again once the cost is
    /// below two fifths of the limit.
    Budget {
        /// The share of one core.
        max_cpu: f64,
    },
}

impl Default for Sampling {
    fn default() -> Self {
        Self::Rate(1.0)
    }
}

impl Sampling {
    /// Whether its numbers make sense.
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

/// The k for which 1 in 2^k is nearest to `rate`, which is above 0 and at most 1; of two that are equally near, the smaller.
pub(crate) fn nearest(rate: f64) -> u8 {
    let distance = |k: u8| (share(k) - rate).abs();
    (0..=COARSEST).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0)
}

/// The share that is recorded at this k.
pub(crate) fn share(k: u8) -> f64 {
    0.5_f64.powi(i32::from(k))
}

/// One event, as the sampler sees it.
#[derive(Debug)]
struct Sampled {
    id: EventId,
    sampling: Sampling,
    /// 1 in 2^k is recorded.
    k: u8,
    /// How many there were at the last look, those left out included.
    seen: u64,
    /// In a second, by the last look.
    rate: f64,
    /// Since when, and since how many, it is watched whether the rate is low enough.
    calm_since: (Duration, u64),
    /// Whether less than everything was recorded at some time since the last [`Sampler::take_thinned`].
    was_thinned: bool,
}

/// Decides how every event is sampled.
#[derive(Debug)]
pub(crate) struct Sampler {
    events: Vec<Sampled>,
    looked_after: Duration,
}

impl Sampler {
    pub(crate) fn new(events: impl Iterator<Item = EventId>) -> Self {
        let sampled = |id| Sampled {
            id,
            sampling: Sampling::default(),
            k: 0,
            seen: 0,
            rate: 0.0,
            calm_since: (Duration::ZERO, 0),
            was_thinned: false,
        };
        Self { events: events.map(sampled).collect(), looked_after: Duration::ZERO }
    }

    /// Sets how an event is sampled; returns the k that is in force, or `None` for an event that was not announced.
    pub(crate) fn set(&mut self, id: EventId, sampling: Sampling) -> Option<u8> {
        let event = self.events.iter_mut().find(|event| event.id == id)?;
        event.sampling = sampling;
        event.calm_since = (self.looked_after, event.seen);
        event.k = match sampling {
            Sampling::Rate(rate) => nearest(rate),
            Sampling::RateLimit { .. } => 0,
            // Begins where it stands.
            Sampling::Budget { .. } => event.k,
        };
        event.was_thinned |= event.k > 0;
        Some(event.k)
    }

    /// The events of which less than everything was recorded at some time since this was asked last.
    pub(crate) fn take_thinned(&mut self) -> impl Iterator<Item = EventId> {
        self.events.iter_mut().filter_map(|event| {
            let was = core::mem::replace(&mut event.was_thinned, event.k > 0);
            was.then_some(event.id)
        })
    }

    /// The events of which less than everything is recorded, with their k.
    pub(crate) fn thinned(&self) -> impl Iterator<Item = (EventId, u8)> {
        self.events.iter().filter(|event| event.k > 0).map(|event| (event.id, event.k))
    }

    /// How each event is sampled, and its k.
    pub(crate) fn all(&self) -> impl Iterator<Item = (EventId, Sampling, u8)> {
        self.events.iter().map(|event| (event.id, event.sampling, event.k))
    }

    /// Looks at the rates, `since_start` after the start: `count` tells how many of an event there have been, those left out
    /// included; `cost` is what measuring takes of a core, if that was found out anew. Tells `changed` the events whose k is
    /// another now.
    pub(crate) fn adjust(
        &mut self,
        since_start: Duration,
        cost: Option<f64>,
        mut count: impl FnMut(EventId) -> u64,
        mut changed: impl FnMut(EventId, u8),
    ) {
        let elapsed = since_start.saturating_sub(self.looked_after);
        if elapsed >= ADJUST_EVERY {
            self.looked_after = since_start;
            for event in &mut self.events {
                let seen = count(event.id);
                #[expect(clippy::cast_precision_loss, reason = "a rate is told to a few digits")]
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
        let budget = |event: &Sampled| match event.sampling {
            Sampling::Budget { max_cpu } => Some(max_cpu),
            _ => None,
        };
        let recorded = |event: &Sampled| event.rate * share(event.k);
        let spends_too_much = |event: &&mut Sampled| {
            event.k < COARSEST
                && recorded(event) > 0.0
                && budget(event).is_some_and(|budget| cost > budget)
        };
        let most = self.events.iter_mut().filter(spends_too_much);
        if let Some(event) = most.max_by(|a, b| recorded(a).total_cmp(&recorded(b))) {
            // So often halved, this event's cost is small enough if it is all of it.
            let halvings =
                budget(event).map_or(1.0, |budget| (cost / budget).log2().ceil()).clamp(1.0, 15.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 15"
            )]
            let halvings = halvings as u8;
            event.set_k((event.k + halvings).min(COARSEST), changed);
            return;
        }
        // Twice as many of one event make the cost at most twice what it is.
        let can_spend = |event: &&mut Sampled| {
            event.k > 0 && budget(event).is_some_and(|budget| 2.0 * cost < LIFTED_BELOW * budget)
        };
        if let Some(event) = self.events.iter_mut().filter(can_spend).max_by_key(|event| event.k) {
            event.set_k(event.k - 1, changed);
        }
    }
}

impl Sampled {
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
        #[expect(clippy::cast_precision_loss, reason = "a rate is told to a few digits")]
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

/// A sampling that cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SamplingError {
    /// The event was not announced.
    UnknownEvent {
        /// Its number.
        id: EventId,
    },
    /// A share that is none.
    Rate {
        /// The share that was asked for.
        rate: f64,
    },
    /// A rate limit that is no number of events a second.
    Above {
        /// The limit that was asked for.
        above: f64,
    },
    /// A budget that is no share of a core.
    Budget {
        /// The budget that was asked for.
        max_cpu: f64,
    },
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEvent { id } => {
                write!(f, "event {id} was not announced, so it is not sampled")
            }
            Self::Rate { rate } => write!(
                f,
                "a sampling rate of {rate}: it is above 0 and at most 1, which records everything; to record nothing of an \
                 event, switch it off"
            ),
            Self::Above { above } => {
                write!(f, "a rate limit of {above} a second: it is a number above 0, such as 1000")
            }
            Self::Budget { max_cpu } => {
                write!(
                    f,
                    "a budget of {max_cpu} of a core: it is a number above 0, such as 0.01 for 1 %"
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
    fn the_nearest_power_of_two_is_taken() {
        for (rate, k) in
            [(1.0, 0), (0.76, 0), (0.75, 0), (0.74, 1), (0.1, 3), (0.01, 7), (1e-9, 15), (0.5, 1)]
        {
            assert_eq!(nearest(rate), k, "{rate}");
        }
        assert!((share(3) - 0.125).abs() < f64::EPSILON);
    }

    #[test]
    fn impossible_samplings_are_refused() {
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

    /// What a sampler decides when this many of event 1 come in each quarter of a second.
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
        assert_eq!(after(250), [0_u8; 0], "1,000 a second are not more than 1,000");
        assert_eq!(after(251), [3]);
        // Four fifths of the limit, and more, over each second.
        for came in [10_000, 0, 0, 0, 200, 200, 200, 200] {
            assert_eq!(after(came), [0_u8; 0], "not calm");
        }
        for came in [200, 200, 199] {
            assert_eq!(after(came), [0_u8; 0], "not calm for long enough");
        }
        assert_eq!(after(200), [0]);
        assert_eq!(after(900), [3]);
        assert_eq!(sampler.thinned().collect::<Vec<_>>(), [(ONE, 3)]);
        assert_eq!(sampler.set(ONE, Sampling::Rate(1.0)), Some(0));
        assert_eq!(sampler.take_thinned().collect::<Vec<_>>(), [ONE], "it was, for a while");
        assert_eq!(sampler.take_thinned().count(), 0);
        assert_eq!(sampler.set(EventId::new(3).unwrap(), Sampling::Rate(1.0)), None);
    }

    #[test]
    fn a_limit_with_a_coarse_share_is_lifted_by_a_fall_of_the_rate_and_not_by_chance() {
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
        // Twice the limit for ten minutes; of 1 in 1,024, mostly none comes between two looks.
        for n in 1..=2_400 {
            quarter(n, 500);
        }
        assert_eq!(quarter(2_401, 500), (10, 1));
        for n in 2_402..=3_000 {
            quarter(n, 20);
        }
        assert_eq!(quarter(3_001, 20), (0, 2), "after a while, it is lifted");
    }

    #[test]
    fn a_policy_that_is_set_later_does_not_judge_what_was_before() {
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
    fn a_budget_thins_what_comes_most_and_recovers() {
        let mut sampler = Sampler::new([ONE, TWO].into_iter());
        for id in [ONE, TWO] {
            sampler.set(id, Sampling::Budget { max_cpu: 0.01 });
        }
        let mut seconds = 0_u32;
        let mut look = |cost| {
            seconds += 1;
            let mut changes = vec![];
            // A million of event 1 a second, a thousand of event 2.
            let count = |id| {
                if id == ONE { u64::from(seconds) * 1_000_000 } else { u64::from(seconds) * 1_000 }
            };
            sampler.adjust(Duration::from_secs(u64::from(seconds)), Some(cost), count, |id, k| {
                changes.push((id, k))
            });
            changes
        };
        assert_eq!(look(0.009), [], "within the budget");
        assert_eq!(look(0.07), [(ONE, 3)], "seven times the budget: an eighth");
        assert_eq!(look(0.009), []);
        assert_eq!(look(0.0041), [], "twice as much would be too close");
        assert_eq!(look(0.003), [(ONE, 2)]);
        assert_eq!(look(100.0), [(ONE, 15)]);
        assert_eq!(look(0.02), [(TWO, 1)], "then the next one");
    }

    #[test]
    fn fixed_rates_are_left_alone() {
        let mut sampler = Sampler::new([ONE].into_iter());
        assert_eq!(sampler.set(ONE, Sampling::Rate(0.1)), Some(3));
        sampler.adjust(
            ADJUST_EVERY,
            Some(1.0),
            |_| u64::MAX,
            |_, _| panic!("it does not change by itself"),
        );
    }
}
