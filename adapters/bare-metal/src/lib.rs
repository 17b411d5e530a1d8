//! Latency percentiles and SLA checks for firmware: no operating system, no allocator, no floating point.

#![cfg_attr(not(test), no_std)]

pub mod clock;
pub use tailwatch_core as core;
