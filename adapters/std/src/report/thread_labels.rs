//! Labels that distinguish the threads in a report.

use std::collections::{HashMap, HashSet};

use super::{Report, statistics::SlowSample};

/// How the threads of the slowest samples in a report are called: by their name, and with `#` and
/// their number if another thread in the report has the same name.
pub(super) struct ThreadLabels<'r> {
    /// The names that several threads in the report have.
    shared: HashSet<&'r str>,
}

impl<'r> ThreadLabels<'r> {
    /// Finds out which names in the report belong to several threads.
    pub(super) fn of(report: &'r Report) -> Self {
        let (mut first, mut shared) = (HashMap::new(), HashSet::new());
        let statistics = report.events.iter().flat_map(|event| {
            let windows = event.windows.iter();
            let windows = windows.flat_map(|of| of.statistics.iter().chain(of.failed.as_deref()));
            windows.chain(&event.total).chain(event.failed.as_deref())
        });
        for slow in statistics.flat_map(|statistics| &statistics.slowest) {
            if *first.entry(&*slow.thread).or_insert(slow.tid) != slow.tid {
                shared.insert(&*slow.thread);
            }
        }
        Self { shared }
    }

    /// Returns the label of the thread of this sample, which is in the report.
    pub(super) fn label(&self, slow: &SlowSample) -> String {
        match slow.tid {
            Some(tid) if self.shared.contains(&*slow.thread) => format!("{}#{tid}", slow.thread),
            _ => slow.thread.to_string(),
        }
    }
}
