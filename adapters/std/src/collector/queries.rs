//! Queries, which read the last published report, and the two calls about the current state of
//! limits: `breached` and `sla_changes`.

use core::time::Duration;
use std::sync::Arc;

use arc_swap::Guard;
use tailwatch_core::{Accuracy, Event, EventId, Quantile, SlaState, Summary};

use super::{Collector, error::QueryError};
use crate::{
    report::{
        EventReport, Report, WindowReport,
        health::Health,
        published::Published,
        sla::{LimitKind, SlaChanges, SlaReport},
        statistics::{SlowSample, Statistics},
    },
    sync::lock,
};

impl Collector {
    /// Returns the summary of `event` over the window of length `window`, or `None` if the window
    /// has no samples of the event.
    ///
    /// The summary is from the last report: see [`Collector`] for how often reports are published.
    /// Call [`flush`](Self::flush) first to include everything recorded so far.
    ///
    /// # Errors
    /// Returns an error if the collector has no such event, or no window of this length.
    pub fn stats(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Option<Summary>, QueryError> {
        self.query(event, window, |statistics| statistics.summary)
    }

    /// Returns the summary of `event` since the start, as of the last report, or `None` if there
    /// are no samples.
    ///
    /// # Errors
    /// Returns an error if the collector has no such event.
    pub fn total(&self, event: impl Event) -> Result<Option<Summary>, QueryError> {
        Ok(find_event(&self.published.load(), event.id())?
            .total
            .as_ref()
            .map(|statistics| statistics.summary))
    }

    /// Returns the name and the summary of every event over the window of length `window`, all from
    /// the last report.
    ///
    /// A summary is `None` if the window has no samples of the event.
    ///
    /// # Errors
    /// Returns an error if the collector has no window of this length.
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
            .map(|event| {
                Ok((event.static_name(), summary(find_window(event, window)?.statistics.as_ref())))
            })
            .collect()
    }

    /// Returns any quantile of `event` over the window of length `window`, in nanoseconds or in the
    /// event's plain numbers, together with its accuracy.
    ///
    /// Returns `None` if the window has no samples of the event. The quantile is computed on the
    /// current thread from the last report.
    ///
    /// # Errors
    /// Returns an error if the collector has no such event, or no window of this length.
    pub fn quantile(
        &self,
        event: impl Event,
        window: Duration,
        quantile: Quantile,
    ) -> Result<Option<(u64, Accuracy)>, QueryError> {
        self.query(event, window, |statistics| statistics.quantile(quantile))
    }

    /// Returns the slowest samples of `event` in the window of length `window`, as of the last
    /// report: at most 4, the slowest first. Failed spans are among them. For an event that
    /// measures plain numbers ([`Unit::One`](crate::Unit::One)) instead of durations, these are the
    /// largest ones.
    ///
    /// # Errors
    /// Returns an error if the collector has no such event, or no window of this length.
    pub fn slowest(
        &self,
        event: impl Event,
        window: Duration,
    ) -> Result<Vec<SlowSample>, QueryError> {
        let report = self.published.load();
        Ok(find_window(find_event(&report, event.id())?, window)?.slowest().to_vec())
    }

    /// Applies `query` to the statistics of `event` over a window. Returns `None` if the window has
    /// no samples of the event.
    fn query<T>(
        &self,
        event: impl Event,
        window: Duration,
        query: impl FnOnce(&Statistics) -> T,
    ) -> Result<Option<T>, QueryError> {
        let report = self.published.load();
        let window = find_window(find_event(&report, event.id())?, window)?;
        Ok(window.statistics.as_ref().map(query))
    }

