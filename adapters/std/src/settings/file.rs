//! Reads settings from a configuration file in TOML.
//!
//! Everything unknown in the file is an error, which names the line. Below, `at` is a position in
//! the file: the number of bytes before it.

use std::{
    collections::HashMap,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    KEYS, Origin, Setting, Settings,
    build_error::BuildError,
    later_events::LaterLimit,
    limits_toml::{EVENT, Entry, LimitsParser, SLA, first_key, problem::ParseLimitsError},
    problem::{SettingsError, SettingsProblem},
    selection::{
        Selectable, Selection,
        read::{Claims, LABELS},
    },
    suggestion::nearest,
    value::{Raw, describe},
};
use crate::drain::sampling::Sampling;

/// The size in bytes up to which a configuration file is read. The bound keeps a file at a wrong
/// path, such as a huge log, from being read into memory.
const MAX_BYTES: u64 = 1 << 20;

const TAILWATCH: &str = "tailwatch";
const SAMPLING: &str = "sampling";
/// The keys at the top level of the file.
const TABLES: [&str; 3] = [TAILWATCH, SLA, SAMPLING];

const RATE: &str = "rate";
const ABOVE: &str = "above";
const SAMPLE: &str = "sample";
const MAX_CPU: &str = "max_cpu";
/// The keys of a `[[sampling]]` table.
const SAMPLING_KEYS: &[&str] = &[EVENT, LABELS, RATE, ABOVE, SAMPLE, MAX_CPU];

impl Settings {
    /// Reads the configuration file, if its path is set.
    pub(super) fn read_config_file(
        &mut self,
        events: &Selectable<'_>,
    ) -> Result<(), SettingsError> {
        let Some(path) = self.config_file.value.clone() else { return Ok(()) };
        let bytes = load(&path).map_err(|problem| SettingsError {
            origin: self.config_file.origin.clone(),
            problem,
        })?;
        self.read_config(&path, &bytes, events)
    }

    /// Applies `bytes`, the content of the configuration file at `path`.
    pub(super) fn read_config(
        &mut self,
        path: &Path,
        bytes: &[u8],
        events: &Selectable<'_>,
    ) -> Result<(), SettingsError> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let origin = Origin::File { path: path.to_owned(), line };
            SettingsError { origin, problem: SettingsProblem::NotUnicode { text: None } }
        })?;
        ConfigFile { path, parser: LimitsParser::new(text, events) }.read_into(self)
    }
}

/// Returns the content of the file. Refuses anything but a regular file, because reading from it
/// may block or never end.
fn load(path: &Path) -> Result<Vec<u8>, SettingsProblem> {
    let unreadable = |source| SettingsProblem::Unreadable { path: path.to_owned(), source };
    let not_a_file = |found| SettingsProblem::NotAFile { path: path.to_owned(), found };
    let file = open(path).map_err(|source| {
        // A socket, and a directory on some systems, cannot be opened.
        let found = fs::metadata(path).ok().and_then(|metadata| other_type(metadata.file_type()));
        found.map_or_else(|| unreadable(source), not_a_file)
    })?;
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(found) = other_type(metadata.file_type()) {
        return Err(not_a_file(found));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let read = bytes.len() as u64;
    if read > MAX_BYTES {
        return Err(SettingsProblem::TooLarge {
            path: path.to_owned(),
            bytes: metadata.len().max(read),
            most: MAX_BYTES,
        });
    }
    Ok(bytes)
}

/// Opens a file without waiting for it. Otherwise, opening a pipe waits until another process
/// writes to the pipe.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

/// Returns what something is that is not a regular file, or `None` for a regular file.
fn other_type(found: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if found.is_fifo() {
            return Some("a pipe");
        }
        if found.is_socket() {
            return Some("a socket");
        }
        if found.is_char_device() || found.is_block_device() {
            return Some("a device");
        }
    }
    if found.is_file() {
        None
    } else if found.is_dir() {
        Some("a directory")
    } else {
        Some("a special file")
    }
}

