//! Passes of the drain that the program makes itself. A *pass* reads the rings, updates the
//! statistics and checks the limits.

use core::time::Duration;

use super::Collector;
use crate::drain::{exclusive, pass::PassResult, pass_kind::PassKind};

impl Collector {
    /// Moves recorded data from the rings into the statistics once, on the current thread. Returns
    /// how long the program may wait before it calls this again: 0 means at once, and the longest
    /// wait is [`Builder::max_period`](crate::Builder::max_period).
    ///
    /// A collector with [`Builder::manual_drain`](crate::Builder::manual_drain) has no thread that
    /// does this, so the program has to call it regularly. A call reads each ring that is a quarter
    /// full or holds 1,024 records, each ring that was not read for the time in which a quarter of
    /// it was expected to fill (from 1 ms to `max_period`), and each ring of a thread that has
    /// ended. [`flush`](Self::flush) reads all rings. Blocks while another thread drains the same
    /// collector.
    ///
    /// Inside an observer or hook ([`Builder::observer`](crate::Builder::observer),
    /// [`Builder::on_sla_change`](crate::Builder::on_sla_change)), this does nothing and returns 0.
    /// After the last pass, which [`stop`](Self::stop) requests, it does nothing and returns
    /// `max_period`.
    ///
    /// ```
    /// use tailwatch::{Collector, Trading, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().manual_drain().start()?;
    /// collector.install()?;
    /// for order in 0..3 {
    ///     drop(measure(Trading::OrderPlacement));
    ///     let pause = collector.drain(); // the loop may do other work for this long
    ///     assert!(pause <= std::time::Duration::from_millis(100));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self) -> Duration {
        let no_pass = || {
            if exclusive::is_inside_pass() {
                Duration::ZERO
            } else {
                self.settings().max_period.value
            }
        };
        self.pass(PassKind::Due).map_or_else(no_pass, |result| result.pause)
    }

    /// Drains like [`drain`](Self::drain), but processes at most `max_records` records (0 counts as
    /// 1), so that a loop with other duties is not blocked for long. Records that turn out to be
    /// overwritten do not count.
    ///
    /// Returns how long the program may wait before it calls this again. 0 means at once, usually
    /// because records are left that a call of `drain` would have read. The next call then
    /// continues with the ring at which this call stopped, so no ring is neglected. Inside an
    /// observer or hook, and on a stopped collector, it does nothing and returns
    /// [`Builder::max_period`](crate::Builder::max_period).
    ///
    /// Reading a record takes some nanoseconds, or tens of them if caches are cold, plus the time
    /// of the observers. If a report is due, the call also publishes it, which takes a few
    /// microseconds per event that has changed. [`Collector`] describes how often this happens.
    ///
    /// ```
    /// use tailwatch::{Collector, Trading, measure};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = Collector::builder().manual_drain().start()?;
    /// collector.install()?;
    /// for order in 0..5_000 {
    ///     drop(measure(Trading::OrderPlacement));
    /// }
    /// let mut turns = 1;
    /// while collector.drain_up_to(4_096).is_zero() {
    ///     turns += 1; // the loop may do other work here
    /// }
    /// assert!(turns >= 3); // 10,000 records
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain_up_to(&self, max_records: usize) -> Duration {
        self.pass(PassKind::DueUpTo(max_records))
            .map_or(self.settings().max_period.value, |result| result.pause)
    }

    /// Drains, on the current thread, everything that was recorded before this call, and publishes
    /// a report. Queries that follow include all of it.
    ///
    /// Blocks while another thread drains the same collector. Does nothing inside an observer or
    /// hook.
    pub fn flush(&self) {
        self.pass(PassKind::All);
    }

    /// Drains all rings like [`flush`](Self::flush), but processes at most `max_records` records
    /// per call, as [`drain_up_to`](Self::drain_up_to) does. Returns `true` if records are left.
    /// Once none are left, publishes a report and returns `false`.
    ///
    /// If an earlier call of this or of [`drain_up_to`](Self::drain_up_to) read only a part of a
    /// ring, the next calls first read the rest of what the ring held at that earlier call, and
    /// ignore newer records until then. To include newer records as well, call
    /// [`flush`](Self::flush) once this returns `false`; little is left to read then.
    ///
    /// Inside an observer or hook, and on a stopped collector, it does nothing and returns `false`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().manual_drain().start()?;
    /// while collector.flush_up_to(4_096) {
    ///     // the loop may do other work here
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn flush_up_to(&self, max_records: usize) -> bool {
        self.pass(PassKind::AllUpTo(max_records)).is_some_and(|result| result.has_more)
    }

    /// Makes a pass of this kind. Does nothing and returns `None` if this thread is already making
    /// a pass, or if the last pass is over.
    pub(super) fn pass(&self, kind: PassKind) -> Option<PassResult> {
        let result = exclusive::run(&self.drain, &self.pool, kind)?;
        self.finish_if_stopped();
        Some(result)
    }

    /// Makes the last pass if an observer or hook stopped the collector during a pass and there is
    /// no drain thread to make it.
    pub(super) fn finish_if_stopped(&self) {
        if self.in_force.is_manual() && self.pool.is_stopped() {
            exclusive::run(&self.drain, &self.pool, PassKind::Last);
        }
    }
}
