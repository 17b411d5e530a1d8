//! The lines above and below a table.

use core::{fmt::Write, time::Duration};
use std::time::UNIX_EPOCH;

use tailwatch_core::{CoveredOutcomes, Outcome, Outcomes, SlaState, Unit};
use textwrap::{Options, WordSplitter, core::display_width};

use super::{columns::red, selection::Selection};
use crate::report::{
    EventReport, Report,
    statistics::SlowSample,
    text::{grouped, value},
    thread_labels::ThreadLabels,
};

/// The uptime from which on it is shown in whole seconds.
const LONG: Duration = Duration::from_mins(1);

/// Appends a text as lines of at most `width` columns, broken at spaces if possible. All but the
/// first line are indented.
pub(super) fn push_wrapped(lines: &mut Vec<String>, text: &str, width: usize) {
    let options = Options::new(width)
        .subsequent_indent("  ")
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    lines.extend(textwrap::wrap(text, options).into_iter().map(String::from));
}

/// Returns when the report was made, what time it covers, and with which clock.
pub(super) fn title(report: &Report) -> String {
    let Report { unix_ns, uptime_ns, collectors, clock, health, finished, .. } = report;
    let time = UNIX_EPOCH + Duration::from_nanos(*unix_ns);
    let uptime = Duration::from_nanos(*uptime_ns);
    let uptime = if uptime < LONG {
        value(Unit::Time, *uptime_ns)
    } else {
        humantime::format_duration(Duration::from_secs(uptime.as_secs())).to_string()
    };
    let clock = clock.as_ref().map(|clock| {
        let mode = if clock.ordered { "ordered" } else { "relaxed" };
        format!("; clock {} {mode} at {} MHz", clock.source, clock.hz / 1_000_000)
    });
    let merged = match collectors.len() {
        0 => String::new(),
        merged => format!(", {merged} collectors"),
    };
    format!(
        "{}, up {uptime}{}{merged}{}",
        humantime::format_rfc3339_seconds(time),
        match (finished, health.enabled) {
            (true, _) => ", collector stopped",
            (false, true) => "",
            (false, false) => ", recording is off",
        },
        clock.unwrap_or_default(),
    )
}

/// Returns how many events were cut off the end of the table.
pub(super) fn more(cut: usize) -> String {
    let events = if cut == 1 { "event" } else { "events" };
    format!("… and {cut} more {events}; `Report::table().top(usize::MAX)` shows all")
}

/// Returns the names of the events that were not seen. `None` if all events were.
pub(super) fn not_seen(names: &[&str], width: usize) -> Option<String> {
    in_one_line("not seen", names, width)
}

/// Returns a line for each event in the table of which spans have failed: how many ended with each
/// outcome, and how long the failed ones took.
pub(super) fn failed(selection: &Selection<'_>) -> Vec<String> {
    let line = |event: &&EventReport| {
        let Outcomes { ok, error, cancelled } = event.outcomes;
        let summary = event.failed.as_ref()?.summary;
        let [min, max] = [summary.min, summary.max].map(|nanos| value(event.unit, nanos));
        let range = if min == max { max } else { format!("{min} to {max}") };
        let covered = match event.covered {
            CoveredOutcomes::Ok => ", not in the rows above",
            CoveredOutcomes::Any => ", also in the rows above",
        };
        let [ok, error, cancelled] = [ok, error, cancelled].map(grouped);
        let name = &event.name;
        Some(format!(
            "failed {name}: {error} error, {cancelled} cancelled, beside {ok} ok; took \
             {range}{covered}"
        ))
    };
    selection.shown.iter().filter_map(line).collect()
}

/// Returns which share is recorded of the sampled events. `None` if no event is sampled.
pub(super) fn sampled(report: &Report, width: usize) -> Option<String> {
    let sampling = report.health.sampling.iter();
    let shares: Vec<_> =
        sampling.map(|(event, rate)| format!("{event} 1 in {:.0}", rate.recip())).collect();
    in_one_line("sampled", &shares, width)
}

