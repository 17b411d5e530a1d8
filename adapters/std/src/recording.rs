//! Recording: the rings that the recorders of threads write into, and which thread has which.

pub(crate) mod attachment;
pub(crate) mod available_memory;
mod breaches;
pub(crate) mod followers;
#[cfg_attr(any(not(unix), tailwatch_loom), path = "recording/fork/none.rs")]
pub(crate) mod fork;
mod free_lanes;
pub(crate) mod identity;
pub(crate) mod lane;
mod log_entry;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod ring_budget;
#[cfg_attr(tailwatch_loom, path = "recording/pool/models/memory.rs")]
pub(crate) mod ring_memory;
pub(crate) mod ring_settings;
mod tenants;
