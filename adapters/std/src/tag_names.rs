//! A side table of the texts from which tags were made.
//!
//! The texts lie in a ring of slots, of which the oldest is overwritten. Each slot leads to the
//! next older text whose tag has the same lower bits, so a search reads only a few slots.
//!
//! Nothing orders the accesses of several threads to a slot. A slot contains a checksum of its
//! content and its position instead. What another thread is just writing has a wrong checksum and
//! is not found.

use core::{
    array, fmt,
    hash::{Hash, Hasher},
    iter,
};
use std::{hash::DefaultHasher, sync::Arc};

use tailwatch_core::{
    MAX_PAYLOAD,
    sync::{AtomicUsize, Ordering::Relaxed},
    tag_of,
};

/// The largest number of texts in a table.
const MAX_NAMES: usize = 1 << 20;

/// How many bytes of a text are kept, so that a slot is a cache line.
const TEXT_BYTES: usize = 40;

/// The largest size of a text as it is shown, with the `…` of one that was cut.
pub(crate) const MAX_SHOWN_BYTES: usize = TEXT_BYTES + '…'.len_utf8();

/// The numbers in a slot: its checksum, the position of the next older text, the tag with the
/// length of the text, and the text.
const WORDS: usize = 3 + TEXT_BYTES / 8;

/// Where the length of the text begins in the number that contains the tag.
const LEN_SHIFT: u32 = MAX_PAYLOAD.trailing_ones();
/// The bit that is set if the text was cut.
const CUT: u64 = 1 << 63;

/// The texts from which the newest tags were made, such as client order ids, to show them beside
/// the tags. Clones share the texts.
///
/// [`tag_of`](Self::tag_of) makes a tag as the function [`tag_of`](fn@crate::tag_of) does, and
/// keeps the text. [`Builder::tag_names`](crate::Builder::tag_names) shows the texts in reports,
/// and [`TraceWriter::with_tag_names`](crate::TraceWriter::with_tag_names) in a trace.
///
/// ```
/// use tailwatch::{Collector, TagNames, Trading, measure_tagged};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ids = TagNames::new(10_000);
/// let collector = Collector::builder().tag_names(&ids).start()?;
/// collector.register_thread("orders")?;
/// drop(measure_tagged(Trading::OrderPlacement, ids.tag_of("ORD-000123")));
/// collector.stop();
/// let report = collector.report();
/// let slowest = &report.event(Trading::OrderPlacement).unwrap().total.as_ref().unwrap().slowest;
/// assert_eq!(slowest[0].tag_name.as_deref(), Some("ORD-000123"));
/// assert_eq!(ids.name(slowest[0].tag.unwrap()).as_deref(), Some("ORD-000123"));
/// # Ok(())
/// # }
/// ```
///
/// # What is kept
///
/// - The newest texts, as many as [`new`](Self::new) was given; the oldest one is overwritten. A
///   text that is used again takes no further room while it is in the newer half. So at least the
///   half that was used last is there, and the newest n if none is used twice.
/// - The first 40 bytes of a text, up to the end of a character. A longer one is shown with `…` at
///   its end.
/// - If two texts in the table have the same tag, [`name`](Self::name) returns neither of them, and
///   [`collisions`](Self::collisions) counts them. Once the older one is overwritten, nobody knows
///   of it any more: the newer one is then shown for both. Two texts count as one if they are
///   longer than 40 bytes and agree in these.
///
/// # Cost and limits
///
/// All memory, 72 to 80 bytes per text, is allocated and touched by `new`. The other calls are
/// lock-free, do not allocate and make no system call. `tag_of` reads and writes three cache lines
/// or so, which all threads share; on a hot path where that is too much, use the function `tag_of`
/// there, and this one where the order is created.
///
/// A text may be missing while another thread is storing one whose tag has the same lower bits. It
/// is lost if its thread is interrupted while storing it, until as many others have been stored as
/// the table has.
#[derive(Clone)]
pub struct TagNames(Arc<Table>);

/// The memory of a [`TagNames`].
struct Table {
    slots: Box<[Slot]>,
    /// For the lower bits of a tag, the position of the newest text with such a tag. The text at a
    /// position is in the slot with the index `position % slots.len()`. The position 0 stands for
    /// none. Their number is a power of two.
    newest: Box<[AtomicUsize]>,
    /// The position of the next text.
    next: AtomicUsize,
    collisions: AtomicUsize,
}

/// The parts of a number of 64 bits that atomics of the size of a pointer store.
const PARTS: usize = size_of::<u64>() / size_of::<usize>();

/// The memory of one text, a cache line.
#[repr(align(64))]
struct Slot([[AtomicUsize; PARTS]; WORDS]);

/// The content of a slot.
struct Entry {
    /// The position of the next older text whose tag has the same lower bits.
    previous: usize,
    tag: u64,
    name: TagName,
}

/// A text from which a tag was made, cut to [`TEXT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagName {
    bytes: [u8; TEXT_BYTES],
    len: usize,
    is_cut: bool,
}

impl TagNames {
    /// Creates a table for the newest `names` texts: at least 1, and at most 1,048,576, which take
    /// 72 MiB.
    pub fn new(names: usize) -> Self {
        let names = names.clamp(1, MAX_NAMES);
        let zero = |_| AtomicUsize::new(0);
        Self(Arc::new(Table {
            slots: (0..names).map(|_| Slot(array::from_fn(|_| array::from_fn(zero)))).collect(),
            newest: (0..names.next_power_of_two()).map(zero).collect(),
            next: AtomicUsize::new(1),
            collisions: AtomicUsize::new(0),
        }))
    }

