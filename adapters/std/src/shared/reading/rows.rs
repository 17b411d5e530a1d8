//! The rows of a shared file: events, limits, windows, rings and threads. A row that cannot be
//! right is left out and counted.

use core::time::Duration;
use std::sync::Arc;

use tailwatch_core::{
    CoveredOutcomes, EventId, EventInfo, Limit, Quantile, Ring, Threshold, Unit, WindowSpec,
    sync::{
        Ordering::{Acquire, Relaxed},
        at, fence_at,
    },
};

use super::{tables::TableViews, text};
use crate::{
    events::{
        labels::{Labels, MAX_LABELS},
        numbers::{self, NamedEvent},
    },
    recording::identity::Identity,
    shared::{
        layout::{RING_ALIGN, TextField, event, label, limit, ring, thread, window},
        words::Words,
    },
};

/// A limit of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LimitRow {
    pub(crate) event: EventId,
    pub(crate) limit: Limit,
    /// Where it was set.
    pub(crate) origin: Arc<str>,
}

/// Where a ring is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingRow {
    /// In bytes from the beginning of the file.
    pub(crate) offset: usize,
    /// In records.
    pub(crate) capacity: usize,
    pub(crate) bytes: usize,
}

/// A thread that has or had a ring.
#[derive(Clone, Debug)]
pub(crate) struct ThreadRow {
    pub(crate) generation: u64,
    pub(crate) ring: usize,
    pub(crate) first: u64,
    /// `u64::MAX` while the thread has the ring.
    pub(crate) last: u64,
    /// The index and generation of the row of the thread before it moved.
    pub(crate) predecessor: Option<(usize, u64)>,
    pub(crate) identity: Identity,
}

/// Copies `WORDS` words of a row that begins with its generation. Returns `None` if the row was
/// never used, or is being written.
fn copy<const WORDS: usize>(row: Words<'_>) -> Option<[u64; WORDS]> {
    // Acquire, paired with the Release store that completes the row: its words are visible.
    let generation = row.at(0).load(at("shared: a look at a row", Acquire));
    if generation == 0 || generation % 2 == 1 {
        return None;
    }
    let words = core::array::from_fn(|word| row.load(word));
    still_has(row, generation).then_some(words)
}

/// Returns whether a row that was just copied still has this generation.
fn still_has(row: Words<'_>, generation: u64) -> bool {
    // Acquire, paired with the Release fence behind the store of an odd generation: if a word of a
    // later use was copied, the load below sees that generation.
    fence_at("shared: a row was copied", Acquire);
    row.at(0).load(Relaxed) == generation
}

/// Returns the bytes of a text in copied words.
fn text_of(words: &[u64], field: TextField) -> Vec<u8> {
    let stated = usize::try_from(words[field.at]).unwrap_or(usize::MAX);
    let field = &words[field.at + 1..field.at + 1 + field.words];
    let mut bytes: Vec<u8> = field.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(stated);
    bytes
}

/// Returns the event with this number.
fn event_id(number: u64) -> Option<EventId> {
    EventId::new(u16::try_from(number).ok()?)
}

/// The events in the rows from `from` on, and how many of these rows cannot be right.
pub(super) fn events(tables: &TableViews<'_>, from: usize) -> (Vec<NamedEvent>, u64) {
    let (mut events, mut invalid) = (Vec::new(), 0);
    for index in from..tables.events.published() {
        match named_event(tables, tables.events.row(index)) {
            Some(event) => events.push(event),
            None => invalid += 1,
        }
    }
    (events, invalid)
}

fn named_event(tables: &TableViews<'_>, row: Words<'_>) -> Option<NamedEvent> {
    let id = event_id(row.load(event::ID))?;
    let unit = match row.load(event::UNIT) {
        event::TIME => Unit::Time,
        event::ONE => Unit::One,
        _ => return None,
    };
    let outcomes = match row.load(event::OUTCOMES) {
        event::COVERS_OK => CoveredOutcomes::Ok,
        event::COVERS_ANY => CoveredOutcomes::Any,
        _ => return None,
    };
    let base = text::visible(&row.load_text(event::NAME));
    let pairs = labels(tables, id);
    // Before the name is kept: labels that cannot be right take no memory for ever.
    let labels = Labels::read(pairs.clone()).ok()?;
    let name = text::keep(&numbers::full_name(&base, &pairs));
    let interval = Duration::from_nanos(row.load(event::EXPECTED_INTERVAL_NS));
    let expected_interval = (unit == Unit::Time && !interval.is_zero()).then_some(interval);
    let info = EventInfo { unit, outcomes, expected_interval, ..EventInfo::new(id, name) };
    Some(NamedEvent { info, base: text::keep(&base), labels })
}

/// Returns the labels of an event, sorted by their keys: one more than an event can have, if there
/// are so many.
fn labels(tables: &TableViews<'_>, id: EventId) -> Vec<(String, String)> {
    let Some(table) = tables.labels else { return Vec::new() };
    let rows = (0..table.published()).map(|index| table.row(index));
    let of_event = rows.filter(|row| row.load(label::EVENT) == u64::from(id.get()));
    let shown = |row: Words<'_>, field| text::visible(&row.load_text(field));
    let mut labels: Vec<_> = of_event
        .take(MAX_LABELS + 1)
        .map(|row| (shown(row, label::KEY), shown(row, label::VALUE)))
        .collect();
    labels.sort_unstable();
    labels
}

