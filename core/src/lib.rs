//! The part of tailwatch that needs no platform: it measures the latency of hot paths and reports
//! percentiles, without an operating system and without allocating.
//!
//! A [`Recorder`] writes 16-byte [records](Record) into a [ring] on the hot path. The
//! [`Aggregator`] reads the records from all rings (it *drains* the rings) and computes percentiles
//! over sliding windows. An adapter adds what only a platform can supply: a [`Clock`], and the loop
//! that drains the rings again and again.
//!
//! Programs with threads use the crate `tailwatch`, firmware uses `tailwatch-bare-metal`: both are
//! such adapters. Use this crate directly to write another one.
//!
//! # Limits
//!
//! - This crate starts no thread, reads no hardware clock and writes no file.
//! - Recording is not async-signal-safe. Two contexts that can interrupt each other or run at the
//!   same time (threads, interrupts) cannot share a recorder: each needs a recorder and a ring of
//!   its own.
//! - A ring that is not drained in time overwrites its oldest records. The loss is counted, not
//!   prevented, because preventing it would make the hot path wait.
//! - A percentile over a window covers the spans that ended, and the values that were recorded, in
//!   that window. It is found by nearest rank, without interpolation. It is exact until the window
//!   holds more samples than the [`Storage`] keeps. Beyond that, it is estimated from a histogram,
//!   and [`Summary::accuracy`] states the error.
//!
//! # Examples
//!
//! The docs of [`Recorder`] show how to record. The docs of [`Aggregator`] show how to drain a ring
//! and query percentiles.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tests compute expected values in other number types than the code under test"
    )
)]

pub mod aggregator;
mod arithmetic;
mod bucket_counts;
#[doc(hidden)]
pub mod claim_once;
mod clock;
#[cfg(feature = "defmt")]
mod defmt_impls;
mod event;
mod exemplars;
mod fixed_point;
mod gate;
pub mod histogram;
mod in_flight;
mod moments;
mod presets;
mod quantile;
mod record;
mod recorder;
pub mod repr;
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
mod window;

pub use self::{
    aggregator::{
        Aggregator, ConfigError, Counters, Distribution, DistributionData, Outcomes, Scope,
    },
    clock::{Clock, TickRate, TimeScale, TimeUnit},
    event::{Event, EventId, EventInfo, Unit},
    exemplars::Exemplar,
    fixed_point::FixedPoint,
    gate::Gate,
    histogram::{Bucket, Buckets, Count, Estimate, Histogram, MAX_SCALE},
    in_flight::{OpenSpan, Pairing},
    moments::Moments,
    presets::Trading,
    quantile::{ParseQuantileError, Quantile},
    record::{DiscardReason, Kind, MAX_PAYLOAD, Outcome, Record},
    recorder::{Disabled, Recorder, SpanGuard, Token},
    repr::{Compact, Repr, StoredMoments, StoredSample, Wide},
    ring::{
        CapacityError, Consumer, Drained, PassStart, Producer, Ring, RingPass, RingProgress, Slot,
    },
    sample_buffer::Samples,
    select::WeightedSample,
    sla::{Limit, LimitError, Rule, Silence, SlaState, SlaStatus, StatusChange, Tally, Threshold},
    storage::{Absent, ChooseRepr, ReprIf, RowState, Shape, Storage, StorageParts},
    summary::{Accuracy, Summary, UnitConverter},
    window::{Window, WindowSpec},
};
#[doc(hidden)]
pub use event::event_id;
