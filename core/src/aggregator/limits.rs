//! Sets the limits of events, counts samples in them, evaluates them, and reports their states.
//!
//! A limit on a quantile is stored as a [`Rule`]. The rules of all events are in one array. Those
//! of an event form a linked list: the event's state contains the number of its first rule, and
//! each rule the number of the next.
//!
//! New storage is all zero, so several numbers are stored plus 1, and 0 means "none": the number of
//! a rule is its index in the array plus 1, and the number 0 ([`NO_RULE`]) ends the list; a rule's
//! `owner` is the row of its event plus 1, and 0 if the rule is unused.

use core::time::Duration;

use super::{Aggregator, row_number};
use crate::{
    arithmetic,
    clock::{duration_from_nanos, nanos_from_duration},
    declaration::EventInfo,
    event::{EventId, Unit},
    repr::Repr,
    sla::{
        Limit, LimitError, SlaState, SlaStatus, StatusChange, Threshold,
        rule::{NO_RULE, Rule, Silence, Tally, impossible_delay, window_for},
    },
    statistics::select::WeightedSample,
    storage::{
        Storage, StorageParts,
        row::StorageExt,
        row_state::{RowState, link},
        shape::Shape,
    },
};

impl<S: Storage> Aggregator<S> {
    /// Returns the stored state of `event`; `None` for an unknown event.
    pub(super) fn state_of(&mut self, event: EventId) -> Option<&mut RowState<S::Repr>> {
        let StorageParts { row_of_id, rows, .. } = self.storage.parts();
        let (row, _) = S::row_of(row_of_id, event.get())?;
        rows.get_mut(row)
    }

    /// Sets the limits that an event declares, when the aggregator is created.
    pub(super) fn declare_limits(&mut self, info: &EventInfo) -> Result<(), LimitError> {
        let Shape { limits: room, silences, .. } = self.shape();
        if room == 0 && (!info.limits.is_empty() || info.max_error_rate.is_some()) {
            return Err(LimitError::NoRoom { room });
        }
        if silences == 0 && info.max_silence.is_some() {
            return Err(LimitError::NoRoomForSilence);
        }
        // Without room, `info.limits` is empty here. If the storage's type declares limits absent,
        // `room` is a constant 0, and the constant `&[]` lets the compiler omit the code for them.
        let limits = if room == 0 { &[] } else { info.limits };
        let errors = if room == 0 { None } else { info.max_error_rate };
        let thresholds = limits.iter().copied().map(Limit::Quantile);
        let limits = thresholds
            .chain(errors.copied().map(Limit::Errors))
            .chain(info.max_silence.map(Limit::Silence));
        self.replace_limits(info.id, &limits)
    }

    /// Replaces all limits of `event` by `limits`.
    ///
    /// A limit that the event already has keeps its state and counts. A new limit, or one in which
    /// any field differs, starts at [`SlaState::Unknown`] and counts only samples that are drained
    /// from now on. A limit that is not in `limits` is removed. If it was violated, no
    /// [`StatusChange`] reports that the violation is over.
    ///
    /// # Errors
    ///
    /// Returns an error if the event is unknown, or if a limit is impossible, a duplicate or one
    /// too many. The limits then remain as they were.
    pub fn set_limits(&mut self, event: EventId, limits: &[Limit]) -> Result<(), LimitError> {
        self.replace_limits(event, &limits.iter().copied())
    }

    /// Checks whether an event with this unit that is added now could have these limits.
    ///
    /// # Errors
    ///
    /// Returns an error if a limit is impossible, a duplicate or one too many.
    pub fn check_limits(&mut self, unit: Unit, limits: &[Limit]) -> Result<(), LimitError> {
        self.validate_limits(0, unit, &limits.iter().copied())
    }

