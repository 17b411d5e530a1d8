//! `tailwatch dump`: the newest records of every thread.

use core::error::Error;
use std::{collections::BTreeSet, io};

use serde::Serialize;
use tailwatch::{
    Kind,
    shared::{self, FileState, Flight, FlightRecord, FlightRing, Open, SharedFile},
};

use crate::{
    options::{Dump, Format},
    output,
};

/// How many threads of a ring the statement of what was overwritten names.
const SHOWN_THREADS: usize = 3;

/// Runs the subcommand.
pub(crate) fn run(options: &Dump) -> Result<(), Box<dyn Error>> {
    let file = shared::find(&options.program)?;
    let flight = file.flight()?;
    let records = selected(&flight, options);
    match options.format {
        Format::Text => output::print(&text(&file, &flight, &records)),
        Format::Csv => {
            for line in statement(&file, &flight) {
                output::say(&line);
            }
            write_csv(&records)
        }
        Format::Json => output::print_json(&json(&file, &flight, &records)?),
    }
}

/// Returns the records that the options select.
fn selected<'f>(flight: &'f Flight, options: &Dump) -> Vec<&'f FlightRecord> {
    let is_of_event = |record: &FlightRecord, event: &str| {
        let base = |name: &'static str| name.split('{').next().unwrap_or(name);
        record.event.is_some_and(|name| name == event || base(name) == event)
    };
    let is_of_thread = |record: &FlightRecord, thread: &str| {
        record.thread.as_deref() == Some(thread)
            || record.tid.is_some_and(|tid| tid.to_string() == thread)
    };
    let is_selected = |record: &&FlightRecord| {
        (options.all || !record.before_gap)
            && options.tag.is_none_or(|tag| record.tag == Some(tag))
            && options.event.as_deref().is_none_or(|event| is_of_event(record, event))
            && options.thread.as_deref().is_none_or(|thread| is_of_thread(record, thread))
    };
    let mut records: Vec<_> = flight.records.iter().filter(is_selected).collect();
    let left_out = options.last.map_or(0, |last| records.len().saturating_sub(last));
    records.drain(..left_out);
    records
}

/// Returns what the dump rests on, and what is not in it.
fn statement(file: &SharedFile, flight: &Flight) -> Vec<String> {
    let (program, pid) = (file.program(), file.pid());
    let became = match file.state() {
        FileState::Live => "is alive",
        FileState::Dead => "is dead",
        FileState::Stopped => "has stopped",
        FileState::Snapshot => "left this snapshot",
        _ => "is in an unknown state",
    };
    let written: u64 = flight.rings.iter().map(|ring| ring.head).fold(0, u64::wrapping_add);
    let overwritten: u64 =
        flight.rings.iter().map(|ring| ring.overwritten).fold(0, u64::wrapping_add);
    let gone = match overwritten {
        0 => "none was overwritten".to_owned(),
        _ => format!("the oldest {overwritten} were overwritten"),
    };
    let mut lines = vec![format!(
        "{program} (pid {pid}) {became}: {written} records were written into {} rings; {gone}; {} \
         are here",
        flight.rings.len(),
        flight.records.len(),
    )];
    let lossy = flight.rings.iter().filter(|ring| ring.overwritten > 0);
    lines.extend(lossy.map(|ring| overwritten_in(ring, flight)));
    let hidden = file.hidden();
    if hidden.records > 0 || hidden.unregistered > 0 {
        lines.push(format!(
            "not in the file: {} records of {} threads with rings outside it, and {} that went \
             into no ring",
            hidden.records, hidden.threads, hidden.unregistered
        ));
    }
    let stale = flight.records.iter().filter(|record| record.before_gap).count();
    if stale > 0 {
        lines.push(format!(
            "{stale} of these are from before records of their thread that were overwritten; only \
             `--all` shows them"
        ));
    }
    let unknown = flight.records.iter().filter(|record| record.thread.is_none()).count();
    if unknown > 0 {
        lines.push(format!("{unknown} records are of unknown threads"));
    }
    if flight.invalid_rows > 0 {
        lines.push(format!("{} rows of the file are invalid", flight.invalid_rows));
    }
    let open = flight.records.iter().filter(|record| record.open == Open::Yes).count();
    let maybe = flight.records.iter().filter(|record| record.open == Open::Unknown).count();
    if open + maybe > 0 {
        let doubt = if maybe > 0 {
            format!(
                ", and {maybe} may have been (their end may be overwritten or outside the file)"
            )
        } else {
            String::new()
        };
        lines.push(format!("in flight at the end: {open} spans{doubt}"));
    }
    lines
}

/// Describes what was overwritten in a ring, and whose records are left in it.
fn overwritten_in(ring: &FlightRing, flight: &Flight) -> String {
    let of_ring = flight.records.iter().filter(|record| record.ring == ring.index);
    let threads: BTreeSet<String> = of_ring.map(thread).collect();
    let mut names: Vec<&str> = threads.iter().take(SHOWN_THREADS).map(String::as_str).collect();
    let more = format!("{} more", threads.len() - names.len());
    if threads.len() > names.len() {
        names.push(&more);
    }
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let (index, overwritten, head) = (ring.index, ring.overwritten, ring.head);
    format!(
        "ring {index}: the oldest {overwritten} of {head} were overwritten; the others are of \
         {names}"
    )
}

