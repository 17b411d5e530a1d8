//! The error for settings that cannot be read or that contradict each other, and for settings of
//! the configuration file and the environment that are refused when the collector starts.

use core::fmt;
use std::{error, io, path::PathBuf};

#[cfg(feature = "toml")]
use super::limits_toml::problem::ParseLimitsProblem;
use super::{
    KEYS, Origin,
    build_error::BuildError,
    duration::DurationProblem,
    suggestion::{write_suggestion, write_unknown_labels},
    variables::variables,
    visible::Visible,
};

/// The error returned when a setting of the configuration file or the environment is invalid, or
/// when two settings contradict each other.
///
/// [`Builder::settings`](crate::Builder::settings) returns it, and
/// [`Builder::start`](crate::Builder::start) in [`BuildError::Settings`]. For a value that the
/// program itself set by a method of the builder and that is out of range, `start` returns another
/// variant of [`BuildError`].
#[non_exhaustive]
pub struct SettingsError {
    /// Where the invalid value was set: in a line of the file, or in a variable. It is the program
    /// ([`Origin::Builder`]) if that set the path of a configuration file that cannot be read or is
    /// too large, or the core or priority of a drain thread that does not exist.
    pub origin: Origin,
    /// What is wrong with the setting.
    pub problem: SettingsProblem,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

/// Writes what [`Display`](fmt::Display) does, because `main` prints an error that it returns with
/// `Debug`.
impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            SettingsProblem::Unreadable { source, .. } => Some(source),
            SettingsProblem::Rejected { error, .. } => error.source(),
            // The text that `Display` writes already includes the errors in the other variants.
            _ => None,
        }
    }
}

