//! Declaring, replacing and evaluating limits.

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
    /// Returns the state of an event; `None` for an unknown event.
    pub(super) fn state_of(&mut self, event: EventId) -> Option<&mut EventState> {
        let StorageParts { rows, events, .. } = self.storage.parts();
        let (row, _) = row_of::<S>(rows, event)?;
        events.get_mut(row)
    }

    /// Sets the limits that an event declares.
    pub(super) fn declare_limits(&mut self, info: &EventInfo) -> Result<(), LimitError> {
        // A storage without room for limits returns here, so that the code below can be optimised
        // away.
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

    /// Replaces the limits of `event`.
    ///
    /// A limit that is also in `limits` keeps its state. A new or changed one starts at
    /// [`SlaState::Unknown`] and counts only what is delivered from now on. A limit that is removed
    /// reports no further changes; it is not cleared, even if it was violated.
    ///
    /// # Errors
    ///
    /// Returns an error if a limit cannot be watched or if there are too many. The limits then
    /// remain unchanged.
    pub fn set_limits(&mut self, event: EventId, limits: &[Limit]) -> Result<(), LimitError> {
        self.replace_limits(event, &limits.iter().copied())
    }

    /// Implements [`set_limits`](Self::set_limits).
    fn replace_limits(
        &mut self,
        event: EventId,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let (row, unit) = row_of::<S>(self.storage.parts().rows, event)
            .ok_or(LimitError::UnknownEvent { id: event })?;
        self.validate_limits(row, limits)?;
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
        let (room, slices_per_rule, rate, now, time) = (
            self.shape().limits,
            self.shape().limit_slices,
            self.rate,
            self.now,
            self.shape().unit,
        );
        let owner = row_number(row) + 1;
        let thresholds = || limits.clone().filter_map(Limit::threshold);
        let StorageParts { windows, events, limits: rules, tallies, .. } = self.storage.parts();
        for (number, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| rule.row == owner) {
            if thresholds().all(|threshold| threshold != rule.threshold()) {
                *rule = Rule::EMPTY;
                tallies[number * slices_per_rule..][..slices_per_rule].fill(Tally::EMPTY);
            }
        }
        let mut last: Option<usize> = None;
        events[row].first_rule = NO_RULE;
        for threshold in thresholds() {
            let existing =
                rules.iter().position(|rule| rule.row == owner && rule.threshold() == threshold);
            let free = || rules.iter().position(|rule| rule.row == 0);
            let number = existing.or_else(free).ok_or(LimitError::NoRoom { room })?;
            if existing.is_none() {
                let refused = LimitError::Window { window: threshold.window };
                let window =
                    window_for(&threshold, windows, slices_per_rule, rate, now).ok_or(refused)?;
                rules[number] = Rule::new(owner, &threshold, window, unit, time);
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

    /// Checks that `limits` can replace those of the event in `row`.
    fn validate_limits(
        &mut self,
        row: usize,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let Shape { limit_slices: slices_per_rule, silences, .. } = self.shape();
        let (rate, now) = (self.rate, self.now);
        // Rules are numbered with 16 bits.
        let room = self.shape().limits.min(usize::from(u16::MAX));
        let StorageParts { windows, limits: rules, .. } = self.storage.parts();
        for (number, limit) in limits.clone().enumerate() {
            match limit {
                // The storage's type has no room for rules, so no code for them is generated.
                Limit::Quantile(_) if S::ABSENT.limits => return Err(LimitError::NoRoom { room }),
                Limit::Quantile(Threshold { quantile, limit: 0, .. }) => {
                    return Err(LimitError::Zero { quantile: Some(quantile) });
                }
                Limit::Quantile(threshold)
                    if window_for(&threshold, windows, slices_per_rule, rate, now).is_none() =>
                {
                    return Err(LimitError::Window { window: threshold.window });
                }
                Limit::Silence(_) if silences == 0 => return Err(LimitError::NoRoomForSilence),
                Limit::Silence(Duration::ZERO) => return Err(LimitError::Zero { quantile: None }),
                Limit::Quantile(_) | Limit::Silence(_) => {}
            }
            if limits.clone().take(number).any(|other| limit.is_duplicate_of(&other)) {
                return Err(LimitError::Duplicate { limit });
            }
        }
        if S::ABSENT.limits {
            return Ok(());
        }
        let others =
            rules.iter().filter(|rule| rule.row != 0 && rule.row != row_number(row) + 1).count();
        let needed = others + limits.clone().filter_map(Limit::threshold).count();
        if needed > room { Err(LimitError::NoRoom { room }) } else { Ok(()) }
    }

    /// Evaluates all limits and calls `changed` for each one that was raised or cleared. To be
    /// called at the end of each pass.
    ///
    /// `as_of` is the tick up to which everything has been delivered. It must be read *before* the
    /// rings' [`refresh`](crate::Consumer::refresh). For a ring that was not drained in this pass,
    /// use the tick that was read before the `refresh` of its last drain. Whether a span is still
    /// open, or an event still silent, is known only as of that tick: an END, or another record of
    /// the event, may have been written to a ring since.
    ///
    /// Takes time linear in the slices of all limits. While spans are open, it is also linear in
    /// the size of their table.
    // Out of line because stacks are small on 32-bit targets, and the caller's frame lives for
    // long.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn evaluate_limits(&mut self, as_of: u64, mut changed: impl FnMut(&StatusChange)) {
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
                if rule.evaluate(&tallies[number * slices..][..slices], now) {
                    let status = self.rule_status(row, number);
                    changed(&StatusChange { status, at: now });
                }
            }
            let StorageParts { events, silences, .. } = self.storage.parts();
            if let Some(silence) = silences.get_mut(row)
                && silence.evaluate(events[row].seen.checked_sub(1), as_of, now)
                && let Some(status) = self.silence_status(row)
            {
                changed(&StatusChange { status, at: now });
            }
        }
    }

    /// Adds up, for each rule, the weight of the open spans that already exceed its limit.
    fn count_hung_spans(&mut self, as_of: u64) {
        let time = self.time;
        self.storage.parts().limits.iter_mut().for_each(|rule| rule.hung = 0);
        if !self.occupancy.has_entries() {
            return;
        }
        self.in_flight().spill_newest();
        let StorageParts { in_flight, events, limits, .. } = self.storage.parts();
        for (row, start, weight) in crate::in_flight::open_spans(in_flight) {
            let age = time.units(as_of.saturating_sub(start)).unwrap_or(u64::MAX);
            let mut next = events[usize::from(row)].first_rule;
            while let Some(number) = usize::from(next).checked_sub(1) {
                let rule = &mut limits[number];
                if age > rule.max_value {
                    rule.hung = rule.hung.saturating_add(weight);
                }
                next = rule.next;
            }
        }
    }

    /// Returns whether a limit of `event` was violated at the last [`evaluate_limits`](Self::evaluate_limits).
    pub fn is_breached(&mut self, event: EventId) -> bool {
        let StorageParts { rows, events, limits, silences, .. } = self.storage.parts();
        let Some((row, _)) = row_of::<S>(rows, event) else { return false };
        let is_violated = |state| state == SlaState::Violated;
        silences.get(row).is_some_and(|silence| is_violated(silence.watch.state))
            || rule_indices(limits, events[row].first_rule)
                .any(|number| is_violated(limits[number].watch.state))
    }

    /// Calls `visit` with the status of each limit as of the last [`evaluate_limits`](Self::evaluate_limits), event by
    /// event.
    pub fn limits(&mut self, mut visit: impl FnMut(&SlaStatus)) {
        for row in 0..self.shape().events {
            let mut next = self.storage.parts().events[row].first_rule;
            while let Some(number) = usize::from(next).checked_sub(1) {
                visit(&self.rule_status(row, number));
                next = self.storage.parts().limits[number].next;
            }
            if let Some(status) = self.silence_status(row) {
                visit(&status);
            }
        }
    }

    /// Returns the status of the rule with the index `number`, which belongs to the event in `row`.
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

    /// Returns the status of the event's limit on silence; `None` if it has none.
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

    /// Returns the value that the rule bounds, in nanoseconds or plain numbers: the quantile of the
    /// samples, or the age of the oldest open span if spans hang, the limit is violated, and that
    /// age is greater.
    fn observed(&mut self, event: EventId, rule: &Rule) -> Option<u64> {
        let threshold = rule.threshold();
        let StorageParts { rows, windows, .. } = self.storage.parts();
        let (row, unit) = row_of::<S>(rows, event)?;
        let window = windows.iter().position(|window| window.length() == threshold.window);
        let quantile = window.and_then(|window| {
            let (value, weight) = self.quantile_in(row, unit, window, threshold.quantile)?;
            // The quantile may be an estimate that lies on the wrong side of the limit. The rule's
            // own count is exact, so if it has counted everything in the window, move the estimate
            // to the right side.
            let is_complete = weight.saturating_add(rule.hung) == rule.count;
            Some(match rule.is_exceeded() {
                true if is_complete => value.max(threshold.limit.saturating_add(1)),
                false if is_complete => value.min(threshold.limit),
                _ => value,
            })
        });
        let oldest = if rule.hung > 0 && rule.is_exceeded() {
            self.oldest(event).map(|(nanos, _)| nanos)
        } else {
            None
        };
        quantile.max(oldest)
    }
}

/// Iterates over the indices of an event's rules.
fn rule_indices(rules: &[Rule], first: u16) -> impl Iterator<Item = usize> {
    let index = |number: u16| usize::from(number).checked_sub(1);
    core::iter::successors(index(first), move |last| index(rules[*last].next))
}

/// Returns the event of a row.
fn event_of(state: &EventState) -> EventId {
    const LAST: EventId = crate::event_id(EventId::MAX);
    // The id was valid when it was stored in the row, so the fallback is never used.
    EventId::new(state.id).unwrap_or(LAST)
}
