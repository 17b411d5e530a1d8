//! Latency percentiles of hot paths, for programs with threads of an operating system.
//!
//! [`measure()`] a span wherever it begins, or put [`#[measure]`](macro@measure) on a function, async or not; a [`Collector`] tells
//! its P50, P95, P99 and P99.9 over sliding windows. Threads write records into rings of their own, a background thread
//! drains them: recording is wait-free, and neither allocates nor makes a system call.
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
//! # What it tells
//!
//! - [`Collector::stats`], [`quantile`](Collector::quantile), [`slowest`](Collector::slowest): an event over a window.
//! - [`Collector::report`]: everything, of one moment; a table, JSON, or a struct.
//! - [`Collector::breached`], [`sla_violations`](Collector::sla_violations), [`sla_changes`](Collector::sla_changes),
//!   [`Builder::on_sla_change`]: whether the [`Limit`]s of an event are kept.
//! - [`Collector::explain`]: the [`Settings`] in force and who said them, the clock, the sizing.
//! - [`Collector::health`]: what was lost, by cause, and what measuring costs.
//!
//! They read what the drain published, and never wait for it.
//!
//! Further: [`Reporter`] tells the report at a beat, [`TraceWriter`] writes every record, [`HiccupProbe`] notices when the machine
//! stands still, [`Report::diff`] compares two moments. The feature `off` compiles recording out.
//!
//! # What it does not do
//!
//! - It traces nothing: no span trees, no fields but a tag, no stacks.
//! - It exports nothing by itself: a report is a struct, JSON or a table, and where it goes is up to you.
//! - It loses records when a burst exceeds the ring, the oldest ones, and counts them; it never makes the program wait.
//! - It has no counters and gauges: an event's count is one, and a number can be an event.
//!
//! Who comes from another tool finds its calls in [`coming_from`].
//!
//! # Sizing
//!
//! A thread may burst as many records as its ring holds, less 64, while the drain rests; a span is two. The drain comes back when a
//! quarter of the ring would be full at the rate it saw last, and at the latest after [`Builder::max_period`], 100 ms unless set. So
//! after a quiet time
//!
//! > spans a second = (ring capacity − 64) / 2 / longest rest
//!
//! can begin at once without a loss: 81,600 for a ring of 16,384, and 655,040 for one of 131,072, which takes 2 MiB. On a busy machine, where
//! the drain does not get its core at once, leave a factor of four. [`Collector::explain`] tells it for the settings in force;
//! [`Health::overwritten`] says whether it was enough.
//!
//! # Limits
//!
//! - A ring that is not drained in time overwrites its oldest records; they are counted. [`Builder::ring_capacity`] tells how
//!   to size it.
//! - A thread's first record takes a ring, which locks and allocates; [`register_thread`] does it in advance. A thread that
//!   finds none counts what it records as unregistered.
//! - With `panic = "abort"` no span is ever cancelled and no observer's panic is caught.
//! - Recording is not async-signal-safe, and an allocator that measures itself recurses with a thread's first record.
//! - A window has to be longer, by a slice and more, than the drain rests ([`Builder::max_period`]); what is drained after its window is
//!   over counts as late. Limits have some more: see [`SlaState`] and [`Limit`].
//! - After `fork` the child has no drain: its rings overwrite.
//! - A span that is ended on a thread of another collector is counted by that one.
//!
//! # Memory
//!
//! All of it is allocated by [`Builder::start`]: 16 bytes a record and ring, 8 × 256 KiB unless set; and for the default
//! windows
//!
//! | | KiB |
//! |---|---|
//! | an event | 195 |
//! | an event with an expected interval | 368 |
//! | a report, for each event | at most 43 |
//! | the table of open spans | 32 |
//!
//! Most of it stays untouched until the event happens. Of reports there is the one that is published, the one before, over which
//! the next is written, and those that somebody holds. [`Collector::memory_bytes`] tells what there is at the most, but for the last.

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
    Accuracy, Clock, ConfigError, Counters, Event, EventId, EventInfo, FixedPoint, Kind, Limit,
    LimitError, MAX_PAYLOAD, Outcome, Outcomes, ParseQuantileError, Quantile, Record, SlaState,
    Summary, Threshold, TickRate, Token, Trading, Unit, WindowSpec, events,
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

/// The examples of the README are compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
