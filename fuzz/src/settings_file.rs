//! Reads arbitrary configuration files and environment variables.

use std::{ffi::OsString, fmt::Write, fs, path::PathBuf, sync::OnceLock};

use arbitrary::Arbitrary;
use tailwatch::{Collector, Origin, Settings};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    file: File<'a>,
    variables: Vec<(u8, Value<'a>)>,
}

#[derive(Debug, Arbitrary)]
enum File<'a> {
    Bytes(&'a [u8]),
    /// Keys with values that may be invalid.
    Keys(Vec<(u8, Value<'a>)>),
    /// Tables `[[sampling]]` with keys and values that may be invalid.
    Sampling(Vec<Vec<(u8, Value<'a>)>>),
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Word(u8),
    Number(u64),
    Negative(i64),
    Duration(u32, u8),
    Windows(Vec<(u32, u8, u16)>),
    Text(&'a str),
    Raw(&'a str),
}

const KEYS: [&str; 15] = [
    "ring_capacity",
    "max_ring_capacity",
    "rings",
    "max_ring_bytes",
    "clock",
    "exact_samples",
    "drain_core",
    "drain_priority",
    "manual_drain",
    "mlock",
    "max_period",
    "windows",
    "enabled",
    "config",
    "ringz",
];
/// The name of a family that was declared.
const FAMILY: &str = "family";
const SAMPLING_KEYS: [&str; 8] =
    ["event", "labels", "labels.symbol", "rate", "above", "sample", "max_cpu", "evnt"];
const WORDS: [&str; 9] =
    ["ordered", "relaxed", "monotonic", "none", "inherited", "normal", "idle", "true", "false"];
const UNITS: [&str; 6] = ["ns", "us", "ms", "s", "m", "h"];

impl Value<'_> {
    /// Returns the value as the text of a variable.
    fn text(&self) -> String {
        match self {
            Self::Word(word) => WORDS[usize::from(*word) % WORDS.len()].to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Negative(number) => number.to_string(),
            Self::Duration(number, unit) => {
                format!("{number}{}", UNITS[usize::from(*unit) % UNITS.len()])
            }
            Self::Windows(windows) => {
                let one = |(length, unit, slices): &(u32, u8, u16)| {
                    format!("{length}{}/{slices}", UNITS[usize::from(*unit) % UNITS.len()])
                };
                windows.iter().map(one).collect::<Vec<_>>().join(",")
            }
            Self::Text(text) | Self::Raw(text) => (*text).to_owned(),
        }
    }

    /// Returns the value as TOML.
    fn toml(&self) -> String {
        match self {
            Self::Word(word) if usize::from(*word) % WORDS.len() >= 7 => self.text(),
            Self::Word(_) | Self::Duration(..) | Self::Text(_) => format!("{:?}", self.text()),
            Self::Windows(_) => {
                let windows = self
                    .text()
                    .split(',')
                    .map(|window| format!("{window:?}"))
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("[{windows}]")
            }
            Self::Number(_) | Self::Negative(_) | Self::Raw(_) => self.text(),
        }
    }
}

impl File<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Keys(keys) => {
                let mut text = "[tailwatch]\n".to_owned();
                for (key, value) in keys {
                    let _ = writeln!(
                        text,
                        "{} = {}",
                        KEYS[usize::from(*key) % KEYS.len()],
                        value.toml()
                    );
                }
                text.into_bytes()
            }
            Self::Sampling(tables) => {
                let mut text = String::new();
                for keys in tables {
                    text += "[[sampling]]\n";
                    for (key, value) in keys {
                        let key = SAMPLING_KEYS[usize::from(*key) % SAMPLING_KEYS.len()];
                        let value = match (key, value) {
                            ("event", Value::Word(_)) => format!("{FAMILY:?}"),
                            ("labels", Value::Word(_)) => format!("{{ symbol = {FAMILY:?} }}"),
                            _ => value.toml(),
                        };
                        let _ = writeln!(text, "{key} = {value}");
                    }
                }
                text.into_bytes()
            }
        }
    }
}

/// Returns the path of a temporary file that only this process uses.
fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        std::env::temp_dir().join(format!("tailwatch-fuzz-{}.toml", std::process::id()))
    })
}

fn settings(variables: &[(OsString, OsString)]) -> Result<Settings, tailwatch::SettingsError> {
    Collector::builder()
        .family(FAMILY, "symbol")
        .config_file(path())
        .environment(variables.iter().cloned())
        .settings()
}

/// Returns the origin of the value in force for `key`, or `None` if there is no such setting.
fn origin<'s>(settings: &'s Settings, key: &str) -> Option<&'s Origin> {
    Some(match key {
        "ring_capacity" => &settings.ring_capacity.origin,
        "max_ring_capacity" => &settings.max_ring_capacity.origin,
        "rings" => &settings.rings.origin,
        "max_ring_bytes" => &settings.max_ring_bytes.origin,
        "clock" => &settings.clock.origin,
        "exact_samples" => &settings.exact_samples.origin,
        "drain_core" => &settings.drain_core.origin,
        "drain_priority" => &settings.drain_priority.origin,
        "manual_drain" => &settings.manual_drain.origin,
        "mlock" => &settings.mlock.origin,
        "max_period" => &settings.max_period.origin,
        "windows" => &settings.windows.origin,
        "enabled" => &settings.enabled.origin,
        _ => return None,
    })
}

/// Reads the file and the variables that the bytes encode.
///
/// # Panics
/// If an error names neither a line of the file nor a variable, or a variable does not override the
/// file.
pub fn run(data: &[u8]) {
    let Some(Input { file, variables }) = crate::input(data) else { return };
    let bytes = file.bytes();
    fs::write(path(), &bytes).expect("a temporary file can be written");
    let variables: Vec<(OsString, OsString)> = variables
        .iter()
        .map(|(key, value)| (KEYS[usize::from(*key) % KEYS.len()], value.text()))
        // `config` could name any file, even a device.
        .filter(|(key, _)| *key != "config")
        .map(|(key, value)| (format!("TAILWATCH_{}", key.to_uppercase()).into(), value.into()))
        .collect();
    let (read, again) = (settings(&variables), settings(&variables));
    // Removed before an assertion can fail, so that no file is left behind.
    fs::remove_file(path()).expect("the temporary file exists");
    match read {
        Ok(found) => {
            assert_eq!(
                again.as_ref().ok(),
                Some(&found),
                "reading again must give the same settings"
            );
            for key in KEYS {
                let variable = format!("TAILWATCH_{}", key.to_uppercase());
                if variables.iter().any(|(name, _)| *name == *variable) {
                    assert_eq!(
                        origin(&found, key),
                        Some(&Origin::Environment { variable }),
                        "a variable must override the file"
                    );
                }
            }
        }
        Err(error) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            match &error.origin {
                Origin::File { path: named, line } => {
                    assert!(
                        named == path() && (1..=lines).contains(line),
                        "{error} in a file of {lines} lines"
                    );
                }
                Origin::Environment { variable } => {
                    assert!(variables.iter().any(|(name, _)| name == variable.as_str()), "{error}");
                }
                // The builder sets nothing invalid, so the file must be too large to be read.
                origin => assert!(bytes.len() > 1 << 20, "unexpected origin {origin}: {error}"),
            }
            assert!(error.to_string().len() > error.origin.to_string().len() + 2);
        }
    }
}
