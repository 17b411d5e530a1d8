//! Prints whether targets are met.

use core::fmt::Display;

/// Returns `pass` or `miss`.
pub(crate) const fn label(met: bool) -> &'static str {
    if met { "pass" } else { "miss" }
}

/// Prints a target, what was measured, and whether the target is met.
pub(crate) fn print(target: impl Display, measured: impl Display, met: bool) {
    println!("target: {target}; measured {measured}: {}", label(met));
}
