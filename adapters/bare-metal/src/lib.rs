//! Latency percentiles and SLA checks for firmware: no operating system, no allocator, no floating
//! point.
//!
//! Main and interrupts write records into rings, which takes about thirty instructions per record,
//! plus the clock. The idle loop drains the rings, a bounded number of records at a time. It gets
//! percentiles over sliding windows, the limits that are violated, and a report: as text, through
//! `defmt`, or as frames for a serial line.
//!
//! This crate contains what firmware needs in addition to the core: [clocks](clock), rings for
//! `static`s and the drain. The core is re-exported as [`tailwatch_core`].
//!
//! # What it does not do
//!
//! - It does not set up timers, priorities or serial lines. The program does, and creates a
//!   [`clock`] that matches.
//! - It does not prevent losses: a ring that is not drained in time overwrites its oldest records.
//!   They are counted in [`Health`].
//! - It does not synchronise cores. Two cores cannot share a recorder, and the ticks of their
//!   clocks are not comparable unless the clocks read the same timer.
//! - A handler that cannot be masked, such as NMI or a hard fault, must have a ring of its own: the
//!   critical section of a shared recorder does not hold it off.
//!
//! # Example
//!
//! Main and an interrupt each record into a ring of their own; the idle loop drains both.
//!
//! ```
//! use tailwatch_bare_metal::{
//!     Drain, DrainConfig, StaticRing,
//!     tailwatch_core::{Gate, Shape, Trading, WindowSpec, storage},
//! };
//! # use tailwatch_bare_metal::tailwatch_core::{Clock, TickRate};
//! # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//! # struct Timer(AtomicU64); // advances by 1 µs at each reading
//! # impl Clock for Timer {
//! #     fn start(&self) -> u64 { self.0.fetch_add(1_000, Relaxed) }
//! #     fn end(&self) -> u64 { self.start() }
//! #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
//! # }
//! # // On a Cortex-M: SysTick::new(16_000_000, 16_000)
//! # static CLOCK: Timer = Timer(AtomicU64::new(0));
//!
//! const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
//! // `tailwatch_core::events!` declares events of your own.
//! const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS);
//! static GATE: Gate<{ SHAPE.ids }> = Gate::new();
//! static MAIN: StaticRing<64> = StaticRing::new();
//! static TIMER: StaticRing<32> = StaticRing::new();
//!
//! let mut storage = <storage!(SHAPE, u16)>::new();
//! let config = DrainConfig {
//!     shape: SHAPE,
//!     windows: &WINDOWS,
//!     events: Trading::ALL,
//!     clock: &CLOCK,
//!     gate: &GATE,
//!     rings: [MAIN.take_consumer()?, TIMER.take_consumer()?],
//!     transitions: None,
//! };
//! let mut drain = Drain::new(config, &mut storage)?;
//! let main = MAIN.take_recorder(&GATE, &CLOCK)?;
//!
//! // The interrupt handler, which may run in the middle of main's span.
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
//! | contexts that record | use | cost |
//! |---|---|---|
//! | main, and a few interrupts or priorities | a [`StaticRing`] for each | 16 bytes per record, and 28 bytes besides on a 32-bit target; no critical section, so no context delays another |
//! | many contexts, each of which records seldom | one `SharedRecorder` (feature `critical-section`) | a critical section of about 40 instructions at each START and END; one ring for all |
//!
//! A *context* is code that does not interrupt itself. Handlers of the same priority do not
//! interrupt each other, so they form one context and may share a ring, if all of them can reach
//! the one recorder. Size a ring for the records that its context writes while the idle loop does
//! not run; a span is two records.
//!
//! A recorder is taken once, and then owned. A handler keeps it in a variable of its own, for which
//! each framework has a safe way:
//!
//! ```text
//! // cortex-m-rt: a `static mut` inside a handler is accessible there as `&mut`.
//! #[exception]
//! fn SysTick() {
//!     static mut RECORDER: Option<Recorder<'static, &'static clock::SysTick, IDS>> = None;
//!     CLOCK.on_wrap(); // before anything else
//!     if RECORDER.is_none() {
//!         *RECORDER = TIMER.take_recorder(&GATE, &CLOCK).ok();
//!     }
//!     let _span = RECORDER.as_ref().map(|recorder| recorder.measure(Work::Tick));
//!     // …
//! }
//!
//! // RTIC: a local resource of the task, created in `init`.
//! #[local]
//! struct Local { recorder: Recorder<'static, &'static clock::SysTick, IDS> }
//! #[task(binds = TIM2, priority = 2, local = [recorder])]
//! fn sample(cx: sample::Context) {
//!     let _span = cx.local.recorder.measure(Work::Sample);
//! }
//!
//! // embassy: an argument of the task. Use one ring per task. Tasks of one executor do not
//! // interrupt each other, so they may also share a ring.
//! #[embassy_executor::task]
//! async fn sensor(recorder: Recorder<'static, EmbassyTime, IDS>) {
//!     let span = recorder.start(Work::Read, 0); // a token; the span includes waiting at `.await`
//!     // …
//!     recorder.end(span, Outcome::Ok);
//! }
//! ```
//!
//! # Features
//!
//! No feature is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `critical-section` | `SharedRecorder` |
//! | `defmt` | `defmt::Format` for every public type, including those of the core |
//! | `embassy-time` | the clock `EmbassyTime` |
//! | `postcard` | the module `wire`: the report as frames, and a decoder for them |
//!
//! # When things go wrong
//!
//! | what happens | how it shows |
//! |---|---|
//! | a timer stops | spans have a duration of 0; [`Health::still_passes`] grows with every pass that delivers records |
//! | a timer steps back, or wraps unnoticed | `clock_anomalies`; after a step of more than 10 ms, the windows start over empty |
//! | an interrupt storm laps a ring | `overwritten`; summaries are not `complete`; other rings are drained as usual |
//! | the drain does not run for a while | recording continues; `overwritten` once the drain runs |
//! | the queue of changes is full | `transitions_lost`; [`Drain::is_breached`] and the report still return the current state |
//! | an end of a ring is taken twice | the error [`AlreadyTaken`] |

#![cfg_attr(docsrs, feature(doc_cfg))]
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
