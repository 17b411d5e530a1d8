//! A model of how STARTs and ENDs are paired: the rules of the table of open spans, applied to
//! maps.

use std::collections::BTreeMap;

use tailwatch_core::Pairing;

/// The index of the event, and the tick at which the span began. Spans that agree in both are
/// interchangeable.
pub(crate) type SpanKey = (usize, u64);

/// The open spans of a key.
#[derive(Debug)]
struct Open {
    count: u64,
    /// Each of the spans has the weight 2^`sampling`.
    sampling: u8,
    /// The tick of a loss of records, from which on it is not certain whether the spans are open.
    uncertain_since: Option<u64>,
}

/// Everything that has happened with a key.
#[derive(Debug, Default)]
struct History {
    /// The tags of all STARTs.
    tags: Vec<u64>,
    /// The number of ENDs and FORGETs.
    ends: u64,
    /// The number of ENDs that were paired with a START whose tag was known. The tag of an
    /// untracked START is not.
    paired_with_tag: u64,
}

#[derive(Debug)]
pub(crate) struct OpenSpans {
    /// How many keys fit into the table.
    capacity: usize,
    open: BTreeMap<SpanKey, Open>,
    /// The number of early ENDs, and the pass in which the last of them came.
    early: BTreeMap<SpanKey, (u64, u64)>,
    history: BTreeMap<SpanKey, History>,
    /// The counts of each event, except for `open`, `uncertain` and `early`.
    pairings: Vec<Pairing>,
    /// The number of STARTs of each event.
    starts: Vec<u64>,
    /// The number of ENDs and FORGETs of each event.
    ends: Vec<u64>,
}

impl OpenSpans {
    /// Creates the model of a table with this many entries, of which seven eighths may be used.
    pub(crate) fn new(events: usize, entries: usize) -> Self {
        Self {
            capacity: entries.saturating_sub((entries / 8).max(1)),
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            history: BTreeMap::new(),
            pairings: vec![Pairing::default(); events],
            starts: vec![0; events],
            ends: vec![0; events],
        }
    }

    fn has_room(&self) -> bool {
        self.open.len() + self.early.len() < self.capacity
    }

    /// Returns whether a span of this key is in the table.
    pub(crate) fn is_open(&self, key: SpanKey) -> bool {
        self.open.contains_key(&key)
    }

    /// Returns the number of open spans of `event`.
    fn open_in(&self, event: usize) -> u64 {
        self.open_of(event).map(|(_, open)| open.count).sum()
    }

    /// Makes room for `key` if it has no entry and the table is full. Of the events whose open
    /// spans began at several ticks, the one with the most open spans gives up the youngest, if it
    /// keeps enough more than the event of `key` has.
    fn make_room(&mut self, key: SpanKey) {
        if self.open.contains_key(&key) || self.early.contains_key(&key) || self.has_room() {
            return;
        }
        let events = 0..self.pairings.len();
        let youngest = events
            .filter(|event| self.open_of(*event).count() > 1)
            .filter_map(|event| self.open_of(event).map(|(key, _)| *key).max())
            .max_by_key(|(event, _)| (self.open_in(*event), *event));
        let Some(youngest) = youngest else { return };
        let count = self.open[&youngest].count;
        let kept = self.open_in(youngest.0) - count;
        if kept - kept / 16 > self.open_in(key.0) {
            self.open.remove(&youngest);
            self.pairings[youngest.0].untracked += count;
        }
    }

    pub(crate) fn start(&mut self, key: SpanKey, tag: u64, sampling: u8) {
        self.starts[key.0] += 1;
        self.make_room(key);
        let history = self.history.entry(key).or_default();
        history.tags.push(tag);
        if let Some((count, _)) = self.early.get_mut(&key) {
            *count -= 1;
            self.pairings[key.0].paired += 1;
            history.paired_with_tag += 1;
            self.early.retain(|_, (count, _)| *count > 0);
        } else if self.open.contains_key(&key) || self.has_room() {
            let open =
                self.open.entry(key).or_insert(Open { count: 0, sampling, uncertain_since: None });
            open.count += 1;
        } else {
            self.pairings[key.0].untracked += 1;
        }
    }

