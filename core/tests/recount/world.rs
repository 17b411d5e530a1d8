//! An aggregator beside the lists: both are told the same, then everything that the one tells is compared with the others.

use core::time::Duration;

use tailwatch_core::{
    Accuracy, Aggregator, DistributionData, EventId, EventInfo, Exemplar, Limit, LimitError,
    MAX_PAYLOAD, Outcome, Quantile, Record, Scope, Shape, SlaState, SlaStatus, TickRate, Unit,
};

use crate::{
    flights::Kind,
    limits::{Limits, Watched, slices_of},
    lists::{Lists, Sample},
    memory::Memory,
    numbers::{Cut, Time},
    steps::{
        Advance, Age, DECLARED, DECLARED_SILENCE, EVENTS, Junk, LIMITS, Length, NUMBERS, Pass,
        SPANS, Setup, Step, silence,
    },
};

/// Their numbers are not those of their rows.
fn id(event: usize) -> EventId {
    EventId::new([7, 1, 4][event]).unwrap()
}

fn infos() -> [EventInfo; EVENTS] {
    [
        EventInfo::new(id(0), "first"),
        EventInfo {
            limits: DECLARED,
            max_silence: Some(DECLARED_SILENCE),
            ..EventInfo::new(id(1), "second")
        },
        EventInfo { unit: Unit::One, ..EventInfo::new(id(2), "numbers") },
    ]
}

/// A span of the program that is watched.
#[derive(Clone, Copy)]
struct Running {
    kind: Kind,
    tag: u64,
    source: u16,
}

pub(crate) struct World<'a> {
    setup: &'a Setup,
    lists: Lists,
    aggregator: Aggregator<Memory<u32>>,
    running: Vec<Running>,
    /// Spans whose START did not come yet.
    withheld: Vec<Running>,
    records: u64,
}

