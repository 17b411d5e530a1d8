//! The reader: computes from the rings of another program what that program's own drain would.

#![allow(unsafe_code, reason = "readers borrow from the mapping in the same struct")]

use core::time::Duration;
use std::{collections::HashSet, sync::Arc, time::Instant};

use tailwatch_core::{
    Clock, Drained, EventId, Kind, Limit, Reader, ReaderStart, Ring, Shape, WindowSpec,
};

use super::{
    file::{FileState, SharedFile},
    rows::{LimitRow, RingRow, ThreadRow},
};
use crate::{
    clock::{Anchor, HostClock, nanos},
    drain::{
        SetupError,
        outside::{OutsideDrain, OutsideSetup},
        poll_interval::{MIN_PERIOD, PollInterval},
    },
    events::numbers::NamedEvent,
    recording::identity::Identity,
    report::{Report, health::Health},
    shared::file_error::{SharedFileError, SharedFileProblem},
};

/// The longest time for which a reader leaves the rings unread.
const MAX_PERIOD: Duration = Duration::from_millis(50);

/// The largest size of the statistics that a reader keeps of a file.
const MAX_STATISTICS_BYTES: usize = 2 << 30;

/// The number of exact samples per event.
const EXACT_SAMPLES: usize = 512;

/// How long after the last pass of the program's drain a record may have been written. In a
/// damaged file, ticks can be anything.
const LONGEST_WITHOUT_DRAIN: Duration = Duration::from_hours(1);

/// Reads the rings of a shared file, and computes a [`Report`] as the program's own collector does:
/// with statistics over windows and since the beginning, limits and their states, and open spans.
///
/// A reader keeps its own position in each ring and writes nothing into the file, so any number of
/// them can read at once, and the program does not notice them. A reader that is too slow loses
/// records, and counts them: [`Report::health`] satisfies
/// `produced == delivered + overwritten + pending` for this reader. What was overwritten before it
/// began does not count as its loss, but makes the statistics incomplete.
///
/// Call [`pass`](Self::pass) regularly, and [`report`](Self::report) when needed. The report of a
/// program that has died shows the time of its death: what the rings still hold, and which spans
/// were open.
///
/// The names of events are kept until the process ends: at most 2,047 names and their labels per
/// file, and each name once.
///
/// ```
/// use tailwatch::{Collector, Trading, measure, shared::{self, SharedReader}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let collector = Collector::builder().share("doc-reader").start()?;
/// collector.install()?;
/// let mut reader = SharedReader::from_oldest(shared::find("doc-reader")?)?;
/// drop(measure(Trading::OrderPlacement));
/// reader.pass()?;
/// let report = reader.report();
/// let total = report.event(Trading::OrderPlacement).and_then(|event| event.total.as_ref());
/// assert_eq!(total.map(|total| total.summary.count), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedReader {
    // Declared before `file`, and therefore dropped first: they borrow from its mapping.
    rings: Vec<Option<OutsideRing>>,
    rows: Vec<Option<RingRow>>,
    threads: Vec<Option<ThreadRow>>,
    drain: OutsideDrain,
    start: ReaderStart,
    /// The number of rows of events that were taken over.
    event_rows: usize,
    /// The limits that were taken over.
    limits: Vec<LimitRow>,
    /// Rows of the file that cannot be right, or for which the statistics have no room.
    invalid_rows: u64,
    /// Rows of limits that cannot be right at present.
    invalid_limits: u64,
    /// Records whose thread is not known.
    unknown_records: u64,
    /// What became of the program, as of the last pass.
    state: FileState,
    /// The moment of the last pass.
    now: Anchor,
    /// Whether that is the last moment that the file shows.
    is_over: bool,
    file: Arc<SharedFile>,
}

/// A ring of the file, and how far it was read.
#[derive(Debug)]
struct OutsideRing {
    reader: Reader<'static>,
    interval: PollInterval,
    /// Up to this sequence number the pass reads.
    target: usize,
    /// How many records were read or lost up to the last pass.
    read_before: u64,
    /// The rows of the threads that had the ring.
    tenants: Vec<usize>,
}

