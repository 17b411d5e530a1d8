//! The last published report, and whether anybody reads it.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Report;
use crate::recording::pool::Pool;

/// The last published report of a collector, and whether anybody reads it. It may outlive the
/// [`Collector`](crate::Collector).
#[derive(Debug)]
pub(crate) struct Published {
    pool: Arc<Pool>,
    report: ArcSwap<Report>,
    /// Whether the report was read since the last call of [`take_read`](Self::take_read).
    was_read: AtomicBool,
}

impl Published {
    /// Publishes a first report of the collector with these rings.
    pub(crate) fn new(pool: Arc<Pool>, report: Report) -> Self {
        Self { pool, report: ArcSwap::from_pointee(report), was_read: AtomicBool::new(false) }
    }

    /// Returns the last report, and notes that it is read.
    pub(crate) fn load(&self) -> Guard<Arc<Report>> {
        // Most readers only load, so that they do not take the cache line away from each other.
        if !self.was_read.load(Relaxed) {
            self.was_read.store(true, Relaxed);
        }
        self.report.load()
    }

    /// Returns a copy of the last report, with those fields updated that can change after its
    /// publication, and notes that the report is read.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::clone(&self.load());
        report.health.enabled = self.pool.gate().is_enabled();
        report.health.unregistered = self.pool.unregistered();
        report.health.has_drain = self.pool.has_drain();
        report.finished = self.pool.is_finished();
        report
    }

    /// Publishes a report, and returns the one that it replaces.
    pub(crate) fn replace(&self, report: Report) -> Arc<Report> {
        self.report.swap(Arc::new(report))
    }

    /// Returns whether a report was read since the last call. Only the drain may call this.
    pub(crate) fn take_read(&self) -> bool {
        let was_read = self.was_read.load(Relaxed);
        if was_read {
            self.was_read.store(false, Relaxed);
        }
        was_read
    }
}
