//! Which limits are watched, and what is found out about them.

use core::time::Duration;

use super::{Aggregator, row_number, row_of};
use crate::{
    EventId, EventInfo, Limit, LimitError, SlaState, SlaStatus, StatusChange, Threshold,
    clock::{duration_of, nanos_of},
    counter_width::widen,
    sla::{NO_RULE, Rule, Silence, Tally, window_for},
    storage::{EventState, Shape, Storage, StorageParts},
};

impl<S: Storage> Aggregator<S> {
    pub(super) fn state_of(&mut self, event: EventId) -> Option<&mut EventState> {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let (row, _) = row_of::<S>(rows, event)?;
        events.get_mut(row)
    }

    pub(super) fn declare_limits(&mut self, info: &EventInfo) -> Result<(), LimitError> {
        // For those that there is no room for there is no code.
        let Shape { limits: room, silences, .. } = self.shape();
        if room == 0 && !info.limits.is_empty() {
            return Err(LimitError::NoRoom { room });
        }
        if silences == 0 && info.max_silence.is_some() {
            return Err(LimitError::NoRoomForSilence);
        }
        let limits = if room == 0 { &[] } else { info.limits };
        let thresholds = limits.iter().copied().map(Limit::Quantile);
        let limits = thresholds.chain(info.max_silence.map(Limit::Silence));
        self.replace_limits(info.id, &limits)
    }

    /// Has `event` keep these limits from now on, instead of those it had. One that stays as it was keeps its state; a new or
    /// changed one begins at [`SlaState::Unknown`] and counts what is delivered from now on. Of one that goes nothing more is told:
    /// if it was violated, it is not cleared.
    ///
    /// # Errors
    /// If one of them cannot be watched, or there are too many; then all stays as it was.
    pub fn set_limits(&mut self, event: EventId, limits: &[Limit]) -> Result<(), LimitError> {
        self.replace_limits(event, &limits.iter().copied())
    }

