//! Reads arbitrary shared files: whole files of any bytes.

use std::{fs, path::PathBuf, sync::OnceLock};

use tailwatch::shared::{SharedFile, SharedReader};

/// Returns a path of this process, in memory if possible.
fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        parent.join(format!("tailwatch-fuzz-{}", std::process::id()))
    })
}

/// Runs the target. The readers never panic, and their counts always add up.
///
/// # Panics
/// Panics if they do, or if the file cannot be written.
pub fn run(data: &[u8]) {
    fs::write(path(), data).expect("the file can be written");
    let opened = SharedFile::open(path());
    match opened {
        Err(error) => check_visible(&error.to_string()),
        Ok(file) => read(file),
    }
    // If the target panics, the file stays.
    fs::remove_file(path()).expect("the file is there");
}

fn read(file: SharedFile) {
    check_visible(&file.program());
    assert!(file.bytes().is_ok() && file.uid().is_ok());
    let _ = (file.state(), file.hidden(), file.heartbeat_age(), file.is_recording());
    match file.flight() {
        Err(error) => check_visible(&error.to_string()),
        Ok(flight) => {
            let held: usize = flight.rings.iter().map(|ring| ring.capacity).sum();
            assert!(flight.records.len() <= held, "no ring has more records than it holds");
            for record in &flight.records {
                let texts = [record.event, record.thread.as_deref()];
                texts.into_iter().flatten().for_each(check_visible);
            }
        }
    }
    let mut reader = match SharedReader::from_oldest(file) {
        Err(error) => return check_visible(&error.to_string()),
        Ok(reader) => reader,
    };
    for _ in 0..2 {
        reader.pass().expect("nobody has truncated the file");
    }
    let report = reader.report();
    let health = &report.health;
    let read = health.delivered.wrapping_add(health.overwritten).wrapping_add(health.pending);
    assert_eq!(health.produced, read, "{health:?}");
    check_visible(&report.to_json());
}

/// Asserts that no terminal obeys a text.
fn check_visible(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
