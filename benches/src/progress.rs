//! How far a program is, on stderr; nothing where nobody watches it.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps.
pub(crate) fn bar(what: &'static str, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>24} {wide_bar} {pos}/{len} {eta:>4}")
        .expect("the template is right");
    ProgressBar::new(steps).with_style(style).with_message(what)
}
