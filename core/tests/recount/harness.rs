//! Runs an aggregator and the model side by side on the same records, and compares all results.

use core::time::Duration;

use tailwatch_core::{
    Accuracy, Aggregator, CoveredOutcomes, DistributionData, EventId, EventInfo, Exemplar, Limit,
    LimitError, MAX_PAYLOAD, Outcome, Quantile, Record, Repr, Scope, Shape, SlaState, TickRate,
    Unit,
};

use crate::{
    definitions::{Cut, Time, Widths},
    limits::slices_of,
    memory::Memory,
    model::{Model, Sample},
    open_spans::SpanKey,
    steps::{
        Advance, Age, DECLARED, DECLARED_ERROR_RATE, DECLARED_SILENCE, ERROR_RATES, EVENTS,
        Invalid, LIMITS, Length, NUMBERS, Pass, SPANS, Setup, Step, silence,
    },
};

/// Returns the id of the event with this index. The ids are not in the order of the indices, so
/// that a confusion of the two is noticed.
pub(crate) fn id(event: usize) -> EventId {
    EventId::new([7, 1, 4][event]).unwrap()
}

/// Returns the declarations of the events.
fn infos() -> [EventInfo; EVENTS] {
    [
        EventInfo::new(id(0), "first"),
        EventInfo {
            limits: DECLARED,
            outcomes: CoveredOutcomes::Any,
            max_error_rate: Some(&DECLARED_ERROR_RATE),
            max_silence: Some(DECLARED_SILENCE),
            ..EventInfo::new(id(1), "second")
        },
        EventInfo { unit: Unit::One, ..EventInfo::new(id(2), "numbers") },
    ]
}

/// A span of the measured program that has begun and has not ended.
#[derive(Clone, Copy)]
struct Running {
    key: SpanKey,
    tag: u64,
    source: u16,
}

/// An aggregator and its model, and the program that they measure.
pub(crate) struct Harness<'a, R: Repr> {
    pub(crate) setup: &'a Setup,
    pub(crate) model: Model,
    pub(crate) aggregator: Aggregator<Memory<u32, R>>,
    running: Vec<Running>,
    /// The spans whose STARTs have not been processed yet. Some of them have ended.
    withheld: Vec<Running>,
    /// How many sources have been generated.
    records: u64,
}

impl<'a, R: Repr> Harness<'a, R> {
    pub(crate) fn new(setup: &'a Setup) -> Self {
        let &Setup {
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
            ..
        } = setup;
        let infos = infos();
        let shape = Shape {
            samples,
            scale,
            octaves,
            lowest: 8,
            unit,
            in_flight,
            slowest,
            limits,
            failed: if keeps_failed { infos.len() } else { 0 },
            ..Shape::server(&infos, windows)
        };
        let time = Time::new(hz, unit);
        let cuts = windows.iter().map(|spec| Cut::new(spec.length, spec.slices, time)).collect();
        let rate = TickRate::from_hz(hz).unwrap();
        let mut harness = Self {
            setup,
            model: Model::new(time, cuts, Widths::of::<R>().value, samples, in_flight, first),
            aggregator: Aggregator::new(windows, &infos, rate, first, Memory::new(&shape)).unwrap(),
            running: vec![],
            withheld: vec![],
            records: 0,
        };
        let declared = DECLARED.iter().copied().map(Limit::Quantile);
        let others = [Limit::Errors(DECLARED_ERROR_RATE), Limit::Silence(DECLARED_SILENCE)];
        let declared: Vec<_> = declared.chain(others).collect();
        harness.note_limits(1, &declared);
        harness
    }

    /// Runs a pass: advances the clock, takes all steps, and compares all results.
    pub(crate) fn pass(&mut self, pass: &Pass) {
        let now = self.advanced(&pass.advance);
        self.aggregator.begin_pass(now);
        self.model.begin_pass(now);
        for step in &pass.steps {
            self.step(step);
        }
        if pass.expires_orphans {
            self.aggregator.expire_orphans(self.aggregator.pass());
            self.model.open_spans.expire_orphans(self.model.pass);
        }
        self.watch();
        self.compare(Quantile::from_ppm(pass.ppm).unwrap());
    }

    /// Returns a length in ticks.
    fn ticks(&self, length: Length) -> u64 {
        self.model.time.ticks(length.nanos).saturating_add_signed(length.ticks)
    }

