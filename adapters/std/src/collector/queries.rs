//! Queries: what a collector knows, as of the last published report.

use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tailwatch_core::{Accuracy, Event, EventId, Quantile, SlaState, Summary};

use super::{Collector, QueryError};
use crate::{
    Health, Report, SlaChanges, SlaReport, SlowSample, Statistics, pool::Pool, report::EventReport,
    sync::lock,
};

/// Access to the published report of a collector, independent of the lifetime of the [`Collector`].
#[derive(Debug)]
pub(crate) struct Published {
    pool: Arc<Pool>,
    report: Arc<ArcSwap<Report>>,
}

impl Published {
    /// Returns the last report, with the fields updated that can change after its publication.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::clone(&self.report.load());
        report.health.enabled = self.pool.gate().is_enabled();
        report.health.unregistered = self.pool.unregistered();
        report.finished = self.pool.is_finished();
        report
    }
}

impl Collector {
    /// Returns the summary of `event` over the window of this length, or `None` if the window has
    /// no samples.
    ///
    /// # Errors
    /// If the collector has no such event, or no window of this length.
    pub fn stats(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Option<Summary>, QueryError> {
        self.query(event, window, |statistics| statistics.summary)
    }

    /// Returns the summary of `event` since the start, or `None` if there are no samples.
    ///
    /// # Errors
    /// If the collector has no such event.
    pub fn total(&self, event: impl Event) -> Result<Option<Summary>, QueryError> {
        Ok(find_event(&self.published.load(), event.id())?
            .total
            .as_ref()
            .map(|statistics| statistics.summary))
    }

    /// Returns the name and the summary of every event over the window of this length, all from the
    /// same report.
    ///
    /// A summary is `None` if the window has no samples of the event.
    ///
    /// # Errors
    /// If the collector has no window of this length.
    pub fn all_stats(
        &self,
        window: Duration,
    ) -> Result<Vec<(&'static str, Option<Summary>)>, QueryError> {
        let report = self.published.load();
        let summary =
            |statistics: Option<&Statistics>| statistics.map(|statistics| statistics.summary);
        report
            .events
            .iter()
            .map(|event| Ok((event.name, summary(find_window(event, window)?))))
            .collect()
    }

    /// Returns any quantile of `event` over the window of this length, in nanoseconds or the
    /// event's unit, and its accuracy.
    ///
    /// Returns `None` if the window has no samples. The quantile is computed on the current thread
    /// from the last report.
    ///
    /// # Errors
    /// If the collector has no such event, or no window of this length.
    pub fn quantile(
        &self,
        event: impl Event,
        window: Duration,
        quantile: Quantile,
    ) -> Result<Option<(u64, Accuracy)>, QueryError> {
        self.query(event, window, |statistics| statistics.quantile(quantile))
    }

    /// Returns the slowest samples of `event` in the window of this length, the slowest one first.
    ///
    /// # Errors
    /// If the collector has no such event, or no window of this length.
    pub fn slowest(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Vec<SlowSample>, QueryError> {
        Ok(self.query(event, window, |statistics| statistics.slowest.clone())?.unwrap_or_default())
    }

    /// Applies `query` to the statistics of an event over a window.
    fn query<T>(
        &self,
        event: impl Event,
        window: Duration,
        query: impl FnOnce(&Statistics) -> T,
    ) -> Result<Option<T>, QueryError> {
        let report = self.published.load();
        Ok(find_window(find_event(&report, event.id())?, window)?.map(query))
    }

    /// Returns whether a limit of `event` is violated, as of the drain's last pass. Returns `false`
    /// if the collector has no such event.
    ///
    /// This is wait-free, a single relaxed load, so a kill switch can check it before every order.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tailwatch::{Collector, Limit, Quantile, Threshold, Trading, record_duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().start()?;
    /// collector.register_thread("main")?;
    /// record_duration(Trading::OrderPlacement, Duration::from_millis(80));
    /// collector.flush();
    /// // `Trading` declares a limit of 20 ms on its p95 over 60 s.
    /// assert!(collector.breached(Trading::OrderPlacement));
    ///
    /// let relaxed = Threshold::duration(Quantile::P99, Duration::from_millis(200));
    /// collector.set_limits(Trading::OrderPlacement, &[Limit::Quantile(relaxed)])?;
    /// assert!(!collector.breached(Trading::OrderPlacement));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn breached(&self, event: impl Event) -> bool {
        self.pool.is_breached(event.id())
    }

    /// Returns the violated limits over the window of this length, as of the last report.
    ///
    /// # Errors
    /// If the collector has neither a window of this length nor a limit over one.
    pub fn sla_violations(&self, window: Duration) -> Result<Vec<SlaReport>, QueryError> {
        let report = self.published.load();
        let over =
            || report.sla.iter().filter(|limit| limit.quantile.is_some() && limit.window == window);
        if let (None, Some(event)) = (over().next(), report.events.first()) {
            find_window(event, window)?;
        }
        Ok(over().filter(|limit| limit.state == SlaState::Violated).cloned().collect())
    }

    /// Returns the changes of limits, raised or cleared, since the last call.
    ///
    /// The queue keeps the newest 256 changes; [`SlaChanges::missed`] counts the dropped ones.
    /// Blocks only while another thread adds or takes changes.
    pub fn sla_changes(&self) -> SlaChanges {
        lock(&self.changes).take()
    }

    /// Returns a copy of the last report, with [`Health::enabled`] and [`Health::unregistered`]
    /// updated to the current values.
    pub fn report(&self) -> Report {
        self.published().report()
    }

    /// Returns the last report as it was published.
    ///
    /// The report is shared, not copied, so polling for a new report is cheap.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().manual_drain().start()?;
    /// let seen = collector.published_report();
    /// assert!(Arc::ptr_eq(&seen, &collector.published_report()));
    /// collector.flush();
    /// assert!(!Arc::ptr_eq(&seen, &collector.published_report()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn published_report(&self) -> Arc<Report> {
        self.published.load_full()
    }

    /// Returns access to the published report that may outlive `self`.
    pub(crate) fn published(&self) -> Published {
        Published { pool: Arc::clone(&self.pool), report: Arc::clone(&self.published) }
    }

    /// Returns the health as of the last report, with [`Health::enabled`] and
    /// [`Health::unregistered`] updated to the current values.
    pub fn health(&self) -> Health {
        let health = self.published.load().health.clone();
        Health {
            enabled: self.pool.gate().is_enabled(),
            unregistered: self.pool.unregistered(),
            ..health
        }
    }

    /// Returns an upper bound of the memory of the collector in bytes, which does not grow: rings,
    /// windows, histograms and two reports. It excludes reports that the program holds.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.published.load().health.memory_bytes).unwrap_or(usize::MAX)
    }
}

fn find_event(report: &Report, id: EventId) -> Result<&EventReport, QueryError> {
    report.event(id).ok_or(QueryError::UnknownEvent { id })
}

fn find_window(event: &EventReport, length: Duration) -> Result<Option<&Statistics>, QueryError> {
    let found = event.windows.iter().find(|window| window.length == length);
    found.map(|window| window.statistics.as_ref()).ok_or_else(|| QueryError::UnknownWindow {
        length,
        known: event.windows.iter().map(|window| window.length).collect(),
    })
}
