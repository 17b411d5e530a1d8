//! What the small examples print with, and the pages of the documentation as modules, so that
//! `cargo test` compiles and runs their code blocks.

#![allow(clippy::doc_markdown, reason = "the pages write names as prose where it reads better")]

pub mod console;

#[doc = include_str!("../README.md")]
pub mod readme {}

#[doc = include_str!("../docs/edge-box.md")]
pub mod edge_box {}

#[doc = include_str!("../docs/firmware.md")]
pub mod firmware {}

#[doc = include_str!("../docs/getting-the-numbers-out.md")]
pub mod getting_the_numbers_out {}

#[doc = include_str!("../docs/instrument.md")]
pub mod instrument {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = include_str!("../docs/processes.md")]
pub mod processes {}

#[doc = include_str!("../docs/sampling.md")]
pub mod sampling {}

#[doc = include_str!("../docs/tokio.md")]
pub mod tokio {}
