//! The flight recorder: the newest records of a shared file, of every thread, in the order of time.

use core::fmt;
use std::{collections::HashMap, sync::Arc};

use tailwatch_core::{Clock, EventId, Kind, Outcome, Record};

use super::{
    file::SharedFile,
    rows::{RingRow, ThreadRow},
};
use crate::{clock::Anchor, shared::file_error::SharedFileError};

/// How many records are read at once. A reader checks so many together, up to the end of the ring's
/// array, and of these the oldest are lost first. So the sequence numbers of the others are known.
const CHUNK: usize = 256;

/// What the rings of a shared file hold: the newest records of every thread in the order of time,
/// and how many before them were overwritten. [`SharedFile::flight`] reads it.
///
/// That of a program that has died shows what the program did last, and which spans were open. The
/// memory is that of the rings, times about six.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flight {
    /// The rings, by their index.
    pub rings: Vec<FlightRing>,
    /// The events: their numbers, and their names with labels.
    pub events: Vec<(EventId, &'static str)>,
    /// The records, oldest first.
    pub records: Vec<FlightRecord>,
    /// Rows of the file that cannot be right.
    pub invalid_rows: u64,
}

/// How much of the records of a ring is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlightRing {
    /// The index of the ring in the file.
    pub index: usize,
    /// How many records it holds.
    pub capacity: usize,
    /// The sequence number of the next record: how many were written since the ring was made.
    pub head: u64,
    /// How many of them were overwritten, or may have been: those before the oldest whole one.
    pub overwritten: u64,
}

/// A record of a [`Flight`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlightRecord {
    /// The index of its ring.
    pub ring: usize,
    /// Its sequence number in the ring.
    pub sequence: u64,
    /// The record itself.
    pub record: Record,
    /// The name of its event with the labels. `None` if the program has no event of this number.
    pub event: Option<&'static str>,
    /// The name of the thread that wrote it. `None` if it is not known any more.
    pub thread: Option<Arc<str>>,
    /// The number that the operating system gave this thread.
    pub tid: Option<u64>,
    /// When it was written, in nanoseconds since 1970. A FORGET and a TAG do not have this time:
    /// theirs is that of the record before it, or of the one behind it if that was overwritten.
    pub unix_ns: u64,
    /// When its span or duration began, in nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// The duration of an END or DURATION in nanoseconds, or the number of a VALUE.
    pub duration_ns_or_value: Option<u64>,
    /// The tag of a START or TAG, and that of an END whose START is there.
    pub tag: Option<u64>,
    /// Whether its span was open at the end, if this is a START.
    pub open: Open,
    /// Whether later records of its thread, before the ones that are there, were overwritten: the
    /// thread has moved to a larger ring since, and has overwritten records there. The records of a
    /// thread for which this is `false` have no gap.
    pub before_gap: bool,
}

/// Whether a span was open at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// It has ended, or the record is not a START.
    #[default]
    No,
    /// There is no END, but a ring has lost records from the time after the START, or has records
    /// outside the file, and the END may be among them.
    Unknown,
    /// It was open.
    Yes,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        })
    }
}

impl FlightRecord {
    /// Returns the outcome of an END.
    pub fn outcome(&self) -> Option<Outcome> {
        self.record.kind().outcome()
    }
}

impl SharedFile {
    /// Reads the newest records of every thread.
    ///
    /// Those of a live program may be overwritten while they are read; they then count as
    /// overwritten.
    ///
    /// # Errors
    /// Returns an error if the file was truncated.
    pub fn flight(&self) -> Result<Flight, SharedFileError> {
        self.check_size()?;
        let (mut rows, mut threads) = (Vec::new(), Vec::new());
        self.add_rings(&mut rows);
        let mut rings: Vec<(FlightRing, Vec<Keyed>)> = rows
            .iter()
            .enumerate()
            .filter_map(|(index, row)| Some(self.read_ring(index, row.as_ref()?)))
            .collect();
        // After the records: their threads and events were in the file before them.
        self.update_threads(&mut threads);
        let (found, invalid_rows) = self.events(0);
        let events: Vec<_> = found.iter().map(|event| (event.info.id, event.info.name)).collect();
        let names: HashMap<EventId, &'static str> = events.iter().copied().collect();
        for (_, records) in &mut rings {
            assign_threads(records, &threads);
        }
        let before_gap = rows_before_gaps(&threads, &rings);
        let lost_until = self.lost_until(&rows, &rings);
        let mut all: Vec<Keyed> =
            rings.iter_mut().flat_map(|(_, records)| records.drain(..)).collect();
        all.sort_by_key(|keyed| (keyed.written_at, keyed.ring, keyed.sequence));
        let scale = Scale { anchor: self.anchor(), file: self };
        let mut records = with_spans(&all, &threads, &names, &scale, lost_until);
        for (record, keyed) in records.iter_mut().zip(&all) {
            record.before_gap = keyed.thread.is_some_and(|row| before_gap[row]);
        }
        let invalid_rows = invalid_rows + rows.iter().filter(|row| row.is_none()).count() as u64;
        let rings = rings.into_iter().map(|(ring, _)| ring).collect();
        Ok(Flight { rings, events, records, invalid_rows })
    }