    /// Returns the tick of the clock after an advance.
    fn advanced(&self, advance: &Advance) -> u64 {
        let now = self.model.now;
        match advance {
            Advance::By(length) => now + self.ticks(*length),
            Advance::Bound { window, after, before } => {
                let slice = window.get(&self.model.cuts).slice_ticks;
                ((now / slice + after) * slice - before).max(now)
            }
            Advance::Aged { span, length } => {
                match self.running.get(span.index(self.running.len().max(1))) {
                    Some(running) => (running.key.1 + self.ticks(*length)).max(now),
                    None => now,
                }
            }
            Advance::Back(nanos) => now.saturating_sub(self.model.time.ticks(*nanos)),
        }
    }

    /// Returns the tick of something that happened this long ago.
    fn tick(&self, age: &Age) -> u64 {
        let tick = self.model.now.saturating_sub(self.ticks(age.length));
        age.bound.map_or(tick, |(window, before)| {
            let slice = window.get(&self.model.cuts).slice_ticks;
            (tick / slice * slice).saturating_sub(before)
        })
    }

    /// Returns the exponent k of the weight 2^k of a record that begins at tick `start`. It is the
    /// same for all records that begin there: spans that share event and start tick also share
    /// their weight.
    fn sampling(&self, start: u64) -> u8 {
        if !self.setup.is_sampled || start.is_multiple_of(3) { 0 } else { (start / 3 % 16) as u8 }
    }

    /// Returns one of five sources, in a fixed but irregular order.
    fn source(&mut self) -> u16 {
        self.records += 1;
        (self.records * 257 % 5 * 16_000) as u16
    }

    /// Passes a record to the aggregator and checks whether it produces a sample.
    fn record(&mut self, source: u16, record: Record, is_sample: bool) {
        assert_eq!(self.aggregator.record(source, record), is_sample, "{record:?}");
    }

    fn deliver_start(&mut self, running: Running) {
        let Running { key, tag, source } = running;
        let sampling = self.sampling(key.1);
        self.record(source, Record::start(key.1, id(key.0), sampling, tag), false);
        self.model.start(key, tag & MAX_PAYLOAD, sampling);
    }

    fn end(&mut self, tick: u64, event: usize, outcome: Outcome, length: u64, source: u16) {
        let start = tick.wrapping_sub(length);
        let sampling = self.sampling(start);
        let is_sample = self.model.end(tick, (event, start), outcome, length, sampling, source);
        self.record(source, Record::end(tick, id(event), sampling, outcome, length), is_sample);
    }

    fn duration(&mut self, tick: u64, event: usize, length: u64) {
        let (source, sampling) = (self.source(), self.sampling(tick.wrapping_sub(length)));
        let is_sample = self.model.duration(tick, event, length, sampling, source);
        self.record(source, Record::duration(tick, id(event), sampling, length), is_sample);
    }

    /// Processes a TAG that is not directly behind a DURATION.
    fn tag(&mut self, key: SpanKey, tag: u64) {
        let source = self.source();
        // Compact storage without exemplars ignores tags.
        if !self.setup.is_compact || self.setup.slowest > 0 {
            self.model.tag(key);
        }
        self.record(source, Record::tag(key.1, id(key.0), self.sampling(key.1), tag), false);
    }

    fn value(&mut self, tick: u64, number: u64) {
        let (source, sampling) = (self.source(), self.sampling(tick ^ number));
        let is_sample = self.model.value(tick, NUMBERS, number, sampling, source);
        self.record(source, Record::value(tick, id(NUMBERS), sampling, number), is_sample);
    }