/// What is wrong with a setting. The text that `Display` writes names the invalid value and what
/// would be valid.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsProblem {
    /// The name of an environment variable begins with `TAILWATCH_`, but belongs to no setting.
    UnknownVariable {
        /// The most similar valid name, or `None` if none is similar.
        nearest: Option<String>,
    },
    /// The path of a configuration file is set, but the Cargo feature `toml` is off.
    NoFeatureToml,
    /// A value or the configuration file is not valid Unicode.
    NotUnicode {
        /// The value of the variable with its invalid parts replaced, or `None` for the file.
        text: Option<String>,
    },
    /// The configuration file cannot be read.
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path of the configuration file leads to something that is not a regular file, such as a
    /// pipe or a device. Reading from it could block or never end.
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, such as `a pipe`.
        found: &'static str,
    },
    /// The configuration file is larger than the maximum of 1 MiB.
    TooLarge {
        /// The path of the file.
        path: PathBuf,
        /// The size of the file in bytes, as far as it is known.
        bytes: u64,
        /// The maximum in bytes.
        most: u64,
    },
    /// The configuration file is not valid TOML.
    InvalidToml {
        /// The message of the TOML parser.
        message: String,
    },
    /// A key outside of all tables is unknown, or a table with this name is.
    UnknownTopLevelKey {
        /// The key.
        key: String,
        /// The name of the most similar valid table, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A key in a table is unknown.
    UnknownKey {
        /// The table as it is written, such as `[[sampling]]`, or `a window`.
        table: &'static str,
        /// The key.
        key: String,
        /// The most similar valid key, or `None` if none is similar.
        nearest: Option<&'static str>,
        /// All valid keys of the table.
        known: &'static [&'static str],
    },
    /// A key should be a table, or a list of tables, and is something else: for example
    /// `[sampling]` instead of `[[sampling]]`.
    NotATable {
        /// The key.
        key: &'static str,
        /// The TOML type of the value.
        found: &'static str,
        /// What to write instead.
        wanted: &'static str,
    },
    /// A table lacks a required key.
    MissingKey {
        /// The table as it is written, such as `[[sampling]]`, or `a window`.
        table: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key has an invalid value.
    BadValue {
        /// The key of the setting.
        key: &'static str,
        /// The value as it was written; for an array, a table or a date, only its type.
        value: String,
        /// A description of a valid value.
        wanted: &'static str,
        /// The most similar valid word, or `None` if none is similar.
        nearest: Option<&'static str>,
    },
    /// A duration cannot be read.
    BadDuration {
        /// The key.
        key: &'static str,
        /// The duration as it was written.
        text: String,
        /// What is wrong with it.
        problem: DurationProblem,
    },
    /// The collector has no event with this name.
    UnknownEvent {
        /// The name.
        name: String,
        /// The name of the most similar event, or `None` if none is similar.
        nearest: Option<String>,
        /// The names of all events of the collector, without labels.
        known: Vec<String>,
    },
    /// No event of this name has these labels, and no family that was declared can make one.
    UnknownLabels {
        /// The name of the event.
        event: String,
        /// The labels, such as `symbol="BTCUSDT"`.
        labels: String,
        /// The labels of each event of this name that has any. A family that was declared has one
        /// of any value, such as `symbol="…"`.
        known: Vec<String>,
    },
    /// A `[[sampling]]` table has none of the keys that set how the event is sampled: `rate`,
    /// `above`, `sample` and `max_cpu`.
    MissingSampling,
    /// Two keys of a `[[sampling]]` table exclude each other.
    ConflictingKeys {
        /// One of the two keys.
        key: &'static str,
        /// The other key.
        other: &'static str,
    },
    /// Two `[[sampling]]` tables are about the same event, or may be.
    DuplicateSampling {
        /// The line of the first of the two tables.
        first_line: usize,
    },
    /// A `[[sla]]` table is invalid.
    #[cfg(feature = "toml")]
    Limits(ParseLimitsProblem),
    /// A core or priority is set for the drain's thread, but `manual_drain` turns that thread off.
    NoDrainThread {
        /// The key of the core or priority: `drain_core` or `drain_priority`.
        key: &'static str,
        /// Where `manual_drain` was set.
        manual: Origin,
    },
    /// The value can be read, but it is out of range, or the operating system refuses it.
    Rejected {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        error: Box<BuildError>,
    },
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable { nearest } => {
                f.write_str("unknown variable")?;
                let known: Vec<String> = variables().collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                match nearest {
                    // Names of variables are written without quotes, unlike the words of
                    // `write_suggestion`.
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => write_suggestion(f, None, &known),
                }
            }
            Self::NotUnicode { text: Some(text) } => {
                write!(f, "the value {text:?} is not valid Unicode")
            }
            Self::NotUnicode { text: None } => {
                f.write_str("this line is not valid UTF-8; save the file as UTF-8")
            }
            Self::Unreadable { path, source } => {
                write!(f, "the configuration file {} cannot be read: {source}", Visible(path))
            }
            Self::NotAFile { path, found } => write!(
                f,
                "the configuration file {} is {found}; write the settings to a regular file",
                Visible(path)
            ),
            Self::TooLarge { path, bytes, most } => write!(
                f,
                "the configuration file {} is too large: it has {bytes} bytes, and the maximum is \
                 {most}",
                Visible(path)
            ),
            Self::InvalidToml { message } => {
                write!(f, "not valid TOML: {}", Visible::text(message))
            }
            Self::UnknownTopLevelKey { key, nearest } => {
                write!(f, "unknown top-level key {key:?}; ")?;
                match nearest {
                    Some("tailwatch") => f.write_str("did you mean [tailwatch]?"),
                    Some(nearest) => write!(f, "did you mean [[{nearest}]]?"),
                    None if KEYS.contains(&key.as_str()) => {
                        f.write_str("this key belongs under [tailwatch]")
                    }
                    None => f.write_str("expected [tailwatch], [[sla]] or [[sampling]]"),
                }
            }
            Self::UnknownKey { table, key, nearest, known } => {
                write!(f, "unknown key {key:?} in {table}")?;
                write_suggestion(f, *nearest, known)
            }
            Self::NotATable { key, found, wanted } => {
                write!(f, "`{key}` has type {found}; write {wanted}")
            }
            Self::MissingKey { table, key } => write!(f, "missing key `{key}` in {table}"),
            Self::BadValue { key, value, wanted, nearest } => {
                write!(f, "`{key}` is {value}; ")?;
                match nearest {
                    Some(nearest) => write!(f, "did you mean {nearest:?}?"),
                    None => write!(f, "expected {wanted}"),
                }
            }
            Self::BadDuration { key, text, problem } => write!(f, "`{key}` is {text:?}: {problem}"),
            Self::UnknownEvent { name, nearest, known } => {
                write!(f, "unknown event {name:?}")?;
                write_suggestion(f, nearest.as_deref(), known)
            }
            Self::UnknownLabels { event, labels, known } => {
                write_unknown_labels(f, event, labels, known)
            }
            Self::MissingSampling => f.write_str(
                "this [[sampling]] sets no sampling; write `rate`, or `above` and `sample`, or \
                 `max_cpu`",
            ),
            Self::ConflictingKeys { key, other } => {
                write!(f, "`{key}` cannot be combined with `{other}`; remove one of them")
            }
            Self::DuplicateSampling { first_line } => write!(
                f,
                "the sampling of this event is already set in line {first_line}; remove one of the \
                 two"
            ),
            #[cfg(feature = "toml")]
            Self::Limits(problem) => problem.fmt(f),
            Self::NoFeatureToml => f.write_str(
                "a configuration file cannot be read, because the feature `toml` of the crate \
                 `tailwatch` is off; enable it, or remove the path",
            ),
            Self::NoDrainThread { key, manual } => write!(
                f,
                "`{key}` needs a drain thread, but `manual_drain` ({manual}) turns it off; remove \
                 one of the two"
            ),
            Self::Rejected { key, error } => write!(f, "`{key}`: {error}"),
        }
    }
}
