//! Whether a target is reached.

use core::fmt::Display;

/// The word for it.
pub(crate) const fn word(reached: bool) -> &'static str {
    if reached { "pass" } else { "fall-short" }
}

/// Prints what a target is, and whether it is reached.
pub(crate) fn say(target: impl Display, measured: impl Display, reached: bool) {
    println!("target: {target}; measured {measured}: {}", word(reached));
}