    /// Implements [`set_limits`](Self::set_limits). The iterator is cloned to visit the limits
    /// several times.
    fn replace_limits(
        &mut self,
        event: EventId,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let (row, unit) = self.row_of(event).ok_or(LimitError::UnknownEvent { id: event })?;
        self.validate_limits(row_number(row) + 1, unit, limits)?;
        let silence = limits
            .clone()
            .find_map(Limit::silence)
            .map_or(0, |length| nanos_from_duration(length).unwrap_or(u64::MAX));
        let rate = self.rate;
        if let Some(stored) = self.storage.parts().silences.get_mut(row)
            && stored.nanos != silence
        {
            *stored = Silence::new(silence, rate);
        }
        if S::ABSENT.limits {
            return Ok(());
        }
        let (room, slices_per_rule, rate, now, time_unit) = (
            self.shape().limits,
            self.shape().limit_slices,
            self.rate,
            self.now,
            self.shape().unit,
        );
        let owner = row_number(row) + 1;
        let rule_limits = || limits.clone().filter(|limit| limit.threshold().is_some());
        if !S::Repr::IS_COMPACT && limits.clone().next().is_some() {
            self.watch(row);
        }
        let mut used_rules = self.used_rules;
        let StorageParts { windows, rows, limits: rules, tallies, .. } = self.storage.parts();
        let mut has_existing = false;
        for (index, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| rule.owner == owner) {
            if rule_limits().any(|limit| limit == rule.limit()) {
                has_existing = true;
            } else {
                *rule = Rule::EMPTY;
                tallies[index * slices_per_rule..][..slices_per_rule].fill(Tally::EMPTY);
            }
        }
        let mut last: Option<usize> = None;
        rows[row].first_rule = NO_RULE;
        // The rules before this one are in use. There may be many thousand.
        let mut first_free = 0;
        for limit in rule_limits() {
            let Some(threshold) = limit.threshold() else { continue };
            let is_same = |rule: &Rule| rule.owner == owner && rule.limit() == limit;
            let existing = if has_existing { rules.iter().position(is_same) } else { None };
            let index = if let Some(index) = existing {
                index
            } else {
                let free = rules[first_free..].iter().position(|rule| rule.owner == 0);
                first_free += free.ok_or(LimitError::NoRoom { room })?;
                first_free
            };
            if existing.is_none() {
                let refused = LimitError::Window { window: threshold.window };
                let window =
                    window_for(&threshold, windows, slices_per_rule, rate, now).ok_or(refused)?;
                let limits_errors = matches!(limit, Limit::Errors(_));
                rules[index] = Rule::new(owner, &threshold, limits_errors, window, unit, time_unit);
            }
            used_rules = used_rules.max(index + 1);
            rules[index].next = NO_RULE;
            let link = u16::try_from(index + 1).map_err(|_| LimitError::NoRoom { room })?;
            match last {
                None => rows[row].first_rule = link,
                Some(before) => rules[before].next = link,
            }
            last = Some(index);
        }
        if !S::Repr::IS_COMPACT {
            self.used_rules = used_rules;
            self.limits_settled_until = 0;
        }
        Ok(())
    }

    /// Inserts a row into the chain of the rows that have had a limit, unless it is there already.
    fn watch(&mut self, row: usize) {
        let rows = self.storage.parts().rows;
        if rows[row].next_watched > 0 {
            return;
        }
        let before = rows[..row].iter_mut().rfind(|before| before.next_watched > 0);
        let link_to_row = link(row_number(row));
        let after = match before {
            Some(before) => core::mem::replace(&mut before.next_watched, link_to_row),
            None => core::mem::replace(&mut self.first_watched, link_to_row),
        };
        self.state(row).next_watched = after;
    }

    /// Returns the number of rules that have to be looked at: all others are unused.
    pub(super) fn used_rules(&self) -> usize {
        if S::Repr::IS_COMPACT { self.shape().limits } else { self.used_rules }
    }

