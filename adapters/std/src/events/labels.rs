//! The labels of an event, such as `symbol="BTCUSDT"`.

use core::fmt;
use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::error::{EventError, TextKind, TextProblem};

/// The largest number of labels of one event.
pub(crate) const MAX_LABELS: usize = 8;

/// The largest size of a name, and of the key and the value of a label.
pub(crate) const MAX_TEXT_BYTES: usize = 128;

/// The keys that have another meaning in what reports are exported to.
const RESERVED: [&str; 8] =
    ["event", "kind", "le", "quantile", "window", "outcome", "job", "instance"];

/// The labels of an event: pairs of a key and a value, sorted by their keys. Most events have none.
///
/// It displays as `symbol="BTCUSDT",venue="X"`, in which a backslash precedes each quote and
/// backslash of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Cow<'static, [Label]>);

/// The key and the value of a label. Those of events that this process has made live for ever.
pub(crate) type Label = (Cow<'static, str>, Cow<'static, str>);

impl Labels {
    /// No labels.
    pub(crate) const NONE: Self = Self(Cow::Borrowed(&[]));

    /// The labels with which this process has made an event, sorted by their keys.
    pub(super) const fn of_made(labels: &'static [Label]) -> Self {
        Self(Cow::Borrowed(labels))
    }

    /// The labels that a report of another process has. Sorts them by their keys.
    ///
    /// # Errors
    /// Returns an error if an event cannot have the labels.
    pub(crate) fn read(mut labels: Vec<(String, String)>) -> Result<Self, EventError> {
        check(&mut labels)?;
        Ok(Self(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()))
    }

    /// Returns whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Returns the keys, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// Returns the value of the label with this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.iter()))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Returns labels as text: see [`Labels`].
pub(crate) fn text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key);
        text.push_str("=\"");
        for char in value.chars() {
            if matches!(char, '"' | '\\') {
                text.push('\\');
            }
            text.push(char);
        }
        text.push('"');
    }
    text
}

/// Checks the name of an event.
pub(crate) fn check_name(name: &str) -> Result<(), EventError> {
    check_text(TextKind::Name, name)?;
    if name.contains(['{', '}']) {
        return Err(bad(TextKind::Name, name, TextProblem::Brace));
    }
    Ok(())
}

/// Checks labels, and sorts them by their keys.
pub(super) fn check(labels: &mut [(String, String)]) -> Result<(), EventError> {
    if labels.len() > MAX_LABELS {
        return Err(EventError::TooManyLabels { labels: labels.len() });
    }
    for (key, value) in &*labels {
        check_key(key)?;
        check_value(value)?;
    }
    labels.sort_unstable();
    match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(EventError::RepeatedLabel { key: pair[0].0.clone() }),
        None => Ok(()),
    }
}

/// Checks the key of a label.
pub(crate) fn check_key(key: &str) -> Result<(), EventError> {
    check_text(TextKind::Key, key)?;
    let is_valid = |(index, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    };
    if !key.bytes().enumerate().all(is_valid) {
        return Err(bad(TextKind::Key, key, TextProblem::NotAKey));
    }
    if RESERVED.contains(&key) || key.starts_with("__") {
        return Err(EventError::ReservedLabel { key: key.to_owned() });
    }
    Ok(())
}

/// Checks the value of a label.
pub(crate) fn check_value(value: &str) -> Result<(), EventError> {
    check_text(TextKind::Value, value)
}

fn check_text(what: TextKind, text: &str) -> Result<(), EventError> {
    let problem = if text.is_empty() {
        TextProblem::Empty
    } else if text.len() > MAX_TEXT_BYTES {
        TextProblem::TooLong
    } else if text.chars().any(char::is_control) {
        TextProblem::Control
    } else {
        return Ok(());
    };
    Err(bad(what, text, problem))
}

/// Creates the error for a text. An overlong one is cut.
fn bad(what: TextKind, text: &str, problem: TextProblem) -> EventError {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES.min(text.len()));
    EventError::Text { what, text: text[..end].to_owned(), problem }
}
