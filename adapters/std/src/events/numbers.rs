//! The numbers of the events of this process: which are taken, and by which event.
//!
//! An event that states no number gets one, once per process, from [`EventNumber::FIRST`] on. It
//! keeps the number for all later collectors. Texts of events that the program makes are kept until
//! the process ends, because reports refer to them; 2,047 events are the most.
//!
//! The lock of [`process`] guards all of this, so a fork does not find it held.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{borrow::Cow, collections::HashMap};

use tailwatch_core::{EventId, EventInfo, EventNumber, Unit, fnv_1a};
use tailwatch_record::EventSet;

use super::{
    error::EventError,
    labels::{self, Label, Labels},
    listed::Listed,
};
use crate::recording::process;

/// Which event has which number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    owners: HashMap<EventId, Owner>,
    /// The numbers of the events that the program has made, by their full names.
    made: HashMap<&'static str, EventId>,
    /// The sets that have numbers.
    sets: Vec<EventSet>,
    /// No number from [`EventNumber::FIRST`] up to this one is free.
    last_assigned: u16,
}

/// The event that has a number.
#[derive(Clone, Debug)]
enum Owner {
    /// An event that states the number.
    Stated(&'static str),
    /// An event of a set to which the number was assigned.
    Assigned(EventSet, &'static str),
    /// An event that the program has made.
    Made(NamedEvent),
}

/// An event, with the parts of its name.
#[derive(Clone, Debug)]
pub(crate) struct NamedEvent {
    /// The name with the labels, such as `order_placement{symbol="BTCUSDT"}`, the number and unit.
    pub(crate) info: EventInfo,
    /// The name without the labels.
    pub(crate) base: &'static str,
    pub(crate) labels: Labels,
}

impl NamedEvent {
    /// Finds the parts of the name. Only an event that the program has made has labels.
    pub(crate) fn new(info: &EventInfo) -> Self {
        let (base, labels) = made_event(info.id).unwrap_or((info.name, Labels::default()));
        Self { info: *info, base, labels }
    }
}

impl Owner {
    /// Describes the event and where it comes from.
    fn describe(&self) -> String {
        match self {
            Self::Stated(name) => stated(name),
            Self::Assigned(set, name) => of_set(*set, name),
            Self::Made(NamedEvent { info, .. }) => made(info.name),
        }
    }
}

/// Where events come from.
const STATED: &str = "states its number";
pub(crate) const MADE: &str = "was made by the program";

fn belongs_to(set: EventSet) -> String {
    format!("belongs to the set `{}`", set.name())
}

fn stated(name: &str) -> String {
    format!("the event `{name}`, which states its number,")
}

fn of_set(set: EventSet, name: &str) -> String {
    format!("the event `{name}` of the set `{}`", set.name())
}

fn made(name: &str) -> String {
    format!("the event `{name}`, which the program has made,")
}

/// Returns all events of `listed`, in order, each with its number. Assigns the numbers that are
/// missing.
///
/// # Errors
/// Returns an error if two events have the same number or name, or if no number is left.
pub(crate) fn assign(listed: &[Listed]) -> Result<Vec<EventInfo>, EventError> {
    process::lock().numbers().assign(listed)
}

/// Returns the name of an event with its labels, which are sorted by their keys.
pub(crate) fn full_name(base: &str, labels: &[(String, String)]) -> String {
    let pairs = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    match labels {
        [] => base.to_owned(),
        _ => format!("{base}{{{}}}", labels::text(pairs)),
    }
}

/// Returns the event with this name and these labels, which are sorted by their keys, if it exists.
///
/// # Errors
/// Returns an error if the event exists with another unit.
pub(crate) fn find(
    base: &str,
    labels: &[(String, String)],
    unit: Unit,
) -> Result<Option<NamedEvent>, EventError> {
    process::lock().numbers().find(&full_name(base, labels), unit)
}

/// Returns the event with this name and these labels, which are sorted by their keys. Makes it if
/// it does not exist.
///
/// # Errors
/// Returns an error if the event exists with another unit, or if no number is left.
pub(crate) fn make(
    base: &str,
    labels: &[(String, String)],
    unit: Unit,
) -> Result<NamedEvent, EventError> {
    process::lock().numbers().make(base, labels, unit)
}

/// Returns the events of a set with their numbers, which are assigned if they are missing.
///
/// # Errors
/// Returns an error if no number is left.
pub(crate) fn numbered(set: EventSet) -> Result<Vec<EventInfo>, EventError> {
    process::lock().numbers().number(set, &HashMap::new())?;
    Ok(set.events().collect())
}

/// Returns the sets that have numbers.
pub(crate) fn numbered_sets() -> Vec<EventSet> {
    process::lock().numbers().sets.clone()
}

/// Returns the name without labels and the labels of the event with this number, if the program has
/// made it.
pub(crate) fn made_event(id: EventId) -> Option<(&'static str, Labels)> {
    match process::lock().numbers().owners.get(&id) {
        Some(Owner::Made(NamedEvent { base, labels, .. })) => Some((base, labels.clone())),
        _ => None,
    }
}

/// Says where the event with this number comes from, as in [`EventError::SameName`].
pub(crate) fn origin_of(id: EventId) -> String {
    match process::lock().numbers().owners.get(&id) {
        Some(Owner::Assigned(set, _)) => belongs_to(*set),
        Some(Owner::Made(_)) => MADE.to_owned(),
        Some(Owner::Stated(_)) | None => STATED.to_owned(),
    }
}

/// Returns a name under which to count the records of an event that the collector does not have:
/// the name of its set, or of an event made at run time, or else the number.
pub(crate) fn name_of_unlisted(id: EventId) -> String {
    match process::lock().numbers().owners.get(&id) {
        Some(Owner::Assigned(set, _)) => set.name().to_owned(),
        Some(Owner::Made(made)) => made.info.name.to_owned(),
        Some(Owner::Stated(_)) | None => format!("number {id}"),
    }
}

/// Returns the hash of the name of an event, with its labels, by which other processes recognise
/// it. `None` if no collector of this process has had it.
pub(crate) fn name_hash(id: EventId) -> Option<u64> {
    let mut process = process::lock();
    let name = match process.numbers().owners.get(&id)? {
        Owner::Stated(name) | Owner::Assigned(_, name) => name,
        Owner::Made(made) => made.info.name,
    };
    Some(fnv_1a(name.as_bytes()))
}

/// How many numbers were assigned in this process.
static ASSIGNED: AtomicUsize = AtomicUsize::new(0);

/// Returns how many numbers were assigned in this process. Takes no lock.
pub(crate) fn assigned() -> usize {
    ASSIGNED.load(Relaxed)
}

/// Returns whether `is_known` holds for each event to which a number was assigned.
pub(crate) fn are_all(is_known: impl Fn(EventId) -> bool) -> bool {
    let mut process = process::lock();
    let mut owners = process.numbers().owners.iter();
    owners.all(|(id, owner)| matches!(owner, Owner::Stated(_)) || is_known(*id))
}

impl Numbers {
    fn assign(&mut self, listed: &[Listed]) -> Result<Vec<EventInfo>, EventError> {
        let stated = listed.iter().flat_map(|listed| match listed {
            Listed::Stated(events) => events.as_slice(),
            Listed::Numbered(_) | Listed::Made(_) => &[],
        });
        let mut by_number: HashMap<EventId, &'static str> = HashMap::new();
        for info in stated {
            labels::check_name(info.name)?;
            if info.id == EventId::UNNUMBERED {
                return Err(EventError::Unnumbered { event: info.name.to_owned() });
            }
            let taken = match self.owners.get(&info.id) {
                // Other collectors may have other events with stated numbers.
                None | Some(Owner::Stated(_)) => {
                    by_number.get(&info.id).map(|name| self::stated(name))
                }
                Some(owner) => Some(owner.describe()),
            };
            if let Some(first) = taken {
                let second = self::stated(info.name);
                return Err(EventError::SameNumber { id: info.id, first, second });
            }
            by_number.insert(info.id, info.name);
        }
        let mut events = Vec::new();
        let mut by_name: HashMap<&'static str, String> = HashMap::new();
        for listed in listed {
            let first = events.len();
            let origin = match listed {
                Listed::Stated(stated) => {
                    events.extend(stated);
                    STATED.to_owned()
                }
                Listed::Numbered(set) => {
                    set.events().try_for_each(|info| labels::check_name(info.name))?;
                    self.number(*set, &by_number)?;
                    events.extend(set.events());
                    belongs_to(*set)
                }
                Listed::Made(info) => {
                    events.push(*info);
                    MADE.to_owned()
                }
            };
            for info in &events[first..] {
                if let Some(first) = by_name.insert(info.name, origin.clone()) {
                    let (name, second) = (info.name.to_owned(), origin);
                    return Err(EventError::SameName { name, first, second });
                }
            }
        }
        self.owners.extend(by_number.into_iter().map(|(id, name)| (id, Owner::Stated(name))));
        Ok(events)
    }

    /// Numbers the events of a set, unless they have numbers, with others than those `stated`.
    fn number(
        &mut self,
        set: EventSet,
        stated: &HashMap<EventId, &'static str>,
    ) -> Result<(), EventError> {
        for (info, number) in set.events().zip(set.numbers()) {
            if info.id == EventId::UNNUMBERED {
                let id = self.next(stated, || of_set(set, info.name))?;
                number.assign(id);
                self.owners.insert(id, Owner::Assigned(set, info.name));
            }
        }
        if !self.sets.contains(&set) {
            self.sets.push(set);
        }
        Ok(())
    }

    /// Returns a number that no event of this process has, and none of those `stated`, for the
    /// described event.
    fn next(
        &mut self,
        stated: &HashMap<EventId, &'static str>,
        event: impl FnOnce() -> String,
    ) -> Result<EventId, EventError> {
        let from = EventNumber::FIRST.max(self.last_assigned + 1);
        let mut free = (from..=EventId::MAX).filter_map(EventId::new);
        let id = free.find(|id| !self.owners.contains_key(id) && !stated.contains_key(id));
        let id = id.ok_or_else(|| EventError::NoNumber { event: event() })?;
        self.last_assigned = id.get();
        ASSIGNED.fetch_add(1, Relaxed);
        Ok(id)
    }

    fn find(&self, full_name: &str, unit: Unit) -> Result<Option<NamedEvent>, EventError> {
        match self.made.get(full_name).and_then(|id| self.owners.get(id)) {
            Some(Owner::Made(made)) if made.info.unit != unit => {
                let unit = made.info.unit;
                Err(EventError::OtherUnit { event: full_name.to_owned(), unit })
            }
            Some(Owner::Made(made)) => Ok(Some(made.clone())),
            _ => Ok(None),
        }
    }

    fn make(
        &mut self,
        base: &str,
        labels: &[(String, String)],
        unit: Unit,
    ) -> Result<NamedEvent, EventError> {
        let full_name = full_name(base, labels);
        if let Some(made) = self.find(&full_name, unit)? {
            return Ok(made);
        }
        let id = self.next(&HashMap::new(), || self::made(&full_name))?;
        let kept = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let kept_label = |(key, value): &(String, String)| -> Label {
            (Cow::Borrowed(kept(key)), Cow::Borrowed(kept(value)))
        };
        let labels: Vec<_> = labels.iter().map(kept_label).collect();
        let (name, labels) = (kept(&full_name), Labels::of_made(labels.leak()));
        let info = EventInfo { unit, ..EventInfo::new(id, name) };
        let made = NamedEvent { info, base: &name[..base.len()], labels };
        self.owners.insert(id, Owner::Made(made.clone()));
        self.made.insert(name, id);
        Ok(made)
    }
}
