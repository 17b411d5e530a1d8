//! How STARTs and ENDs meet: the table of the design, over maps that are searched.

use std::collections::BTreeMap;

use tailwatch_core::Pairing;

/// Event and start tick: spans that agree in both are interchangeable.
pub(crate) type Kind = (usize, u64);

#[derive(Debug)]
struct Open {
    count: u64,
    sampling: u8,
    uncertain_since: Option<u64>,
}

/// All that there ever was of a kind.
#[derive(Debug, Default)]
struct History {
    tags: Vec<u64>,
    ends: u64,
    /// ENDs that met a START whose tag was known.
    met: u64,
}

#[derive(Debug)]
pub(crate) struct Flights {
    /// Kinds that fit into the table.
    room: usize,
    open: BTreeMap<Kind, Open>,
    /// How many, and the pass of the last one.
    early: BTreeMap<Kind, (u64, u64)>,
    history: BTreeMap<Kind, History>,
    books: Vec<Pairing>,
    starts: Vec<u64>,
    ends: Vec<u64>,
}

impl Flights {
    /// For so many events and a table with so many places, of which seven eighths are used.
    pub(crate) fn new(events: usize, places: usize) -> Self {
        Self {
            room: places.saturating_sub((places / 8).max(1)),
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            history: BTreeMap::new(),
            books: vec![Pairing::default(); events],
            starts: vec![0; events],
            ends: vec![0; events],
        }
    }

    fn has_room(&self) -> bool {
        self.open.len() + self.early.len() < self.room
    }

    pub(crate) fn start(&mut self, kind: Kind, tag: u64, sampling: u8) {
        self.starts[kind.0] += 1;
        let history = self.history.entry(kind).or_default();
        history.tags.push(tag);
        if let Some((count, _)) = self.early.get_mut(&kind) {
            *count -= 1;
            self.books[kind.0].paired += 1;
            history.met += 1;
            self.early.retain(|_, (count, _)| *count > 0);
        } else if self.open.contains_key(&kind) || self.has_room() {
            let open =
                self.open.entry(kind).or_insert(Open { count: 0, sampling, uncertain_since: None });
            open.count += 1;
        } else {
            self.books[kind.0].untracked += 1;
        }
    }

    /// Of an END, or of a FORGET.
    pub(crate) fn end(&mut self, kind: Kind, pass: u64) {
        self.ends[kind.0] += 1;
        let history = self.history.entry(kind).or_default();
        history.ends += 1;
        if let Some(open) = self.open.get_mut(&kind) {
            open.count -= 1;
            self.books[kind.0].paired += 1;
            history.met += 1;
            self.open.retain(|_, open| open.count > 0);
        } else if self.early.contains_key(&kind) || self.has_room() {
            let early = self.early.entry(kind).or_default();
            *early = (early.0 + 1, pass);
        } else {
            self.in_vain(kind.0, 1);
        }
    }

    fn in_vain(&mut self, event: usize, count: u64) {
        let books = &mut self.books[event];
        for _ in 0..count {
            if books.untracked > 0 {
                books.untracked -= 1;
                books.paired += 1;
            } else {
                books.orphans += 1;
            }
        }
    }

    pub(crate) fn expire_orphans(&mut self, pass: u64) {
        let settled: Vec<_> = self.early.extract_if(.., |_, (_, last)| *last < pass).collect();
        for (kind, (count, _)) in settled {
            self.in_vain(kind.0, count);
        }
    }

    /// Records were lost at `now`, or the clock began again there, where a later tick means nothing.
    pub(crate) fn mark_lost(&mut self, now: u64) {
        for open in self.open.values_mut() {
            open.uncertain_since = Some(open.uncertain_since.map_or(now, |since| since.min(now)));
        }
    }

    /// Gives up what has been uncertain for more than `ticks`.
    pub(crate) fn abandon(&mut self, now: u64, ticks: u64) {
        let is_over = |since: u64| now.checked_sub(since).is_some_and(|age| age > ticks);
        let gone: Vec<_> =
            self.open.extract_if(.., |_, open| open.uncertain_since.is_some_and(is_over)).collect();
        for (kind, open) in gone {
            self.books[kind.0].abandoned += open.count;
        }
    }

    fn open_of(&self, event: usize) -> impl Iterator<Item = (&Kind, &Open)> {
        self.open.iter().filter(move |((of, _), _)| *of == event)
    }

    /// The weight of the open spans of `event` for which `is_over` holds of their start.
    pub(crate) fn hung(&self, event: usize, is_over: impl Fn(u64) -> bool) -> u64 {
        self.open_of(event)
            .filter(|((_, start), _)| is_over(*start))
            .map(|(_, open)| open.count << open.sampling)
            .sum()
    }

    /// The oldest open span of `event`: its start, and the tags that it can have.
    pub(crate) fn oldest(&self, event: usize) -> Option<(u64, &[u64])> {
        let (kind, _) = self.open_of(event).min_by_key(|((_, start), _)| *start)?;
        Some((kind.1, &self.history[kind].tags))
    }

    pub(crate) fn pairing(&self, event: usize) -> Pairing {
        let uncertain = |open: &Open| if open.uncertain_since.is_some() { open.count } else { 0 };
        Pairing {
            open: self.open_of(event).map(|(_, open)| open.count).sum(),
            uncertain: self.open_of(event).map(|(_, open)| uncertain(open)).sum(),
            early: self
                .early
                .iter()
                .filter(|((of, _), _)| *of == event)
                .map(|(_, (count, _))| count)
                .sum(),
            ..self.books[event]
        }
    }

    /// That nothing was lost on the way: STARTs = paired + open + untracked + abandoned, ENDs = paired + early + orphans.
    pub(crate) fn check_books(&self, event: usize, told: Pairing) {
        let Pairing { paired, open, untracked, abandoned, early, orphans, .. } = told;
        assert_eq!(self.starts[event], paired + open + untracked + abandoned);
        assert_eq!(self.ends[event], paired + early + orphans);
    }

    /// Whether an END of this kind may be told with this tag. Those that collide are interchangeable; any other has the tag
    /// of its START, unless that never came, or came too late, or had no room.
    pub(crate) fn may_have(&self, kind: Kind, tag: Option<u64>) -> bool {
        let History { tags, ends, met } = &self.history[&kind];
        match tag {
            Some(tag) => tags.contains(&tag) && *met > 0,
            None => met < ends,
        }
    }
}
