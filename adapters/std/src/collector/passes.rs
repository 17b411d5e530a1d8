//! Passes of the drain that the program makes itself.

use core::time::Duration;

use super::Collector;
use crate::drain::{PassKind, PassResult, exclusive};

impl Collector {
    /// Makes one pass of the drain on the current thread. Returns the time until the next pass is
    /// due, which is at most [`Builder::max_period`](crate::Builder::max_period).
    ///
    /// A collector with [`Builder::manual_drain`](crate::Builder::manual_drain) depends on these
    /// calls. The pass drains the rings that hold enough records or whose poll interval is over;
    /// [`flush`](Self::flush) drains all rings. Blocks while another pass runs.
    ///
    /// Does nothing inside an observer or hook, where it returns 0, and on a stopped collector,
    /// where it returns [`Builder::max_period`](crate::Builder::max_period).
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

    /// Makes a pass as [`drain`](Self::drain) does, but drains at most `max_records` records (0
    /// counts as 1), so that a loop with other duties is not blocked for long.
    ///
    /// Returns the time until the next pass is due. It is 0 if the next call is due at once,
    /// usually because records are left. The next call continues where this one stopped, so no ring
    /// is neglected. Inside an observer or hook, and on a stopped collector, it does nothing and
    /// returns [`Builder::max_period`](crate::Builder::max_period).
    ///
    /// Draining a record takes some tens of nanoseconds, besides the time that observers take. At
    /// most every 10 ms, a pass publishes a report, which takes a few microseconds per event.
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
    /// a report.
    ///
    /// Blocks while another pass runs. Does nothing inside an observer or hook.
    pub fn flush(&self) {
        self.pass(PassKind::All);
    }

    /// Drains all rings as [`flush`](Self::flush) does, but at most `max_records` records per call
    /// (0 counts as 1). Returns whether records are left, and publishes a report once none are.
    ///
    /// A ring that a previous [`drain_up_to`](Self::drain_up_to) or `flush_up_to` left half drained
    /// is only drained up to the records that it held at that time. To make sure that newer records
    /// are included, call [`flush`](Self::flush) once this returns `false`; little is left to drain
    /// then.
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

    pub(super) fn pass(&self, kind: PassKind) -> Option<PassResult> {
        let result = exclusive::run(&self.drain, &self.pool, kind)?;
        self.finish_if_stopped();
        Some(result)
    }

    /// Makes the last pass if an observer or hook stopped the collector during a pass and there is
    /// no drain thread that would make it.
    pub(super) fn finish_if_stopped(&self) {
        if self.in_force.is_manual() && self.pool.is_stopped() {
            exclusive::run(&self.drain, &self.pool, PassKind::Last);
        }
    }
}