impl SharedReader {
    /// Creates a reader that begins with the oldest records that are whole, and has the windows of
    /// the program.
    ///
    /// # Errors
    /// Returns an error if the file was truncated, or if no statistics of its windows and events
    /// can be kept.
    pub fn from_oldest(file: SharedFile) -> Result<Self, SharedFileError> {
        Self::new(file, ReaderStart::Oldest, &[])
    }

    /// Creates a reader that begins at the present, and has the windows of the program.
    ///
    /// # Errors
    /// As for [`from_oldest`](Self::from_oldest).
    pub fn from_now(file: SharedFile) -> Result<Self, SharedFileError> {
        Self::new(file, ReaderStart::Now, &[])
    }

    /// Creates a reader that begins there, with these windows, or with those of the program if
    /// there are none.
    ///
    /// # Errors
    /// As for [`from_oldest`](Self::from_oldest).
    pub fn new(
        file: SharedFile,
        start: ReaderStart,
        windows: &[WindowSpec],
    ) -> Result<Self, SharedFileError> {
        let file = Arc::new(file);
        file.check_size()?;
        let (of_program, mut invalid_rows) = file.windows();
        let mut windows = if windows.is_empty() { of_program } else { windows.to_vec() };
        if windows.is_empty() {
            windows = WindowSpec::DEFAULT.to_vec();
        }
        windows.sort_unstable_by_key(|window| window.length);
        let mut rows = Vec::new();
        file.add_rings(&mut rows);
        let state = file.state();
        let rings: Vec<_> = rows
            .iter()
            .map(|row| row.as_ref().map(|row| OutsideRing::new(&file, row, start)))
            .collect();
        let now = if state == FileState::Live && file.is_of_this_boot() {
            Anchor::take(&file.clock())
        } else {
            last_moment(&file, &rows)
        };
        let event_rows = file.event_rows();
        let (events, invalid) = file.events(0);
        let rows_of_events = events.len() as u64;
        let events = distinct(events);
        invalid_rows += invalid + rows_of_events - events.len() as u64;
        let drain = statistics(&file, windows, events, rows.len(), (now, start))?;
        invalid_rows += rows.iter().filter(|row| row.is_none()).count() as u64;
        let mut reader = Self {
            rings,
            rows,
            threads: Vec::new(),
            drain,
            start,
            event_rows,
            limits: Vec::new(),
            invalid_rows,
            invalid_limits: 0,
            unknown_records: 0,
            state,
            now,
            is_over: false,
            file,
        };
        reader.take_over_events();
        let is_gone = |ring: &OutsideRing| ring.reader.first_seq() > 0;
        if reader.rings.iter().flatten().any(is_gone) || reader.file.hidden().records > 0 {
            reader.drain.mark_incomplete();
        }
        Ok(reader)
    }

    /// Returns the file that is read.
    pub fn file(&self) -> &SharedFile {
        &self.file
    }

    /// Returns where the reader began.
    pub fn start(&self) -> ReaderStart {
        self.start
    }

    /// Returns how many rows of the file cannot be right, or have no room in the statistics.
    pub fn invalid_rows(&self) -> u64 {
        self.invalid_rows + self.invalid_limits
    }

    /// Returns how many of the records that were read are of an unknown thread.
    pub fn unknown_records(&self) -> u64 {
        self.unknown_records
    }

    /// Returns how many records this reader has read, and how many it has missed since it began.
    pub fn total(&self) -> Drained {
        let mut sum = Drained::default();
        for ring in self.rings.iter().flatten() {
            let total = ring.reader.total();
            sum.delivered = sum.delivered.wrapping_add(total.delivered);
            sum.overwritten = sum.overwritten.wrapping_add(total.overwritten);
        }
        sum
    }

    /// Reads every ring up to where it is filled now, and evaluates the limits. Returns the time
    /// until the next pass is due, before which no ring should become full.
    ///
    /// # Errors
    /// Returns an error if the file was truncated.
    pub fn pass(&mut self) -> Result<Duration, SharedFileError> {
        self.file.check_size()?;
        self.state = self.file.state();
        self.add_rings();
        let clock = self.clock();
        let as_of = clock.map(|clock| clock.start());
        for ring in self.rings.iter_mut().flatten() {
            ring.refresh();
        }
        // After the heads: a thread and an event are in the file before their first record.
        self.file.update_threads(&mut self.threads);
        self.take_over_events();
        let now = self.now(clock);
        self.drain.begin_pass(now);
        self.read_rings();
        self.drain.end_pass(as_of.unwrap_or(now.ticks));
        let instant = Instant::now();
        let max_period = self.file.max_period().saturating_mul(4).clamp(MIN_PERIOD, MAX_PERIOD);
        let due = self.rings.iter_mut().flatten().map(|ring| ring.due_at(instant, max_period));
        let due = due.min().map_or(max_period, |due| due.saturating_duration_since(instant));
        Ok(if clock.is_some() { due } else { max_period })
    }

