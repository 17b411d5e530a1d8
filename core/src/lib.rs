//! Hot-path latency percentiles, from a Cortex-M0 to a co-located trading box: the part that needs no platform.
//!
//! What is here runs without an operating system and without an allocator: the [ring] that the hot path writes
//! records into, the [`Recorder`] that writes them, and the [`Aggregator`] that turns them into percentiles over sliding
//! windows. An adapter supplies what only a platform can: a [`Clock`] and the loop that drains. For threads of an operating
//! system that is the crate `tailwatch`; use this one directly on bare metal or to write an adapter.
//!
//! # What it does not do
//!
//! - It starts no thread, reads no clock of its own and writes no file.
//! - Recording is not async-signal-safe, and a recorder is not shared by two contexts: each has a ring of its own.
//! - A ring overwrites its oldest records when nobody drains it in time; that is counted, never prevented.
//! - Percentiles are those of samples that ended in the window, by nearest rank; nothing is interpolated.
//!
//! # Example
//!
//! [`Aggregator`] shows a whole pass, [`Recorder`] the recording side.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "oracles compute in other types than what they judge"
    )
)]

pub mod aggregator;
mod clock;
mod counts;
mod event;
mod fixed;
#[cfg(feature = "defmt")]
mod format;
mod gate;
pub mod histogram;
mod in_flight;
mod kept;
mod moments;
#[doc(hidden)]
pub mod name;
#[doc(hidden)]
pub mod once;
mod presets;
mod quantile;
mod record;
mod recorder;
pub mod ring;
pub mod select;
mod sla;
mod slowest;
mod storage;
mod summary;
mod sums;
#[doc(hidden)]
pub mod sync;
mod wide;
mod window;
mod word;

pub use self::{
    aggregator::{Aggregator, ConfigError, Counters, Known, Outcomes, Period, Values},
    clock::{Clock, TickRate, TimeScale, TimeUnit},
    event::{Event, EventId, EventInfo, Unit},
    fixed::Fixed,
    gate::Gate,
    histogram::{Bucket, Buckets, Count, Estimate, Histogram, MAX_SCALE},
    in_flight::{Flight, Pairing},
    kept::{Sample, Samples, Scratch},
    moments::Moments,
    presets::Trading,
    quantile::{ParseQuantileError, Quantile},
    record::{Forgotten, Kind, MAX_PAYLOAD, Outcome, Record},
    recorder::{Recorder, Span, Token, TurnedAway},
    ring::{CapacityError, Consumer, Drained, Producer, Ring, Slot},
    select::Weighed,
    sla::{Limit, LimitError, Rule, Silence, SlaState, SlaStatus, Tally, Threshold, Transition},
    slowest::Slow,
    storage::{Arrays, EventState, Lacks, Parts, Shape, Storage},
    summary::{Accuracy, Summary, Teller},
    sums::Sums,
    window::{Window, WindowSpec},
    word::Word,
};
#[doc(hidden)]
pub use event::event_id;
