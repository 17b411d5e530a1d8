//! Fuzz targets that compare tailwatch with models and check its invariants.
//!
//! Each module is a target: its function `run` builds an input from bytes and panics if tailwatch
//! misbehaves. The binaries in `fuzz_targets/` run the targets under cargo-fuzz; the project's
//! tests replay the inputs kept in `corpus/` and `crashes/`.

use std::sync::OnceLock;

pub mod aggregator;
pub mod feed;
pub mod frames;
pub mod histogram;
pub mod in_flight;
pub mod limits_file;
pub mod ring;
pub mod selection;
pub mod settings_file;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
pub mod shared_file;

// The trading bot's parser, included unchanged.
#[path = "../../examples/trading_bot/feed.rs"]
#[allow(dead_code, reason = "the bot uses more of it")]
mod bot_feed;
#[path = "../../core/tests/recount/memory.rs"]
mod memory;
#[path = "../../examples/trading_bot/message.rs"]
#[allow(dead_code, reason = "the bot uses more of it")]
mod message;

/// The `run` function of a target.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("aggregator", aggregator::run),
    ("feed", feed::run),
    ("frames", frames::run),
    ("histogram", histogram::run),
    ("in_flight", in_flight::run),
    ("limits_file", limits_file::run),
    ("ring", ring::run),
    ("selection", selection::run),
    ("settings_file", settings_file::run),
    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    ("shared_file", shared_file::run),
];

/// Returns the input that `data` encodes, or `None` if it encodes none. Prints the input to stderr
/// if the environment variable `TAILWATCH_FUZZ_SHOW` is set.
fn input<'a, T: arbitrary::Arbitrary<'a> + std::fmt::Debug>(data: &'a [u8]) -> Option<T> {
    static SHOW: OnceLock<bool> = OnceLock::new();
    let input = T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()?;
    if *SHOW.get_or_init(|| std::env::var_os("TAILWATCH_FUZZ_SHOW").is_some()) {
        eprintln!("{input:#?}");
    }
    Some(input)
}
