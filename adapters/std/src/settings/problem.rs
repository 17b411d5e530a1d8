//! What can be wrong with settings from outside of the program.

use core::fmt;
use std::{error, io, path::PathBuf};

use super::{KEYS, Origin, environment};
use crate::{BuildError, DurationProblem, ParseLimitsProblem, limits_toml::did_you_mean};

/// A setting cannot be, because of what somebody said.
#[derive(Debug)]
#[non_exhaustive]
pub struct SettingsError {
    /// Who said it: the line of a file, a variable, or the program.
    pub origin: Origin,
    /// What is wrong with it.
    pub problem: SettingsProblem,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

impl error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            SettingsProblem::Unreadable { source, .. } => Some(source),
            SettingsProblem::Impossible { error, .. } => error.source(),
            // What the others wrap is told in full already.
            _ => None,
        }
    }
}

/// Tells who said what led to this error; not of the program itself, whose author knows.
pub(super) fn said_by(origin: &Origin, key: &'static str, error: BuildError) -> BuildError {
    if !origin.is_operator() {
        return error;
    }
    let problem = SettingsProblem::Impossible { key, error: Box::new(error) };
    BuildError::Settings(SettingsError { origin: origin.clone(), problem })
}

/// What is wrong with a setting. Its Display says what would be right.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsProblem {
    /// A variable that begins as ours do, and is none of them.
    UnknownVariable {
        /// What it may have meant.
        nearest: Option<String>,
    },
    /// A text that is not Unicode.
    NotUnicode {
        /// What can be read of it; of a file, nothing.
        text: Option<String>,
    },
    /// The configuration file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The configuration file is too large to be one.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest that is read, in bytes.
        most: u64,
    },
    /// The configuration file is not TOML.
    NotToml {
        /// What the parser says.
        message: String,
    },
    /// A key outside of all tables.
    UnknownTopLevelKey {
        /// The key.
        key: String,
        /// What it may have meant.
        nearest: Option<&'static str>,
    },
    /// A key that a table does not have.
    UnknownKey {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// What it may have meant.
        nearest: Option<&'static str>,
        /// All that there are.
        known: &'static [&'static str],
    },
    /// A value that is another kind of table, or none.
    NotATable {
        /// The key.
        key: &'static str,
        /// The type of its value, in the words of TOML.
        found: &'static str,
        /// How it is to begin.
        wanted: &'static str,
    },
    /// A table lacks a key.
    MissingKey {
        /// The table.
        table: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A value that its key cannot have.
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it is to be.
        wanted: &'static str,
        /// What it may have meant.
        nearest: Option<&'static str>,
    },
    /// A text is no duration.
    BadDuration {
        /// The key.
        key: &'static str,
        /// The text.
        text: String,
        /// Why it is none.
        problem: DurationProblem,
    },
    /// No event has this name.
    UnknownEvent {
        /// The name.
        name: String,
        /// The name that it may have meant.
        nearest: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A `[[sampling]]` that does not say how.
    NothingSampled,
    /// Two keys that exclude each other.
    Beside {
        /// The one.
        key: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The sampling of one event, once more.
    SampledTwice {
        /// Where it stands first.
        first_line: usize,
    },
    /// A limit that cannot be read.
    Limits(ParseLimitsProblem),
    /// A place for the drain's thread, of which there is none.
    NoDrainThread {
        /// The setting.
        key: &'static str,
        /// Who said that there is none.
        manual: Origin,
    },
    /// A value that no collector can have, or that the operating system refuses.
    Impossible {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        error: Box<BuildError>,
    },
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable { nearest } => {
                f.write_str("unknown variable")?;
                let known: Vec<String> = environment::variables().collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => did_you_mean(f, None, &known),
                }
            }
            Self::NotUnicode { text: Some(text) } => write!(f, "{text:?} is not Unicode"),
            Self::NotUnicode { text: None } => f.write_str("this line is not Unicode: write the file in UTF-8"),
            Self::Unreadable { path, source } => {
                write!(f, "the configuration file {} cannot be read: {source}", path.display())
            }
            Self::TooLarge { path, most } => {
                write!(f, "the configuration file {} is too large: at most {most} bytes are read", path.display())
            }
            Self::NotToml { message } => write!(f, "not TOML: {message}"),
            Self::UnknownTopLevelKey { key, nearest } => {
                write!(f, "unknown key {key:?}")?;
                match nearest {
                    Some("tailwatch") => f.write_str("; did you mean [tailwatch]?"),
                    Some(nearest) => write!(f, "; did you mean [[{nearest}]]?"),
                    None if KEYS.contains(&key.as_str()) => f.write_str(": it stands under [tailwatch]"),
                    None => f.write_str(": all keys stand under [tailwatch], a [[sla]] or a [[sampling]]"),
                }
            }
            Self::UnknownKey { table, key, nearest, known } => {
                write!(f, "unknown key {key:?} in {table}")?;
                did_you_mean(f, *nearest, known)
            }
            Self::NotATable { key, found, wanted } => write!(f, "`{key}` is of type {found}: write {wanted}"),
            Self::MissingKey { table, key } => write!(f, "this {table} has no `{key}`"),
            Self::BadValue { key, value, wanted, nearest } => {
                write!(f, "`{key}` of {value}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
                    None => write!(f, ": write {wanted}"),
                }
            }
            Self::BadDuration { key, text, problem } => write!(f, "`{key}` of {text:?} {problem}"),
            Self::UnknownEvent { name, nearest, known } => {
                write!(f, "unknown event {name:?}")?;
                did_you_mean(f, *nearest, known)
            }
            Self::NothingSampled => {
                f.write_str("this [[sampling]] says nothing: write `rate`, or `above` and `sample`, or `max_cpu`")
            }
            Self::Beside { key, other } => write!(f, "`{key}` beside `{other}`: leave one of them out"),
            Self::SampledTwice { first_line } => {
                write!(f, "the sampling of line {first_line} once more: leave one of them out")
            }
            Self::Limits(problem) => problem.fmt(f),
            Self::NoDrainThread { key, manual } => {
                write!(
                    f,
                    "`{key}` places the drain's thread, and `manual_drain` ({manual}) says that there is none: leave one \
                     of them out"
                )
            }
            Self::Impossible { key, error } => write!(f, "`{key}`: {error}"),
        }
    }
}
