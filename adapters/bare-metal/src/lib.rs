//! Latency percentiles and SLA checks for firmware: no operating system, no allocator, no floating point.
//!
//! Main and interrupts write records into rings, at some thirty instructions each besides the clock; the idle loop drains them, a bounded
//! number at a time, and tells percentiles over sliding windows, limits that are broken, and a report: as text, through `defmt`, or as
//! frames for a serial line. This crate has what firmware needs beside the core, which it re-exports as [`core`].
//!
//! # What it does not do
//!
//! - It sets up no timer, no priority and no serial line; the program does, and says so to a [`clock`].
//! - A ring that is not drained in time overwrites its oldest records: counted in [`Health`], never prevented.
//! - It knows one core at a time: a recorder is not shared by two, and a clock of one core says nothing of another's.
//! - Recording from a handler that cannot be masked (NMI, a hard fault) is sound only with a ring of its own.
//!
//! # Example
//!
//! Main is measured; an interrupt above it measures itself, in a ring of its own; the idle loop drains both.
//!
//! ```
//! use tailwatch_bare_metal::{
//!     Drain, DrainConfig, StaticRing,
//!     tailwatch_core::{Gate, Shape, Trading, WindowSpec, storage},
//! };
//! # use tailwatch_bare_metal::tailwatch_core::{Clock, TickRate};
//! # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//! # struct Timer(AtomicU64); // 1 µs a look
//! # impl Clock for Timer {
//! #     fn start(&self) -> u64 { self.0.fetch_add(1_000, Relaxed) }
//! #     fn end(&self) -> u64 { self.start() }
//! #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
//! # }
//! # static CLOCK: Timer = Timer(AtomicU64::new(0)); // on a Cortex-M: SysTick::new(16_000_000, 16_000)
//!
//! const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
//! const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS); // or events of your own, by `tailwatch_core::events!`
//! static GATE: Gate<{ SHAPE.ids }> = Gate::new();
//! static MAIN: StaticRing<64> = StaticRing::new();
//! static TIMER: StaticRing<32> = StaticRing::new();
//!
//! let mut storage = <storage!(SHAPE, u16)>::new();
//! let rings = [MAIN.take_consumer()?, TIMER.take_consumer()?];
//! let config = DrainConfig {
//!     shape: SHAPE, windows: &WINDOWS, events: Trading::ALL, clock: &CLOCK, gate: &GATE, rings, transitions: None,
//! };
//! let mut drain = Drain::new(config, &mut storage)?;
//! let main = MAIN.take_recorder(&GATE, &CLOCK)?;
//!
//! // The interrupt's handler; it may come in the midst of main's span.
//! let timer = TIMER.take_recorder(&GATE, &CLOCK)?;
//! let handler = || drop(timer.measure(Trading::EventBusHandle));
//!
//! let span = main.measure(Trading::CandleProcessing);
//! handler();
//! drop(span);
//!
//! // The idle loop.
//! while drain.run(16).has_more {}
//! drain.report(|item| println!("{item}"));
//! # assert_eq!(drain.health().delivered, 4);
//! # Ok::<(), Box<dyn ::core::error::Error>>(())
//! ```
//!
//! # Where to record from
//!
//! | contexts | take | what it costs |
//! |---|---|---|
//! | main, and a few interrupts or priorities | a [`StaticRing`] for each | 16 bytes a record and some 30 a ring; nobody is held up, no critical section |
//! | many, each of which records seldom | one `SharedRecorder` (feature `critical-section`) | a critical section of some 40 instructions at each START and END, and one ring for all |
//!
//! *Context* means whatever is not interrupted by itself: handlers of one priority do not interrupt each other, and may share a ring as
//! long as the recorder is owned by one place that all of them reach. Size a ring for what its context records while the idle loop is
//! away: a span is two records.
//!
//! A recorder is taken once and owned. In a handler that is a variable of the handler's own, which each framework has in a safe way:
//!
//! ```text
//! // cortex-m-rt: a `static mut` in a handler is a `&mut` there.
//! #[exception]
//! fn SysTick() {
//!     static mut RECORDER: Option<Recorder<'static, &'static clock::SysTick, IDS>> = None;
//!     CLOCK.on_wrap(); // first, whatever else is done here
//!     if RECORDER.is_none() {
//!         *RECORDER = TIMER.take_recorder(&GATE, &CLOCK).ok();
//!     }
//!     let _span = RECORDER.as_ref().map(|recorder| recorder.measure(Work::Tick));
//!     // …
//! }
//!
//! // RTIC: a local resource of the task, made in `init`.
//! #[local]
//! struct Local { recorder: Recorder<'static, &'static clock::SysTick, IDS> }
//! #[task(binds = TIM2, priority = 2, local = [recorder])]
//! fn sample(cx: sample::Context) {
//!     let _span = cx.local.recorder.measure(Work::Sample);
//! }
//!
//! // embassy: an argument of the task; one ring for each task, or for each executor whose tasks take turns.
//! #[embassy_executor::task]
//! async fn sensor(recorder: Recorder<'static, EmbassyTime, IDS>) {
//!     let span = recorder.start(Work::Read, 0); // a token, as a span across `.await` measures the waiting too
//!     // …
//!     recorder.end(span, Outcome::Ok);
//! }
//! ```
//!
//! # Features
//!
//! None is on by itself.
//!
//! | feature | what it brings |
//! |---|---|
//! | `critical-section` | `SharedRecorder` |
//! | `defmt` | `Format` on every public type, the core's included |
//! | `embassy-time` | the clock `EmbassyTime` |
//! | `postcard` | `wire`: the report as frames, and their decoder |
//!
//! # When things go wrong
//!
//! | what | how it shows |
//! |---|---|
//! | a timer stops | each span takes no time; [`Health::still_passes`] grows with every pass |
//! | it steps back, or wraps unseen | `clock_anomalies`; after more than 10 ms the windows begin anew |
//! | a storm of interrupts laps a ring | `overwritten`; its summaries are not `complete`; other rings have their turn |
//! | the drain never runs | recording goes on; `overwritten` once it does run |
//! | the queue of changes is full | `transitions_lost`; [`Drain::is_breached`] and the report tell the state all the same |
//! | an end of a ring is asked for twice | [`AlreadyTaken`] |

#![cfg_attr(not(test), no_std)]

pub mod clock;
#[cfg(feature = "defmt")]
mod defmt_impls;
mod drain;
mod report;
#[cfg(feature = "critical-section")]
mod shared;
mod static_ring;
#[cfg(feature = "postcard")]
pub mod wire;

#[cfg(feature = "critical-section")]
pub use self::shared::{SharedRecorder, SharedSpanGuard};
pub use self::{
    drain::{Drain, DrainConfig, Pass},
    report::{EventCounts, EventLimit, EventSummary, Health, ReportItem},
    static_ring::{AlreadyTaken, StaticRing},
};
#[doc(no_inline)]
pub use heapless;
#[doc(no_inline)]
pub use tailwatch_core;