    fn take_running(&mut self, span: proptest::sample::Index) -> Option<Running> {
        (!self.running.is_empty()).then(|| self.running.swap_remove(span.index(self.running.len())))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin { event, age, tag, is_withheld } => {
                let running =
                    Running { key: (*event, self.tick(age)), tag: *tag, source: self.source() };
                self.running.push(running);
                if *is_withheld { self.withheld.push(running) } else { self.deliver_start(running) }
            }
            Step::Deliver(which) => {
                if !self.withheld.is_empty() {
                    let running = self.withheld.swap_remove(which.index(self.withheld.len()));
                    self.deliver_start(running);
                }
            }
            Step::End { span, age, outcome } => {
                if let Some(Running { key: (event, start), .. }) = self.take_running(*span) {
                    let tick = self.tick(age).max(start);
                    let source = self.source();
                    self.end(tick, event, *outcome, tick - start, source);
                }
            }
            Step::Discard { span, reason } => {
                if let Some(Running { key, .. }) = self.take_running(*span) {
                    let source = self.source();
                    self.record(
                        source,
                        Record::forget(key.1, id(key.0), self.sampling(key.1), *reason),
                        false,
                    );
                    self.model.discard(key, *reason);
                }
            }
            Step::Stray { event, age, length, outcome } => {
                let source = self.source();
                self.end(self.tick(age), *event, *outcome, self.ticks(*length), source);
            }
            Step::Tag { span, tag } => {
                if let Some(running) = self.running.get(span.index(self.running.len().max(1))) {
                    self.tag(running.key, *tag);
                }
            }
            Step::StrayTag { event, age } => self.tag((*event, self.tick(age)), 1),
            Step::Negative { event, age, length } => {
                let (tick, difference) = (self.tick(age), self.ticks(*length));
                self.model.negative_difference(*event, tick);
                let record = Record::negative_difference(tick, id(*event), 0, difference);
                self.record(0, record, false);
            }
            Step::Duration { event, age, length } => {
                self.duration(self.tick(age), *event, self.ticks(*length));
            }
            Step::DurationOfOpenSpan(span) => {
                if let Some(running) = self.running.get(span.index(self.running.len().max(1))) {
                    let (event, start) = running.key;
                    let tick = self.model.now.max(start);
                    self.duration(tick, event, tick - start);
                }
            }
            Step::Value { age, number } => self.value(self.tick(age), *number),
            Step::Future { event, beyond, length } => {
                let tick = (self.model.now + self.model.tolerance()).saturating_add_signed(*beyond);
                let length = self.ticks(*length);
                if *event < SPANS {
                    self.duration(tick, *event, length);
                } else {
                    self.value(tick, length);
                }
            }
            Step::Invalid(cause) => self.invalid(*cause),
            Step::Lost => {
                self.aggregator.mark_lost();
                self.model.mark_lost();
            }
            Step::SampledAway(event) => {
                self.aggregator.mark_sampled(id(*event));
                self.model.mark_sampled(*event);
            }
            Step::ResetSilence(event) => {
                self.aggregator.reset_silence(id(*event));
                self.model.reset_silence(*event);
            }
            Step::Limits { event, chosen, silence: longest, is_reversed } => {
                let chosen =
                    LIMITS.iter().enumerate().filter(|(number, _)| chosen >> number & 1 == 1);
                let mut limits: Vec<_> = chosen.map(|(_, limit)| *limit).collect();
                limits.extend(longest.map(|number| Limit::Silence(silence(number))));
                if *is_reversed {
                    limits.reverse();
                }
                self.set_limits(*event, &limits);
            }
        }
    }

    /// Processes an invalid record, or one whose duration or number is too large for a sample.
    fn invalid(&mut self, cause: Invalid) {
        let now = self.model.now;
        let counters = &mut self.model.counters;
        let record = match cause {
            Invalid::Empty => Record::EMPTY,
            Invalid::UnknownEvent => Record::start(now, EventId::new(2_047).unwrap(), 0, 0),
            Invalid::ValueOfSpan => Record::value(now, id(0), 0, 1),
            Invalid::EndOfNumber => Record::end(now, id(NUMBERS), 0, Outcome::Ok, 1),
            Invalid::StartOfNumber => Record::start(now, id(NUMBERS), 0, 1),
            Invalid::TagOfNumber => Record::tag(now, id(NUMBERS), 0, 1),
            Invalid::TooLong => return self.duration(now, 0, MAX_PAYLOAD),
            Invalid::TooLarge => return self.value(now, MAX_PAYLOAD),
            Invalid::LongestEnd => return self.end(now, 0, Outcome::Error, MAX_PAYLOAD, 3),
        };
        let counter = if matches!(cause, Invalid::UnknownEvent) {
            &mut counters.unknown_events
        } else {
            &mut counters.invalid
        };
        *counter += 1;
        self.record(1, record, false);
    }

    /// Returns how the window of a limit is cut into slices: like the aggregator's window of the
    /// same length, if there is one.
    fn cut(&self, length: Duration) -> Cut {
        let configured = self.setup.windows.iter().find(|spec| spec.length == length);
        Cut::new(
            length,
            configured.map_or_else(|| slices_of(length), |spec| spec.slices),
            self.model.time,
        )
    }

    /// Replaces the limits of an event in the model, after the aggregator has accepted them.
    fn note_limits(&mut self, event: usize, limits: &[Limit]) {
        let mut limits_of_event = core::mem::take(&mut self.model.limits[event]);
        limits_of_event.set(limits, self.model.samples.len(), |length| self.cut(length));
        self.model.limits[event] = limits_of_event;
    }

    fn set_limits(&mut self, event: usize, limits: &[Limit]) {
        let result = self.aggregator.set_limits(id(event), limits);
        let has = |limit: usize| limits.contains(&LIMITS[limit]);
        let others = self.model.limits.iter().enumerate().filter(|(other, _)| *other != event);
        let others: usize = others.map(|(_, limits)| limits.watched.len()).sum();
        let needed = limits.iter().filter(|limit| !matches!(limit, Limit::Silence(_))).count();
        let has_two = has(1) && has(2);
        let has_no_outcomes = event == NUMBERS && ERROR_RATES.into_iter().any(has);
        if has_two || has_no_outcomes {
            let is_expected = match result {
                Err(LimitError::Duplicate { .. }) => has_two,
                Err(LimitError::NoOutcomes) => has_no_outcomes,
                _ => false,
            };
            assert!(is_expected, "{result:?}");
        } else if others + needed > self.setup.limits {
            assert_eq!(result, Err(LimitError::NoRoom { room: self.setup.limits }));
        } else {
            assert_eq!(result, Ok(()));
            self.note_limits(event, limits);
        }
    }

    /// Evaluates all limits, and compares the violations that are raised or cleared.
    fn watch(&mut self) {
        let now = self.model.now;
        let expected: Vec<_> = (0..EVENTS)
            .flat_map(|event| {
                self.model
                    .watch(event)
                    .into_iter()
                    .map(move |(limit, state)| (id(event), limit, state))
            })
            .map(|changed| (now, changed))
            .collect();
        let mut changes = vec![];
        self.aggregator.evaluate_limits(now, |change| changes.push(*change));
        let mut statuses = vec![];
        self.aggregator.limits(|status| statuses.push(*status));
        for change in &changes {
            assert_eq!(change.is_raised(), change.status.state == SlaState::Violated);
            assert!(statuses.contains(&change.status), "{change:?} {statuses:?}");
        }
        let changes: Vec<_> = changes
            .into_iter()
            .map(|change| {
                (change.at, (change.status.event, change.status.limit, change.status.state))
            })
            .collect();
        assert_eq!(changes, expected, "the violations that were raised or cleared differ");
    }

    /// Compares everything that the aggregator returns with the model. `quantile` is a quantile to
    /// compute in addition to those of a summary.
    fn compare(&mut self, quantile: Quantile) {
        for event in 0..EVENTS {
            for window in 0..=self.setup.windows.len() {
                // The index after the last window stands for the total.
                let cut = self.model.cuts.get(window).copied();
                let scope = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
                self.compare_summary(event, cut.as_ref(), scope, quantile);
                self.compare_failed(event, cut.as_ref(), scope);
                self.compare_slowest(event, cut.as_ref(), scope);
            }
            assert!(
                self.aggregator
                    .summary(id(event), Scope::Window(self.setup.windows.len()))
                    .is_none()
            );
            self.compare_open_spans(event);
            assert_eq!(self.aggregator.outcomes(id(event)), self.model.outcomes[event]);
        }
        self.compare_limits();
        assert_eq!(self.aggregator.counters(), self.model.counters);
    }

    fn compare_summary(
        &mut self,
        event: usize,
        cut: Option<&Cut>,
        scope: Scope,
        quantile: Quantile,
    ) {
        let recount = self.model.recount(event, cut);
        let actual = self.aggregator.summary(id(event), scope);
        let single = self.aggregator.quantile(id(event), scope, quantile);
        let (Some(actual), Some(single)) = (actual, single) else {
            assert!(
                recount.0.is_empty() && actual.is_none() && single.is_none(),
                "{actual:?} {single:?} of {recount:?}"
            );
            return;
        };
        recount.check::<R>(&actual, (0, 0.0));
        recount.check_quantile(quantile.ppm(), single.0, single.1, (0, 0.0));
        let is_exact = self.model.is_exact(event, cut);
        for accuracy in [actual.accuracy, single.1] {
            assert_eq!(accuracy == Accuracy::Exact, is_exact, "{accuracy:?}");
        }
        // Within the range of the histogram, the error is that of its scale.
        if self.setup.octaves == 48 && actual.min > 10_000 && actual.max < 60_000_000_000_000 {
            let share = 2_f64.powf(0.5 / f64::from(1_u32 << self.setup.scale)) - 1.0;
            assert!(
                f64::from(actual.accuracy.max_relative_error_ppm()) <= share * 1e6 + 102.0,
                "{actual:?}"
            );
        }
        assert_eq!(actual.complete, self.model.is_complete(event, cut, &recount));
        let covered = self.model.covered(cut);
        assert!(actual.covered.abs_diff(self.model.time.nanos(covered.end - covered.start)) <= 1);
        let (_, values) = self.aggregator.describe(id(event), scope).unwrap();
        let known: Vec<_> = values
            .buckets()
            .map(|bucket| (values.converter.value(bucket.up_to), bucket.count))
            .collect();
        match values.data {
            DistributionData::Exact(_) => {
                assert_eq!(known.into_iter().collect::<crate::definitions::Recount>().0, recount.0);
            }
            DistributionData::Counted { .. } if self.setup.octaves == 0 => {
                assert!(known.is_empty());
            }
            DistributionData::Counted { .. } => {
                assert_eq!(known.iter().map(|(_, count)| count).sum::<u64>(), recount.weight());
            }
        }
    }

    /// Compares the summary of failed spans.
    fn compare_failed(&mut self, event: usize, cut: Option<&Cut>, scope: Scope) {
        let recount = self.model.failed(event, cut);
        let Some(actual) = self.aggregator.failed(id(event), scope) else {
            assert!(recount.0.is_empty() || !self.setup.keeps_failed, "{recount:?}");
            return;
        };
        recount.check::<R>(&actual, (0, 0.0));
        assert_eq!(actual.complete, self.model.is_complete(event, cut, &recount));
        let covered = self.model.covered(cut);
        assert!(actual.covered.abs_diff(self.model.time.nanos(covered.end - covered.start)) <= 1);
    }

    fn compare_slowest(&mut self, event: usize, cut: Option<&Cut>, scope: Scope) {
        let mut exemplars = [Exemplar::default(); 6];
        let (actual, converter) = self.aggregator.slowest(id(event), scope, &mut exemplars);
        let actual: Vec<_> =
            actual.iter().map(|slow| (converter.value(slow.value()), *slow)).collect();
        let mut members = self.model.members(event, cut);
        let mut largest: Vec<u64> = members.iter().map(|sample| sample.value).collect();
        largest.sort_unstable_by(|one, other| other.cmp(one));
        largest.truncate(self.setup.slowest);
        assert_eq!(actual.iter().map(|(value, _)| *value).collect::<Vec<_>>(), largest);
        for (value, slow) in actual {
            let matches = |sample: &&Sample| {
                let tag_fits = match sample.key {
                    Some(key) => self.model.open_spans.may_have(key, slow.tag()),
                    None => slow.tag().is_none(),
                };
                (sample.value, sample.start, sample.source) == (value, slow.start(), slow.source())
                    && sample.outcome == slow.outcome()
                    && tag_fits
            };
            // Several samples may differ only in whether they have a tag. Prefer one that agrees in
            // this, so that the others remain for later exemplars.
            let matches_kind =
                |sample: &&Sample| matches(sample) && sample.key.is_some() == slow.tag().is_some();
            let position =
                members.iter().position(matches_kind).or_else(|| members.iter().position(matches));
            let position = position.unwrap_or_else(|| {
                panic!("{slow:?} with the value {value} is not among {members:?}")
            });
            members.swap_remove(position);
        }
    }

    fn compare_open_spans(&mut self, event: usize) {
        let actual = self.aggregator.pairing(id(event));
        assert_eq!(actual, self.model.open_spans.pairing(event), "event {event}");
        self.model.open_spans.check_sums(event, actual);
        let actual = self.aggregator.oldest(id(event));
        let Some((start, tags)) = self.model.open_spans.oldest(event) else {
            assert_eq!(actual, None);
            return;
        };
        let (age, tag) = actual.unwrap();
        assert_eq!(age, self.model.time.nanos(self.model.now.saturating_sub(start)));
        assert!(tags.contains(&tag), "{tag} is not among {tags:?}");
    }
}
