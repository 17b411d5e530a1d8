//! Compares the states of limits with those of the model.

use tailwatch_core::{Limit, Repr, Scope, SlaState, SlaStatus};

use crate::{
    harness::{Harness, id},
    limits::{Limits, Watched, exceeds_threshold},
    steps::EVENTS,
};

impl<R: Repr> Harness<'_, R> {
    pub(crate) fn compare_limits(&mut self) {
        let mut statuses = vec![];
        self.aggregator.limits(|status| statuses.push(*status));
        let mut statuses = statuses.into_iter();
        for event in 0..EVENTS {
            let limits = self.model.limits[event].clone();
            let Limits { watched, silence } = &limits;
            for watched in watched {
                let status = statuses.next().unwrap();
                let expected = SlaStatus {
                    event: id(event),
                    limit: watched.limit,
                    state: watched.machine.state,
                    over: watched.over,
                    failed: watched.failed,
                    count: watched.count,
                    observed: status.observed,
                    since: watched.machine.since,
                    raised: watched.machine.raised,
                    cleared: watched.machine.cleared,
                };
                assert_eq!(status, expected);
                self.compare_observed(event, watched, status.observed);
            }
            if let Some(silence) = silence {
                let seen = self.model.seen[event];
                let is_violated = silence.machine.state == SlaState::Violated;
                let expected = SlaStatus {
                    event: id(event),
                    limit: Limit::Silence(silence.length),
                    state: silence.machine.state,
                    over: is_violated.into(),
                    failed: 0,
                    count: seen.is_some().into(),
                    observed: seen.map(|seen| self.model.time.nanos(self.model.now - seen)),
                    since: silence.machine.since,
                    raised: silence.machine.raised,
                    cleared: silence.machine.cleared,
                };
                assert_eq!(statuses.next(), Some(expected));
            }
            let states = watched.iter().map(|watched| watched.machine.state);
            let mut states = states.chain(silence.iter().map(|silence| silence.machine.state));
            let is_breached = states.any(|state| state == SlaState::Violated);
            assert_eq!(self.aggregator.is_breached(id(event)), is_breached);
        }
        assert_eq!(statuses.next(), None);
    }

    fn compare_observed(&mut self, event: usize, watched: &Watched, actual: Option<u64>) {
        let Watched { threshold, over, count, failed, hung, .. } = *watched;
        if matches!(watched.limit, Limit::Errors(_)) {
            let share = || (u128::from(over) * 1_000_000).div_ceil(count.into()) as u64;
            assert_eq!(actual, (count > 0).then(share));
            return;
        }
        // The rule has counted all samples that the summary covers if there are as many of them.
        let members = self.model.recount(event, Some(&watched.cut));
        let is_complete = members.weight() + hung + failed == count;
        let covered_exceed =
            exceeds_threshold(threshold.quantile.ppm(), over - hung - failed, members.weight());
        let window = self.setup.windows.iter().position(|spec| spec.length == threshold.window);
        let quantile = window.and_then(|window| {
            self.aggregator.quantile(id(event), Scope::Window(window), threshold.quantile)
        });
        // An estimate is corrected if the rule knows on which side of the threshold it is.
        let quantile = quantile.map(|(value, accuracy)| {
            let corrected = match covered_exceed {
                true if is_complete => value.max(threshold.max + 1),
                false if is_complete => value.min(threshold.max),
                _ => value,
            };
            members.check_quantile(threshold.quantile.ppm(), corrected, accuracy, (0, 0.0));
            corrected
        });
        let exceeds = watched.quantile_exceeds_threshold();
        // If failed spans decide, their durations are not known.
        let quantile = quantile.filter(|value| failed == 0 || !exceeds || *value > threshold.max);
        let oldest = self.aggregator.oldest(id(event)).map(|(age, _)| age);
        let oldest = oldest.filter(|_| hung > 0 && exceeds);
        assert_eq!(actual, quantile.max(oldest), "{watched:?}");
    }
}
