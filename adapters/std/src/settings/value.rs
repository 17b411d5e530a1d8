//! Reads the values of settings from environment variables and TOML, and formats them as text.

use core::time::Duration;

use tailwatch_core::{CoveredOutcomes, WindowSpec};
#[cfg(feature = "toml")]
use toml::de::{DeTable, DeValue};

#[cfg(feature = "toml")]
use super::limits_toml::first_key;
use super::{ClockSetting, duration, problem::SettingsProblem, suggestion::nearest};
use crate::{own_thread::placement::DrainPriority, report::text::window_name};

/// A value as it was written, before it is converted to the type of its setting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// The text of an environment variable, which contains no quotes.
    Text(&'a str),
    /// A TOML value of the configuration file.
    #[cfg(feature = "toml")]
    Toml(&'a DeValue<'a>),
}

impl<'a> Raw<'a> {
    /// Returns the value if it is a text, or `None` if it is of another type.
    #[cfg_attr(
        not(feature = "toml"),
        allow(clippy::unnecessary_wraps, reason = "a value in TOML may be of another type")
    )]
    fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            #[cfg(feature = "toml")]
            Self::Toml(value) => value.as_str(),
        }
    }

    /// Returns the value if it is a whole number from 0 to 2^64 − 1, or `None` if not. In the
    /// environment and in the file, numbers are written as in TOML, for example `0x400` or `1_024`.
    /// Without the feature `toml`, they are decimal digits.
    fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => number_of_text(text),
            #[cfg(feature = "toml")]
            Self::Toml(value) => number_of_toml(value),
        }
    }

    /// Formats the value for an error message.
    fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            #[cfg(feature = "toml")]
            Self::Toml(value) => describe(value),
        }
    }

    /// Creates the error for this value of `key`. `wanted` describes a valid value, and `nearest`
    /// is the valid word that is most similar to the value, if there is one.
    pub(super) fn bad_value(
        &self,
        key: &'static str,
        wanted: &'static str,
        nearest: Option<&'static str>,
    ) -> SettingsProblem {
        SettingsProblem::BadValue { key, value: self.describe(), wanted, nearest }
    }

    /// Reads the value of `key` as one of `words`, and returns the `T` that the word stands for.
    /// `wanted` describes the words for an error message.
    fn one_of<T: Copy>(
        &self,
        key: &'static str,
        wanted: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<T, SettingsProblem> {
        let text = self.text().ok_or_else(|| self.bad_value(key, wanted, None))?;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        known.ok_or_else(|| {
            self.bad_value(key, wanted, nearest(text, words.iter().map(|(word, _)| *word)))
        })
    }
}

#[cfg(feature = "toml")]
fn number_of_text(text: &str) -> Option<u64> {
    DeValue::parse(text).ok().and_then(|value| number_of_toml(value.get_ref()))
}

#[cfg(not(feature = "toml"))]
fn number_of_text(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(feature = "toml")]
fn number_of_toml(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// Formats a TOML value for an error message.
#[cfg(feature = "toml")]
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Reads the value of `key`.
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem>;
    /// Formats the value as it is written in an environment variable.
    fn to_text(&self) -> String;
}

impl Value for usize {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        let number = raw.number().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| raw.bad_value(key, "a whole number, such as 8", None))
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<usize> {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        if raw.text() == Some(NONE) {
            return Ok(None);
        }
        let number = raw.number().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| {
            let meant = raw.text().and_then(|text| nearest(text, [NONE]));
            raw.bad_value(key, "a whole number, such as 1, or \"none\"", meant)
        })
    }

    fn to_text(&self) -> String {
        self.map_or_else(|| NONE.to_owned(), |number| number.to_string())
    }
}

impl Value for Option<String> {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        let text = raw.text().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| raw.bad_value(key, "a text, or \"none\"", None))?;
        Ok((text != NONE).then(|| text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.clone().unwrap_or_else(|| NONE.to_owned())
    }
}

/// The word for an optional number or text that is absent.
const NONE: &str = "none";

impl Value for bool {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        match raw {
            #[cfg(feature = "toml")]
            Raw::Toml(DeValue::Boolean(truth)) => Ok(*truth),
            Raw::Text(_) => raw.one_of(key, "true or false", &[("true", true), ("false", false)]),
            #[cfg(feature = "toml")]
            Raw::Toml(_) => Err(raw.bad_value(key, "true or false, without quotes", None)),
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for CoveredOutcomes {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        raw.one_of(key, "\"ok\" or \"any\"", &[("ok", Self::Ok), ("any", Self::Any)])
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        let text = raw
            .text()
            .ok_or_else(|| raw.bad_value(key, "a duration in quotes, such as \"100ms\"", None))?;
        duration(key, text)
    }