/// Returns a line with a title and as many of the items as fit into it. `None` if there are none.
fn in_one_line(title: &str, items: &[impl AsRef<str>], width: usize) -> Option<String> {
    let mut line = format!("{title}: ");
    for (number, item) in items.iter().enumerate() {
        let more = |left: usize| if left > 0 { format!(" and {left} more") } else { String::new() };
        let separator = if number > 0 { ", " } else { "" };
        let longer = format!("{line}{separator}{}", item.as_ref());
        if display_width(&longer) + display_width(&more(items.len() - number - 1)) > width {
            return Some(match (number, items.len()) {
                (0, 1) => format!("{title}: 1 event"),
                (0, all) => format!("{title}: {all} events"),
                (_, all) => line + &more(all - number),
            });
        }
        line = longer;
    }
    (!items.is_empty()).then_some(line)
}

/// Returns how many records were delivered and lost, and all other counts of the health that are
/// not 0.
pub(super) fn records(report: &Report) -> String {
    let health = &report.health;
    let [produced, delivered, overwritten, pending, unregistered] = [
        health.produced,
        health.delivered,
        health.overwritten,
        health.pending,
        health.unregistered,
    ]
    .map(grouped);
    let mut line = format!(
        "{produced} records: {delivered} delivered, {overwritten} overwritten, {pending} pending, \
         {unregistered} unregistered"
    );
    let faults = [
        ("late", health.late),
        ("clock anomalies", health.clock_anomalies),
        ("saturated", health.saturated),
        ("negative differences", health.negative_differences),
        ("tags without a record", health.orphan_tags),
        ("invalid", health.invalid),
        ("of unknown events", health.unknown_events),
        ("rings refused", health.rings_refused),
        ("in rings outside the shared file", health.hidden_records),
        ("observer panics", health.observer_panics),
    ];
    for (name, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
        // Writing into a string does not fail.
        let _ = write!(line, "; {} {name}", grouped(count));
    }
    if let Some(error) = &health.not_shared {
        let _ = write!(line, "; rings are not shared: {error}");
    }
    line
}

/// Appends the lines about each violated limit.
pub(super) fn push_violated(
    lines: &mut Vec<String>,
    report: &Report,
    (width, colours): (usize, bool),
) {
    const TITLE: &str = "violated:";
    for limit in report.sla.iter().filter(|limit| limit.state == SlaState::Violated) {
        let first = lines.len();
        push_wrapped(lines, &format!("{TITLE} {limit}"), width);
        if colours && let Some(line) = lines.get_mut(first) {
            *line = line.replacen(TITLE, &red(TITLE), 1);
        }
    }
}

/// Returns a line for each of the slowest samples since the start of the events in the table.
pub(super) fn slowest(report: &Report, selection: &Selection<'_>) -> Vec<String> {
    let labels = ThreadLabels::of(report);
    let of = |event: &EventReport| {
        let line = |slow: &SlowSample| {
            let began = UNIX_EPOCH + Duration::from_nanos(slow.start_unix_ns);
            format!(
                "slowest {}: {}{} at {}{}, thread {}",
                event.name,
                value(event.unit, slow.duration),
                outcome(slow),
                humantime::format_rfc3339_nanos(began),
                tag(slow),
                labels.label(slow)
            )
        };
        event.slowest().iter().map(line).collect::<Vec<_>>()
    };
    selection.shown.iter().flat_map(|event| of(event)).collect()
}

/// Returns how a span ended, or nothing if it did not fail.
fn outcome(slow: &SlowSample) -> String {
    let failed = slow.outcome.filter(|outcome| *outcome != Outcome::Ok);
    failed.map(|outcome| format!(" ({outcome})")).unwrap_or_default()
}

/// Returns the tag of a sample and its text, or nothing if it has none.
fn tag(slow: &SlowSample) -> String {
    match (slow.tag, &slow.tag_name) {
        (None | Some(0), _) => String::new(),
        (Some(tag), Some(name)) => format!(", tag {tag} ({name})"),
        (Some(tag), None) => format!(", tag {tag}"),
    }
}