    /// Returns the clock of the program, if it is alive and its clock can be read here.
    fn clock(&self) -> Option<HostClock> {
        let is_live = self.state == FileState::Live && self.file.is_of_this_boot();
        is_live.then(|| self.file.clock())
    }

    /// Returns the moment of a pass: the present if the program is alive, or else the last one that
    /// the file shows, which does not change any more.
    fn now(&mut self, clock: Option<HostClock>) -> Anchor {
        if let Some(clock) = clock {
            self.now = Anchor::take(&clock);
            self.is_over = false;
        } else if !self.is_over {
            self.is_over = true;
            let last = last_moment(&self.file, &self.rows);
            // The program may have died some time before the last pass found it alive.
            if last.ticks > self.now.ticks {
                self.now = last;
            }
        }
        self.now
    }

    /// Adds readers of the rings that are new in the file. All their records are from after the
    /// reader began.
    fn add_rings(&mut self) {
        self.file.add_rings(&mut self.rows);
        for row in &self.rows[self.rings.len()..] {
            self.invalid_rows += u64::from(row.is_none());
            let ring =
                row.as_ref().map(|row| OutsideRing::new(&self.file, row, ReaderStart::First));
            self.rings.push(ring);
        }
    }

    /// Takes over events and limits that are new in the file.
    fn take_over_events(&mut self) {
        let rows = self.file.event_rows();
        if rows > self.event_rows {
            let (events, invalid) = self.file.events(self.event_rows);
            self.event_rows = rows;
            self.invalid_rows += invalid;
            for event in events {
                self.invalid_rows += u64::from(!self.drain.add_event(event));
            }
        }
        let (limits, invalid) = self.file.limits();
        self.invalid_limits = invalid;
        if limits == self.limits {
            return;
        }
        let mut events: Vec<EventId> =
            limits.iter().chain(&self.limits).map(|row| row.event).collect();
        events.sort_unstable();
        events.dedup();
        for event in events {
            let of_event = |rows: &[LimitRow]| -> Vec<(Limit, Arc<str>)> {
                let rows = rows.iter().filter(|row| row.event == event);
                rows.map(|row| (row.limit, Arc::clone(&row.origin))).collect()
            };
            let new = of_event(&limits);
            if new != of_event(&self.limits) && self.drain.set_limits(event, new).is_err() {
                self.invalid_rows += 1;
            }
        }
        self.limits = limits;
    }

    /// Reads all rings up to their targets, in an order in which the records of a thread that has
    /// moved to another ring come after those in the former one.
    fn read_rings(&mut self) {
        self.assign_tenants();
        loop {
            let mut has_read = false;
            for index in 0..self.rings.len() {
                has_read |= self.read_ring(index, true);
            }
            if !has_read {
                break;
            }
        }
        // What waits for a predecessor that is not there, as in a damaged file.
        for index in 0..self.rings.len() {
            self.read_ring(index, false);
        }
    }

    /// Finds out which threads had which ring.
    fn assign_tenants(&mut self) {
        for ring in self.rings.iter_mut().flatten() {
            ring.tenants.clear();
        }
        for (index, thread) in self.threads.iter().enumerate() {
            let Some(thread) = thread else { continue };
            if let Some(Some(ring)) = self.rings.get_mut(thread.ring) {
                ring.tenants.push(index);
            }
        }
    }

