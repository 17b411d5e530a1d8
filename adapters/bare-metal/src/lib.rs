//! Latency percentiles and SLA checks for firmware: no operating system, no allocator, no floating
//! point.
//!
//! Main and interrupt handlers write *records*, the starts and ends of measured spans, into
//! *rings*. This takes about thirty instructions per record, plus a reading of the clock. The idle
//! loop calls the *drain*, which reads the records from the rings, a bounded number at a time, and
//! keeps the statistics: percentiles over sliding windows, and which limits are violated. The drain
//! also produces a report: as text, through `defmt`, or as frames for a serial line.
//!
//! This crate contains what firmware needs in addition to [`tailwatch_core`], which it re-exports:
//! [clocks](clock), rings for `static`s ([`StaticRing`]) and the drain ([`Drain`]).
//!
//! # What it does not do
//!
//! - It does not set up timers, interrupt priorities or serial lines. The program sets them up, and
//!   creates a [`clock`] that matches its timer.
//! - It does not prevent losses: a ring that is not drained in time overwrites its oldest records.
//!   [`Health::overwritten`] counts them.
//! - It does not synchronise cores. Two cores cannot share a recorder, and the ticks of their
//!   clocks are not comparable unless the clocks read the same timer.
//! - It does not protect a shared recorder from handlers that cannot be masked, such as NMI or a
//!   hard fault, because critical sections do not hold them off. Give each of them a ring of its
//!   own. If the clock is a [`SysTick`](clock::SysTick), they must not record.
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
//! #     fn rate(&self) -> TickRate { TickRate::NANOSECONDS }
//! # }
//! # // On a Cortex-M: SysTick::new(16_000_000, 16_000)
//! # static CLOCK: Timer = Timer(AtomicU64::new(0));
//!
//! const WINDOWS: [WindowSpec; 2] = [WindowSpec::SECOND, WindowSpec::FIVE_SECONDS];
//! // `tailwatch_core::events!` declares events of your own.
//! const SHAPE: Shape = Shape::small(Trading::ALL, &WINDOWS);
//! storage!(Memory: SHAPE, u16); // the memory of the statistics; histograms count in 16 bits
//! static GATE: Gate<{ SHAPE.ids }> = Gate::new();
//! static MAIN: StaticRing<64> = StaticRing::new();
//! static TIMER: StaticRing<32> = StaticRing::new();
//!
//! let mut storage = Memory::new(); // in firmware, a `static` or a local of `main`
//! let config = DrainConfig {
//!     windows: &WINDOWS,
//!     events: Trading::ALL,
//!     clock: &CLOCK,
//!     gate: &GATE,
//!     rings: [MAIN.take_consumer()?, TIMER.take_consumer()?],
//!     changes: None,
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
//! | main, and a few interrupts or priorities | a [`StaticRing`] for each | per ring, 16 bytes per record plus 28 bytes on a 32-bit target; no critical section, so no context delays another |
//! | many contexts, each of which records seldom | one `SharedRecorder` (feature `critical-section`) | a critical section of about 40 instructions at each START and END; one ring for all |
//!
//! A *context* is code that does not interrupt itself. Handlers of the same priority do not
//! interrupt each other, so they form one context and may share a ring, provided that all of them
//! can access its only recorder. Make a ring large enough for the records that its context writes
//! while the idle loop does not run. A span is two records.
//!
//! A recorder can be taken only once, so a handler must keep it from one run to the next. Each
//! framework has a safe way to do so:
//!
//! ```text
//! // cortex-m-rt: a `static mut` that a handler declares is a `&mut` there, without `unsafe`.
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
//!     let token = recorder.start(Work::Read, 0); // the span includes the waiting at `.await`
//!     // …
//!     recorder.end(token, Outcome::Ok);
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
//! | a timer steps back, or wraps unseen | see [`clock`]: some of it is in `clock_anomalies` |
//! | an interrupt storm overwrites records that are not drained yet | [`Health::overwritten`] grows; summaries are not `complete`; other rings are drained as usual |
//! | the drain does not run for a while | recording continues; [`Health::overwritten`] grows once the drain runs again |
//! | the queue of raised and cleared violations is full | [`Health::transitions_lost`] grows; [`Drain::is_breached`] and the report still return the current state |
//! | the producer or the consumer of a ring is taken twice | the error [`AlreadyTaken`] |

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