fn text(file: &SharedFile, flight: &Flight, records: &[&FlightRecord]) -> String {
    let mut lines = statement(file, flight);
    if records.is_empty() {
        lines.push("no record is selected".to_owned());
        return lines.join("\n");
    }
    let mut table = output::table(
        &["time", "thread", "event", "what", "tag", "duration or value", ""],
        &[4, 5],
    );
    for record in records {
        let number = record.duration_ns_or_value.map(|number| match record.record.kind() {
            Kind::Value => number.to_string(),
            _ => output::nanos(number),
        });
        table.add_row([
            output::time(record.unix_ns),
            thread(record),
            event(record),
            what(record),
            record.tag.filter(|tag| *tag != 0).map_or_else(String::new, |tag| tag.to_string()),
            number.unwrap_or_default(),
            match record.open {
                Open::Yes => "OPEN".to_owned(),
                Open::Unknown => "open?".to_owned(),
                Open::No => String::new(),
            },
        ]);
    }
    lines.push(output::lines(&table));
    lines.join("\n")
}

fn thread(record: &FlightRecord) -> String {
    let name = record.thread.as_deref().unwrap_or("unknown");
    record.tid.map_or_else(|| name.to_owned(), |tid| format!("{name}[{tid}]"))
}

fn event(record: &FlightRecord) -> String {
    let number = || match record.record.event() {
        Some(event) => format!("event {event}"),
        None => "no event".to_owned(),
    };
    record.event.map_or_else(number, str::to_owned)
}

/// Describes the kind of a record, and why a FORGET was written.
fn what(record: &FlightRecord) -> String {
    let kind = record.record.kind();
    if kind != Kind::Forget {
        return kind.to_string();
    }
    let reason = match record.record.payload() & 15 {
        0 => "discarded",
        1 => "the clock stepped back",
        2 => "too long",
        3 => "handed over",
        4 => "negative difference",
        _ => "for an unknown reason",
    };
    format!("{kind}: {reason}")
}

/// Writes the records with the columns of a trace.
fn write_csv(records: &[&FlightRecord]) -> Result<(), Box<dyn Error>> {
    let mut writer = csv::Writer::from_writer(io::stdout().lock());
    writer.write_record([
        "event",
        "kind",
        "start_unix_ns",
        "duration_ns_or_value",
        "outcome",
        "tag",
        "thread",
        "tid",
    ])?;
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    for record in records {
        writer.write_record([
            record.event.unwrap_or("unknown"),
            &record.record.kind().to_string(),
            &record.start_unix_ns.to_string(),
            &number(record.duration_ns_or_value),
            &record.outcome().map_or_else(String::new, |outcome| outcome.to_string()),
            &number(record.tag),
            record.thread.as_deref().unwrap_or("unknown"),
            &number(record.tid),
        ])?;
    }
    Ok(writer.flush()?)
}

/// What `--format json` writes.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    program: String,
    pid: u64,
    process_start: u64,
    boot_id: String,
    state: String,
    hidden_threads: u64,
    hidden_records: u64,
    rings: Vec<JsonRing>,
    events: Vec<JsonEvent>,
    records: Vec<JsonRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct JsonRing {
    index: usize,
    capacity: usize,
    head: u64,
    overwritten: u64,
}

#[derive(Debug, Serialize)]
struct JsonEvent {
    id: u16,
    name: &'static str,
}

#[derive(Debug, Serialize)]
struct JsonRecord<'a> {
    ring: usize,
    sequence: u64,
    words: [u64; 2],
    event: Option<u16>,
    kind: String,
    unix_ns: u64,
    start_unix_ns: u64,
    duration_ns_or_value: Option<u64>,
    outcome: Option<String>,
    tag: Option<u64>,
    thread: Option<&'a str>,
    tid: Option<u64>,
    open: String,
}

fn json(
    file: &SharedFile,
    flight: &Flight,
    records: &[&FlightRecord],
) -> Result<String, serde_json::Error> {
    let hidden = file.hidden();
    let boot_id = format!("{:032x}", u128::from_be_bytes(file.boot_id()));
    let ring = |ring: &FlightRing| JsonRing {
        index: ring.index,
        capacity: ring.capacity,
        head: ring.head,
        overwritten: ring.overwritten,
    };
    serde_json::to_string(&Document {
        schema: "tailwatch.dump/1",
        program: file.program(),
        pid: file.pid(),
        process_start: file.process_start(),
        boot_id,
        state: file.state().to_string(),
        hidden_threads: hidden.threads,
        hidden_records: hidden.records,
        rings: flight.rings.iter().map(ring).collect(),
        events: flight.events.iter().map(|(id, name)| JsonEvent { id: id.get(), name }).collect(),
        records: records.iter().map(|record| json_record(record)).collect(),
    })
}

fn json_record(record: &FlightRecord) -> JsonRecord<'_> {
    JsonRecord {
        ring: record.ring,
        sequence: record.sequence,
        words: record.record.words(),
        event: record.record.event().map(tailwatch::EventId::get),
        kind: record.record.kind().to_string(),
        unix_ns: record.unix_ns,
        start_unix_ns: record.start_unix_ns,
        duration_ns_or_value: record.duration_ns_or_value,
        outcome: record.outcome().map(|outcome| outcome.to_string()),
        tag: record.tag,
        thread: record.thread.as_deref(),
        tid: record.tid,
        open: record.open.to_string(),
    }
}
