//! Parses arbitrary texts of limits.

use std::{fmt::Write, time::Duration};

use arbitrary::Arbitrary;
use tailwatch::{EventId, EventInfo, Limit, Trading, Unit, parse_limits};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Text(&'a str),
    /// Entries that may be invalid.
    Entries(Vec<Entry<'a>>),
}

#[derive(Debug, Arbitrary)]
struct Entry<'a> {
    keys: Vec<(u8, Value<'a>)>,
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Event(u8),
    Quantile(u32),
    Nanos(u64),
    Seconds(u32),
    Number(i64),
    Float(f64),
    Text(&'a str),
    Raw(&'a str),
}

const KEYS: [&str; 7] =
    ["event", "quantile", "limit", "window", "min_samples", "max_silence", "evnet"];

/// Returns the text of `entries`, which may be invalid.
fn text_of(entries: &[Entry<'_>]) -> String {
    let mut text = String::new();
    for Entry { keys } in entries {
        text += "[[sla]]\n";
        for (key, value) in keys {
            let _ = write!(text, "{} = ", KEYS[usize::from(*key) % KEYS.len()]);
            let _ = match value {
                Value::Event(event) => {
                    writeln!(
                        text,
                        "{:?}",
                        Trading::ALL[usize::from(*event) % Trading::ALL.len()].name
                    )
                }
                Value::Quantile(ppm) => {
                    writeln!(text, "\"p{}.{:04}\"", ppm % 101, ppm / 101 % 10_000)
                }
                Value::Nanos(nanos) => writeln!(text, "\"{nanos}ns\""),
                Value::Seconds(seconds) => writeln!(text, "\"{seconds}s\""),
                Value::Number(number) => writeln!(text, "{number}"),
                Value::Float(float) => writeln!(text, "{float:?}"),
                Value::Text(words) => writeln!(text, "{words:?}"),
                Value::Raw(raw) => writeln!(text, "{raw}"),
            };
        }
    }
    text
}

/// Returns `duration` as text that a file may contain.
fn duration_text(duration: Duration) -> String {
    format!("{}s {}ns", duration.as_secs(), duration.subsec_nanos())
}

/// Returns the text of valid limits.
fn text_of_limits(limits: &[(EventId, Limit)]) -> String {
    let mut text = String::new();
    for (id, limit) in limits {
        let EventInfo { name, unit, .. } = Trading::ALL
            .iter()
            .find(|info| info.id == *id)
            .expect("parsed limits have known events");
        let _ = write!(text, "[[sla]]\nevent = \"{name}\"\n");
        let _ = match limit {
            Limit::Quantile(threshold) => {
                let limit = match unit {
                    Unit::Time => {
                        format!("{:?}", duration_text(Duration::from_nanos(threshold.max)))
                    }
                    _ => threshold.max.to_string(),
                };
                writeln!(
                    text,
                    "quantile = \"{}\"\nlimit = {limit}\nwindow = {:?}\nmin_samples = {}",
                    threshold.quantile,
                    duration_text(threshold.window),
                    threshold.min_samples
                )
            }
            Limit::Silence(length) => writeln!(text, "max_silence = {:?}", duration_text(*length)),
        };
    }
    text
}

/// Parses the text that the bytes encode.
///
/// # Panics
/// If an error does not name a line of the text, or limits change when they are written and parsed
/// again.
pub fn run(data: &[u8]) {
    let Some(input) = crate::input(data) else { return };
    let text = match &input {
        Input::Text(text) => (*text).to_owned(),
        Input::Entries(entries) => text_of(entries),
    };
    match parse_limits(&text, Trading::ALL) {
        Ok(limits) => {
            assert!(!limits.is_empty(), "a text without limits must be an error");
            let again = parse_limits(&text_of_limits(&limits), Trading::ALL);
            assert_eq!(again.as_ref(), Ok(&limits), "{}", text_of_limits(&limits));
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.line), "{error} in a text of {lines} lines");
            assert!(error.to_string().len() > "line 1: ".len());
            assert_eq!(
                parse_limits(&text, Trading::ALL),
                Err(error),
                "parsing again must give the same error"
            );
        }
    }
}
