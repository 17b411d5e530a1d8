//! Settings from a configuration file: TOML, read strictly, with the line of whatever is wrong.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use tailwatch_core::EventInfo;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{KEYS, Origin, Raw, Settings, SettingsError, SettingsProblem, value::tell};
use crate::{
    BuildError, ParseLimitsError, Sampling,
    limits_toml::{EVENT, Reader, SLA, first_key, nearest},
};

/// The largest file that is read: no configuration is so long, but some other file may be named by mistake.
const MOST_BYTES: u64 = 1 << 20;

const TAILWATCH: &str = "tailwatch";
const SAMPLING: &str = "sampling";
/// What stands outside of all tables.
const TABLES: [&str; 3] = [TAILWATCH, SLA, SAMPLING];

const RATE: &str = "rate";
const ABOVE: &str = "above";
const SAMPLE: &str = "sample";
const MAX_CPU: &str = "max_cpu";
/// Every key of a `[[sampling]]`.
const SAMPLING_KEYS: &[&str] = &[EVENT, RATE, ABOVE, SAMPLE, MAX_CPU];

impl Settings {
    /// Reads the file, if one is named.
    pub(super) fn read_config_file(&mut self, events: &[EventInfo]) -> Result<(), SettingsError> {
        let Some(path) = self.config_file.value.clone() else { return Ok(()) };
        let bytes = load(&path).map_err(|problem| SettingsError {
            origin: self.config_file.origin.clone(),
            problem,
        })?;
        self.read_config(&path, &bytes, events)
    }

    /// Takes in what these bytes say, which are those of the file `path`.
    pub(super) fn read_config(
        &mut self,
        path: &Path,
        bytes: &[u8],
        events: &[EventInfo],
    ) -> Result<(), SettingsError> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let origin = Origin::File { path: path.to_owned(), line };
            SettingsError { origin, problem: SettingsProblem::NotUnicode { text: None } }
        })?;
        ConfigFile { path, reader: Reader { text, events } }.read_into(self)
    }
}

fn load(path: &Path) -> Result<Vec<u8>, SettingsProblem> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes =
        read().map_err(|source| SettingsProblem::Unreadable { path: path.to_owned(), source })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(SettingsProblem::TooLarge { path: path.to_owned(), most: MOST_BYTES });
    }
    Ok(bytes)
}

/// A file that is read.
struct ConfigFile<'a> {
    path: &'a Path,
    reader: Reader<'a>,
}

impl ConfigFile<'_> {
    fn read_into(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        let document = DeTable::parse(self.reader.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.error(at, SettingsProblem::NotToml { message: error.message().to_owned() })
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

    fn read_settings(
        &self,
        table: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(self.not_a_table(table, TAILWATCH, "[tailwatch], once"));
        };
        // In the order of the file, not of the alphabet: of several errors the first is told.
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

    /// The limits of a file take the place of all others.
    fn read_limits(
        &self,
        sla: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        let entries = self.reader.entries(sla).map_err(|ParseLimitsError { line, problem }| {
            SettingsError {
                origin: Origin::File { path: self.path.to_owned(), line },
                problem: SettingsProblem::Limits(problem),
            }
        })?;
        let first =
            entries.first().map_or_else(|| self.reader.line(sla.span().start), |entry| entry.line);
        let limits = entries.iter().map(|entry| (entry.event, entry.limit)).collect();
        settings
            .limits
            .offer(Some(limits), Origin::File { path: self.path.to_owned(), line: first });
        settings.limit_lines = entries.iter().map(|entry| (entry.event, entry.line)).collect();
        Ok(())
    }

    fn read_sampling(
        &self,
        sampling: &Spanned<DeValue<'_>>,
        settings: &mut Settings,
    ) -> Result<(), SettingsError> {
        const WANTED: &str = "[[sampling]], once for each event";
        let DeValue::Array(entries) = sampling.get_ref() else {
            return Err(self.not_a_table(sampling, SAMPLING, WANTED));
        };
        let mut seen = HashMap::new();
        for entry in entries {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(self.not_a_table(entry, SAMPLING, WANTED));
            };
            let at = entry.span().start;
            let (event, sampling) = self.sampling(at, table)?;
            if let Some(first) = seen.insert(event.id, at) {
                let first_line = self.reader.line(first);
                return Err(self.error(at, SettingsProblem::SampledTwice { first_line }));
            }
            settings.offer_sampling(event.id, sampling, self.origin(at));
        }
        Ok(())
    }

    /// What one `[[sampling]]` says, which begins `at`.
    fn sampling(
        &self,
        at: usize,
        table: &DeTable<'_>,
    ) -> Result<(&EventInfo, Sampling), SettingsError> {
        if let Some((at, key)) = first_key(table, |key| !SAMPLING_KEYS.contains(&key)) {
            return Err(self.unknown_key(at, "[[sampling]]", key, SAMPLING_KEYS));
        }
        let needed = |key| {
            let missing = SettingsProblem::MissingKey { table: "[[sampling]]", key };
            table.get(key).ok_or_else(|| self.error(at, missing))
        };
        let event = self.event(needed(EVENT)?)?;
        let number = |key| self.number(needed(key)?, key);
        let ways =
            [RATE, ABOVE, SAMPLE, MAX_CPU].into_iter().filter(|key| table.contains_key(*key));
        let sampling = match ways.collect::<Vec<_>>()[..] {
            [] => return Err(self.error(at, SettingsProblem::NothingSampled)),
            [RATE] => Sampling::Rate(number(RATE)?),
            [MAX_CPU] => Sampling::Budget { max_cpu: number(MAX_CPU)? },
            // Of `above` and `sample` at least one is there.
            [_] | [ABOVE, SAMPLE] => {
                Sampling::RateLimit { above: number(ABOVE)?, sample: number(SAMPLE)? }
            }
            [other, .., key] => return Err(self.error(at, SettingsProblem::Beside { key, other })),
        };
        let sampling = sampling.check().map_err(|error| {
            let error = Box::new(BuildError::Sampling(error));
            self.error(at, SettingsProblem::Impossible { key: SAMPLING, error })
        })?;
        Ok((event, sampling))
    }

    fn event(&self, value: &Spanned<DeValue<'_>>) -> Result<&EventInfo, SettingsError> {
        let at = value.span().start;
        let raw = Raw::Toml(value.get_ref());
        let name = value.get_ref().as_str();
        let name = name.ok_or_else(|| {
            self.error(at, raw.bad(EVENT, "the name of an event, in quotes", None))
        })?;
        self.reader.events.iter().find(|event| event.name == name).ok_or_else(|| {
            let names = || self.reader.events.iter().map(|event| event.name);
            let (nearest, known) = (nearest(name, names()), names().collect());
            self.error(at, SettingsProblem::UnknownEvent { name: name.to_owned(), nearest, known })
        })
    }

    /// A number, with or without decimals.
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
            let (value, at) = (tell(value.get_ref()), value.span().start);
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

    fn not_a_table(
        &self,
        value: &Spanned<DeValue<'_>>,
        key: &'static str,
        wanted: &'static str,
    ) -> SettingsError {
        let found = value.get_ref().type_str();
        self.error(value.span().start, SettingsProblem::NotATable { key, found, wanted })
    }

    fn error(&self, at: usize, problem: SettingsProblem) -> SettingsError {
        SettingsError { origin: self.origin(at), problem }
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: self.reader.line(at) }
    }
}
