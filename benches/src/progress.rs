//! Progress bars on stderr; none if stderr is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar of `steps` steps, named `what`.
pub(crate) fn bar(what: &'static str, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>24} {wide_bar} {pos}/{len} {eta:>4}")
        .expect("the template is valid");
    ProgressBar::new(steps).with_style(style).with_message(what)
}