    /// Returns the tag of a text, and keeps the text. Lock-free.
    pub fn tag_of(&self, text: &str) -> u64 {
        let tag = tag_of(text);
        self.0.keep(tag, &TagName::of(text));
        tag
    }

    /// Returns the text from which a tag was made. Returns `None` if the text is not in the table
    /// any more, or if the tag is that of two texts in the table. Lock-free, except that it
    /// allocates the text.
    pub fn name(&self, tag: u64) -> Option<String> {
        self.find(tag).map(|name| name.to_string())
    }

    /// Returns how often a text was kept whose tag was that of another text in the table.
    pub fn collisions(&self) -> u64 {
        self.0.collisions.load(Relaxed) as u64
    }

    /// Does the same as [`name`](Self::name), without allocating.
    pub(crate) fn find(&self, tag: u64) -> Option<TagName> {
        let mut names = self.0.of(tag & MAX_PAYLOAD).map(|(_, name)| name);
        let newest = names.next()?;
        names.all(|older| older == newest).then_some(newest)
    }
}

impl Table {
    /// Returns the texts in the table from which this tag was made, the newest first, each with how
    /// many texts have been stored from this one on.
    fn of(&self, tag: u64) -> impl Iterator<Item = (usize, TagName)> {
        let mut position = self.chain(tag).load(Relaxed);
        let mut last_age = 0;
        iter::from_fn(move || {
            loop {
                let age = self.next.load(Relaxed).wrapping_sub(position);
                // An older text has been overwritten. Chains lead to older texts only, so that no
                // damage can make them circular.
                if position == 0 || age <= last_age || age > self.slots.len() {
                    return None;
                }
                let entry = self.slots[position % self.slots.len()].read(position)?;
                (position, last_age) = (entry.previous, age);
                if entry.tag == tag {
                    return Some((age, entry.name));
                }
            }
        })
    }

    /// Stores a text, unless it is in the newer half already.
    fn keep(&self, tag: u64, name: &TagName) {
        let mut has_other = false;
        for (age, kept) in self.of(tag) {
            if kept == *name && age <= self.slots.len() / 2 {
                return;
            }
            has_other |= kept != *name;
        }
        self.collisions.fetch_add(usize::from(has_other), Relaxed);
        let chain = self.chain(tag);
        loop {
            // A new position in each round: a chain must lead to older texts only.
            let position = self.next.fetch_add(1, Relaxed);
            let previous = chain.load(Relaxed);
            self.slots[position % self.slots.len()].write(position, previous, tag, name);
            let exchanged = chain.compare_exchange(previous, position, Relaxed, Relaxed);
            if exchanged.is_ok() {
                return;
            }
        }
    }

    /// Returns where the position of the newest text is whose tag has the same lower bits.
    #[expect(clippy::cast_possible_truncation, reason = "only the lower bits are used")]
    fn chain(&self, tag: u64) -> &AtomicUsize {
        &self.newest[tag as usize & (self.newest.len() - 1)]
    }
}

impl Slot {
    fn write(&self, position: usize, previous: usize, tag: u64, name: &TagName) {
        let mut words = [0; WORDS];
        words[1] = previous as u64;
        words[2] = tag | (name.len as u64) << LEN_SHIFT | if name.is_cut { CUT } else { 0 };
        for (word, bytes) in words[3..].iter_mut().zip(name.bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words[0] = checksum(position, &words[1..]);
        for (slot, word) in self.0.iter().zip(words) {
            for (part, shift) in slot.iter().zip((0..).step_by(usize::BITS as usize)) {
                #[expect(clippy::cast_possible_truncation, reason = "the other part has the rest")]
                part.store((word >> shift) as usize, Relaxed);
            }
        }
    }

    /// Returns the content of the slot, if it is that of this position.
    fn read(&self, position: usize) -> Option<Entry> {
        let words = self.0.each_ref().map(|slot| {
            let parts = slot.iter().zip((0..).step_by(usize::BITS as usize));
            parts.fold(0, |word, (part, shift)| word | (part.load(Relaxed) as u64) << shift)
        });
        if words[0] != checksum(position, &words[1..]) {
            return None;
        }
        let mut bytes = [0; TEXT_BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(&words[3..]) {
            *bytes = word.to_le_bytes();
        }
        let len = usize::try_from((words[2] & !CUT) >> LEN_SHIFT).ok()?;
        let name = TagName { bytes, len, is_cut: words[2] & CUT != 0 };
        let previous = usize::try_from(words[1]).ok()?;
        Some(Entry { previous, tag: words[2] & MAX_PAYLOAD, name })
    }
}

/// Returns a checksum of a position and the content of its slot.
fn checksum(position: usize, words: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (position, words).hash(&mut hasher);
    hasher.finish()
}

impl TagName {
    /// Cuts the text, at the end of a character.
    fn of(text: &str) -> Self {
        let kept = &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES)];
        let mut bytes = [0; TEXT_BYTES];
        bytes[..kept.len()].copy_from_slice(kept);
        Self { bytes, len: kept.len(), is_cut: kept.len() < text.len() }
    }
}

impl fmt::Display for TagName {
    /// Writes the text, and `…` if it was cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok());
        f.write_str(text.unwrap_or_default())?;
        f.write_str(if self.is_cut { "…" } else { "" })
    }
}

impl fmt::Debug for TagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagNames")
            .field("names", &self.0.slots.len())
            .field("collisions", &self.collisions())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(tailwatch_loom)))]
mod tests;