    fn to_text(&self) -> String {
        window_name(*self)
    }
}

/// Parses a duration that is the value of `key` or a part of it.
fn duration(key: &'static str, text: &str) -> Result<Duration, SettingsProblem> {
    duration::parse(text).map_err(|problem| SettingsProblem::BadDuration {
        key,
        text: text.to_owned(),
        problem,
    })
}

/// The clocks, by the words that select them.
const CLOCKS: [(&str, ClockSetting); 3] = [
    ("ordered", ClockSetting::Ordered),
    ("relaxed", ClockSetting::Relaxed),
    ("monotonic", ClockSetting::Monotonic),
];

impl Value for ClockSetting {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        raw.one_of(key, "\"ordered\", \"relaxed\" or \"monotonic\"", &CLOCKS)
    }

    fn to_text(&self) -> String {
        CLOCKS.iter().find(|(_, clock)| clock == self).map_or("", |(word, _)| word).to_owned()
    }
}

impl Value for DrainPriority {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        let words = Self::ALL.map(|priority| (priority.name(), priority));
        raw.one_of(key, "\"inherited\", \"normal\" or \"idle\"", &words)
    }

    fn to_text(&self) -> String {
        self.name().to_owned()
    }
}

// The keys of a window that is written as a table.
#[cfg(feature = "toml")]
const LENGTH: &str = "length";
#[cfg(feature = "toml")]
const SLICES: &str = "slices";
#[cfg(feature = "toml")]
const WINDOW_KEYS: &[&str] = &[LENGTH, SLICES];

impl Value for Vec<WindowSpec> {
    fn read(key: &'static str, raw: &Raw<'_>) -> Result<Self, SettingsProblem> {
        match raw {
            Raw::Text(text) => text.split(',').map(|window| window_of_text(key, window)).collect(),
            #[cfg(feature = "toml")]
            Raw::Toml(DeValue::Array(windows)) => windows
                .iter()
                .map(|window| match window.get_ref() {
                    DeValue::String(text) => window_of_text(key, text),
                    DeValue::Table(table) => window_of_table(key, table),
                    other => Err(Raw::Toml(other).bad_value(key, WINDOW, None)),
                })
                .collect(),
            #[cfg(feature = "toml")]
            Raw::Toml(_) => {
                Err(raw.bad_value(key, "a list, such as [\"1s/10\", \"60s/12\"]", None))
            }
        }
    }

    fn to_text(&self) -> String {
        let text =
            |window: &WindowSpec| format!("{}/{}", window_name(window.length), window.slices);
        self.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

/// A description of a window for error messages.
const WINDOW: &str = "length/slices, such as \"1s/10\"";

/// Parses a window of the list `key` that is written as length/slices.
fn window_of_text(key: &'static str, text: &str) -> Result<WindowSpec, SettingsProblem> {
    let bad = || Raw::Text(text).bad_value(key, WINDOW, None);
    let (length, slices) = text.split_once('/').ok_or_else(bad)?;
    Ok(WindowSpec::new(duration(key, length.trim())?, slices.trim().parse().map_err(|_| bad())?))
}

/// Reads a window of the list `key` that is written as a table.
#[cfg(feature = "toml")]
fn window_of_table(key: &'static str, table: &DeTable<'_>) -> Result<WindowSpec, SettingsProblem> {
    const TABLE: &str = "a window";
    if let Some((_, unknown)) = first_key(table, |key| !WINDOW_KEYS.contains(&key)) {
        let nearest = nearest(unknown, WINDOW_KEYS.iter().copied());
        return Err(SettingsProblem::UnknownKey {
            table: TABLE,
            key: unknown.to_owned(),
            nearest,
            known: WINDOW_KEYS,
        });
    }
    let required = |key| table.get(key).ok_or(SettingsProblem::MissingKey { table: TABLE, key });
    let length = Raw::Toml(required(LENGTH)?.get_ref());
    let length = duration(
        key,
        length.text().ok_or_else(|| {
            length.bad_value(LENGTH, "a duration in quotes, such as \"1s\"", None)
        })?,
    )?;
    let slices = Raw::Toml(required(SLICES)?.get_ref());
    let number = slices.number().and_then(|number| u16::try_from(number).ok());
    let number = number
        .ok_or_else(|| slices.bad_value(SLICES, "a whole number up to 65535, such as 10", None))?;
    Ok(WindowSpec::new(length, number))
}