    /// Returns up to which tick records may be missing, if any are: the END of a span that began
    /// before it may be among them.
    fn lost_until(
        &self,
        rows: &[Option<RingRow>],
        rings: &[(FlightRing, Vec<Keyed>)],
    ) -> Option<u64> {
        let hidden = self.hidden();
        if [hidden.threads, hidden.records, hidden.unregistered].iter().any(|count| *count > 0)
            || rows.iter().any(Option::is_none)
        {
            return Some(u64::MAX);
        }
        let lossy = rings.iter().filter(|(ring, _)| ring.overwritten > 0);
        let until = |records: &[Keyed]| match records.first() {
            Some(first) if records.iter().any(|keyed| has_time(keyed.record)) => first.written_at,
            // When the last of the lost ones was written is not known.
            _ => u64::MAX,
        };
        lossy.map(|(_, records)| until(records)).max()
    }

    /// Reads what a ring holds: the newest records, without a gap.
    fn read_ring(&self, index: usize, row: &RingRow) -> (FlightRing, Vec<Keyed>) {
        let mut reader = self.ring(row).reader_from_oldest();
        reader.refresh();
        let (mut records, mut written_at) = (Vec::new(), 0);
        while reader.pending() > 0 {
            let mut chunk = Vec::with_capacity(CHUNK);
            let up_to_end = row.capacity - (reader.next_seq() & (row.capacity - 1));
            let drained = reader.drain_up_to(CHUNK.min(up_to_end), |record| chunk.push(record));
            if drained.delivered == 0 && drained.overwritten == 0 {
                break;
            }
            if drained.overwritten > 0 {
                // The program has overtaken this reader. What was read before is older than that.
                records.clear();
                written_at = 0;
            }
            let first = reader.next_seq().wrapping_sub(chunk.len());
            for (offset, record) in chunk.into_iter().enumerate() {
                if has_time(record) {
                    written_at = written_at.max(record.ticks());
                }
                let sequence = first.wrapping_add(offset) as u64;
                records.push(Keyed { ring: index, sequence, written_at, record, thread: None });
            }
        }
        set_first_times(&mut records);
        let head = (reader.first_seq() as u64).wrapping_add(reader.produced());
        let overwritten = head.wrapping_sub(records.len() as u64);
        (FlightRing { index, capacity: row.capacity, head, overwritten }, records)
    }
}

/// A record with what it is sorted by.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    ring: usize,
    sequence: u64,
    /// The tick at which it was written, or at which the record before it was.
    written_at: u64,
    record: Record,
    /// The row of its thread.
    thread: Option<usize>,
}

/// Returns whether the tick of a record is that at which it was written. The tick of a FORGET or
/// TAG is that of its span.
fn has_time(record: Record) -> bool {
    !matches!(record.kind(), Kind::Forget | Kind::Tag | Kind::Invalid)
}

/// Sets the times of the first records of a ring if they do not have their own, and those before
/// them are gone: to that of the first record that has one, or else to that of their spans.
fn set_first_times(records: &mut [Keyed]) {
    let first = records.iter().position(|keyed| has_time(keyed.record));
    let (untimed, timed) = records.split_at_mut(first.unwrap_or(records.len()));
    let mut written_at = timed.first().map_or(0, |keyed| keyed.written_at);
    for keyed in untimed {
        if timed.is_empty() {
            written_at = written_at.max(keyed.record.ticks());
        }
        keyed.written_at = written_at;
    }
}

/// Finds the threads that wrote the records of a ring.
fn assign_threads(records: &mut [Keyed], threads: &[Option<ThreadRow>]) {
    let Some(ring) = records.first().map(|keyed| keyed.ring) else { return };
    for (row, thread) in threads.iter().enumerate() {
        let Some(thread) = thread.as_ref().filter(|thread| thread.ring == ring) else { continue };
        let from = records.partition_point(|keyed| keyed.sequence < thread.first);
        let to = records.partition_point(|keyed| keyed.sequence < thread.last);
        for keyed in records.get_mut(from..to).unwrap_or_default() {
            keyed.thread = Some(row);
        }
    }
}

