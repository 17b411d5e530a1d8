//! The progress bar on standard error, and texts that do not garble it.
//!
//! If standard error is not a terminal, there is no bar, only the texts.

use core::time::Duration;
use std::{
    collections::HashMap,
    io::{self, Write},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::replay::Notice;

/// The number of problems of a kind that are printed. A feed that is damaged throughout would bury
/// everything else.
const PRINTED_PER_KIND: u64 = 5;

/// A handle that prints texts on standard error without garbling the progress bar. Clones share the
/// bar.
#[derive(Debug, Clone)]
pub(crate) struct Notes(ProgressBar);

impl Notes {
    /// Returns a handle without a bar.
    #[cfg(test)]
    pub(crate) fn without_bar() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Prints a text on lines of its own. An error is ignored: a closed standard error is no reason
    /// to stop.
    pub(crate) fn print(&self, text: &str) {
        self.0.suspend(|| {
            let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
        });
    }
}

/// Limits the printed problems to the first few of each kind. The replay counts all problems.
#[derive(Debug, Default)]
pub(crate) struct ProblemLimiter {
    printed: HashMap<&'static str, u64>,
}

impl ProblemLimiter {
    /// Returns the text to print for a notice, if any.
    pub(crate) fn text(&mut self, notice: &Notice<'_>) -> Option<String> {
        match notice {
            Notice::Problem(problem) => self.problem(problem.cause.kind(), problem),
            Notice::ClockBehind { line, behind } => Some(format!(
                "line {line} was received {behind:.2?} before it was sent: the recording's clock \
                 was behind the exchange's; all messages are used, and this is printed only once"
            )),
        }
    }

    /// Returns the text to print for a problem, if any.
    pub(crate) fn problem(
        &mut self,
        kind: &'static str,
        problem: &impl ToString,
    ) -> Option<String> {
        let printed = self.printed.entry(kind).or_default();
        *printed = printed.saturating_add(1);
        if *printed > PRINTED_PER_KIND {
            return None;
        }
        let rest = if *printed == PRINTED_PER_KIND {
            "\n(more of this kind are only counted)"
        } else {
            ""
        };
        Some(problem.to_string() + rest)
    }
}

/// The progress bar.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    limit: Option<Duration>,
    start: Instant,
}

impl Progress {
    /// Returns a bar that shows the elapsed time as a share of `limit`, if there is one: the number
    /// of messages is not known in advance.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        let (bar, template) = match limit {
            Some(limit) => {
                (ProgressBar::new(millis(limit)), "{elapsed_precise} {bar:40} {percent:>3}% {msg}")
            }
            None => (ProgressBar::new_spinner(), "{elapsed_precise} {spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, limit, start: Instant::now() }
    }

    /// Returns a handle that prints texts without garbling the bar.
    pub(crate) fn notes(&self) -> Notes {
        Notes(self.bar.clone())
    }

    /// Shows how many messages have been replayed, and whether these are all.
    pub(crate) fn update(&self, sent: u64, all: bool) {
        if let Some(limit) = self.limit {
            self.bar.set_position(millis(self.start.elapsed().min(limit)));
        }
        self.bar.set_message(format!("{sent} messages{}", if all { ", all sent" } else { "" }));
        self.bar.tick();
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problems_of_each_kind_are_printed() {
        let mut limiter = ProblemLimiter::default();
        let printed: Vec<_> =
            (0..20).filter_map(|number| limiter.problem("not JSON", &number)).collect();
        assert_eq!(printed, ["0", "1", "2", "3", "4\n(more of this kind are only counted)"]);
        assert_eq!(limiter.problem("not UTF-8", &"x").as_deref(), Some("x"));
    }
}