    /// Checks that each of `limits` is possible, that none is a duplicate of another, and that
    /// there is room for them instead of the present limits of the row with the number `owner` - 1,
    /// or beside all present limits if `owner` is 0.
    fn validate_limits(
        &mut self,
        owner: u16,
        unit: Unit,
        limits: &(impl Iterator<Item = Limit> + Clone),
    ) -> Result<(), LimitError> {
        let Shape { limit_slices: slices_per_rule, silences, .. } = self.shape();
        let (rate, now) = (self.rate, self.now);
        // The numbers of rules have 16 bits.
        let room = self.shape().limits.min(usize::from(u16::MAX));
        let used_rules = self.used_rules();
        let StorageParts { windows, limits: rules, .. } = self.storage.parts();
        for (index, limit) in limits.clone().enumerate() {
            match limit {
                // If the storage's type declares limits on quantiles absent, this constant
                // condition lets the compiler omit the other cases of both.
                Limit::Quantile(_) | Limit::Errors(_) if S::ABSENT.limits => {
                    return Err(LimitError::NoRoom { room });
                }
                Limit::Errors(_) if unit == Unit::One => return Err(LimitError::NoOutcomes),
                Limit::Quantile(Threshold { quantile, max: 0, .. }) => {
                    return Err(LimitError::Zero { quantile: Some(quantile) });
                }
                Limit::Quantile(threshold) | Limit::Errors(threshold)
                    if window_for(&threshold, windows, slices_per_rule, rate, now).is_none() =>
                {
                    return Err(LimitError::Window { window: threshold.window });
                }
                Limit::Silence(_) if silences == 0 => return Err(LimitError::NoRoomForSilence),
                Limit::Silence(Duration::ZERO) => return Err(LimitError::Zero { quantile: None }),
                Limit::Quantile(threshold) | Limit::Errors(threshold) => {
                    if let Some(delay) = impossible_delay(&threshold) {
                        return Err(LimitError::Delay { delay });
                    }
                }
                Limit::Silence(_) => {}
            }
            if limits.clone().take(index).any(|other| limit.conflicts_with(&other)) {
                return Err(LimitError::Duplicate { limit });
            }
        }
        if S::ABSENT.limits {
            return Ok(());
        }
        let is_other = |rule: &&Rule| rule.owner != 0 && rule.owner != owner;
        let others = rules.iter().take(used_rules).filter(is_other).count();
        let needed = others + limits.clone().filter_map(Limit::threshold).count();
        if needed > room { Err(LimitError::NoRoom { room }) } else { Ok(()) }
    }

    /// Counts a sample in the limits of the event in `row`. Returns whether the sample is too old
    /// for the window of at least one of them. `tick` is the tick of the sample's record: of a
    /// span, that of its END. `has_failed` is whether it is of a failed span.
    #[inline(always)]
    pub(super) fn tally(
        &mut self,
        row: usize,
        weighted: WeightedSample,
        tick: u64,
        has_failed: bool,
    ) -> bool {
        if S::ABSENT.limits {
            return false;
        }
        let per_rule = self.shape().limit_slices;
        let StorageParts { rows, limits, tallies, .. } = self.storage.parts();
        // The rules of an event form a list: each contains the number of the next one, counted from
        // 1; 0 ends the list.
        let (mut next, mut is_late) = (rows[row].first_rule, false);
        let ignores_failed = has_failed && !rows[row].covers_failed;
        while let Some(index) = usize::from(next).checked_sub(1) {
            let rule = &limits[index];
            match rule.window.slice_index(tick) {
                Some(slice) => {
                    let exceeds =
                        weighted.value() > rule.max_value || has_failed && rule.limits_errors;
                    let is_ignored = ignores_failed && !rule.limits_errors;
                    // That a span failed fast says nothing about how long the work takes.
                    if exceeds || !is_ignored {
                        let tally = &mut tallies[index * per_rule + slice];
                        tally.add(exceeds, is_ignored, weighted.sampling());
                    }
                }
                None => is_late = true,
            }
            next = rule.next;
        }
        is_late
    }

