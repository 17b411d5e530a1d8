//! Latency percentiles and SLA checks for firmware: no operating system, no allocator, no floating point.

#![cfg_attr(not(test), no_std)]

pub mod clock;
mod drain;
#[cfg(feature = "defmt")]
mod format;
mod once;
mod report;
#[cfg(feature = "critical-section")]
mod shared;
mod static_ring;
#[cfg(feature = "postcard")]
pub mod wire;

#[cfg(feature = "critical-section")]
pub use self::shared::{SharedRecorder, SharedSpan};
pub use self::{
    drain::{Drain, DrainConfig, Pass},
    report::{EventCounts, EventLimit, EventSummary, Health, Item},
    static_ring::{StaticRing, Taken},
};
#[doc(no_inline)]
pub use heapless;
#[doc(no_inline)]
pub use tailwatch_core as core;
