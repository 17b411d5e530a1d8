//! Reads a selection from TOML, and finds selections of the same event.

use core::hash::Hash;
use std::collections::HashMap;

use tailwatch_core::{EventId, EventInfo};
use toml::{Spanned, de::DeValue};

use super::{DeclaredFamily, Selectable, Selection};
use crate::{
    events::{
        labels,
        numbers::{NamedEvent, full_name},
    },
    settings::{
        limits_toml::problem::ParseLimitsProblem, problem::SettingsProblem, suggestion::nearest,
        value::describe,
    },
};

/// The key of a table that has the labels.
pub(crate) const LABELS: &str = "labels";

/// The events of a family that a [`Selection`] selects.
#[derive(Debug, PartialEq, Eq)]
enum OfFamily {
    None,
    All,
    /// The one whose label has this value.
    One(String),
}

/// The selections so far, each for something that an event can have only once.
#[derive(Debug)]
pub(crate) struct Claims<W>(HashMap<(W, Claimed), usize>);

/// What a selection may select: an event, or events of the family with this index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Claimed {
    Event(EventId),
    AllOf(usize),
    OneOf(usize, String),
    /// At least one.
    AnyOf(usize),
}

impl<W: Copy + Eq + Hash> Claims<W> {
    /// No selections.
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Adds a selection for `what`, whose table begins at `at`. If there is an event, or may be
    /// one, that an earlier selection for the same has selected, returns where its table begins.
    pub(crate) fn add(
        &mut self,
        what: W,
        selection: &Selection,
        at: usize,
        events: &Selectable<'_>,
    ) -> Result<(), usize> {
        let mut claimed: Vec<_> =
            events.selected(selection).map(|event| Claimed::Event(event.id)).collect();
        let mut refused = claimed.clone();
        for (number, family) in events.families.iter().enumerate() {
            match selection.in_family(family) {
                OfFamily::None => continue,
                OfFamily::All => {
                    claimed.push(Claimed::AllOf(number));
                    refused.push(Claimed::AnyOf(number));
                }
                OfFamily::One(value) => {
                    claimed.push(Claimed::OneOf(number, value.clone()));
                    refused.extend([Claimed::OneOf(number, value), Claimed::AllOf(number)]);
                }
            }
            claimed.push(Claimed::AnyOf(number));
        }
        let earlier = refused.into_iter().filter_map(|refused| self.0.get(&(what, refused)));
        if let Some(first) = earlier.min() {
            return Err(*first);
        }
        for claimed in claimed {
            self.0.entry((what, claimed)).or_insert(at);
        }
        Ok(())
    }
}

/// Why a selection cannot be read.
#[derive(Debug)]
pub(crate) enum SelectionProblem {
    /// No event has the name.
    UnknownEvent { name: String, nearest: Option<String>, known: Vec<String> },
    /// No event of the name has the labels.
    UnknownLabels { event: String, labels: String, known: Vec<String> },
    /// The labels, or the value of one, have the wrong type.
    WrongType { found: &'static str, value: String, wanted: &'static str },
    /// There are no labels.
    NoLabels,
}

impl Selectable<'_> {
    /// Reads a selection: the name of an event, and the value of [`LABELS`], if there is one. An
    /// error has the position in the text. `at` is the position of the name.
    pub(crate) fn read(
        &self,
        (at, name): (usize, &str),
        labels: Option<&Spanned<DeValue<'_>>>,
    ) -> Result<Selection, (usize, SelectionProblem)> {
        let selection = Selection {
            event: name.to_owned(),
            labels: labels.map_or(Ok(Vec::new()), read_labels)?,
        };
        let is_of_family = |family| selection.in_family(family) != OfFamily::None;
        if self.selected(&selection).next().is_some() || self.families.iter().any(is_of_family) {
            return Ok(selection);
        }
        let at = labels.map_or(at, |labels| labels.span().start);
        Err((at, self.unknown(selection)))
    }

    /// Returns the selected events that exist.
    pub(crate) fn selected<'s>(
        &'s self,
        selection: &'s Selection,
    ) -> impl Iterator<Item = &'s EventInfo> {
        self.events.iter().filter(|event| selection.selects(event)).map(|event| &event.info)
    }

    /// Returns the problem of a selection that can select no event.
    fn unknown(&self, Selection { event, labels }: Selection) -> SelectionProblem {
        let is_named = |known: &&NamedEvent| known.base == event || known.info.name == event;
        let named = || self.events.iter().filter(is_named);
        let labelled = named().filter(|event| !event.labels.is_empty());
        let mut known: Vec<String> = labelled.map(|event| event.labels.to_string()).collect();
        let families = self.families.iter().filter(|family| family.name == event);
        known.extend(families.map(|DeclaredFamily { key, .. }| format!("{key}=\"…\"")));
        if named().next().is_some() || !known.is_empty() {
            let pairs = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            return SelectionProblem::UnknownLabels { labels: labels::text(pairs), event, known };
        }
        let mut bases: Vec<&str> = self.events.iter().map(|event| event.base).collect();
        bases.extend(self.families.iter().map(|family| family.name.as_str()));
        let full_names = self.events.iter().map(|event| event.info.name);
        let nearest = nearest(&event, bases.iter().copied().chain(full_names)).map(str::to_owned);
        let mut known: Vec<String> = Vec::new();
        for name in bases {
            if !known.iter().any(|known| known == name) {
                known.push(name.to_owned());
            }
        }
        SelectionProblem::UnknownEvent { name: event, nearest, known }
    }
}

