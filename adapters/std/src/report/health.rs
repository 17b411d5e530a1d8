//! The health of a collector: the numbers of delivered and lost records, and the cost of measuring.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The health of a collector: how many records were delivered and lost, and what measuring costs.
///
/// A *record* stands for the start (START) or the end (END or FORGET) of a span, for a duration,
/// for a value, or for the tag (TAG) of a duration. Every record that was written into a ring is
/// accounted for: `produced == delivered + overwritten + pending` holds exactly, because all four
/// are counted at the same look at the rings.
///
/// In a report that was read from the schema `tailwatch.report/1`, `negative_differences`,
/// `orphan_tags`, `rings_refused`, `hidden_threads`, `hidden_records`, `record_ns`, `drain_ns` and
/// `reserved_bytes` are 0 and `has_drain` is `false`, because they are not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Records that were written into rings.
    pub produced: u64,
    /// Records that the drain read from the rings.
    pub delivered: u64,
    /// Records that newer ones overwrote, or may have begun to overwrite, before the drain read
    /// them, because the ring was too small for the rate and the pause of the drain: see
    /// [Sizing](crate#sizing).
    pub overwritten: u64,
    /// Records in the rings that the drain has not read yet.
    pub pending: u64,
    /// ENDs that were counted without their START, usually because it was overwritten (see
    /// [`Pairing::orphans`](tailwatch_core::Pairing::orphans)). Each is a sample all the same, but
    /// without a tag.
    pub orphans: u64,
    /// Open spans that were given up: the drain noted while the span was open that records were
    /// lost, possibly the END among them, and no END came in the following 60 s.
    pub abandoned: u64,
    /// Samples that were drained after their window, or the window of a limit, had moved past them.
    /// They are missing there, but not in the total.
    pub late: u64,
    /// Spans that ended before they began, records from the future, STARTs from before the
    /// collector was started, and times at which the clock and the operating system's clock
    /// diverged, as after a suspension of the machine.
    pub clock_anomalies: u64,
    /// The sum of two numbers:
    ///
    /// - durations and values that are too large to be a sample, which are in no statistic
    ///   ([`Counters::saturated`](tailwatch_core::Counters::saturated))
    /// - the weight that full counters of histograms did not take up, which is in the count and the
    ///   mean, and which the stated accuracy of the quantiles allows for
    ///   ([`Counters::full_counters`](tailwatch_core::Counters::full_counters))
    pub saturated: u64,
    /// Intervals that would have ended before they began, because their
    /// [`Stamp`](crate::Stamp) is ahead of the clock. They are in no statistic.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub negative_differences: u64,
    /// TAGs whose record is gone: the duration that they belong to was overwritten, or the span was
    /// not open when the drain read its second tag (see
    /// [`Counters::orphan_tags`](tailwatch_core::Counters::orphan_tags)).
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub orphan_tags: u64,
    /// Damaged records, and records of a kind that does not match the event's unit, such as a value
    /// of an event that is measured in time.
    pub invalid: u64,
    /// Records of events that the collector does not have. [`unlisted`](Self::unlisted) has their
    /// names.
    pub unknown_events: u64,
    /// How many records there were of events that the collector does not have, by the name of their
    /// set, such as `parser::Parser`. Events of a set that was numbered for another collector are
    /// among [`unknown_events`](Self::unknown_events); those of a set that no collector has had are
    /// not written into a ring. An event that states its number is called `number 17`; it is left
    /// out unless the process has sets without stated numbers or several collectors.
    ///
    /// [`Collector::breached`](crate::Collector::breached) is `true` for all of these events.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlisted: BTreeMap<String, u64>,
    /// Records that were written into no ring, because as many threads as
    /// [`Builder::rings`](crate::Builder::rings) allows had one, because there was no memory for a
    /// further one, or because the collector had stopped. A span counts as two, and so does a
    /// duration with a tag. An interval from a [`Stamp`](crate::Stamp) that is not taken counts
    /// here as well.
    ///
    /// The END (or FORGET) of a span that was open when the collector stopped is still written. If
    /// the drain's last pass reads it, it is delivered; otherwise it counts here.
    ///
    /// Sampling does not reduce this number: the random choice is not made for such records, so
    /// occurrences that it would have left out count as well.
    pub unregistered: u64,
    /// How often a thread that should have got a larger ring did not, because that would have
    /// exceeded [`Builder::max_ring_bytes`](crate::Builder::max_ring_bytes), or because the
    /// operating system provided no memory or did not lock it.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub rings_refused: u64,
    /// Threads that had a ring outside the shared file, because the file had no room for it. Other
    /// processes do not see their records. 0 if the rings are not
    /// [shared](crate::Builder::share).
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub hidden_threads: u64,
    /// Records in rings outside the shared file. All statistics of the collector include them.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub hidden_records: u64,
    /// Why the rings are not shared, if [`Builder::share_optional`](crate::Builder::share_optional)
    /// let the collector start all the same.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub not_shared: Option<Box<str>>,
    /// Panics of observers and hooks ([`Builder::observer`](crate::Builder::observer),
    /// [`Builder::on_sla_change`](crate::Builder::on_sla_change)). They were caught.
    pub observer_panics: u64,
    /// The age of the oldest record of the drain's last pass at the time of the pass, in
    /// nanoseconds. 0 if the pass read no record.
    pub drain_lag_ns: u64,
    /// Whether recording is on: [`Collector::set_enabled`](crate::Collector::set_enabled) switches
    /// it, and a stopped collector is off.
    pub enabled: bool,
    /// Whether anybody drains the rings and judges the limits: the drain's thread, or the program
    /// if the drain is manual. `false` once the last pass is over, and in a process that was forked
    /// from that of the collector.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub has_drain: bool,
    /// The share that is recorded of each sampled event, by the event's name. Events that are
    /// recorded in full are left out.
    pub sampling: BTreeMap<String, f64>,
    /// The estimated cost of measuring as a share of one core: 0.01 is 1 %. It covers all threads,
    /// over the last complete period of at least a second, or since the start during the first
    /// period.
    ///
    /// It is the number of records times [`record_ns`](Self::record_ns), plus the processor time of
    /// the drain, with that of its observers and hooks. Outside Unix, the drain's part is the
    /// elapsed time of its passes.
    ///
    /// The error is that of `record_ns`. On an AMD EPYC (Genoa, family 25 model 17) whose threads
    /// all shared one saturated core, the ratio was 2 % to 8 % too low if nothing that followed a
    /// span needed the result of its work. It was 11 % too high if each span had another one in it,
    /// 31 % to 35 % for sorting and counting in a map, and 74 % if each span needed the result of
    /// the one before. The command `cargo run --release -p tailwatch-benches -- overhead` measures
    /// this.
    ///
    /// Not included are the threads of a [`Reporter`](crate::Reporter), a
    /// [`HiccupProbe`](crate::HiccupProbe) and a [`TraceWriter`](crate::TraceWriter), and what
    /// spans cost that are off or that sampling leaves out.
    pub overhead_ratio: f64,
    /// The estimated cost of one record to the thread that writes it, in nanoseconds. A span is two
    /// records. It was measured when the collector was started, around work of about 100 ns whose
    /// result nothing needs that follows.
    ///
    /// The true cost depends on the work in the span, because the processor does what follows at
    /// the same time, as far as it can. The end of a span makes it wait for the work, at least if
    /// the clock is ordered. If the span after it needs the result of the work anyway, that costs
    /// nothing, and a record costs less than half of what is stated here.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub record_ns: f64,
    /// The processor time of the drain per record that was written, in nanoseconds, over the last
    /// period of [`overhead_ratio`](Self::overhead_ratio) with any records. 0 before the first
    /// record.
    ///
    /// The drain wakes up even if there is little to do, so the fewer records there are, the more
    /// each of them takes.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub drain_ns: f64,
    /// The memory that the collector has in use, in bytes: its rings, the names of threads, two
    /// reports, and what windows and histograms take for the events that have happened.
    ///
    /// It grows with the first sample of each event, with its buffered samples and the buckets they
    /// fall into, with the samples in reports, and with the rings and names that threads need. It
    /// shrinks when rings are given back, and when a report needs less memory, as it does once it
    /// has the histogram of a window instead of all samples. Of the bucket counts of an event, only
    /// those near a bucket with a sample count, but in all slices of a window that needs counts.
    /// The names in [`sampling`](Self::sampling) and
    /// [`unlisted`](Self::unlisted) are not included.
    pub memory_bytes: u64,
    /// The largest memory of windows, histograms, two reports and the names of threads, in bytes:
    /// what they take when all events have happened. Until an event happens, the operating system
    /// does not assign the memory for it. The rings are not included, and names count with 64 bytes
    /// each.
    #[serde(default)] // not in the schema `tailwatch.report/1`
    pub reserved_bytes: u64,
}
