//! Sets the collector up. The measuring itself is in the modules that do the work.

use core::time::Duration;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use tailwatch::{
    Builder, Collector, EventInfo, LimitOverrides, ParseLimitsError, SlaChange, TraceWriter,
    Trading, events, parse_limits,
};

use crate::options::Options;

events! {
    /// The events that the bot measures in addition to the preset.
    pub(crate) enum BotEvent {
        /// From the arrival of the market data that led to an order until the order is sent.
        TickToOrder = 9,
    }
}

/// Returns all events that the bot measures.
pub(crate) fn events() -> Vec<EventInfo> {
    [Trading::ALL, BotEvent::ALL].concat()
}

/// The records in a ring. At full speed market data writes three records per message, about 10^6
/// per second. So a ring lasts for a quarter of a second, which is enough for a drain that shares
/// its core with other threads.
pub(crate) const RING_CAPACITY: usize = 262_144;

/// The size of the shared file: 15 rings fit.
const SHARE_BYTES: usize = 64 << 20;

/// The longest poll interval of the drain: short compared with how long a ring lasts.
const LONGEST_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Returns a builder of the collector that the options ask for.
pub(crate) fn builder(
    options: &Options,
    trace: Option<&TraceWriter>,
) -> Result<Builder, LimitsFileError> {
    let mut builder =
        Collector::builder().ring_capacity(RING_CAPACITY).max_period(LONGEST_POLL_INTERVAL);
    builder = builder.events(&events());
    if let Some(core) = options.pin_drain {
        builder = builder.drain_core(core);
    }
    if let Some(name) = &options.share {
        builder = builder.share(name).share_bytes(SHARE_BYTES);
    }
    if let Some(path) = &options.sla {
        builder = builder.limits(&read_limits(path)?);
    }
    if let Some(trace) = trace {
        builder = builder.observer(trace.observer());
    }
    Ok(builder)
}

/// The error returned for a file of limits that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitsFileError {
    #[error("--sla {path}: cannot be read: {cause}", path = .0.display(), cause = .1)]
    Read(PathBuf, io::Error),
    #[error("--sla {path}: this is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    #[error("--sla {path}: the file is larger than {MOST_BYTES} bytes", path = .0.display())]
    TooLarge(PathBuf),
    #[error("--sla {path}: {cause}", path = .0.display(), cause = .1)]
    Limits(PathBuf, ParseLimitsError),
}

/// The largest file of limits that is read, in bytes: far more than limits take.
const MOST_BYTES: u64 = 1 << 20;

fn read_limits(path: &Path) -> Result<LimitOverrides, LimitsFileError> {
    // Opening a pipe would wait until another process writes to it.
    let metadata =
        fs::metadata(path).map_err(|cause| LimitsFileError::Read(path.to_owned(), cause))?;
    if !metadata.is_file() {
        return Err(LimitsFileError::NotAFile(path.to_owned()));
    }
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text));
    let bytes = read.map_err(|cause| LimitsFileError::Read(path.to_owned(), cause))?;
    if bytes as u64 > MOST_BYTES {
        return Err(LimitsFileError::TooLarge(path.to_owned()));
    }
    parse_limits(&text, &events()).map_err(|cause| LimitsFileError::Limits(path.to_owned(), cause))
}

/// Formats a change of a limit for the console.
pub(crate) fn sla_line(SlaChange { raised, limit, .. }: &SlaChange) -> String {
    format!("{}: {limit}", if *raised { "violation raised" } else { "violation cleared" })
}

/// Formats the number of changes that were dropped before they could be printed; `None` if there
/// are none.
pub(crate) fn missed_line(count: u64) -> Option<String> {
    (count > 0).then(|| {
        format!("{count} older changes of limits were dropped before they could be printed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_limits_is_read_and_errors_name_file_and_line() {
        let path = std::env::temp_dir().join(format!("trading_bot_limits_{}", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_limits(&path).map_err(|error| error.to_string())
        };
        let entry = "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\n";
        assert_eq!(read(&format!("{entry}limit = '20ms'")).map(|limits| limits.len()), Ok(1));
        let name = path.display();
        let error = read(&format!("{entry}limit = '20mz'")).unwrap_err();
        assert!(
            error.starts_with(&format!("--sla {name}: line 4: ")) && error.contains("ms"),
            "{error}"
        );
        assert!(read(&"#".repeat(1 << 21)).unwrap_err().contains("larger"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read_limits(&path).unwrap_err().to_string().contains("not a regular file"));
        std::fs::remove_dir(&path).unwrap();
        assert!(read_limits(&path).unwrap_err().to_string().contains("cannot be read"));
    }
}
