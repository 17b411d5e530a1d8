//! Which events a collector has: those of sets, and those that the program makes when it runs.

pub(crate) mod error;
pub(crate) mod family;
pub(crate) mod labels;
pub(crate) mod listed;
pub(crate) mod new_event;
pub(crate) mod numbers;
