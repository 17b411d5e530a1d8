//! Recording: what a measured program calls, the recorder of each thread, and the rings that the
//! recorders write into.

#[cfg(all(unix, not(tailwatch_loom)))]
pub(crate) mod fork;
pub(crate) mod measure;
pub(crate) mod pool;
pub(crate) mod registry;
#[cfg_attr(tailwatch_loom, path = "recording/pool/models/memory.rs")]
pub(crate) mod ring_memory;
pub(crate) mod thread_recorder;