    /// Reads one ring up to its target, or up to a record that `waits` for a predecessor. Returns
    /// whether it has read any.
    fn read_ring(&mut self, index: usize, waits: bool) -> bool {
        let mut has_read = false;
        loop {
            let Some(Some(ring)) = self.rings.get(index) else { return has_read };
            let left = ring.left();
            if left == 0 {
                return has_read;
            }
            let seq = ring.reader.next_seq();
            let (tenant, records) = self.tenant(ring, seq);
            if waits
                && let Some(row) = tenant
                && self.waits_for_predecessor(row)
            {
                return has_read;
            }
            let unknown = Identity { name: "unknown".into(), tid: None };
            let identity = tenant
                .and_then(|row| self.threads[row].as_ref())
                .map_or(unknown, |thread| thread.identity.clone());
            let Some(Some(ring)) = self.rings.get_mut(index) else { return has_read };
            let drained = self.drain.drain(&identity, &mut ring.reader, left.min(records));
            if tenant.is_none() {
                self.unknown_records += drained.delivered;
            }
            has_read = true;
        }
    }

    /// Returns the row of the thread that wrote the record with this number, and how many records
    /// follow until the first one of another thread.
    fn tenant(&self, ring: &OutsideRing, seq: usize) -> (Option<usize>, usize) {
        let mut until_next = usize::MAX;
        for &row in &ring.tenants {
            let Some(thread) = &self.threads[row] else { continue };
            let first = usize::try_from(thread.first).unwrap_or(usize::MAX);
            let ahead = first.wrapping_sub(seq);
            if ahead > 0 && ahead <= usize::MAX / 2 {
                until_next = until_next.min(ahead);
                continue;
            }
            let last = usize::try_from(thread.last).unwrap_or(usize::MAX);
            let left =
                if thread.last == u64::MAX { usize::MAX / 2 } else { last.wrapping_sub(seq) };
            if left > 0 && left <= usize::MAX / 2 {
                return (Some(row), left);
            }
        }
        (None, until_next)
    }

    /// Returns whether records of the thread of this row, from before it moved to its ring, are not
    /// read yet. Makes them available if the ring has them.
    fn waits_for_predecessor(&mut self, row: usize) -> bool {
        let predecessor = self.threads[row].as_ref().and_then(|thread| thread.predecessor);
        let Some((before, generation)) = predecessor else { return false };
        // One that was used again counts as read.
        let Some(Some(before)) = self.threads.get(before) else { return false };
        if before.generation != generation || before.last == u64::MAX {
            return false;
        }
        let Some(Some(ring)) = self.rings.get_mut(before.ring) else { return false };
        let last = usize::try_from(before.last).unwrap_or(usize::MAX);
        let unread = last.wrapping_sub(ring.reader.next_seq());
        if unread == 0 || unread > usize::MAX / 2 {
            return false;
        }
        if ring.left() == 0 {
            // The thread has moved since its former ring was refreshed, and may have overwritten
            // that ring several times before.
            ring.reader.refresh();
            let unread = last.wrapping_sub(ring.reader.next_seq());
            if unread <= ring.reader.pending() {
                ring.target = last;
            }
        }
        ring.left() > 0
    }

    /// Returns the report as of the last pass.
    pub fn report(&mut self) -> Report {
        let hidden = self.file.hidden();
        let total = self.total();
        let rings = || self.rings.iter().flatten().map(|ring| &ring.reader);
        self.drain.report(Health {
            produced: rings().map(Reader::produced).fold(0, u64::wrapping_add),
            delivered: total.delivered,
            overwritten: total.overwritten,
            pending: rings().map(|reader| reader.pending() as u64).fold(0, u64::wrapping_add),
            unregistered: hidden.unregistered,
            hidden_threads: hidden.threads,
            hidden_records: hidden.records,
            enabled: self.file.is_recording() && self.state == FileState::Live,
            has_drain: self.state == FileState::Live,
            ..Health::default()
        })
    }
}

impl OutsideRing {
    fn new(file: &Arc<SharedFile>, row: &RingRow, start: ReaderStart) -> Self {
        let ring: *const Ring = file.ring(row);
        // SAFETY: the ring lies in the mapping of the file, which `SharedReader` keeps and drops
        // after its rings. No function of this module lets the reader leave.
        let ring: &'static Ring = unsafe { &*ring };
        let reader = match start {
            ReaderStart::Oldest => ring.reader_from_oldest(),
            ReaderStart::Now => ring.reader_from_now(),
            ReaderStart::First => ring.reader_from_first(),
        };
        let target = reader.first_seq();
        let interval = PollInterval::new(Instant::now());
        Self { reader, interval, target, read_before: 0, tenants: Vec::new() }
    }

