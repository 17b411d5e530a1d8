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
mod bucket_counts;
#[doc(hidden)]
pub mod claim_once;
mod clock;
mod counter_width;
#[cfg(feature = "defmt")]
mod defmt_impls;
mod event;
mod exemplars;
mod fixed_point;
mod gate;
pub mod histogram;
mod in_flight;
mod moments;
mod packed_moments;
mod presets;
mod quantile;
mod record;
mod recorder;
pub mod ring;
mod sample_buffer;
pub mod select;
mod sla;
#[doc(hidden)]
pub mod snake_case;
mod storage;
mod summary;
#[doc(hidden)]
pub mod sync;
mod wide_math;
mod window;

pub use self::{
    aggregator::{
        Aggregator, ConfigError, Counters, Distribution, DistributionData, Outcomes, Scope,
    },
    clock::{Clock, TickRate, TimeScale, TimeUnit},
    counter_width::CountWord,
    event::{Event, EventId, EventInfo, Unit},
    exemplars::Exemplar,
    fixed_point::FixedPoint,
    gate::Gate,
    histogram::{Bucket, Buckets, Count, Estimate, Histogram, MAX_SCALE},
    in_flight::{OpenSpan, Pairing},
    moments::Moments,
    packed_moments::PackedMoments,
    presets::Trading,
    quantile::{ParseQuantileError, Quantile},
    record::{DiscardReason, Kind, MAX_PAYLOAD, Outcome, Record},
    recorder::{Disabled, Recorder, SpanGuard, Token},
    ring::{CapacityError, Consumer, Drained, Producer, Ring, Slot},
    sample_buffer::{Sample, Samples, Scratch},
    select::WeightedSample,
    sla::{Limit, LimitError, Rule, Silence, SlaState, SlaStatus, StatusChange, Tally, Threshold},
    storage::{Absent, EventState, Shape, StaticStorage, Storage, StorageParts},
    summary::{Accuracy, Summary, UnitConverter},
    window::{Window, WindowSpec},
};
#[doc(hidden)]
pub use event::event_id;
