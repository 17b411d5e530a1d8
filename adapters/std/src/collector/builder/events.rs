//! Which events a collector gets.

use tailwatch_core::{CoveredOutcomes, EventId, EventInfo, Trading};

use super::Builder;
use crate::{
    events::{
        error::EventError,
        family,
        listed::{Events, Listed},
        new_event::{NewEvent, Target},
        numbers,
    },
    settings::{Origin, selection::DeclaredFamily},
};

impl Builder {
    /// Adds a set of events to collect, such as `MyEvents::ALL` for a set that
    /// [`events!`](crate::events!) declares.
    ///
    /// Call it once for each set; names must differ between the sets, and so must the numbers of
    /// sets that state them. Sets that state none are numbered by [`start`](Self::start) or
    /// [`settings`](Self::settings), whichever comes first in the process. If neither this nor
    /// [`event`](Self::event) nor [`family`](Self::family) is called, the collector has the events
    /// of [`Trading`].
    pub fn events<'a>(mut self, events: impl Into<Events<'a>>) -> Self {
        match events.into() {
            Events::Stated(events) => self.listed.push(Listed::Stated(events.to_vec())),
            Events::Numbered(set) => {
                let is_same =
                    |listed: &Listed| matches!(listed, Listed::Numbered(of) if *of == set);
                if !self.listed.iter().any(is_same) {
                    self.listed.push(Listed::Numbered(set));
                }
            }
        }
        self
    }

    /// Adds every set without stated numbers that is measured in the process, also those of
    /// libraries that the program does not know: each set when something of it is first measured.
    ///
    /// The drain adds a set in its next pass. [`Health::unlisted`](crate::Health::unlisted) counts
    /// what was measured before. If a set cannot be added, because there is no room
    /// ([`max_events`](Self::max_events)) or because of the name of an event, the rest of it stays
    /// unlisted. An event for whose limits there is no room is measured without them, and counts as
    /// breached.
    ///
    /// ```
    /// use tailwatch::{Collector, events, measure};
    ///
    /// events! { enum Library { Work } } // somewhere in a library
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().every_set().start()?;
    /// collector.install()?;
    /// drop(measure(Library::Work)); // makes the set known, and is not recorded
    /// collector.flush();
    /// drop(measure(Library::Work));
    /// collector.flush();
    /// assert_eq!(collector.total(Library::Work)?.expect("one span").count, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn every_set(mut self) -> Self {
        self.every_set = true;
        self
    }

    /// Makes an event that the collector has from its start, such as one for each symbol.
    ///
    /// ```
    /// use tailwatch::{Collector, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Collector::builder();
    /// let placing = builder.event("order_placement").label("symbol", "BTCUSDT").add()?;
    /// let collector = builder.start()?;
    /// collector.install()?;
    /// {
    ///     let _span = measure(placing);
    /// }
    /// collector.flush();
    /// let report = collector.report();
    /// let event = report.event(placing).expect("the event was made");
    /// assert_eq!(event.name, r#"order_placement{symbol="BTCUSDT"}"#);
    /// assert_eq!(event.labels.value("symbol"), Some("BTCUSDT"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn event(&mut self, name: &str) -> NewEvent<'_> {
        NewEvent::new(Target::Builder(self), name)
    }

    /// Declares a family: events of this name that differ in the label `key`, and that
    /// [`Collector::family`](crate::Collector::family) makes while the collector runs. Then limits
    /// and sampling in the configuration file may be for all of them, or for some that do not exist
    /// yet. The family is measured in time. The collector has the event that [stands for the
    /// others](crate::Family#limits) from its start.
    pub fn family(mut self, name: &str, key: &str) -> Self {
        self.families.push(DeclaredFamily { name: name.to_owned(), key: key.to_owned() });
        self
    }

    /// Sets which spans the summaries of all events cover, by the outcome with which they ended. By
    /// default, these are the ones that ended with [`Outcome::Ok`](crate::Outcome::Ok), unless an
    /// event [declares](tailwatch_core::EventInfo::outcomes) [`CoveredOutcomes::Any`].
    ///
    /// ```
    /// use tailwatch::{Collector, CoveredOutcomes, Outcome, Trading, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let place = |outcome| measure(Trading::OrderPlacement).end(outcome);
    /// for (covered, count) in [(CoveredOutcomes::Ok, 1), (CoveredOutcomes::Any, 2)] {
    ///     let collector = Collector::builder().outcomes(covered).start()?;
    ///     collector.install()?;
    ///     place(Outcome::Ok);
    ///     place(Outcome::Error); // rejected at once, perhaps
    ///     collector.stop();
    ///     let report = collector.report();
    ///     let placed = report.event(Trading::OrderPlacement).expect("the collector has it");
    ///     assert_eq!(placed.total.as_ref().map(|total| total.summary.count), Some(count));
    ///     assert_eq!(placed.failed.as_ref().map(|failed| failed.summary.count), Some(1));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn outcomes(mut self, outcomes: CoveredOutcomes) -> Self {
        self.settings.outcomes.offer(outcomes, Origin::Builder);
        self
    }

    /// Sets how many events the collector may have: at most 2,047, by default 16 more than it has
    /// at the start. The others can be made while it runs.
    ///
    /// The [memory](crate#memory) of an event is reserved at the start, and taken when it first
    /// happens.
    pub fn max_events(mut self, events: usize) -> Self {
        self.max_events = Some(events);
        self
    }

    /// Adds an event that the program has made, unless it was added before.
    pub(crate) fn add_made(&mut self, made: EventInfo) {
        add_made(&mut self.listed, made);
    }

    /// Returns the events that were listed, or those of [`Trading`] if none were. Numbers those
    /// that have no numbers.
    pub(super) fn numbered_events(&self) -> Result<Vec<EventInfo>, EventError> {
        let max_events = self.max_events.unwrap_or(EventId::MAX.into());
        if max_events == 0 || max_events > EventId::MAX.into() {
            return Err(EventError::MaxEvents { max_events });
        }
        let mut listed = self.listed.clone();
        for DeclaredFamily { name, key } in &self.families {
            add_made(&mut listed, family::other(name, key)?);
        }
        if listed.is_empty() {
            listed.push(Listed::Stated(Trading::ALL.to_vec()));
        }
        let events = numbers::assign(&listed)?;
        if events.len() > max_events {
            return Err(EventError::TooMany { events: events.len(), max_events });
        }
        Ok(events)
    }
}

/// Adds an event that the program has made to `listed`, unless it is there.
fn add_made(listed: &mut Vec<Listed>, made: EventInfo) {
    let is_same = |listed: &Listed| matches!(listed, Listed::Made(info) if info.id == made.id);
    if !listed.iter().any(is_same) {
        listed.push(Listed::Made(made));
    }
}