    /// Makes everything that is in the ring now available.
    fn refresh(&mut self) {
        let pending = self.reader.refresh();
        self.target = self.reader.next_seq().wrapping_add(pending.min(self.reader.capacity()));
    }

    /// Returns how many records there are up to the target.
    fn left(&self) -> usize {
        if self.reader.pending() == 0 {
            return 0;
        }
        let left = self.target.wrapping_sub(self.reader.next_seq());
        if left > usize::MAX / 2 { 0 } else { left }
    }

    /// Returns when the ring has to be read again, and begins its next interval.
    fn due_at(&mut self, now: Instant, max_period: Duration) -> Instant {
        let capacity = self.reader.capacity();
        let read = self.reader.total().delivered.wrapping_add(self.reader.total().overwritten);
        let since = read.wrapping_sub(self.read_before);
        self.read_before = read;
        self.interval.update(since, capacity, now, max_period);
        self.interval.due_at()
    }
}

/// Returns the events without those whose number or name another one before them has.
fn distinct(events: Vec<NamedEvent>) -> Vec<NamedEvent> {
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let mut is_new = |event: &NamedEvent| ids.insert(event.info.id) & names.insert(event.info.name);
    events.into_iter().filter(|event| is_new(event)).collect()
}

/// Creates the statistics of these events of a file.
fn statistics(
    file: &SharedFile,
    windows: Vec<WindowSpec>,
    named: Vec<NamedEvent>,
    rings: usize,
    (now, start): (Anchor, ReaderStart),
) -> Result<OutsideDrain, SharedFileError> {
    let refuse = |reason: String| {
        SharedFileError::new(file.path(), SharedFileProblem::Statistics { reason })
    };
    let (capacity, limits) = file.capacities();
    let infos: Vec<_> = named.iter().map(|event| event.info).collect();
    let (events, limits) = (capacity.min(EventId::MAX.into()), limits.min(u16::MAX.into()));
    let shape = Shape {
        samples: EXACT_SAMPLES,
        limits,
        ids: usize::from(EventId::MAX) + 1,
        events,
        silences: events,
        failed: events,
        ..Shape::server(&infos, &windows)
    };
    let bytes = shape.bytes::<u32>();
    if bytes > MAX_STATISTICS_BYTES {
        return Err(refuse(format!(
            "its events and windows would take {bytes} bytes, more than {MAX_STATISTICS_BYTES}"
        )));
    }
    let clock = file.clock();
    let started = match start {
        ReaderStart::First | ReaderStart::Oldest => file.started().min(now.ticks),
        ReaderStart::Now => now.ticks,
    };
    let elapsed = clock.rate().nanos_in_ticks(now.ticks - started);
    let started = Anchor {
        ticks: started,
        monotonic: now
            .monotonic
            .checked_sub(Duration::from_nanos(elapsed))
            .unwrap_or(now.monotonic),
        unix_ns: file.created_unix_ns(),
    };
    let threads = rings.max(64);
    let setup = OutsideSetup { shape, windows, events: named, clock, started, now, threads };
    OutsideDrain::new(setup).map_err(|error| match error {
        SetupError::Config(error) => refuse(error.to_string()),
        SetupError::Limits { error, .. } => refuse(error.to_string()),
    })
}

/// Returns the last moment that a file shows: that of the newest record, or of the last pass of the
/// program's drain.
fn last_moment(file: &SharedFile, rows: &[Option<RingRow>]) -> Anchor {
    let anchor = file.anchor();
    let rate = file.clock().rate();
    let pass = file.heartbeat().max(anchor.ticks);
    let longest = rate.ticks_in_nanos(nanos(LONGEST_WITHOUT_DRAIN));
    let mut ticks = pass;
    for row in rows.iter().flatten() {
        let mut reader = file.ring(row).reader_from_oldest();
        reader.refresh();
        reader.drain(|record| {
            let has_time = !matches!(record.kind(), Kind::Forget | Kind::Tag | Kind::Invalid);
            if has_time && record.ticks() <= pass.saturating_add(longest) {
                ticks = ticks.max(record.ticks());
            }
        });
    }
    Anchor { ticks, unix_ns: anchor.unix_ns(rate, ticks), ..anchor }
}

#[cfg(test)]
mod tests;
