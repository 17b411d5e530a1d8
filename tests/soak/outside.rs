//! Readers outside: other processes, which read the shared file of the collector.

use core::time::Duration;
use std::{
    env,
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
};

use tailwatch::shared::{self, ReaderStart, SharedReader};

use crate::fail;

/// The size of the shared file: less than all rings may need, so some are outside it.
pub(crate) const SHARE_BYTES: usize = 2 << 20;

/// Returns the name under which the collectors of this process share.
pub(crate) fn name() -> String {
    format!("tailwatch-soak-{}", std::process::id())
}

/// A process that reads until this is joined.
pub(crate) struct Outside(Child);

impl Outside {
    /// Starts a process that pauses for so many microseconds between two passes. It begins with the
    /// oldest records if that is short, and otherwise at the present.
    pub(crate) fn start(micros: u64) -> Self {
        let program = env::current_exe().unwrap_or_else(|error| fail(&error.to_string()));
        let child = Command::new(program)
            .args(["--outside", &name(), "--micros", &micros.to_string()])
            .stdin(Stdio::piped())
            .spawn();
        Self(child.unwrap_or_else(|error| fail(&error.to_string())))
    }

    /// Ends the process, and this one as well if it has found a fault.
    pub(crate) fn join(mut self) {
        drop(self.0.stdin.take());
        match self.0.wait() {
            Ok(status) if status.success() => {}
            result => fail(&format!("a reader outside: {result:?}")),
        }
    }
}

/// Reads what is shared under this name until standard input is closed, and checks that every
/// record is accounted for.
pub(crate) fn read(name: &str, micros: u64) {
    let closed = thread::spawn(|| io::stdin().read_to_end(&mut Vec::new()));
    let file = shared::find(name).unwrap_or_else(|error| fail(&error.to_string()));
    let start = if micros < 1_000 { ReaderStart::Oldest } else { ReaderStart::Now };
    let mut reader =
        SharedReader::new(file, start, &[]).unwrap_or_else(|error| fail(&error.to_string()));
    while !closed.is_finished() {
        check(&mut reader);
        thread::sleep(Duration::from_micros(micros));
    }
    check(&mut reader);
}

fn check(reader: &mut SharedReader) {
    if let Err(error) = reader.pass() {
        fail(&error.to_string());
    }
    let health = reader.report().health;
    if health.produced != health.delivered + health.overwritten + health.pending {
        fail(&format!("records of a reader outside are not accounted for: {health:?}"));
    }
    if health.invalid > 0 || reader.invalid_rows() > 0 || reader.unknown_records() > 0 {
        let (rows, unknown) = (reader.invalid_rows(), reader.unknown_records());
        fail(&format!("{rows} invalid rows, {unknown} records of unknown threads: {health:?}"));
    }
}