    /// Evaluates all limits. Calls `changed` for each violation that was raised or cleared. Call
    /// this at the end of each pass.
    ///
    /// `as_of` is a tick such that every record written before it has been drained, from every
    /// ring. For each ring, take the tick that was read *before* its last
    /// [refresh](crate::Consumer::refresh) whose records have all been drained by now. Pass the
    /// lowest of these ticks. If this pass has drained all rings completely, that is the tick read
    /// before the first ring was refreshed.
    ///
    /// The age of an open span and the length of a silence are measured up to `as_of`, because a
    /// record that was written later, such as the END of the span, may still be in a ring. All else
    /// is as of the current pass: the windows, the [tick](StatusChange::at) of a change, and
    /// [`SlaStatus::observed`], which may therefore be slightly greater than the age or silence
    /// that was compared with the limit.
    ///
    /// Takes constant time if nothing can have changed since the last call: no record was
    /// processed, no slice of a limit has ended, no span is open, no limit is violated and no
    /// silence is too long. Otherwise, and always in [compact](crate::Compact) storage, takes time
    /// linear in the number of events (in wide storage, of those that have had a limit) and in the
    /// slices of all limits. While the table of open spans has entries, it is also linear in the
    /// size of the table, and for each open span in the limits of its event. For each change, it
    /// also takes the time of a [`summary`](Self::summary).
    // Out of line because the stacks of microcontrollers are small. If this were inlined, its
    // locals would be part of the caller's stack frame all the time.
    #[inline(never)]
    pub fn evaluate_limits(&mut self, as_of: u64, mut changed: impl FnMut(&StatusChange)) {
        if !S::Repr::IS_COMPACT && self.now < self.limits_settled_until {
            return;
        }
        if !S::ABSENT.limits {
            self.count_hung_spans(as_of);
        }
        // An open span may become a hung one at any time.
        let mut settled_until = if self.occupancy.has_entries() { 0 } else { u64::MAX };
        let Shape { limit_slices: slices, limits, silences, events, .. } = self.shape();
        let (now, rate) = (self.now, self.rate);
        let watched_events = if limits + silences > 0 { events } else { 0 };
        // Compact storage looks at all events, of which it has few.
        let mut next_row = if S::Repr::IS_COMPACT { link(0) } else { self.first_watched };
        while let Some(row) = usize::from(next_row).checked_sub(1).filter(|r| *r < watched_events) {
            next_row =
                if S::Repr::IS_COMPACT { next_row + 1 } else { self.state(row).next_watched };
            let mut next =
                if S::ABSENT.limits { NO_RULE } else { self.storage.parts().rows[row].first_rule };
            while let Some(index) = usize::from(next).checked_sub(1) {
                let StorageParts { limits, tallies, .. } = self.storage.parts();
                let rule = &mut limits[index];
                next = rule.next;
                let before = (rule.weight, rule.over, rule.watch.state);
                let mut is_changed = rule.evaluate(&tallies[index * slices..][..slices], now, rate);
                if !S::Repr::IS_COMPACT {
                    is_changed |= rule.withdraw_groundless(now);
                    let has_changed = before != (rule.weight, rule.over, rule.watch.state);
                    rule.has_changed |= has_changed;
                    self.has_changed_limits |= has_changed;
                    settled_until = settled_until.min(rule.settled_until());
                }
                if is_changed {
                    let status = self.rule_status(row, index);
                    changed(&StatusChange { status, at: now });
                }
            }
            let StorageParts { rows, silences, .. } = self.storage.parts();
            let Some(silence) = silences.get_mut(row) else { continue };
            let seen = rows[row].seen.get();
            let is_changed = silence.evaluate(seen, as_of, now);
            if !S::Repr::IS_COMPACT {
                settled_until = settled_until.min(silence.settled_until(seen));
            }
            if is_changed && let Some(status) = self.silence_status(row) {
                changed(&StatusChange { status, at: now });
            }
        }
        if !S::Repr::IS_COMPACT {
            self.limits_settled_until = settled_until;
        }
    }

