//! The readers of shared files.

pub(super) mod file;
pub(super) mod find;
pub(super) mod flight;
pub(super) mod reader;
mod rows;
mod tables;
mod text;
