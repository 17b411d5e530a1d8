//! How the bot sets the library up; the measuring itself stands where the work is done.

use core::time::Duration;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tailwatch::{
    Builder, Collector, EventId, Limit, ParseLimitsError, SlaChange, TraceWriter, Trading,
    parse_limits,
};

use crate::options::Options;

/// At full speed market data records three times a message, some 10^6 times a second: this is a quarter of a second of
/// it, time enough for a drain that shares its core with everybody else.
pub(crate) const RING_CAPACITY: usize = 262_144;

/// The longest rest of the drain: short beside what a ring holds.
const LONGEST_REST: Duration = Duration::from_millis(5);

/// Sets a collector up as the options ask for.
pub(crate) fn builder(
    options: &Options,
    trace: Option<&TraceWriter>,
) -> Result<Builder, LimitsFileError> {
    let mut builder = Collector::builder().ring_capacity(RING_CAPACITY).max_period(LONGEST_REST);
    if let Some(core) = options.pin_drain {
        builder = builder.drain_core(core);
    }
    if let Some(path) = &options.sla {
        builder = builder.limits(&read_limits(path)?);
    }
    if let Some(trace) = trace {
        builder = builder.observer(trace.observer());
    }
    Ok(builder)
}

/// A file of limits that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitsFileError {
    #[error("--sla {path}: cannot be read: {cause}", path = .0.display(), cause = .1)]
    Read(PathBuf, io::Error),
    #[error("--sla {path}: is larger than {MOST_BYTES} bytes, which no file of limits is", path = .0.display())]
    TooLarge(PathBuf),
    #[error("--sla {path}: {cause}", path = .0.display(), cause = .1)]
    Limits(PathBuf, ParseLimitsError),
}

/// Far more than limits take; a device that never ends is not read for ever.
const MOST_BYTES: u64 = 1 << 20;

fn read_limits(path: &Path) -> Result<Vec<(EventId, Limit)>, LimitsFileError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text));
    let bytes = read.map_err(|cause| LimitsFileError::Read(path.to_owned(), cause))?;
    if bytes as u64 > MOST_BYTES {
        return Err(LimitsFileError::TooLarge(path.to_owned()));
    }
    parse_limits(&text, Trading::ALL)
        .map_err(|cause| LimitsFileError::Limits(path.to_owned(), cause))
}

/// What to say of a limit that was violated, or is kept again.
pub(crate) fn line(SlaChange { raised, limit, .. }: &SlaChange) -> String {
    format!("{}: {limit}", if *raised { "limit violated" } else { "limit kept again" })
}

/// What to say of changes that nobody can tell any more.
pub(crate) fn missed(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{count} older changes of limits are not told"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_limits_is_read_or_its_error_names_file_and_line() {
        let path = std::env::temp_dir().join(format!("trading_bot_limits_{}", std::process::id()));
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_limits(&path).map_err(|error| error.to_string())
        };
        let entry = "[[sla]]\nevent = 'order_placement'\nquantile = 'p95'\n";
        assert_eq!(error(&format!("{entry}limit = '20ms'")).map(|limits| limits.len()), Ok(1));
        let name = path.display();
        let told = error(&format!("{entry}limit = '20mz'")).unwrap_err();
        assert!(
            told.starts_with(&format!("--sla {name}: line 4: ")) && told.contains("ms"),
            "{told}"
        );
        assert!(error(&"#".repeat(1 << 21)).unwrap_err().contains("larger"));
        std::fs::remove_file(&path).unwrap();
        assert!(read_limits(&path).unwrap_err().to_string().contains("cannot be read"));
    }
}