impl<'a> World<'a> {
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
            ..Shape::server(&infos, windows)
        };
        let time = Time::new(hz, unit);
        let cuts = windows.iter().map(|spec| Cut::new(spec.length, spec.slices, time)).collect();
        let rate = TickRate::from_hz(hz).unwrap();
        let mut world = Self {
            setup,
            lists: Lists::new(time, cuts, samples, in_flight, first),
            aggregator: Aggregator::new(shape, windows, &infos, rate, first, Memory::new(&shape))
                .unwrap(),
            running: vec![],
            withheld: vec![],
            records: 0,
        };
        let declared = DECLARED.iter().copied().map(Limit::Quantile);
        let declared: Vec<_> = declared.chain([Limit::Silence(DECLARED_SILENCE)]).collect();
        world.note_limits(1, &declared);
        world
    }

    pub(crate) fn pass(&mut self, pass: &Pass) {
        let now = self.advanced(&pass.advance);
        self.aggregator.begin_pass(now);
        self.lists.begin_pass(now);
        for step in &pass.steps {
            self.step(step);
        }
        if pass.settles {
            self.aggregator.expire_orphans(self.aggregator.pass());
            self.lists.flights.expire_orphans(self.lists.pass);
        }
        self.watch();
        self.compare(Quantile::from_ppm(pass.ppm).unwrap());
    }

    fn ticks(&self, length: Length) -> u64 {
        self.lists.time.ticks(length.nanos).saturating_add_signed(length.ticks)
    }

    fn advanced(&self, advance: &Advance) -> u64 {
        let now = self.lists.now;
        match advance {
            Advance::By(length) => now + self.ticks(*length),
            Advance::Bound { window, after, before } => {
                let slice = window.get(&self.lists.cuts).ticks;
                ((now / slice + after) * slice - before).max(now)
            }
            Advance::Aged { span, length } => {
                match self.running.get(span.index(self.running.len().max(1))) {
                    Some(running) => (running.kind.1 + self.ticks(*length)).max(now),
                    None => now,
                }
            }
            Advance::Back(nanos) => now.saturating_sub(self.lists.time.ticks(*nanos)),
        }
    }

    fn tick(&self, age: &Age) -> u64 {
        let tick = self.lists.now.saturating_sub(self.ticks(age.length));
        age.bound.map_or(tick, |(window, before)| {
            let slice = window.get(&self.lists.cuts).ticks;
            (tick / slice * slice).saturating_sub(before)
        })
    }

    /// Into how many of its like a record that begins at `start` is one: the same for all that begin there.
    fn sampling(&self, start: u64) -> u8 {
        if !self.setup.is_sampled || start.is_multiple_of(3) { 0 } else { (start / 3 % 16) as u8 }
    }

    fn source(&mut self) -> u16 {
        self.records += 1;
        (self.records * 257 % 5 * 16_000) as u16
    }

    fn record(&mut self, source: u16, record: Record, is_sample: bool) {
        assert_eq!(self.aggregator.record(source, record), is_sample, "{record:?}");
    }

    fn begun(&mut self, running: Running) {
        let Running { kind, tag, source } = running;
        let k = self.sampling(kind.1);
        self.record(source, Record::start(kind.1, id(kind.0), k, tag), false);
        self.lists.start(kind, tag & MAX_PAYLOAD, k);
    }

    fn end(&mut self, tick: u64, event: usize, outcome: Outcome, length: u64, source: u16) {
        let start = tick.wrapping_sub(length);
        let k = self.sampling(start);
        let is_sample = self.lists.end(tick, (event, start), outcome, length, k, source);
        self.record(source, Record::end(tick, id(event), k, outcome, length), is_sample);
    }

    fn duration(&mut self, tick: u64, event: usize, length: u64) {
        let (source, k) = (self.source(), self.sampling(tick.wrapping_sub(length)));
        let is_sample = self.lists.duration(tick, event, length, k, source);
        self.record(source, Record::duration(tick, id(event), k, length), is_sample);
    }

    fn value(&mut self, tick: u64, number: u64) {
        let (source, k) = (self.source(), self.sampling(tick ^ number));
        let is_sample = self.lists.value(tick, NUMBERS, number, k, source);
        self.record(source, Record::value(tick, id(NUMBERS), k, number), is_sample);
    }

    fn take(&mut self, span: proptest::sample::Index) -> Option<Running> {
        (!self.running.is_empty()).then(|| self.running.swap_remove(span.index(self.running.len())))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Begin { event, age, tag, is_withheld } => {
                let running =
                    Running { kind: (*event, self.tick(age)), tag: *tag, source: self.source() };
                self.running.push(running);
                if *is_withheld { self.withheld.push(running) } else { self.begun(running) }
            }
            Step::Deliver(which) => {
                if !self.withheld.is_empty() {
                    let running = self.withheld.swap_remove(which.index(self.withheld.len()));
                    self.begun(running);
                }
            }
            Step::End { span, age, outcome } => {
                if let Some(Running { kind: (event, start), .. }) = self.take(*span) {
                    let tick = self.tick(age).max(start);
                    let source = self.source();
                    self.end(tick, event, *outcome, tick - start, source);
                }
            }
            Step::Forget { span, why } => {
                if let Some(Running { kind, .. }) = self.take(*span) {
                    let source = self.source();
                    self.record(
                        source,
                        Record::forget(kind.1, id(kind.0), self.sampling(kind.1), *why),
                        false,
                    );
                    self.lists.forget(kind, *why);
                }
            }
            Step::Stray { event, age, length, outcome } => {
                let source = self.source();
                self.end(self.tick(age), *event, *outcome, self.ticks(*length), source);
            }
            Step::Duration { event, age, length } => {
                self.duration(self.tick(age), *event, self.ticks(*length))
            }
            Step::Beside(span) => {
                if let Some(running) = self.running.get(span.index(self.running.len().max(1))) {
                    let (event, start) = running.kind;
                    let tick = self.lists.now.max(start);
                    self.duration(tick, event, tick - start);
                }
            }
            Step::Value { age, number } => self.value(self.tick(age), *number),
            Step::Future { event, beyond, length } => {
                let tick = (self.lists.now + self.lists.tolerance()).saturating_add_signed(*beyond);
                let length = self.ticks(*length);
                if *event < SPANS {
                    self.duration(tick, *event, length)
                } else {
                    self.value(tick, length)
                }
            }
            Step::Junk(junk) => self.junk(*junk),
            Step::Lost => {
                self.aggregator.mark_lost();
                self.lists.mark_lost();
            }
            Step::SampledAway(event) => {
                self.aggregator.sampled_away(id(*event));
                self.lists.sampled_away(*event);
            }
            Step::Excuse(event) => {
                self.aggregator.reset_silence(id(*event));
                self.lists.reset_silence(*event);
            }
            Step::Limits { event, chosen, silence: quiet, is_reversed } => {
                let chosen =
                    LIMITS.iter().enumerate().filter(|(number, _)| chosen >> number & 1 == 1);
                let mut limits: Vec<_> =
                    chosen.map(|(_, threshold)| Limit::Quantile(*threshold)).collect();
                limits.extend(quiet.map(|number| Limit::Silence(silence(number))));
                if *is_reversed {
                    limits.reverse();
                }
                self.set_limits(*event, &limits);
            }
        }
    }

    fn junk(&mut self, junk: Junk) {
        let now = self.lists.now;
        let counters = &mut self.lists.counters;
        let record = match junk {
            Junk::Empty => Record::EMPTY,
            Junk::UnknownEvent => Record::start(now, EventId::new(2_047).unwrap(), 0, 0),
            Junk::ValueOfSpan => Record::value(now, id(0), 0, 1),
            Junk::EndOfNumber => Record::end(now, id(NUMBERS), 0, Outcome::Ok, 1),
            Junk::StartOfNumber => Record::start(now, id(NUMBERS), 0, 1),
            Junk::TooLong => return self.duration(now, 0, MAX_PAYLOAD),
            Junk::TooLarge => return self.value(now, MAX_PAYLOAD),
            Junk::LongestEnd => return self.end(now, 0, Outcome::Error, MAX_PAYLOAD, 3),
        };
        let counter = if matches!(junk, Junk::UnknownEvent) {
            &mut counters.unknown_events
        } else {
            &mut counters.invalid
        };
        *counter += 1;
        self.record(1, record, false);
    }

    fn cut(&self, length: Duration) -> Cut {
        let told = self.setup.windows.iter().find(|spec| spec.length == length);
        Cut::new(
            length,
            told.map_or_else(|| slices_of(length), |spec| spec.slices),
            self.lists.time,
        )
    }

    fn note_limits(&mut self, event: usize, limits: &[Limit]) {
        let mut of_event = core::mem::take(&mut self.lists.limits[event]);
        of_event.set(limits, self.lists.samples.len(), |length| self.cut(length));
        self.lists.limits[event] = of_event;
    }

    fn set_limits(&mut self, event: usize, limits: &[Limit]) {
        let told = self.aggregator.set_limits(id(event), limits);
        let has = |threshold| limits.contains(&Limit::Quantile(threshold));
        let others = self.lists.limits.iter().enumerate().filter(|(other, _)| *other != event);
        let others: usize = others.map(|(_, limits)| limits.watched.len()).sum();
        let needed = limits.iter().filter(|limit| matches!(limit, Limit::Quantile(_))).count();
        if has(LIMITS[1]) && has(LIMITS[2]) {
            assert!(matches!(told, Err(LimitError::Duplicate { .. })), "{told:?}");
        } else if others + needed > self.setup.limits {
            assert_eq!(told, Err(LimitError::NoRoom { room: self.setup.limits }));
        } else {
            assert_eq!(told, Ok(()));
            self.note_limits(event, limits);
        }
    }

    fn watch(&mut self) {
        let now = self.lists.now;
        let expected: Vec<_> = (0..EVENTS)
            .flat_map(|event| {
                self.lists
                    .watch(event)
                    .into_iter()
                    .map(move |(limit, state)| (id(event), limit, state))
            })
            .map(|changed| (now, changed))
            .collect();
        let mut told = vec![];
        self.aggregator.watch(now, |change| told.push(*change));
        let mut statuses = vec![];
        self.aggregator.limits(|status| statuses.push(*status));
        for change in &told {
            assert_eq!(change.is_raised(), change.status.state == SlaState::Violated);
            assert!(statuses.contains(&change.status), "{change:?} {statuses:?}");
        }
        let told: Vec<_> = told
            .into_iter()
            .map(|t| (t.at, (t.status.event, t.status.limit, t.status.state)))
            .collect();
        assert_eq!(told, expected, "what was raised and cleared");
    }

    fn compare(&mut self, quantile: Quantile) {
        for event in 0..EVENTS {
            for window in 0..=self.setup.windows.len() {
                // The last one is the total.
                let cut = self.lists.cuts.get(window).copied();
                let period = if cut.is_some() { Scope::Window(window) } else { Scope::Total };
                self.compare_summary(event, cut.as_ref(), period, quantile);
                self.compare_slowest(event, cut.as_ref(), period);
            }
            assert!(
                self.aggregator
                    .summary(id(event), Scope::Window(self.setup.windows.len()))
                    .is_none()
            );
            self.compare_flights(event);
            assert_eq!(self.aggregator.outcomes(id(event)), self.lists.outcomes[event]);
        }
        self.compare_limits();
        assert_eq!(self.aggregator.counters(), self.lists.counters);
    }

    fn compare_summary(
        &mut self,
        event: usize,
        cut: Option<&Cut>,
        period: Scope,
        quantile: Quantile,
    ) {
        let recount = self.lists.recount(event, cut);
        let told = self.aggregator.summary(id(event), period);
        let one = self.aggregator.quantile(id(event), period, quantile);
        let (Some(told), Some(one)) = (told, one) else {
            assert!(
                recount.0.is_empty() && told.is_none() && one.is_none(),
                "{told:?} {one:?} of {recount:?}"
            );
            return;
        };
        recount.check(&told, (0, 0.0));
        recount.check_quantile(quantile.ppm(), one.0, one.1, (0, 0.0));
        let is_exact = self.lists.is_exact(event, cut);
        for accuracy in [told.accuracy, one.1] {
            assert_eq!(accuracy == Accuracy::Exact, is_exact, "{accuracy:?}");
        }
        // Within the range of the histogram, the bound is that of its scale.
        if self.setup.octaves == 40 && told.min > 10_000 && told.max < 200_000_000_000 {
            let share = 2_f64.powf(0.5 / f64::from(1_u32 << self.setup.scale)) - 1.0;
            assert!(
                f64::from(told.accuracy.max_relative_error_ppm()) <= share * 1e6 + 102.0,
                "{told:?}"
            );
        }
        assert_eq!(told.complete, self.lists.is_complete(event, cut));
        let covered = self.lists.covered(cut);
        assert!(told.covered.abs_diff(self.lists.time.told(covered.end - covered.start)) <= 1);
        let (_, values) = self.aggregator.describe(id(event), period).unwrap();
        let known: Vec<_> = values
            .buckets()
            .map(|bucket| (values.converter.value(bucket.up_to), bucket.count))
            .collect();
        match values.known {
            DistributionData::Exact(_) => {
                assert_eq!(known.into_iter().collect::<crate::numbers::Recount>().0, recount.0)
            }
            DistributionData::Counted { .. } if self.setup.octaves == 0 => {
                assert!(known.is_empty())
            }
            DistributionData::Counted { .. } => {
                assert_eq!(known.iter().map(|(_, count)| count).sum::<u64>(), recount.weight())
            }
        }
    }

    fn compare_slowest(&mut self, event: usize, cut: Option<&Cut>, period: Scope) {
        let mut room = [Exemplar::default(); 6];
        let (told, converter) = self.aggregator.slowest(id(event), period, &mut room);
        let told: Vec<_> = told.iter().map(|slow| (converter.value(slow.value()), *slow)).collect();
        let mut members = self.lists.members(event, cut);
        let mut largest: Vec<u64> = members.iter().map(|sample| sample.told).collect();
        largest.sort_unstable_by(|one, other| other.cmp(one));
        largest.truncate(self.setup.slowest);
        assert_eq!(told.iter().map(|(value, _)| *value).collect::<Vec<_>>(), largest);
        for (value, slow) in told {
            let is_it = |sample: &&Sample| {
                let tag_fits = match sample.kind {
                    Some(kind) => self.lists.flights.may_have(kind, slow.tag()),
                    None => slow.tag().is_none(),
                };
                (sample.told, sample.start, sample.source) == (value, slow.start(), slow.source())
                    && tag_fits
            };
            // Of those that are alike but for the tag, one of its own sort first.
            let is_like_it =
                |sample: &&Sample| is_it(sample) && sample.kind.is_some() == slow.tag().is_some();
            let place =
                members.iter().position(is_like_it).or_else(|| members.iter().position(is_it));
            let place =
                place.unwrap_or_else(|| panic!("{slow:?} of {value} is none of {members:?}"));
            members.swap_remove(place);
        }
    }

    fn compare_flights(&mut self, event: usize) {
        let told = self.aggregator.pairing(id(event));
        assert_eq!(told, self.lists.flights.pairing(event), "of event {event}");
        self.lists.flights.check_books(event, told);
        let told = self.aggregator.oldest(id(event));
        let Some((start, tags)) = self.lists.flights.oldest(event) else {
            assert_eq!(told, None);
            return;
        };
        let (age, tag) = told.unwrap();
        assert_eq!(age, self.lists.time.told(self.lists.now.saturating_sub(start)));
        assert!(tags.contains(&tag), "{tag} is none of {tags:?}");
    }

    fn compare_limits(&mut self) {
        let mut told = vec![];
        self.aggregator.limits(|status| told.push(*status));
        let mut told = told.into_iter();
        for event in 0..EVENTS {
            let limits = self.lists.limits[event].clone();
            let Limits { watched, quiet } = &limits;
            for watched in watched {
                let status = told.next().unwrap();
                let expected = SlaStatus {
                    event: id(event),
                    limit: Limit::Quantile(watched.threshold),
                    state: watched.machine.state,
                    over: watched.over,
                    count: watched.count,
                    observed: status.observed,
                    since: watched.machine.since,
                    raised: watched.machine.raised,
                    cleared: watched.machine.cleared,
                };
                assert_eq!(status, expected);
                self.compare_observed(event, watched, status.observed);
            }
            if let Some(quiet) = quiet {
                let seen = self.lists.seen[event];
                let is_violated = quiet.machine.state == SlaState::Violated;
                let expected = SlaStatus {
                    event: id(event),
                    limit: Limit::Silence(quiet.length),
                    state: quiet.machine.state,
                    over: is_violated.into(),
                    count: seen.is_some().into(),
                    observed: seen.map(|seen| self.lists.time.told(self.lists.now - seen)),
                    since: quiet.machine.since,
                    raised: quiet.machine.raised,
                    cleared: quiet.machine.cleared,
                };
                assert_eq!(told.next(), Some(expected));
            }
            let states = watched.iter().map(|watched| watched.machine.state);
            let mut states = states.chain(quiet.iter().map(|quiet| quiet.machine.state));
            let is_breached = states.any(|state| state == SlaState::Violated);
            assert_eq!(self.aggregator.is_breached(id(event)), is_breached);
        }
        assert_eq!(told.next(), None);
    }

    fn compare_observed(&mut self, event: usize, watched: &Watched, told: Option<u64>) {
        let threshold = watched.threshold;
        let window = self.setup.windows.iter().position(|spec| spec.length == threshold.window);
        let quantile = window.and_then(|window| {
            self.aggregator.quantile(id(event), Scope::Window(window), threshold.quantile)
        });
        if watched.hung > 0 && watched.is_broken() {
            let oldest = self.aggregator.oldest(id(event)).map(|(age, _)| age);
            assert_eq!(told, quantile.map(|(value, _)| value).max(oldest));
            return;
        }
        let Some((told, (_, accuracy))) = told.zip(quantile) else {
            assert!(told.is_none() && quantile.is_none(), "{told:?} {quantile:?}");
            return;
        };
        let members = self.lists.recount(event, Some(&watched.cut));
        members.check_quantile(threshold.quantile.ppm(), told, accuracy, (0, 0.0));
        if self.lists.counted(event, watched).len() == members.0.len() {
            assert_eq!(told > threshold.limit, watched.is_broken(), "{told} for {threshold:?}");
        }
    }
}