    /// Sets, for each rule, the weight of its event's hung spans: the open spans that are older, at
    /// the tick `as_of`, than the threshold allows.
    fn count_hung_spans(&mut self, as_of: u64) {
        let scale = self.time;
        let used_rules = self.used_rules();
        let rules = self.storage.parts().limits.iter_mut();
        rules.take(used_rules).for_each(|rule| rule.hung = 0);
        if !self.occupancy.has_entries() {
            return;
        }
        // `has_entries` includes the span whose START was drained last, which is kept outside the
        // table. Move it there, to count it as well.
        self.in_flight().spill_newest();
        let StorageParts { in_flight, rows, limits, .. } = self.storage.parts();
        for (row, start, weight) in crate::spans::in_flight::open_spans(in_flight) {
            let age = scale.units(as_of.saturating_sub(start)).unwrap_or(u64::MAX);
            let mut next = rows[usize::from(row)].first_rule;
            while let Some(index) = usize::from(next).checked_sub(1) {
                let rule = &mut limits[index];
                if age > rule.max_value {
                    rule.hung = rule.hung.saturating_add(weight);
                }
                next = rule.next;
            }
        }
    }

    /// Returns whether any of the present limits of `event` was violated at the last
    /// [`evaluate_limits`](Self::evaluate_limits). [`Threshold::raise_after`] does not delay this.
    /// Returns `false` for an unknown event.
    pub fn is_breached(&mut self, event: EventId) -> bool {
        let StorageParts { row_of_id, rows, limits, silences, .. } = self.storage.parts();
        let Some((row, _)) = S::row_of(row_of_id, event.get()) else { return false };
        let is_violated = |state| state == SlaState::Violated;
        silences.get(row).is_some_and(|silence| is_violated(silence.watch.state))
            || rule_indices(limits, rows[row].first_rule)
                .any(|index| is_violated(limits[index].watch.state))
    }

    /// Calls `visit` with the status of each limit. States and counts are as of the last
    /// [`evaluate_limits`](Self::evaluate_limits). [`SlaStatus::observed`], and the count of a
    /// limit on silence, are computed by this call, so they include records that were processed
    /// since.
    ///
    /// The events are in the order in which they were passed to [`new`](Self::new); an event's
    /// limit on silence comes after its other limits.
    pub fn limits(&mut self, mut visit: impl FnMut(&SlaStatus)) {
        for row in 0..self.shape().events {
            self.limits_in(row, &mut visit);
        }
    }

    /// Calls `visit` as [`limits`](Self::limits) does, but only for the limits of one event.
    pub fn limits_of(&mut self, event: EventId, visit: impl FnMut(&SlaStatus)) {
        if let Some((row, _)) = self.row_of(event) {
            self.limits_in(row, visit);
        }
    }

    /// Calls `visit` with the status of each limit of the event in `row`.
    #[inline(always)]
    fn limits_in(&mut self, row: usize, mut visit: impl FnMut(&SlaStatus)) {
        let mut next = self.storage.parts().rows[row].first_rule;
        while let Some(index) = usize::from(next).checked_sub(1) {
            visit(&self.rule_status(row, index));
            next = self.storage.parts().limits[index].next;
        }
        if let Some(status) = self.silence_status(row) {
            visit(&status);
        }
    }

    /// Calls `visit` with each event that has a limit on a quantile whose state or counts
    /// ([`SlaStatus::over`] and [`SlaStatus::count`]) were changed by an evaluation since the last
    /// call of this. An event may be visited several times. In [compact](crate::Compact) storage,
    /// none is visited.
    pub fn take_changed_limits(&mut self, mut visit: impl FnMut(EventId)) {
        if !core::mem::take(&mut self.has_changed_limits) {
            return;
        }
        let used_rules = self.used_rules();
        let StorageParts { rows, limits, .. } = self.storage.parts();
        for rule in limits.iter_mut().take(used_rules).filter(|rule| rule.has_changed) {
            rule.has_changed = false;
            if let Some(row) = usize::from(rule.owner).checked_sub(1) {
                visit(event_of(&rows[row]));
            }
        }
    }

    /// Returns the status of the rule with this `index`, which belongs to the event in `row`.
    fn rule_status(&mut self, row: usize, index: usize) -> SlaStatus {
        let StorageParts { rows, limits, .. } = self.storage.parts();
        let event = event_of(&rows[row]);
        let rule = limits[index];
        SlaStatus {
            event,
            limit: rule.limit(),
            state: rule.watch.state,
            over: rule.over,
            failed: rule.failed,
            count: rule.weight,
            observed: self.observed(event, &rule),
            since: rule.watch.since(),
            raised: rule.watch.raised,
            cleared: rule.watch.cleared,
        }
    }