/// Returns for each row of a thread whether later records of the thread, before the ones that are
/// there, were overwritten.
fn rows_before_gaps(
    threads: &[Option<ThreadRow>],
    rings: &[(FlightRing, Vec<Keyed>)],
) -> Vec<bool> {
    let mut before_gap = vec![false; threads.len()];
    let predecessor_of = |row: usize| {
        let (index, generation) = threads.get(row)?.as_ref()?.predecessor?;
        let before = threads.get(index)?.as_ref()?;
        (before.generation == generation).then_some(index)
    };
    let mut is_newest = vec![true; threads.len()];
    for before in (0..threads.len()).filter_map(predecessor_of) {
        is_newest[before] = false;
    }
    for newest in (0..threads.len()).filter(|row| is_newest[*row]) {
        let (mut row, mut has_gap) = (newest, false);
        // In a damaged file, the rows may form a circle.
        for _ in 0..threads.len() {
            before_gap[row] |= has_gap;
            let Some(thread) = &threads[row] else { break };
            let ring = rings.iter().find(|(ring, _)| ring.index == thread.ring);
            has_gap |= ring.is_none_or(|(ring, _)| ring.overwritten > thread.first);
            let Some(before) = predecessor_of(row) else { break };
            row = before;
        }
    }
    before_gap
}

/// Converts ticks to wall-clock time.
struct Scale<'f> {
    anchor: Anchor,
    file: &'f SharedFile,
}

impl Scale<'_> {
    fn unix_ns(&self, ticks: u64) -> u64 {
        self.anchor.unix_ns(self.file.clock().rate(), ticks)
    }
}

/// Finds the START of each END, and the spans that were open at the end. Records were lost up to
/// the tick `lost_until`, if any.
fn with_spans(
    all: &[Keyed],
    threads: &[Option<ThreadRow>],
    names: &HashMap<EventId, &'static str>,
    scale: &Scale<'_>,
    lost_until: Option<u64>,
) -> Vec<FlightRecord> {
    // For each event and start tick, the tags of the STARTs, and how many of them have ended. Two
    // spans of an event may begin at the same tick.
    let mut spans: HashMap<(Option<EventId>, u64), (Vec<u64>, usize)> = HashMap::new();
    for Keyed { record, .. } in all {
        let span = spans.entry((record.event(), start_of(*record))).or_default();
        match record.kind() {
            Kind::Start => span.0.push(record.payload()),
            Kind::Forget if !record.is_negative_difference() => span.1 += 1,
            kind if kind.outcome().is_some() => span.1 += 1,
            _ => {}
        }
    }
    let rate = scale.file.clock().rate();
    let mut seen: HashMap<(Option<EventId>, u64), usize> = HashMap::new();
    let record_of = |keyed: &Keyed| {
        let Keyed { ring, sequence, written_at, record, thread } = *keyed;
        let thread = thread.and_then(|row| threads[row].as_ref());
        let key = (record.event(), start_of(record));
        let (tags, ends) = spans.get(&key).map_or((&[][..], 0), |(tags, ends)| (&tags[..], *ends));
        let (mut tag, mut open) = (None, Open::No);
        match record.kind() {
            Kind::Start => {
                tag = Some(record.payload());
                let number = seen.entry(key).or_default();
                *number += 1;
                // Of several that began at the same tick, the last ones are taken to be open.
                if *number > ends {
                    let may_have_ended = lost_until.is_some_and(|lost| lost > record.ticks());
                    open = if may_have_ended { Open::Unknown } else { Open::Yes };
                }
            }
            Kind::Tag => tag = Some(record.payload()),
            Kind::Duration | Kind::Value | Kind::Invalid => {}
            // An END or FORGET, if all STARTs that it may belong to have the same tag.
            _ => tag = tags.first().filter(|first| tags.iter().all(|tag| tag == *first)).copied(),
        }
        let is_duration = record.kind() == Kind::Duration || record.kind().outcome().is_some();
        FlightRecord {
            ring,
            sequence,
            record,
            event: record.event().and_then(|event| names.get(&event).copied()),
            thread: thread.map(|thread| Arc::clone(&thread.identity.name)),
            tid: thread.and_then(|thread| thread.identity.tid),
            unix_ns: scale.unix_ns(written_at),
            start_unix_ns: scale.unix_ns(start_of(record)),
            duration_ns_or_value: match record.kind() {
                Kind::Value => Some(record.payload()),
                _ if is_duration => Some(rate.nanos_in_ticks(record.payload())),
                _ => None,
            },
            tag,
            open,
            before_gap: false,
        }
    };
    all.iter().map(record_of).collect()
}

/// Returns the tick at which the span or duration of a record began, or at which it was written.
fn start_of(record: Record) -> u64 {
    match record.kind() {
        Kind::Start | Kind::Value | Kind::Forget | Kind::Tag | Kind::Invalid => record.ticks(),
        _ => record.ticks().saturating_sub(record.payload()),
    }
}