/// The limits that hold, and how many rows cannot be right.
pub(super) fn limits(tables: &TableViews<'_>) -> (Vec<LimitRow>, u64) {
    let (mut limits, mut invalid) = (Vec::new(), 0);
    let Some(table) = tables.limits else { return (limits, 0) };
    for index in 0..table.published() {
        let Some(row) = copy::<{ limit::WORDS }>(table.row(index)) else { continue };
        if row[limit::RETIRED] != 0 {
            continue;
        }
        match limit_row(&row) {
            Some(row) => limits.push(row),
            None => invalid += 1,
        }
    }
    (limits, invalid)
}

fn limit_row(row: &[u64; limit::WORDS]) -> Option<LimitRow> {
    let max = row[limit::MAX];
    let threshold = |quantile, max| {
        let mut threshold = Threshold::value(quantile, max)
            .over(Duration::from_nanos(row[limit::WINDOW_NS]))
            .raise_after(Duration::from_nanos(row[limit::RAISE_AFTER_NS]));
        threshold = match row[limit::MIN_SAMPLES] {
            limit::AUTO => threshold.auto_min_samples(),
            count => threshold.min_samples(u32::try_from(count).unwrap_or(u32::MAX)),
        };
        match row[limit::CLEAR_AFTER_NS] {
            limit::ONE_SLICE => threshold,
            nanos => threshold.clear_after(Duration::from_nanos(nanos)),
        }
    };
    let limit = match row[limit::KIND] {
        limit::QUANTILE => {
            let ppm = u32::try_from(row[limit::QUANTILE_PPM]).ok()?;
            Limit::Quantile(threshold(Quantile::from_ppm(ppm)?, max))
        }
        limit::ERRORS => {
            let ppm = u32::try_from(max).ok().and_then(|max| 1_000_000_u32.checked_sub(max))?;
            Limit::Errors(threshold(Quantile::from_ppm(ppm)?, 0))
        }
        limit::SILENCE => Limit::Silence(Duration::from_nanos(max)),
        _ => return None,
    };
    let origin = text::visible(&text_of(row, limit::ORIGIN)).into();
    Some(LimitRow { event: event_id(row[limit::EVENT])?, limit, origin })
}

/// The windows of the program, and how many rows cannot be right.
pub(super) fn windows(tables: &TableViews<'_>) -> (Vec<WindowSpec>, u64) {
    let (mut windows, mut invalid) = (Vec::new(), 0);
    let Some(table) = tables.windows else { return (windows, 0) };
    for index in 0..table.published() {
        let row = table.row(index);
        let length = Duration::from_nanos(row.load(window::LENGTH_NS));
        match u16::try_from(row.load(window::SLICES)) {
            Ok(slices @ 1..) if !length.is_zero() => windows.push(WindowSpec { length, slices }),
            _ => invalid += 1,
        }
    }
    (windows, invalid)
}

/// Adds the rings in the rows from `rings.len()` on. A row that cannot be right becomes `None`.
/// `file_bytes` is the size of the file.
pub(super) fn add_rings(
    tables: &TableViews<'_>,
    file_bytes: u64,
    rings: &mut Vec<Option<RingRow>>,
) {
    for index in rings.len()..tables.rings.published() {
        let row = tables.rings.row(index);
        let row = ring_row(row).filter(|row| {
            let end = row.offset as u64 + row.bytes as u64;
            let is_apart = |other: &RingRow| {
                row.offset + row.bytes <= other.offset || other.offset + other.bytes <= row.offset
            };
            row.offset as u64 >= tables.end
                && end <= file_bytes
                && rings.iter().flatten().all(is_apart)
        });
        rings.push(row);
    }
}

fn ring_row(row: Words<'_>) -> Option<RingRow> {
    let number = |at| usize::try_from(row.load(at)).ok();
    let found = RingRow {
        offset: number(ring::OFFSET)?,
        capacity: number(ring::CAPACITY)?,
        bytes: number(ring::BYTES)?,
    };
    let layout = Ring::layout(found.capacity).ok()?;
    let is_valid = found.offset.is_multiple_of(RING_ALIGN)
        && found.bytes == layout.size()
        && found.offset.checked_add(found.bytes).is_some();
    is_valid.then_some(found)
}

/// Updates copies of all rows of the log of threads. A row that was never used, or is being
/// written, is `None`.
pub(super) fn update_threads(tables: &TableViews<'_>, threads: &mut Vec<Option<ThreadRow>>) {
    let published = tables.threads.published().max(threads.len());
    threads.resize_with(published, || None);
    for (index, known) in threads.iter_mut().enumerate() {
        let row = tables.threads.row(index);
        if let Some(known) = known {
            // The only field that changes within a generation.
            let last = row.load(thread::LAST);
            if still_has(row, known.generation) {
                known.last = last;
                continue;
            }
        }
        *known = copy::<{ thread::WORDS }>(row).and_then(|row| thread_row(&row));
    }
}

fn thread_row(row: &[u64; thread::WORDS]) -> Option<ThreadRow> {
    let predecessor = row[thread::PREDECESSOR].checked_sub(1);
    let predecessor = predecessor.and_then(|index| usize::try_from(index).ok());
    let name = text::visible(&text_of(row, thread::NAME));
    Some(ThreadRow {
        generation: row[thread::GENERATION],
        ring: usize::try_from(row[thread::RING]).ok()?,
        first: row[thread::FIRST],
        last: row[thread::LAST],
        predecessor: predecessor.map(|index| (index, row[thread::PREDECESSOR_GENERATION])),
        identity: Identity {
            name: name.into(),
            tid: Some(row[thread::TID]).filter(|tid| *tid != 0),
        },
    })
}
