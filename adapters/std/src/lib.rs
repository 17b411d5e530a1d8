//! Latency percentiles of hot paths over sliding windows, for multi-threaded programs.
//!
//! A program measures *events*, named operations such as "place an order". One measured interval of
//! an event is a *span*. [`measure()`] begins a span and returns a guard, which ends the span when
//! it is dropped. The attribute [`#[measure]`](macro@measure) measures each call of a function as a
//! span, async or not. A [`Collector`] computes count, mean, p50, p95, p99 and p99.9 of the spans
//! of each event over sliding windows, by default the last 1, 5 and 60 seconds.
//!
//! Each start and each end of a span is a *record* of 16 bytes. Every thread writes its records
//! into a *ring* of its own, a fixed array in which new records overwrite the oldest. A background
//! thread, the *drain*, reads all rings in one *pass* after another and updates the statistics.
//! Recording is wait-free. On a thread that has a ring, recording neither allocates nor makes a
//! system call, unless the operating system needs one to read its clock ([`ClockSource`]).
//!
//! ```
//! use tailwatch::{Collector, Trading, measure};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let collector = Collector::builder().start()?;
//! collector.install()?;
//! {
//!     let _span = measure(Trading::CandleProcessing);
//! }
//! collector.flush();
//! println!("{}", collector.report());
//! # Ok(())
//! # }
//! ```
//!
//! [`Trading`] is a preset set of events. Declare your own with [`events!`].
//!
//! # Queries
//!
//! - [`Collector::stats`], [`quantile`](Collector::quantile) and [`slowest`](Collector::slowest)
//!   return statistics of one event over one window.
//! - [`Collector::report`] returns everything that is known at one moment, as a struct that prints
//!   as a table and converts to JSON.
//! - [`Collector::breached`], [`sla_violations`](Collector::sla_violations),
//!   [`sla_changes`](Collector::sla_changes) and [`Builder::on_sla_change`] report which [`Limit`]s
//!   are violated.
//! - [`Collector::health`] returns the numbers of lost records by cause, and an estimate of what
//!   measuring costs.
//! - [`Collector::explain`] describes the [`Settings`] in force and where each value came from, the
//!   clock, and how many spans per second the rings can take.
//!
//! Queries read the last report that the drain published. They never wait for the drain.
//!
//! # Events
//!
//! - A set of events that states no numbers ([`EventSet`]) gets them from the collector, so that
//!   libraries need not know of each other. A library depends on the crate `tailwatch-record`,
//!   which this crate re-exports.
//! - [`Builder::event`], [`Collector::event`] and [`Collector::family`] make events when the
//!   program runs, with [`Labels`]. [`Report::family`] adds up the events that share a name.
//! - [`record_since`] records an interval from a [`Stamp`], which a message carries.
//!
//! # Further tools
//!
//! - [`Reporter`] writes the report at regular intervals, on a terminal in place.
//! - [`TraceWriter`] writes every record as a row of a CSV file.
//! - [`HiccupProbe`] detects pauses of the whole machine.
//! - [`self_test`] finds out whether the machine is fit for measuring.
//! - [`Report::diff`] computes what happened between two reports.
//! - [`TagNames`] keeps the texts from which the newest tags were made.
//! - The Cargo features `csv`, `table` and `toml`, on by default, have the trace, the table of a
//!   report, and the configuration file. The Cargo feature `off` compiles recording out: the API
//!   stays the same, and the recording functions do nothing.
//!
//! # What it does not do
//!
//! - It does not trace: there are no span trees and no stacks, and a span has no attribute except
//!   its tag, a number.
//! - It does not export. A report is a struct, a table or JSON; the program decides where to send
//!   it.
//! - It never makes the program wait. If a thread writes faster than the drain reads, new records
//!   overwrite the oldest ones in the thread's ring, and [`Health::overwritten`] counts them.
//! - It has no counters or gauges. Use the count of an event as a counter, and an event whose
//!   values are plain numbers as a gauge.
//!
//! [`coming_from`] compares the API with that of other tools.
//!
//! # Sizing
//!
//! Usually, there is nothing to set. A thread begins with a ring of [`Builder::ring_capacity`]
//! records. If records were overwritten, or if the drain found the ring more than half full, the
//! thread moves to one twice as large, up to [`Builder::max_ring_capacity`].
//!
//! While the drain pauses between two passes, a thread can write as many records as its ring holds,
//! less the 64 that the ring may be about to overwrite (an eighth of a ring of less than 512
//! records), before unread records are lost. A span is two records.
//!
//! The drain predicts, from the rate at which a ring filled last, when a quarter of the ring will
//! be full, and reads the ring again at that time. It waits at most [`Builder::max_period`], by
//! default 4 ms. After a quiet time the pause has this full length, so a thread that suddenly
//! becomes busy loses no record up to
//!
//! > spans per second = (ring capacity − 64) / 2 / `max_period`
//!
//! With the default `max_period`, this is 2 million for a first ring of 16,384 records, the
//! default, and 32 million for the largest one, of 262,144 records. On a busy machine the drain may
//! not get a core at once; count on a quarter there. [`Collector::explain`] prints this rate for
//! the settings in force, and [`Health::overwritten`] counts the records that were lost because a
//! ring was too small.
//!
//! # Limits
//!
//! - The first record of a thread that has no ring takes one, which locks and allocates.
//!   [`register_thread`] does so in advance. If as many threads as [`Builder::rings`] have one, or
//!   if there is no memory, the records of further threads are lost and counted in
//!   [`Health::unregistered`].
//! - With `panic = "abort"`, a panic ends no span as cancelled, and a panic in an
//!   [observer](Builder::observer) aborts the program.
//! - Recording is not async-signal-safe. A global allocator that measures itself recurses in the
//!   first record of a thread.
//! - A window advances by one slice ([`WindowSpec`]) at a time. If the drain gets no core for
//!   longer than the window less one slice, it reads records after the window has moved past them;
//!   [`Health::late`] counts such samples. [`SlaState`] and [`Limit`] describe further limits of
//!   SLA checks.
//! - After a `fork`, the child process has neither rings nor a drain. What its threads record is
//!   only counted, as unregistered, and [`Collector::breached`] is `true` for every event with a
//!   limit. The child may start a collector of its own. A child of a raw `clone` system call must
//!   not use this crate.
//! - A span should end on a thread that records into the same collector as the thread where it
//!   began. Otherwise the collector where it began gives it up, and counts its END as unregistered.
//! - All collectors of a process read the same clock, which the first one fixes.
//! - A plugin (a `cdylib`) has its own copy of this crate: a collector that the host installs is
//!   not installed there, and spans of the plugin go nowhere.
//! - If any package of a program enables the feature `off`, it is enabled for the whole program. So
//!   only the package of a binary should enable it.
//!
//! # Memory
//!
//! [`Builder::start`] allocates four spare rings, of 256 KiB by default. Further rings are
//! allocated when threads need them, up to [`Builder::max_ring_bytes`] together, and given back
//! when nobody needs them. The memory of the statistics is reserved at the start, and taken from
//! the operating system when an event first happens. With the default windows, it consists of:
//!
//! | | KiB |
//! |---|---|
//! | an event | 233 |
//! | its failed spans, if there are any | 208 |
//! | its expected interval, if it has one | 208 |
//! | a report, for each event | at most 53, and as much for its failed spans |
//! | the table of open spans | 32 |
//!
//! The memory for an event is assigned by the operating system only when the event first happens.
//! Two reports exist at a time: the published one and the previous one, whose memory the next
//! report reuses. A report that the program holds is additional. [`Collector::memory_bytes`]
//! returns the memory in use without the reports that the program holds, and
//! [`Health::reserved_bytes`] what windows, histograms, two reports and the names of threads take
//! at most.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(unsafe_code)]
// The print macros panic if nobody reads the stream any more. No output may make a call fail.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