    /// Returns the status of the limit on silence of the event in `row`; `None` if it has none.
    fn silence_status(&mut self, row: usize) -> Option<SlaStatus> {
        let StorageParts { rows, silences, .. } = self.storage.parts();
        let state = &rows[row];
        let Silence { nanos, watch, .. } = *silences.get(row)?;
        let (event, last_seen) = (event_of(state), state.seen.get());
        (nanos > 0).then(|| SlaStatus {
            event,
            limit: Limit::Silence(duration_from_nanos(nanos)),
            state: watch.state,
            over: u64::from(watch.state == SlaState::Violated),
            failed: 0,
            count: u64::from(last_seen.is_some()),
            observed: last_seen.map(|seen| self.nanos(self.now.saturating_sub(seen))),
            since: watch.since(),
            raised: watch.raised,
            cleared: watch.cleared,
        })
    }

    /// Returns the current value of what the rule bounds, in nanoseconds or as a plain number: the
    /// quantile of the samples in the window, or the age of the oldest open span if that is
    /// greater. The age is used only if hung spans were counted and the quantile exceeded the
    /// threshold at the last evaluation. For a limit on the error rate, returns the share of failed
    /// spans in ppm.
    ///
    /// Returns `None` if neither is known: the age because it is not used or no span is open any
    /// more, and the quantile because there are no samples, the aggregator has no window of the
    /// same length, or failed spans that no summary covers made it exceed the threshold.
    fn observed(&mut self, event: EventId, rule: &Rule) -> Option<u64> {
        let threshold = rule.threshold();
        if rule.limits_errors {
            let millionths = arithmetic::product(rule.over, 1_000_000);
            // ceil(a / b) = floor((a + b − 1) / b)
            let rounded_up = millionths + u128::from(rule.weight.saturating_sub(1));
            return (rule.weight > 0).then(|| {
                arithmetic::saturating_u64(arithmetic::quotient(rounded_up, rule.weight))
            });
        }
        let StorageParts { row_of_id, windows, .. } = self.storage.parts();
        let (row, unit) = S::row_of(row_of_id, event.get())?;
        let window = windows.iter().position(|window| window.length() == threshold.window);
        let quantile = window.and_then(|window| {
            let (value, weight) = self.quantile_in(row, unit, window, threshold.quantile)?;
            // The quantile may be an estimate, which can lie on the wrong side of the threshold.
            // The rule decides by counting, which is exact. If it has counted every sample of the
            // window, correct the estimate to agree with its decision. A new rule has not counted
            // them all, because it does not count the samples from before it was set.
            let others = rule.hung.saturating_add(rule.failed);
            let is_complete = weight.saturating_add(others) == rule.weight;
            let value = match rule.exceeds_threshold(rule.over.saturating_sub(others), weight) {
                true if is_complete => value.max(threshold.max.saturating_add(1)),
                false if is_complete => value.min(threshold.max),
                _ => value,
            };
            let is_known =
                rule.failed == 0 || value > threshold.max || !rule.quantile_exceeds_threshold();
            is_known.then_some(value)
        });
        let oldest = if rule.hung > 0 && rule.quantile_exceeds_threshold() {
            self.oldest(event).map(|(nanos, _)| nanos)
        } else {
            None
        };
        quantile.max(oldest)
    }
}

/// Returns an iterator over the indices of an event's rules. `first` is the number of the event's
/// first rule.
fn rule_indices(rules: &[Rule], first: u16) -> impl Iterator<Item = usize> {
    let index = |number: u16| usize::from(number).checked_sub(1);
    core::iter::successors(index(first), move |last| index(rules[*last].next))
}

/// Returns the event of a row, given the row's state. The row must not be that of a corrected
/// summary.
pub(super) fn event_of(state: &RowState<impl Repr>) -> EventId {
    const LAST: EventId = crate::event_id(EventId::MAX);
    // The id was valid when it was stored in the row, so the fallback is never used.
    EventId::new(state.id).unwrap_or(LAST)
}
