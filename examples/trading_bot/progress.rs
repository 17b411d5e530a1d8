//! What is seen while it runs: a bar on standard error, and texts that do not break it.
//!
//! Where standard error is no terminal there is no bar, only the texts.

use core::time::Duration;
use std::{
    collections::HashMap,
    io::{self, Write},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::replay::Notice;

/// The first problems of a kind are printed in full, so that a feed that is damaged throughout does not bury the rest.
const PRINTED_PER_KIND: u64 = 5;

/// A place to say something on standard error. Copies speak to the same bar.
#[derive(Debug, Clone)]
pub(crate) struct Notes(ProgressBar);

impl Notes {
    /// Without a bar.
    #[cfg(test)]
    pub(crate) fn without_bar() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Prints a text on lines of its own. A standard error that is gone is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        self.0.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }
}

/// Tells the first few problems of each kind; counting them all is up to whoever finds them.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    told: HashMap<&'static str, u64>,
}

impl Sparing {
    /// What to print of what is worth saying about a feed, if anything.
    pub(crate) fn of_feed(&mut self, notice: &Notice<'_>) -> Option<String> {
        match notice {
            Notice::Problem(problem) => self.tell(problem.cause.kind(), problem),
            Notice::ClockBehind { line, behind } => Some(format!(
                "line {line} was received {behind:.2?} before it was sent: the recording's clock was behind the exchange's. \
                 All messages are used all the same; this is said once."
            )),
        }
    }

    /// What to print of a problem, if anything.
    pub(crate) fn tell(&mut self, kind: &'static str, problem: &impl ToString) -> Option<String> {
        let told = self.told.entry(kind).or_default();
        *told = told.saturating_add(1);
        if *told > PRINTED_PER_KIND {
            return None;
        }
        let rest =
            if *told == PRINTED_PER_KIND { "\n(more of this kind are only counted)" } else { "" };
        Some(problem.to_string() + rest)
    }
}

/// The bar.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    limit: Option<Duration>,
    start: Instant,
}

impl Progress {
    /// How many messages there will be nobody knows, so that the bar goes by the time allowed, if that is limited.
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

    /// A place to say something beside the bar.
    pub(crate) fn notes(&self) -> Notes {
        Notes(self.bar.clone())
    }

    /// Shows how far it is: so many messages were replayed, which may be all.
    pub(crate) fn update(&self, sent: u64, all: bool) {
        if let Some(limit) = self.limit {
            self.bar.set_position(millis(self.start.elapsed().min(limit)));
        }
        self.bar.set_message(format!("{sent} messages{}", if all { ", all sent" } else { "" }));
        self.bar.tick();
    }

    /// Takes the bar away.
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
    fn problems_are_told_sparingly_by_kind() {
        let mut sparing = Sparing::default();
        let told: Vec<_> = (0..20).filter_map(|number| sparing.tell("not JSON", &number)).collect();
        assert_eq!(told, ["0", "1", "2", "3", "4\n(more of this kind are only counted)"]);
        assert_eq!(sparing.tell("not UTF-8", &"x").as_deref(), Some("x"));
    }
}
