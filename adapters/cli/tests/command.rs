//! Runs the built command on files: what it writes, how it ends, and what it keeps from a terminal.

#![cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]

use std::{
    collections::HashMap,
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
};

use serde_json::Value;

/// The committed file, of a program that has stopped.
fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/shared_file/bot.tw")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailwatch"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str], file: &Path) -> Output {
    command(arguments).arg(file).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

fn json(arguments: &[&str], file: &Path) -> Value {
    let output = run(arguments, file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// A file that is removed with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = env::temp_dir().join(format!("tailwatch-cli-{}-{name}", process::id()));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_dump_has_all_that_was_not_overwritten_and_says_what_was() {
    let dump = json(&["dump", "--all", "--format", "json"], &committed());
    let records = dump["records"].as_array().unwrap();
    let mut numbers: HashMap<u64, Vec<u64>> = HashMap::new();
    for record in records {
        numbers.entry(number(&record["ring"])).or_default().push(number(&record["sequence"]));
    }
    let output = run(&["dump"], &committed());
    let shown = text(&output.stdout);
    let mut lossy = 0;
    for ring in dump["rings"].as_array().unwrap() {
        let [index, overwritten, head] = ["index", "overwritten", "head"].map(|key| &ring[key]);
        let left = numbers.remove(&number(index)).unwrap_or_default();
        assert!(left.into_iter().eq(number(overwritten)..number(head)), "{ring}");
        let line = format!("ring {index}: the oldest {overwritten} of {head} were overwritten");
        assert_eq!(shown.contains(&line), number(overwritten) > 0, "{line}: {shown}");
        lossy += u64::from(number(overwritten) > 0);
    }
    assert!(lossy > 0 && numbers.is_empty());
    let times: Vec<u64> = records.iter().map(|record| number(&record["unix_ns"])).collect();
    assert!(times.is_sorted());
}

#[test]
fn the_selected_records_are_the_same_in_all_formats() {
    let all = json(&["dump", "--format", "json"], &committed());
    let all = all["records"].as_array().unwrap();
    let of_value = |key: &str, value: &Value| -> Vec<&Value> {
        all.iter().filter(|record| record[key] == *value).collect()
    };
    let (last, thread) = (all.last().unwrap(), &all[0]["thread"]);
    let tag = &last["tag"];
    let thread_name = thread.as_str().unwrap();
    for (arguments, wanted) in [
        (vec!["--last", "3"], all[all.len() - 3..].iter().collect()),
        (vec!["--last", "0"], vec![]),
        (vec!["--tag", &tag.to_string()], of_value("tag", tag)),
        (vec!["--thread", thread_name], of_value("thread", thread)),
        (vec!["--event", "no_such_event"], vec![]),
    ] {
        let with = |format| [&["dump", "--format", format], &arguments[..]].concat();
        let found = json(&with("json"), &committed());
        assert!(found["records"].as_array().unwrap().iter().eq(wanted.iter().copied()));
        let output = run(&with("csv"), &committed());
        let mut rows = csv::Reader::from_reader(&*output.stdout);
        let columns: Vec<_> = rows.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(
            columns.join(","),
            "event,kind,start_unix_ns,duration_ns_or_value,outcome,tag,thread,tid"
        );
        let names: HashMap<u64, &str> = found["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| (number(&event["id"]), event["name"].as_str().unwrap()))
            .collect();
        let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), wanted.len());
        for (row, record) in rows.iter().zip(&wanted) {
            let shown = |key: &str| match &record[key] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(&row[0], names[&number(&record["event"])]);
            for (column, name) in columns.iter().enumerate().skip(1) {
                assert_eq!(row[column], shown(name), "{name}");
            }
        }
    }
}

#[test]
fn a_report_counts_the_records_that_a_dump_shows() {
    let report = json(&["report", "--json", "--window", "10s"], &committed());
    let dump = json(&["dump", "--all", "--format", "json"], &committed());
    let records = dump["records"].as_array().unwrap();
    assert_eq!(number(&report["health"]["delivered"]), records.len() as u64);
    assert_eq!(report["schema"], "tailwatch.report/2");
    let mut counted = 0;
    for event in report["events"].as_array().unwrap() {
        assert_eq!(event["windows"].as_object().unwrap().keys().collect::<Vec<_>>(), ["10s"]);
        let ended = ["end_ok", "value", "duration"];
        let is_sample = |record: &&Value| {
            record["event"] == event["id"] && ended.contains(&record["kind"].as_str().unwrap())
        };
        let samples = records.iter().filter(is_sample).count() as u64;
        let count = event["total"].get("count").map_or(0, number);
        if event["of"] != "all" {
            assert_eq!(count, samples, "{}", event["name"]);
            counted += count;
        }
    }
    assert!(counted > 100, "{counted}");
    let output = run(&["report"], &committed());
    assert!(text(&output.stderr).contains("from the oldest records that were there; missed 0"));
}

#[test]
fn what_cannot_be_shown_is_one_sentence_and_exit_code_2() {
    let (empty, other) = (Scratch::new("empty", b""), Scratch::new("other", &[b'x'; 5_000]));
    let mut bytes = fs::read(committed()).unwrap();
    bytes.truncate(bytes.len() / 2);
    let truncated = Scratch::new("truncated", &bytes);
    for subcommand in ["dump", "report"] {
        for file in [&*empty.0, &other.0, &truncated.0, Path::new("/no/such/file"), Path::new("/")]
        {
            let output = run(&[subcommand], file);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(output.stdout.is_empty());
            assert!(error.starts_with("tailwatch: ") && error.lines().count() == 1, "{error}");
        }
    }
    for wrong in [&["dump"][..], &["no-such-command"], &["report", "--window", "1", "x"]] {
        let output = command(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    for arguments in [&["dump"][..], &["dump", "--format", "json"], &["report"]] {
        let mut child = command(arguments)
            .arg(committed())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?}: {error}");
        assert!(!error.contains("tailwatch: ") && !error.contains("panicked"), "{error}");
    }
}

#[test]
fn no_control_character_of_a_file_reaches_a_terminal() {
    const HOSTILE: &str = "\u{1b}]0;T\u{7}\u{9b}31m\u{7f}\u{202e}\r\n";
    let mut bytes = fs::read(committed()).unwrap();
    let word = |bytes: &[u8], at: usize| {
        usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
    };
    let mut write = |at: usize| {
        bytes[at..at + 8].copy_from_slice(&(HOSTILE.len() as u64).to_le_bytes());
        bytes[at + 8..at + 8 + HOSTILE.len()].copy_from_slice(HOSTILE.as_bytes());
    };
    write(320);
    let original = fs::read(committed()).unwrap();
    for table in 0..word(&original, 184) {
        let [kind, offset, stride, _, published] =
            core::array::from_fn(|field| word(&original, 512 + 40 * table + 8 * field));
        // The names of events, the values of labels, the origins of limits, the names of threads.
        let Some(field) = [(1, 32), (2, 144), (3, 80), (5, 56)].into_iter().find(|of| of.0 == kind)
        else {
            continue;
        };
        (0..published).for_each(|row| write(offset + stride * row + field.1));
    }
    let file = Scratch::new("hostile", &bytes);
    for arguments in [
        &["dump"][..],
        &["dump", "--format", "csv"],
        &["dump", "--format", "json"],
        &["report"],
        &["report", "--json"],
    ] {
        let output = run(arguments, &file.0);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        for shown in [text(&output.stdout), text(&output.stderr)] {
            let is_bad = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
            assert!(!shown.contains(is_bad), "{arguments:?}: {shown:?}");
        }
        assert!(text(&output.stdout).contains("u{1b}]0;T"), "{arguments:?}: it is shown escaped");
    }
}
