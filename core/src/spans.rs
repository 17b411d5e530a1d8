//! Single spans: those that are open, and the slowest ones.

pub(crate) mod exemplars;
pub(crate) mod in_flight;
pub(crate) mod pairing;
mod room;