/// Reads the value of [`LABELS`].
fn read_labels(
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<(String, String)>, (usize, SelectionProblem)> {
    const TABLE: &str = "a table, such as { symbol = \"BTCUSDT\" }";
    const TEXT: &str = "a text in quotes for each label, such as { symbol = \"BTCUSDT\" }";
    let wrong_type = |value: &Spanned<DeValue<'_>>, wanted| {
        let (found, text) = (value.get_ref().type_str(), describe(value.get_ref()));
        (value.span().start, SelectionProblem::WrongType { found, value: text, wanted })
    };
    let DeValue::Table(table) = value.get_ref() else { return Err(wrong_type(value, TABLE)) };
    if table.is_empty() {
        return Err((value.span().start, SelectionProblem::NoLabels));
    }
    let read = table.iter().map(|(key, value)| match value.get_ref() {
        DeValue::String(text) => Ok((key.get_ref().clone().into_owned(), text.to_string())),
        _ => Err(wrong_type(value, TEXT)),
    });
    let mut labels = read.collect::<Result<Vec<_>, _>>()?;
    labels.sort_unstable();
    Ok(labels)
}

impl Selection {
    /// Returns which events of a family are selected.
    fn in_family(&self, DeclaredFamily { name, key }: &DeclaredFamily) -> OfFamily {
        let value = match &self.labels[..] {
            [] if self.event == *name => return OfFamily::All,
            [] => value_in_full_name(&self.event, name, key),
            [(of, value)] if self.event == *name && of == key => Some(value.clone()),
            _ => None,
        };
        match value {
            Some(value) if labels::check_value(&value).is_ok() => OfFamily::One(value),
            _ => OfFamily::None,
        }
    }
}

/// Returns the value of the label if `event` is the full name of an event with this name and one
/// label, which has this key.
fn value_in_full_name(event: &str, name: &str, key: &str) -> Option<String> {
    let quoted = event.strip_prefix(name)?.strip_prefix('{')?.strip_prefix(key)?;
    let escaped = quoted.strip_prefix("=\"")?.strip_suffix("\"}")?;
    let (mut value, mut chars) = (String::new(), escaped.chars());
    while let Some(char) = chars.next() {
        value.push(if char == '\\' { chars.next()? } else { char });
    }
    let labels = [(key.to_owned(), value)];
    // Written again, because the text may contain another label, or an escape that is not needed.
    let is_same = full_name(name, &labels) == event;
    let [(_, value)] = labels;
    is_same.then_some(value)
}

impl From<SelectionProblem> for ParseLimitsProblem {
    fn from(problem: SelectionProblem) -> Self {
        match problem {
            SelectionProblem::UnknownEvent { name, nearest, known } => {
                Self::UnknownEvent { name, nearest, known }
            }
            SelectionProblem::UnknownLabels { event, labels, known } => {
                Self::UnknownLabels { event, labels, known }
            }
            SelectionProblem::WrongType { found, wanted, .. } => {
                Self::WrongType { key: LABELS, found, wanted }
            }
            SelectionProblem::NoLabels => Self::NoLabels,
        }
    }
}

impl From<SelectionProblem> for SettingsProblem {
    fn from(problem: SelectionProblem) -> Self {
        match problem {
            SelectionProblem::UnknownEvent { name, nearest, known } => {
                Self::UnknownEvent { name, nearest, known }
            }
            SelectionProblem::UnknownLabels { event, labels, known } => {
                Self::UnknownLabels { event, labels, known }
            }
            SelectionProblem::WrongType { value, wanted, .. } => {
                Self::BadValue { key: LABELS, value, wanted, nearest: None }
            }
            SelectionProblem::NoLabels => Self::BadValue {
                key: LABELS,
                value: "empty".to_owned(),
                wanted: "at least one label, or no such key",
                nearest: None,
            },
        }
    }
}
