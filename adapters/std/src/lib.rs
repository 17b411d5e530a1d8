//! Latency percentiles of hot paths over sliding windows, for multi-threaded programs.
//!
//! [`measure()`] returns a guard that measures from its creation to its drop. The attribute
//! [`#[measure]`](macro@measure) measures every call of a function, async or not. A [`Collector`]
//! computes p50, p95, p99 and p99.9 of these spans over sliding windows.
//!
//! Each thread writes its records into a ring of its own, and a background thread, the *drain*,
//! reads all rings. Recording is wait-free. On a registered thread it neither allocates nor makes a
//! system call.
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
//! # Queries
//!
//! - [`Collector::stats`], [`quantile`](Collector::quantile) and [`slowest`](Collector::slowest)
//!   return statistics of one event over one window.
//! - [`Collector::report`] returns everything that is known at one moment, as a struct that also
//!   prints as a table and converts to JSON.
//! - [`Collector::breached`], [`sla_violations`](Collector::sla_violations),
//!   [`sla_changes`](Collector::sla_changes) and [`Builder::on_sla_change`] report which [`Limit`]s
//!   are violated.
//! - [`Collector::health`] counts lost records by cause, and estimates the cost of measuring.
//! - [`Collector::explain`] describes the [`Settings`] in force, where each value came from, the
//!   clock and the sizing.
//!
//! Queries read what the drain published last. They never wait for the drain.
//!
//! Besides, [`Reporter`] writes the report at regular intervals, [`TraceWriter`] writes every
//! record, [`HiccupProbe`] detects pauses of the whole machine, and [`Report::diff`] compares two
//! reports. The feature `off` compiles recording out.
//!
//! # What it does not do
//!
//! - It does not trace: there are no span trees and no stacks, and a span has no field but its tag.
//! - It does not export. A report is a struct, a table or JSON; the program decides where to send
//!   it.
//! - It never makes the program wait. A burst that exceeds a ring overwrites the oldest records in
//!   it, which are counted.
//! - It has no counters or gauges. Use the count of an event as a counter, and an event whose
//!   values are plain numbers as a gauge.
//!
//! [`coming_from`] compares the API with that of other tools.
//!
//! # Sizing
//!
//! While the drain pauses between two passes, a thread may write as many records as its ring holds,
//! less 64, before records are overwritten. A span is two records. The drain returns to a ring when
//! a quarter of it would be full at the rate seen last, and after [`Builder::max_period`] at the
//! latest, which is 100 ms by default. After a quiet time, a thread can therefore record
//!
//! > spans per second = (ring capacity − 64) / 2 / longest pause
//!
//! at once without a loss. That is 81,600 for a ring of 16,384 records, and 655,040 for one of
//! 131,072, which takes 2 MiB. On a busy machine, where the drain does not get a core at once,
//! leave a factor of four. [`Collector::explain`] prints this rate for the settings in force;
//! [`Health::overwritten`] counts the records that were lost because a ring was too small.
//!
//! # Limits
//!
//! - A ring that is not drained in time overwrites its oldest records, which are counted.
//!   [`Builder::ring_capacity`] describes how to size it.
//! - The first record of a thread that is not registered takes a ring, which locks and allocates.
//!   [`register_thread`] does so in advance. If all rings are taken, the records of further threads
//!   are counted as unregistered.
//! - With `panic = "abort"`, a panic ends no span as cancelled, and a panic in an observer aborts
//!   the program.
//! - Recording is not async-signal-safe. A global allocator that measures itself recurses in the
//!   first record of a thread.
//! - A window must exceed the longest pause of the drain ([`Builder::max_period`]) by more than one
//!   of its slices. A record that is drained after its window has ended counts as late.
//!   [`SlaState`] and [`Limit`] describe further limits of SLA checks.
//! - After a `fork`, the child process has no drain, so its rings overwrite their records.
//! - If a span ends on a thread that records into another collector, that other collector counts
//!   it.
//!
//! # Memory
//!
//! [`Builder::start`] allocates all memory: 16 bytes per record of every ring (8 rings of 256 KiB
//! by default), and, with the default windows:
//!
//! | | KiB |
//! |---|---|
//! | an event | 195 |
//! | an event with an expected interval | 368 |
//! | a report, for each event | at most 43 |
//! | the table of open spans | 32 |
//!
//! The operating system assigns most of these pages only when the event happens. Two reports exist
//! at a time, the published one and the previous one, whose memory the next report reuses; further
//! ones exist while the program holds them. [`Collector::memory_bytes`] returns an upper bound,
//! which excludes the reports that the program holds.

#![warn(unsafe_code)]

#[doc(hidden)]
pub mod __private;
mod builder;
mod clock;
mod collector;
mod drain;
mod drain_thread;
mod explain;
mod health;
mod hiccup;
mod limits_toml;
mod measure;
mod observer;
mod overhead;
mod poll_interval;
mod pool;
mod report;
mod reporter;
#[cfg_attr(tailwatch_loom, path = "pool/models/memory.rs")]
mod ring_memory;
mod sampling;
mod settings;
mod sla;
mod storage;
mod sync;
mod thread_names;
mod thread_recorder;
mod trace;
mod tsc;

pub use tailwatch_core;
pub use tailwatch_core::{
    Absent, Accuracy, Bucket, CapacityError, Clock, ConfigError, Counters, DiscardReason, Event,
    EventId, EventInfo, FixedPoint, Kind, Limit, LimitError, MAX_PAYLOAD, Outcome, Outcomes,
    ParseQuantileError, Quantile, Record, SlaState, Summary, Threshold, TickRate, Token, Trading,
    Unit, WindowSpec, events,
};
pub use tailwatch_macros::measure;

pub use self::{
    builder::{BuildError, Builder},
    clock::{ClockMode, ClockSource, HostClock},
    collector::{
        Collector, InstallError, QueryError, RegisterError, SetLimitsError, register_thread,
    },
    drain_thread::DrainPriority,
    health::Health,
    hiccup::{HiccupError, HiccupProbe},
    limits_toml::{DurationProblem, ParseLimitsError, ParseLimitsProblem, parse_limits},
    measure::{
        CancelOnDrop, SpanGuard, measure, measure_cancel_on_drop, measure_cancel_on_drop_tagged,
        measure_tagged, record_discard, record_duration, record_end, record_start,
        record_start_tagged, record_value, time, try_time,
    },
    observer::Delivery,
    report::{
        ClockReport, EventDiff, EventReport, InFlight, Report, ReportDiff, SamplesDiff, SlowSample,
        Statistics, WindowReport,
    },
    reporter::Reporter,
    sampling::{Sampling, SamplingError},
    settings::{ClockSetting, Origin, Setting, Settings, SettingsError, SettingsProblem},
    sla::{SlaChange, SlaChanges, SlaReport},
    trace::TraceWriter,
};

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

/// Has the examples of the README compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