mod clock;
mod collector;
mod drain;
mod events;
mod hiccup;
mod observer;
mod own_thread;
mod recording;
mod report;
mod reporter;
mod settings;
pub mod shared;
mod sync;
mod tag_names;
#[cfg(feature = "csv")]
mod trace;
mod warning;

pub use tailwatch_core;
pub use tailwatch_core::{
    Accuracy, AnyEvent, Bucket, CapacityError, Clock, ConfidenceInterval, ConfigError,
    CoveredOutcomes, DiscardReason, Event, EventId, EventInfo, FixedPoint, Kind, Limit, LimitError,
    MAX_PAYLOAD, MinSamples, Outcome, Outcomes, ParseQuantileError, Quantile, Record, SlaState,
    Summary, Threshold, TickRate, Token, Trading, Unit, WindowSpec, tag_of,
};
pub use tailwatch_macros::measure;
#[doc(hidden)]
pub use tailwatch_record::__private;
pub use tailwatch_record::collecting::measure;
pub use tailwatch_record::{
    CancelOnDrop, EventNumber, EventSet, IntoWire, SpanGuard, Stamp, WireError, events,
    measure_cancel_on_drop, measure_cancel_on_drop_tagged, measure_tagged, receive_span,
    record_discard, record_duration, record_end, record_since, record_start, record_start_tagged,
    record_value, time, try_time,
};

#[cfg(feature = "table")]
pub use self::report::table::{ReportTable, selection::SortBy};
#[cfg(feature = "toml")]
pub use self::settings::limits_toml::{
    parse_limits,
    problem::{ParseLimitsError, ParseLimitsProblem},
};
#[cfg(feature = "csv")]
pub use self::trace::{TraceIncomplete, TraceWriter};
pub use self::{
    clock::{ClockMode, ClockSource, HostClock},
    collector::{
        Collector,
        builder::Builder,
        error::{InstallError, QueryError, RegisterError, SetLimitsError},
        register_thread,
        self_test::{Finding, SelfTest, self_test},
    },
    drain::sampling::{Sampling, SamplingError},
    events::{
        error::{EventError, TextKind, TextProblem},
        family::Family,
        labels::Labels,
        listed::Events,
        new_event::NewEvent,
    },
    hiccup::{HiccupError, HiccupProbe},
    observer::Delivery,
    own_thread::placement::DrainPriority,
    report::{
        ClockReport, EventReport, InFlight, Report, WindowReport,
        diff::{EventDiff, ReportDiff, SamplesDiff},
        health::Health,
        json::error::{HistogramProblem, ReportJsonError, ReportProblem},
        merge::{MergeError, MergedCollector},
        sla::{LimitKind, SlaChange, SlaChanges, SlaReport},
        statistics::{SlowSample, Statistics},
    },
    reporter::Reporter,
    settings::{
        ClockSetting, Origin, Setting, Settings,
        build_error::BuildError,
        duration::DurationProblem,
        limit_overrides::LimitOverrides,
        limits_in_force::ReplacedLimit,
        problem::{SettingsError, SettingsProblem},
    },
    shared::share_error::{DirectoryProblem, ShareError},
    tag_names::TagNames,
};

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

/// Makes `cargo test --doc` compile and run the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
