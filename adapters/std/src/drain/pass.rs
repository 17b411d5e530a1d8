//! One pass over the rings.

use core::time::Duration;

use super::{Drain, overhead::Stopwatch, pass_kind::PassKind, readers::DrainedRings};

/// The result of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassResult {
    /// The time until the next pass is due.
    pub(crate) pause: Duration,
    /// Whether the pass left records in a ring that it was to drain, because the pass was bounded.
    pub(crate) has_more: bool,
}

impl Drain {
    /// Makes one pass, and adds its processor time to the cost of measuring.
    pub(crate) fn pass(&mut self, kind: PassKind) -> PassResult {
        let stopwatch = Stopwatch::start();
        let result = self.run_pass(kind);
        self.coverage.add_pass(stopwatch.elapsed());
        result
    }

    /// Makes one pass.
    fn run_pass(&mut self, kind: PassKind) -> PassResult {
        self.is_last |= kind == PassKind::Last;
        let Self { pool, readers, aggregator, observers, clocks, coverage, limits, .. } = self;
        let pass = readers.refresh(kind, aggregator.pass() + 1);
        clocks.read();
        aggregator.begin_pass(clocks.now().ticks);
        coverage.note_gate(pool, &self.events, aggregator);
        let DrainedRings { oldest_tick, has_any, has_more, drained } =
            readers.drain(kind, pass, clocks, aggregator, observers);
        // No START arrives after the last pass, so ENDs of that pass itself are orphans as well.
        let no_start_before =
            if kind == PassKind::Last { aggregator.pass() + 1 } else { drained.pass };
        aggregator.expire_orphans(no_start_before);
        self.lag_ns = clocks.age_ns(oldest_tick);
        coverage.note_unregistered(pool, aggregator);
        let changes = limits.evaluate(drained.tick, clocks, aggregator);
        coverage.adapt(readers.produced(), clocks, pool, aggregator);

        let until_report = self.publisher.due_in(self.clocks.now().monotonic);
        let is_flushed = !kind.skips_rings() && !has_more;
        if is_flushed || until_report.is_zero() || !changes.is_empty() {
            self.publish();
        } else if has_any {
            self.publisher.note_drained();
        }
        let panics = self.observers.panics();
        self.limits.announce(changes, &mut self.observers);
        if self.observers.panics() > panics {
            // The report above does not include these panics of hooks, and this may be the last
            // pass.
            self.publish();
        }
        let pause = if has_more {
            Duration::ZERO
        } else if self.publisher.has_unpublished() {
            self.readers.due_in().min(until_report)
        } else {
            self.readers.due_in()
        };
        PassResult { pause, has_more }
    }
}
