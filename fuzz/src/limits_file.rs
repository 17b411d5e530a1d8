//! Parses arbitrary texts of limits.

use std::{fmt::Write, sync::OnceLock, time::Duration};

use arbitrary::Arbitrary;
use tailwatch::{
    Collector, EventId, EventInfo, Limit, MinSamples, Threshold, Trading, Unit, parse_limits,
};

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

const KEYS: [&str; 12] = [
    "event",
    "quantile",
    "limit",
    "window",
    "min_samples",
    "max_error_rate",
    "max_silence",
    "evnet",
    "labels",
    "replace",
    "raise_after",
    "clear_after",
];

/// The name of the events with labels.
const LABELLED: &str = "labelled";

/// The labels of each of them.
const LABELS: [&[(&str, &str)]; 4] = [
    &[("symbol", "BTC")],
    &[("symbol", "BTC"), ("venue", "X")],
    &[("venue", "X")],
    &[("symbol", "a\"b\\c")],
];

/// Returns the events that a text may name: those of the preset, and some with labels.
fn events() -> &'static [EventInfo] {
    static EVENTS: OnceLock<Vec<EventInfo>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let mut builder = Collector::builder();
        let labelled = LABELS.map(|labels| {
            let mut event = builder.event(LABELLED);
            for (key, value) in labels {
                event = event.label(key, value);
            }
            let id = event.add().expect("name and labels are valid");
            let text: Vec<_> =
                labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            EventInfo::new(id, format!("{LABELLED}{{{}}}", text.join(",")).leak())
        });
        Trading::ALL.iter().copied().chain(labelled).collect()
    })
}

/// Returns the name of an event, or the name that all events with labels share.
fn name(number: u8) -> &'static str {
    let number = usize::from(number) % (events().len() + 1);
    events().get(number).map_or(LABELLED, |event| event.name)
}

/// Returns labels as a table.
fn labels(number: u8) -> String {
    let labels = LABELS[usize::from(number) % LABELS.len()].iter();
    let labels: Vec<_> = labels.map(|(key, value)| format!("{key} = {value:?}")).collect();
    format!("{{ {} }}", labels.join(", "))
}

/// Returns the text of `entries`, which may be invalid.
fn text_of(entries: &[Entry<'_>]) -> String {
    let mut text = String::new();
    for Entry { keys } in entries {
        text += "[[sla]]\n";
        for (key, value) in keys {
            let key = KEYS[usize::from(*key) % KEYS.len()];
            let _ = write!(text, "{key} = ");
            let _ = match value {
                Value::Event(number) if key == "labels" => writeln!(text, "{}", labels(*number)),
                Value::Event(number) => writeln!(text, "{:?}", name(*number)),
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

/// Returns the text of a limit's window, minimum number of samples and delays.
fn text_of_conditions(threshold: &Threshold) -> String {
    let mut text = String::new();
    // A delay of 0 cannot be written. Without the key, it is 0.
    let raise = Some(threshold.raise_after).filter(|delay| !delay.is_zero());
    for (key, delay) in [("raise_after", raise), ("clear_after", threshold.clear_after)] {
        if let Some(delay) = delay {
            let _ = writeln!(text, "{key} = {:?}", duration_text(delay));
        }
    }
    let min_samples = match threshold.min_samples {
        MinSamples::Count(count) => count.to_string(),
        MinSamples::Auto => "'auto'".to_owned(),
    };
    let window = duration_text(threshold.window);
    let _ = write!(text, "window = {window:?}\nmin_samples = {min_samples}");
    text
}

/// Returns the text of valid limits.
fn text_of_limits(limits: &[(EventId, Limit)]) -> String {
    let mut text = String::new();
    for (id, limit) in limits {
        let EventInfo { name, unit, .. } =
            events().iter().find(|info| info.id == *id).expect("parsed limits have known events");
        // No event has the name of those with labels alone, so each name is that of one event.
        let _ = write!(text, "[[sla]]\nevent = {name:?}\n");
        let _ = match limit {
            Limit::Quantile(threshold) => {
                let limit = match unit {
                    Unit::Time => {
                        format!("{:?}", duration_text(Duration::from_nanos(threshold.max)))
                    }
                    _ => threshold.max.to_string(),
                };
                let quantile = threshold.quantile;
                let conditions = text_of_conditions(threshold);
                writeln!(text, "quantile = \"{quantile}\"\nlimit = {limit}\n{conditions}")
            }
            Limit::Errors(threshold) => {
                let ppm = threshold.max_error_ppm();
                let percent = format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
                let conditions = text_of_conditions(threshold);
                writeln!(text, "max_error_rate = {percent:?}\n{conditions}")
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
    match parse_limits(&text, events()) {
        Ok(limits) => {
            assert!(!limits.is_empty(), "a text without limits must be an error");
            let again = parse_limits(&text_of_limits(&limits), events());
            let again = again.as_deref();
            assert_eq!(again, Ok(&limits[..]), "{}", text_of_limits(&limits));
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.line), "{error} in a text of {lines} lines");
            assert!(error.to_string().len() > "line 1: ".len());
            assert_eq!(
                parse_limits(&text, events()),
                Err(error),
                "parsing again must give the same error"
            );
        }
    }
}
