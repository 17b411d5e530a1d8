//! Sets of events that state no numbers, so that libraries need not know of each other.

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};
use std::sync::OnceLock;

use tailwatch_core::{EventInfo, EventNumber};

use crate::{collectors::collectors, thread_recorder};

/// A set of events that gets its numbers when the first collector that has the set is built.
///
/// [`events!`](crate::events!) declares it, as the constant `ALL` of an enum whose variants have no
/// numbers. A program passes it to `Builder::events` of the crate `tailwatch`. Until then, nothing
/// of the set is recorded: see [`missed`](Self::missed).
///
/// ```
/// use tailwatch_record::{Event, EventId, events};
///
/// mod parser {
///     tailwatch_record::events! { pub enum Parser { Parse, Check } }
/// }
/// mod sender {
///     tailwatch_record::events! { pub enum Sender { Send } }
/// }
/// use parser::Parser;
/// use sender::Sender;
///
/// assert_eq!(Parser::Parse.id(), EventId::UNNUMBERED);
/// let collector = tailwatch::Collector::builder()
///     .events(Parser::ALL)
///     .events(Sender::ALL)
///     .start()?;
/// assert_ne!(Parser::Parse.id(), Sender::Send.id());
/// assert_eq!(collector.report().events[2].name, "send");
/// # Ok::<(), tailwatch::BuildError>(())
/// ```
#[derive(Clone, Copy)]
pub struct EventSet(fn() -> &'static SetData);

/// What the expansion of [`events!`](crate::events!) keeps of a set, in a static.
#[doc(hidden)]
pub struct SetData {
    name: &'static str,
    events: &'static [EventInfo],
    numbers: &'static [EventNumber],
    /// The number of records that were not written because the set had no numbers.
    missed: AtomicUsize,
    /// Whether the set has a place in [`NOTED`], or would have one.
    is_noted: AtomicBool,
}

impl SetData {
    /// Creates the data of a set, whose events have no numbers yet.
    pub const fn new(
        name: &'static str,
        events: &'static [EventInfo],
        numbers: &'static [EventNumber],
    ) -> Self {
        Self {
            name,
            events,
            numbers,
            missed: AtomicUsize::new(0),
            is_noted: AtomicBool::new(false),
        }
    }
}

/// How many sets are remembered of which something was measured before they had numbers.
const MAX_NOTED: usize = 256;

/// The sets of which something was measured before they had numbers.
static NOTED: [OnceLock<EventSet>; MAX_NOTED] = [const { OnceLock::new() }; MAX_NOTED];

/// The number of such sets. Those beyond [`MAX_NOTED`] are not remembered.
static NOTED_SETS: AtomicUsize = AtomicUsize::new(0);

/// Returns the sets of which something was measured, while a collector was recording, before they
/// had numbers: at most 256 of them.
pub fn sets_with_missed_records() -> impl Iterator<Item = EventSet> {
    let noted = NOTED_SETS.load(Relaxed).min(MAX_NOTED);
    // A place is taken before it is filled, so the list may end before one that is filled.
    NOTED[..noted].iter().map_while(|set| set.get().copied())
}

impl EventSet {
    /// Creates a set from where its data are. The expansion of [`events!`](crate::events!) calls
    /// this.
    #[doc(hidden)]
    pub const fn new(data: fn() -> &'static SetData) -> Self {
        Self(data)
    }

    /// Counts records that are not written, because the set has no numbers, if there is a collector
    /// that would have them. Lock-free.
    #[doc(hidden)]
    #[cold]
    pub fn count_missed(self, records: usize) {
        if !thread_recorder::is_recording() && !collectors().is_recording() {
            return;
        }
        let data = (self.0)();
        data.missed.fetch_add(records, Relaxed);
        if !data.is_noted.load(Relaxed) && !data.is_noted.swap(true, Relaxed) {
            let place = NOTED_SETS.fetch_add(1, Relaxed);
            if let Some(place) = NOTED.get(place) {
                // No other set has this place.
                let _ = place.set(self);
            }
        }
    }

    /// Returns the path of the enum, such as `parser::Parser`.
    pub fn name(&self) -> &'static str {
        (self.0)().name
    }

    /// Returns the declarations of the events, in the order of the variants. Their ids are the
    /// present ones.
    pub fn events(&self) -> impl Iterator<Item = EventInfo> + use<> {
        let data = (self.0)();
        let with_number =
            |(info, number): (&EventInfo, &EventNumber)| EventInfo { id: number.id(), ..*info };
        data.events.iter().zip(data.numbers).map(with_number)
    }

    /// Returns the numbers of the events, in the order of the variants. The builder of a
    /// collector assigns them.
    pub fn numbers(&self) -> &'static [EventNumber] {
        (self.0)().numbers
    }

    /// Returns how many records were not written because the set had no numbers while a collector
    /// was recording. A span counts as two. It never decreases.
    pub fn missed(&self) -> usize {
        (self.0)().missed.load(Relaxed)
    }
}

impl PartialEq for EventSet {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq((self.0)(), (other.0)())
    }
}

impl Eq for EventSet {}

impl fmt::Debug for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventSet").field(&self.name()).finish()
    }
}

impl fmt::Debug for SetData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SetData").field(&self.name).finish()
    }
}
