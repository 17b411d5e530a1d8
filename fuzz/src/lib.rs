//! What tailwatch does with any input, compared with models.
//!
//! Each module is a target: `run` takes bytes, makes an input of them and panics if something is not as it should be. The
//! binaries in `fuzz_targets/` hand them to cargo-fuzz; the project's tests replay what is kept in `corpus/` and `crashes/`.

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

// The trading bot's parser, as it is.
#[path = "../../examples/trading_bot/feed.rs"]
#[allow(dead_code, reason = "the bot uses more of it")]
mod bot_feed;
#[path = "../../core/tests/recount/memory.rs"]
mod memory;
#[path = "../../examples/trading_bot/message.rs"]
#[allow(dead_code, reason = "the bot uses more of it")]
mod message;

/// A target.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("aggregator", aggregator::run),
    ("feed", feed::run),
    ("frames", frames::run),
    ("histogram", histogram::run),
    ("in_flight", in_flight::run),
    ("limits_file", limits_file::run),
    ("ring", ring::run),
    ("selection", selection::run),
    ("settings_file", settings_file::run),
];

/// The input that these bytes stand for, if they do for one; shown if the variable `TAILWATCH_FUZZ_SHOW` is set.
fn input<'a, T: arbitrary::Arbitrary<'a> + std::fmt::Debug>(data: &'a [u8]) -> Option<T> {
    static SHOW: OnceLock<bool> = OnceLock::new();
    let input = T::arbitrary_take_rest(arbitrary::Unstructured::new(data)).ok()?;
    if *SHOW.get_or_init(|| std::env::var_os("TAILWATCH_FUZZ_SHOW").is_some()) {
        eprintln!("{input:#?}");
    }
    Some(input)
}
