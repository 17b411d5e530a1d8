//! Latency percentiles of hot paths, for programs with threads.
#![warn(unsafe_code)]

mod builder;
mod clock;
mod collector;
mod drain;
mod health;
mod local;
mod measure;
mod observer;
mod pace;
mod pool;
mod report;
mod ring_memory;
mod storage;
mod table;
mod tsc;

pub use tailwatch_core::*;

pub use self::{
    builder::{BuildError, Builder},
    clock::{ClockMode, ClockSource, HostClock},
    collector::{Collector, InstallError, QueryError, RegisterError, register_thread},
    health::Health,
    measure::{
        Guard, measure, measure_tagged, record_discard, record_duration, record_end, record_start, record_start_tagged,
        record_value, time, try_time,
    },
    observer::Delivery,
    report::{ClockReport, EventReport, Report, WindowReport},
};