/// A configuration file that is being read.
struct ConfigFile<'a> {
    path: &'a Path,
    /// Contains the text, and the events that it may name.
    parser: LimitsParser<'a>,
}

impl ConfigFile<'_> {
    /// Applies everything in the file to `settings`.
    fn read_into(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        let document = DeTable::parse(self.parser.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, SettingsProblem::InvalidToml { message: error.message().to_owned() })
        })?;
        let document = document.get_ref();
        if let Some((at, key)) = first_key(document, |key| !TABLES.contains(&key)) {
            let nearest = nearest(key, TABLES);
            return Err(self
                .error(at, SettingsProblem::UnknownTopLevelKey { key: key.to_owned(), nearest }));
        }
        if let Some(table) = document.get(TAILWATCH) {
            self.read_settings(table, settings)?;
        }
        if let Some(sla) = document.get(SLA) {
            self.read_limits(sla, settings)?;
        }
        if let Some(sampling) = document.get(SAMPLING) {
            self.read_sampling(sampling, settings)?;
        }
        Ok(())
    }

    /// Reads the `[tailwatch]` table.
    fn read_settings(
        &self,
        table: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(self.not_a_table(table, TAILWATCH, "one [tailwatch] table"));
        };
        // Sorted by their position in the file, so that the first of several errors is reported.
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| key.span().start);
        for (key, value) in keys {
            let (at, name) = (key.span().start, key.get_ref());
            let origin = self.origin(value.span().start);
            match settings.read(name, &Raw::Toml(value.get_ref()), origin) {
                Some(read) => read.map_err(|problem| self.error(value.span().start, problem))?,
                None => return Err(self.unknown_key(at, "[tailwatch]", name, KEYS)),
            }
        }
        Ok(())
    }

    /// Reads the `[[sla]]` tables. Each limit replaces the same limit that the program sets or its
    /// events declare.
    fn read_limits(
        &self,
        sla: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let entries = self.parser.entries(sla).map_err(|ParseLimitsError { line, problem }| {
            SettingsError {
                origin: Origin::File { path: self.path.to_owned(), line },
                problem: SettingsProblem::Limits(problem),
            }
        })?;
        let (mut limits, mut dropping, mut later) = (Vec::new(), HashMap::new(), Vec::new());
        for entry in entries {
            let origin = Origin::File { path: self.path.to_owned(), line: entry.line };
            for (event, limit) in entry.limits() {
                limits.push((event, Setting { value: limit, origin: origin.clone() }));
                if entry.replaces_all {
                    dropping.entry(event).or_insert_with(|| origin.clone());
                }
            }
            let Entry { events, selection, unit, limit, replaces_all, .. } = entry;
            let is_checked = !events.is_empty();
            later.push(LaterLimit { origin, selection, unit, limit, replaces_all, is_checked });
        }
        settings.override_limits(limits, &dropping);
        Arc::make_mut(&mut settings.later_events).limits = later;
        Ok(())
    }

    /// Reads the `[[sampling]]` tables.
    fn read_sampling(
        &self,
        sampling: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        const WANTED: &str = "one [[sampling]] table for each event";
        let DeValue::Array(entries) = sampling.get_ref() else {
            return Err(self.not_a_table(sampling, SAMPLING, WANTED));
        };
        let (mut claims, mut samplings) = (Claims::new(), Vec::new());
        for entry in entries {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(self.not_a_table(entry, SAMPLING, WANTED));
            };
            let at = entry.span().start;
            let (selection, sampling) = self.sampling(at, table)?;
            let events = self.parser.events;
            claims.add((), &selection, at, events).map_err(|first| {
                let first_line = self.parser.line(first);
                self.error(at, SettingsProblem::DuplicateSampling { first_line })
            })?;
            let origin = self.origin(at);
            for event in events.selected(&selection) {
                settings.offer_sampling(event.id, sampling, origin.clone());
            }
            samplings.push((selection, Setting { value: sampling, origin }));
        }
        Arc::make_mut(&mut settings.later_events).samplings = samplings;
        Ok(())
    }

    /// Reads one `[[sampling]]` table, which begins at `at`.
    fn sampling(
        &self,
        at: usize,
        table: &DeTable<'_>,
    ) -> Result<(Selection, Sampling), SettingsError> {
        if let Some((at, key)) = first_key(table, |key| !SAMPLING_KEYS.contains(&key)) {
            return Err(self.unknown_key(at, "[[sampling]]", key, SAMPLING_KEYS));
        }
        let required = |key| {
            let missing = SettingsProblem::MissingKey { table: "[[sampling]]", key };
            table.get(key).ok_or_else(|| self.error(at, missing))
        };
        let selection = self.selection(required(EVENT)?, table.get(LABELS))?;
        let number = |key| self.number(required(key)?, key);
        let given =
            [RATE, ABOVE, SAMPLE, MAX_CPU].into_iter().filter(|key| table.contains_key(*key));
        let sampling = match given.collect::<Vec<_>>()[..] {
            [] => return Err(self.error(at, SettingsProblem::MissingSampling)),
            [RATE] => Sampling::Rate(number(RATE)?),
            [MAX_CPU] => Sampling::Budget { max_cpu: number(MAX_CPU)? },
            // Either both keys of a rate limit, or one of them; `number` then reports that the
            // other is missing.
            [_] | [ABOVE, SAMPLE] => {
                Sampling::RateLimit { above: number(ABOVE)?, sample: number(SAMPLE)? }
            }
            [other, .., key] => {
                return Err(self.error(at, SettingsProblem::ConflictingKeys { key, other }));
            }
        };
        let sampling = sampling.check().map_err(|error| {
            let error = Box::new(BuildError::Sampling(error));
            self.error(at, SettingsProblem::Rejected { key: SAMPLING, error })
        })?;
        Ok((selection, sampling))
    }

    /// Reads the name of an event, and the labels if there are any.
    fn selection(
        &self,
        value: &Spanned<DeValue<'_>>,
        labels: Option<&Spanned<DeValue<'_>>>,
    ) -> Result<Selection, SettingsError> {
        let at = value.span().start;
        let raw = Raw::Toml(value.get_ref());
        let name = value.get_ref().as_str();
        let name = name.ok_or_else(|| {
            self.error(at, raw.bad_value(EVENT, "the name of an event, in quotes", None))
        })?;
        let read = self.parser.events.read((at, name), labels);
        read.map_err(|(at, problem)| self.error(at, problem.into()))
    }

    /// Reads a decimal number, with or without a fraction.
    fn number(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
    ) -> Result<f64, SettingsError> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| {
            let (value, at) = (describe(value.get_ref()), value.span().start);
            self.error(
                at,
                SettingsProblem::BadValue {
                    key,
                    value,
                    wanted: "a number, such as 0.1",
                    nearest: None,
                },
            )
        })
    }

    /// Creates the error for a key at `at` that is not among the `known` keys of `table`.
    fn unknown_key(
        &self,
        at: usize,
        table: &'static str,
        key: &str,
        known: &'static [&'static str],
    ) -> SettingsError {
        let nearest = nearest(key, known.iter().copied());
        self.error(at, SettingsProblem::UnknownKey { table, key: key.to_owned(), nearest, known })
    }

    /// Creates the error for a value of `key` that is not a table. `wanted` describes what is.
    fn not_a_table(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
        wanted: &'static str,
    ) -> SettingsError {
        let found = value.get_ref().type_str();
        self.error(value.span().start, SettingsProblem::NotATable { key, found, wanted })
    }

    /// Creates an error with the line of `at`.
    fn error(&self, at: usize, problem: SettingsProblem) -> SettingsError {
        SettingsError { origin: self.origin(at), problem }
    }

    /// Returns the line of `at` as an origin.
    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: self.parser.line(at) }
    }
}