    /// Returns whether any limit of `event` is violated, as of the drain's last pass or, if that
    /// came later, the last [`set_limits`](Self::set_limits) of the event. Returns `true` if the
    /// collector has no such event, because nobody judges it. The
    /// [`raise_after`](crate::Threshold::raise_after) of a limit does not delay this.
    ///
    /// Once nobody judges the limits any more, this returns `true` for every event that has one:
    /// after [`stop`](Self::stop), when the last pass is over, and in a process that was forked
    /// from that of the collector.
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
        self.pool.breaches().contains(event.id())
    }

    /// Returns the violated limits on quantiles and on the error rate over the window of length
    /// `window`, as of the last report, whether or not their violation was raised yet. Limits on
    /// silence have no window and are not included; [`report`](Self::report) lists all limits.
    ///
    /// # Errors
    /// Returns an error if the collector has neither a window of this length nor a limit over one.
    pub fn sla_violations(&self, window: Duration) -> Result<Vec<SlaReport>, QueryError> {
        let report = self.published.load();
        let is_over_it =
            |limit: &&SlaReport| limit.kind != LimitKind::Silence && limit.window == window;
        let limits_over = || report.sla.iter().filter(is_over_it);
        if let (None, Some(event)) = (limits_over().next(), report.events.first()) {
            find_window(event, window)?;
        }
        Ok(limits_over().filter(|limit| limit.state == SlaState::Violated).cloned().collect())
    }

    /// Returns the violations that were raised (began, or have lasted as long as
    /// [`Threshold::raise_after`](crate::Threshold::raise_after)) or cleared (ended) since the last
    /// call, and removes them from the collector's queue. If several callers use this method, each
    /// change is returned to only one of them. A process that was forked from that of the collector
    /// gets none.
    ///
    /// The queue has 256 entries. When it is full, each new entry replaces the oldest, which is
    /// counted in [`SlaChanges::missed`]. Blocks only while another thread adds or takes entries.
    pub fn sla_changes(&self) -> SlaChanges {
        if self.pool.is_inherited() {
            return SlaChanges::default();
        }
        lock(&self.changes).take()
    }

    /// Returns a copy of the last report, in which [`Health::enabled`], [`Health::unregistered`]
    /// and [`Health::has_drain`] have the current values.
    ///
    /// This is a read of the report, as is every other query: each method that returns something
    /// "as of the last report", and each report that a [`Reporter`](crate::Reporter) emits. While
    /// more than 512 events change and nobody has read a report for 5 s, the drain publishes one
    /// only every 5 s, so the report may be 5 s old. The drain notices the read in its next pass,
    /// which comes within [`Builder::max_period`](crate::Builder::max_period) (4 ms by default) and
    /// never later than 1 s. That pass publishes a new report, unless the last one is less than 750
    /// ms old. A violation that is raised or cleared publishes a report at once in any case. To
    /// read a fresh report, call [`flush`](Self::flush) first.
    pub fn report(&self) -> Report {
        self.published.report()
    }

    /// Returns the last report exactly as it was published.
    ///
    /// The report is shared, not copied, so it is cheap to check repeatedly for a new one.
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
        Guard::into_inner(self.published.load())
    }

    /// Returns access to the last published report that may outlive `self`.
    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Returns the health from the last report, in which [`Health::enabled`],
    /// [`Health::unregistered`] and [`Health::has_drain`] have the current values.
    pub fn health(&self) -> Health {
        let health = self.published.load().health.clone();
        Health {
            enabled: self.pool.gate().is_enabled(),
            unregistered: self.pool.unregistered(),
            has_drain: self.pool.has_drain(),
            ..health
        }
    }

    /// Returns the memory that the collector has in use, in bytes, as of the last report:
    /// [`Health::memory_bytes`]. It grows with the rings, with the names of threads, and with the
    /// samples of events and in reports. It does not include reports that the program holds.
    /// [`Health::reserved_bytes`] bounds what all but the rings can take.
    pub fn memory_bytes(&self) -> usize {
        usize::try_from(self.published.load().health.memory_bytes).unwrap_or(usize::MAX)
    }
}

/// Returns the part of the report about the event with this id.
fn find_event(report: &Report, id: EventId) -> Result<&EventReport, QueryError> {
    report.event(id).ok_or(QueryError::UnknownEvent { id })
}

/// Returns the window of this length.
fn find_window(event: &EventReport, length: Duration) -> Result<&WindowReport, QueryError> {
    let found = event.windows.iter().find(|window| window.length == length);
    found.ok_or_else(|| QueryError::UnknownWindow {
        length,
        known: event.windows.iter().map(|window| window.length).collect(),
    })
}