    fn replace_limits(
        &mut self,
        event: EventId,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)
            .ok_or(LimitError::UnknownEvent { id: event })?;
        self.check_limits(row, limits)?;
        let silence = limits
            .clone()
            .find_map(Limit::silence)
            .map_or(0, |length| nanos_of(length).unwrap_or(u64::MAX));
        let rate = self.rate;
        if let Some(watched) = self.storage.parts().silences.get_mut(row)
            && watched.nanos != silence
        {
            *watched = Silence::new(silence, rate);
        }
        if S::ABSENT.limits {
            return Ok(());
        }
        let (room, of_rule, rate, now, time) = (
            self.shape().limits,
            self.shape().limit_slices,
            self.rate,
            self.now,
            self.shape().unit,
        );
        let name = row_number(row) + 1;
        let thresholds = || limits.clone().filter_map(Limit::threshold);
        let StorageParts { windows, events, limits: rules, tallies, .. } = self.storage.parts();
        for (number, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| rule.row == name) {
            if thresholds().all(|threshold| threshold != rule.threshold()) {
                *rule = Rule::EMPTY;
                tallies[number * of_rule..][..of_rule].fill(Tally::EMPTY);
            }
        }
        let mut last: Option<usize> = None;
        events[row].first_rule = NO_RULE;
        for threshold in thresholds() {
            let stays =
                rules.iter().position(|rule| rule.row == name && rule.threshold() == threshold);
            let free = || rules.iter().position(|rule| rule.row == 0);
            let number = stays.or_else(free).ok_or(LimitError::NoRoom { room })?;
            if stays.is_none() {
                let refused = LimitError::Window { window: threshold.window };
                let window = window_for(&threshold, windows, of_rule, rate, now).ok_or(refused)?;
                rules[number] = Rule::new(name, &threshold, window, unit, time);
            }
            rules[number].next = NO_RULE;
            let link = u16::try_from(number + 1).map_err(|_| LimitError::NoRoom { room })?;
            match last {
                None => events[row].first_rule = link,
                Some(before) => rules[before].next = link,
            }
            last = Some(number);
        }
        Ok(())
    }

    /// Whether an event can have these limits instead of those it has.
    fn check_limits(
        &mut self,
        row: usize,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let Shape { limit_slices: of_rule, silences, .. } = self.shape();
        let (rate, now) = (self.rate, self.now);
        // More than this are not numbered.
        let room = self.shape().limits.min(usize::from(u16::MAX));
        let StorageParts { windows, limits: rules, .. } = self.storage.parts();
        for (number, limit) in limits.clone().enumerate() {
            match limit {
                // There is no code for them.
                Limit::Quantile(_) if S::ABSENT.limits => return Err(LimitError::NoRoom { room }),
                Limit::Quantile(Threshold { quantile, limit: 0, .. }) => {
                    return Err(LimitError::Zero { quantile: Some(quantile) });
                }
                Limit::Quantile(threshold)
                    if window_for(&threshold, windows, of_rule, rate, now).is_none() =>
                {
                    return Err(LimitError::Window { window: threshold.window });
                }
                Limit::Silence(_) if silences == 0 => return Err(LimitError::NoRoomForSilence),
                Limit::Silence(Duration::ZERO) => return Err(LimitError::Zero { quantile: None }),
                Limit::Quantile(_) | Limit::Silence(_) => {}
            }
            if limits.clone().take(number).any(|other| limit.is_like(&other)) {
                return Err(LimitError::Duplicate { limit });
            }
        }
        if S::ABSENT.limits {
            return Ok(());
        }
        let of_others =
            rules.iter().filter(|rule| rule.row != 0 && rule.row != row_number(row) + 1).count();
        let needed = of_others + limits.clone().filter_map(Limit::threshold).count();
        if needed > room { Err(LimitError::NoRoom { room }) } else { Ok(()) }
    }

    /// Judges all limits by what has been delivered, and tells `changed` which were raised or cleared by it. To be called at the
    /// end of each pass.
    ///
    /// `as_of` is the tick as of which everything has been delivered: read *before* the heads of the rings, and where a ring was
    /// left alone in this pass, before it was looked at when it was drained last. That a span is in flight, or that nothing
    /// happens, is known only as of then: its END may lie in a ring since.
    ///
    /// Linear in the slices of all limits; while spans are in flight, also in the size of their table.
    // A frame of its own, where stacks are small: the one that calls it stays for long.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn watch(&mut self, as_of: u64, mut changed: impl FnMut(&StatusChange)) {
        if !S::ABSENT.limits {
            self.count_hung_spans(as_of);
        }
        let Shape { limit_slices: slices, limits, silences, events, .. } = self.shape();
        let now = self.now;
        let watched = if limits + silences > 0 { events } else { 0 };
        for row in 0..watched {
            let mut next = if S::ABSENT.limits {
                NO_RULE
            } else {
                self.storage.parts().events[row].first_rule
            };
            while let Some(number) = usize::from(next).checked_sub(1) {
                let StorageParts { limits, tallies, .. } = self.storage.parts();
                let rule = &mut limits[number];
                next = rule.next;
                if rule.judge(&tallies[number * slices..][..slices], now) {
                    let status = self.rule_status(row, number);
                    changed(&StatusChange { status, at: now });
                }
            }
            let StorageParts { events, silences, .. } = self.storage.parts();
            if let Some(silence) = silences.get_mut(row)
                && silence.judge(events[row].seen.checked_sub(1), as_of, now)
                && let Some(status) = self.silence_status(row)
            {
                changed(&StatusChange { status, at: now });
            }
        }
    }

    /// The spans in flight that were over a limit already.
    fn count_hung_spans(&mut self, as_of: u64) {
        let time = self.time;
        self.storage.parts().limits.iter_mut().for_each(|rule| rule.hung = 0);
        if !self.occupancy.is_any_taken() {
            return;
        }
        self.in_flight().spill_newest();
        let StorageParts { in_flight, events, limits, .. } = self.storage.parts();
        for (row, start, weight) in crate::in_flight::open(in_flight) {
            let age = time.units(as_of.saturating_sub(start)).unwrap_or(u64::MAX);
            let mut next = events[usize::from(row)].first_rule;
            while let Some(number) = usize::from(next).checked_sub(1) {
                let rule = &mut limits[number];
                if age > rule.most {
                    rule.hung = rule.hung.saturating_add(weight);
                }
                next = rule.next;
            }
        }
    }

    /// Whether one of the limits of `event` is violated, as of the last [`watch`](Self::watch).
    pub fn is_breached(&mut self, event: EventId) -> bool {
        let StorageParts { rows, events, limits, silences, .. } = self.storage.parts();
        let Some((row, _)) = row_of::<S>(rows, event) else { return false };
        let is_violated = |state| state == SlaState::Violated;
        silences.get(row).is_some_and(|silence| is_violated(silence.watch.state))
            || chain(limits, events[row].first_rule)
                .any(|number| is_violated(limits[number].watch.state))
    }

    /// Tells how each limit stood at the last [`watch`](Self::watch), event after event.
    pub fn limits(&mut self, mut tell: impl FnMut(&SlaStatus)) {
        for row in 0..self.shape().events {
            let mut next = self.storage.parts().events[row].first_rule;
            while let Some(number) = usize::from(next).checked_sub(1) {
                tell(&self.rule_status(row, number));
                next = self.storage.parts().limits[number].next;
            }
            if let Some(status) = self.silence_status(row) {
                tell(&status);
            }
        }
    }

    fn rule_status(&mut self, row: usize, number: usize) -> SlaStatus {
        let StorageParts { events, limits, .. } = self.storage.parts();
        let event = event_of(&events[row]);
        let rule = limits[number];
        SlaStatus {
            event,
            limit: Limit::Quantile(rule.threshold()),
            state: rule.watch.state,
            over: rule.over,
            count: rule.count,
            observed: self.observed(event, &rule),
            since: rule.watch.since(),
            raised: widen(rule.watch.raised),
            cleared: widen(rule.watch.cleared),
        }
    }

    fn silence_status(&mut self, row: usize) -> Option<SlaStatus> {
        let StorageParts { events, silences, .. } = self.storage.parts();
        let state = &events[row];
        let Silence { nanos, watch, .. } = *silences.get(row)?;
        let (event, seen) = (event_of(state), state.seen.checked_sub(1));
        (nanos > 0).then(|| SlaStatus {
            event,
            limit: Limit::Silence(duration_of(nanos)),
            state: watch.state,
            over: u64::from(watch.state == SlaState::Violated),
            count: u64::from(seen.is_some()),
            observed: seen.map(|seen| self.nanos(self.now.saturating_sub(seen))),
            since: watch.since(),
            raised: widen(watch.raised),
            cleared: widen(watch.cleared),
        })
    }

    /// The quantile of the samples, or the age of the oldest span if that hangs and is older.
    fn observed(&mut self, event: EventId, rule: &Rule) -> Option<u64> {
        let threshold = rule.threshold();
        let StorageParts { rows, windows, .. } = self.storage.parts();
        let (row, unit) = row_of::<S>(rows, event)?;
        let window = windows.iter().position(|window| window.length() == threshold.window);
        let of_samples = window.and_then(|window| {
            let (value, weight) = self.quantile_in(row, unit, window, threshold.quantile)?;
            // An estimate may lie on the other side of the limit. Which side is right is known exactly, once the rule has seen
            // all that is in the window.
            let is_same = weight.saturating_add(rule.hung) == rule.count;
            Some(match rule.is_broken() {
                true if is_same => value.max(threshold.limit.saturating_add(1)),
                false if is_same => value.min(threshold.limit),
                _ => value,
            })
        });
        let oldest = if rule.hung > 0 && rule.is_broken() {
            self.oldest(event).map(|(nanos, _)| nanos)
        } else {
            None
        };
        of_samples.max(oldest)
    }
}

/// The numbers of an event's rules, from 0.
fn chain(rules: &[Rule], first: u16) -> impl Iterator<Item = usize> {
    let number = |name: u16| usize::from(name).checked_sub(1);
    core::iter::successors(number(first), move |last| number(rules[*last].next))
}

fn event_of(state: &EventState) -> EventId {
    const LAST: EventId = crate::event_id(EventId::MAX);
    // Written when the row was set up, from the number of an event.
    EventId::new(state.id).unwrap_or(LAST)
}
