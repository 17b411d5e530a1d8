//! `tailwatch list`: what is shared on this machine.

use core::error::Error;
use std::time::SystemTime;

use serde::Serialize;
use tailwatch::shared::{self, FileState, SharedFile};

use crate::{options::List, output};

/// A shared file, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    /// Why the file cannot be read. The other fields are then `null`.
    error: Option<String>,
    program: Option<String>,
    pid: Option<u64>,
    uid: Option<u32>,
    state: Option<String>,
    created_unix_ns: Option<u64>,
    heartbeat_age_ns: Option<u64>,
    bytes: Option<u64>,
    allocated_bytes: Option<u64>,
    hidden_threads: Option<u64>,
    hidden_records: Option<u64>,
}

impl Row {
    fn new(file: &SharedFile) -> Self {
        let hidden = file.hidden();
        let bytes = file.bytes().ok();
        let is_live = file.state() == FileState::Live;
        let age = file.heartbeat_age().filter(|_| is_live).map(|age| age.as_nanos());
        Self {
            path: file.path().to_string_lossy().into_owned(),
            error: None,
            program: Some(file.program()),
            pid: Some(file.pid()),
            uid: file.uid().ok(),
            state: Some(file.state().to_string()),
            created_unix_ns: Some(file.created_unix_ns()),
            heartbeat_age_ns: age.and_then(|age| u64::try_from(age).ok()),
            bytes: bytes.map(|bytes| bytes.0),
            allocated_bytes: bytes.map(|bytes| bytes.1),
            hidden_threads: Some(hidden.threads),
            hidden_records: Some(hidden.records),
        }
    }

    fn unreadable(error: &shared::SharedFileError) -> Self {
        Self {
            path: error.path.to_string_lossy().into_owned(),
            error: Some(error.problem.to_string()),
            program: None,
            pid: None,
            uid: None,
            state: None,
            created_unix_ns: None,
            heartbeat_age_ns: None,
            bytes: None,
            allocated_bytes: None,
            hidden_threads: None,
            hidden_records: None,
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run(options: &List) -> Result<(), Box<dyn Error>> {
    let files = shared::list().map_err(|error| format!("/dev/shm cannot be read: {error}"))?;
    if options.json {
        let rows = files.iter().map(|file| file.as_ref().map_or_else(Row::unreadable, Row::new));
        return output::print_json(&serde_json::to_string(&rows.collect::<Vec<_>>())?);
    }
    if files.is_empty() {
        return output::print(
            "nothing is shared on this machine that this user may read: set `TAILWATCH_SHARE=bot` \
             in the environment of a program",
        );
    }
    let header =
        ["name", "pid", "user", "state", "since", "last pass", "memory", "of", "not visible"];
    let mut table = output::table(&header, &[1, 5, 6, 7]);
    for file in files.iter().flatten() {
        let row = Row::new(file);
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
        let hidden = file.hidden();
        let invisible = match hidden.records {
            0 => "nothing".to_owned(),
            records => format!("{records} records of {} threads", hidden.threads),
        };
        let age = row.heartbeat_age_ns.map(|age| format!("{} ago", output::nanos(age)));
        table.add_row([
            file.program(),
            file.pid().to_string(),
            or_unknown(row.uid.map(|uid| uid.to_string())),
            file.state().to_string(),
            since(file.created_unix_ns()),
            age.unwrap_or_default(),
            or_unknown(row.allocated_bytes.map(output::bytes)),
            or_unknown(row.bytes.map(output::bytes)),
            invisible,
        ]);
    }
    let mut lines = vec![output::lines(&table)];
    lines.extend(files.iter().filter_map(|file| Some(file.as_ref().err()?.to_string())));
    output::print(&lines.join("\n"))
}

/// Formats when a program started, without fractions of a second.
fn since(unix_ns: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + core::time::Duration::from_secs(unix_ns / 1_000_000_000);
    humantime::format_rfc3339_seconds(time).to_string()
}