    /// Processes an END or a FORGET.
    pub(crate) fn end(&mut self, key: SpanKey, pass: u64) {
        self.ends[key.0] += 1;
        self.make_room(key);
        let history = self.history.entry(key).or_default();
        history.ends += 1;
        if let Some(open) = self.open.get_mut(&key) {
            open.count -= 1;
            self.pairings[key.0].paired += 1;
            history.paired_with_tag += 1;
            self.open.retain(|_, open| open.count > 0);
        } else if self.early.contains_key(&key) || self.has_room() {
            let early = self.early.entry(key).or_default();
            *early = (early.0 + 1, pass);
        } else {
            self.count_without_start(key.0, 1);
        }
    }

    fn count_without_start(&mut self, event: usize, count: u64) {
        let pairings = &mut self.pairings[event];
        for _ in 0..count {
            if pairings.untracked > 0 {
                pairings.untracked -= 1;
                pairings.paired += 1;
            } else {
                pairings.orphans += 1;
            }
        }
    }

    pub(crate) fn expire_orphans(&mut self, pass: u64) {
        let expired: Vec<_> = self.early.extract_if(.., |_, (_, last)| *last < pass).collect();
        for (key, (count, _)) in expired {
            self.count_without_start(key.0, count);
        }
    }

    /// Notes that records were lost at tick `now`, or that the clock restarted at this tick. In the
    /// latter case, ticks after `now` are from before the restart, and are lowered to it.
    pub(crate) fn mark_lost(&mut self, now: u64) {
        for open in self.open.values_mut() {
            open.uncertain_since = Some(open.uncertain_since.map_or(now, |since| since.min(now)));
        }
    }

    /// Abandons the spans that have been uncertain for more than `ticks`.
    pub(crate) fn abandon(&mut self, now: u64, ticks: u64) {
        let is_over = |since: u64| now.checked_sub(since).is_some_and(|age| age > ticks);
        let gone: Vec<_> =
            self.open.extract_if(.., |_, open| open.uncertain_since.is_some_and(is_over)).collect();
        for (key, open) in gone {
            self.pairings[key.0].abandoned += open.count;
        }
    }

    fn open_of(&self, event: usize) -> impl Iterator<Item = (&SpanKey, &Open)> {
        self.open.iter().filter(move |((other, _), _)| *other == event)
    }

    /// Returns the weight of the open spans of `event` whose start tick satisfies `is_over`.
    pub(crate) fn hung(&self, event: usize, is_over: impl Fn(u64) -> bool) -> u64 {
        self.open_of(event)
            .filter(|((_, start), _)| is_over(*start))
            .map(|(_, open)| open.count << open.sampling)
            .sum()
    }

    /// Returns the start tick of the oldest open span of `event`, and the tags that it can have.
    pub(crate) fn oldest(&self, event: usize) -> Option<(u64, &[u64])> {
        let (key, _) = self.open_of(event).min_by_key(|((_, start), _)| *start)?;
        Some((key.1, &self.history[key].tags))
    }

    pub(crate) fn pairing(&self, event: usize) -> Pairing {
        let uncertain = |open: &Open| if open.uncertain_since.is_some() { open.count } else { 0 };
        let early = self.early.iter().filter(|((other, _), _)| *other == event);
        let mut pairing = self.pairings[event];
        pairing.open = self.open_of(event).map(|(_, open)| open.count).sum();
        pairing.uncertain = self.open_of(event).map(|(_, open)| uncertain(open)).sum();
        pairing.early = early.map(|(_, (count, _))| count).sum();
        pairing
    }

    /// Checks that the counts add up: STARTs = paired + open + untracked + abandoned, and ENDs =
    /// paired + early + orphans.
    pub(crate) fn check_sums(&self, event: usize, pairing: Pairing) {
        let Pairing { paired, open, untracked, abandoned, early, orphans, .. } = pairing;
        assert_eq!(self.starts[event], paired + open + untracked + abandoned);
        assert_eq!(self.ends[event], paired + early + orphans);
    }

    /// Returns whether an exemplar of a span with this key can have this tag. Interchangeable spans
    /// may swap their tags. Any other span has the tag of its START, unless the START never came,
    /// came after the END had expired, or found no room in the table.
    pub(crate) fn may_have(&self, key: SpanKey, tag: Option<u64>) -> bool {
        let History { tags, ends, paired_with_tag } = &self.history[&key];
        match tag {
            Some(tag) => tags.contains(&tag) && *paired_with_tag > 0,
            None => paired_with_tag < ends,
        }
    }
}
