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
//!   same time (threads, interrupts) cannot share a [`Recorder`]: each needs one, with a ring of
//!   its own. `tailwatch-bare-metal` has a recorder that they can share by critical sections.
//! - A ring that is not drained in time overwrites its oldest records. The loss is counted, not
//!   prevented, because preventing it would make the hot path wait.
//! - A percentile over a window covers the spans that ended with [`Outcome::Ok`], and the values
//!   that were recorded, in that window; for spans of any outcome, see [`CoveredOutcomes`]. It is
//!   found by nearest rank, without interpolation. It is exact while the [`Storage`] still keeps
//!   all samples of the window. Otherwise, and where a correction for coordinated omission adds
//!   samples, it is estimated, from a histogram if the storage has one. [`Summary::accuracy`]
//!   states the error. "Exact" is about the recorded samples and their weights; occurrences that
//!   sampling did not draw are not among them. A [`ConfidenceInterval`] shows how far the true
//!   percentile may be away.
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

// The modules in the order of a record's path. A module imports only from modules above it.
mod arithmetic;
mod clock;
mod event;
mod event_number;
mod record;
mod stored;
#[doc(hidden)]
pub mod sync;
mod tag;

pub mod ring;

mod recording;

mod statistics;

mod sla;

mod declaration;

pub mod repr;

mod spans;

mod storage;

pub mod aggregator;

#[cfg(feature = "defmt")]
mod defmt_impls;

#[doc(hidden)]
pub use self::event::event_id;
pub use self::{
    aggregator::{
        Aggregator,
        counters::{Counters, Outcomes},
        distribution::{Distribution, DistributionData},
        error::ConfigError,
        summarize::Scope,
    },
    clock::{Clock, TickRate, TimeScale, TimeUnit},
    declaration::{CoveredOutcomes, EventInfo, presets::Trading},
    event::{AnyEvent, Event, EventId, Unit},
    event_number::EventNumber,
    record::{DiscardReason, Kind, MAX_PAYLOAD, Outcome, Record},
    recording::{
        copies::{CopiedBytes, Copies, LargerRing, NoCopies, SameRing, ThreadCopies},
        gate::{Decision, Gate},
        recorder::{Recorder, SpanGuard},
        token::Token,
    },
    repr::{Compact, Repr, StoredMoments, StoredSample, Wide, samples::Samples},
    ring::{
        CapacityError, Ring,
        consumer::Consumer,
        position::{OwnPosition, Position, ReaderStart, StoredPosition},
        producer::Producer,
        progress::{PassStart, Pending, RingPass, RingProgress},
        reader::{Drained, Reader},
        slot::Slot,
    },
    sla::{
        Limit, LimitError, MinSamples, SlaState, SlaStatus, StatusChange, Threshold,
        rule::{Rule, Silence, Tally},
    },
    spans::{exemplars::Exemplar, in_flight::OpenSpan, pairing::Pairing},
    statistics::{
        confidence::ConfidenceInterval,
        fixed_point::FixedPoint,
        histogram::{
            self, Bucket, Histogram,
            buckets::{Buckets, Estimate, MAX_SCALE},
            count::Count,
        },
        moments::Moments,
        quantile::{ParseQuantileError, Quantile},
        select::{self, WeightedSample},
        summary::{Accuracy, Summary, UnitConverter},
        window::{Window, WindowSpec},
    },
    storage::{Storage, StorageParts, row_state::RowState, shape::Shape},
    tag::{fnv_1a, tag_of},
};
#[doc(hidden)]
pub use self::{
    declaration::snake_case,
    ring::claim_once,
    storage::declare::{ChooseRepr, ReprIf},
};
