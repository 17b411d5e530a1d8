//! One pass over the rings.

use core::time::Duration;

use super::{Drain, lost_ends, overhead::Stopwatch, pass_kind::PassKind, readers::DrainedRings};

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
        // The time of the drain's own thread is read less often: see `Overhead`.
        let stopwatch = (!self.coverage.is_on_own_thread()).then(Stopwatch::start);
        let result = self.run_pass(kind);
        if let Some(stopwatch) = stopwatch {
            self.coverage.add_pass(stopwatch.elapsed());
        }
        if kind == PassKind::Last {
            self.readers.forget_rings();
        }
        result
    }

    /// Makes the current thread the drain's own, whose whole processor time is a cost of measuring.
    pub(crate) fn set_own_thread(&mut self) {
        self.coverage.set_own_thread();
    }

    /// Makes one pass.
    fn run_pass(&mut self, kind: PassKind) -> PassResult {
        self.is_last |= kind == PassKind::Last;
        self.add_every_set();
        let Self {
            pool,
            readers,
            aggregator,
            observers,
            clocks,
            coverage,
            limits,
            lost_ends,
            publisher,
            ..
        } = self;
        let changes = &mut publisher.changes;
        let began = clocks.now().monotonic;
        lost_ends.take(aggregator.pass() + 1, kind, began, pool);
        readers.report_time = changes.report_time();
        let pass = readers.refresh(kind, aggregator.pass() + 1);
        clocks.read();
        aggregator.begin_pass(clocks.now().ticks);
        coverage.note_gate(pool, &self.events, aggregator, changes);
        let DrainedRings { oldest_tick, has_any, has_more, drained } =
            readers.drain(kind, pass, clocks, aggregator, observers, changes.recorded());
        if pool.is_inherited() {
            // An observer has forked, and this is the child.
            return PassResult { pause: Duration::ZERO, has_more: false };
        }
        if has_any {
            changes.note_records();
        }
        // No START arrives after the last pass, so ENDs of that pass itself are orphans as well.
        let no_start_before =
            if kind == PassKind::Last { aggregator.pass() + 1 } else { drained.pass };
        lost_ends::announce_orphans(no_start_before, pool, aggregator);
        readers.unlisted.ends.announce(pool);
        aggregator.expire_orphans(no_start_before);
        lost_ends.settle(drained.pass, kind, pool, aggregator, |id| changes.note_event(id));
        self.lag_ns = clocks.age_ns(oldest_tick);
        coverage.note_unregistered(pool, aggregator);
        let violations =
            limits.evaluate(drained.tick, clocks, aggregator, |id| changes.note_limits(id));
        coverage.adapt(readers.produced(), clocks, pool, aggregator, changes);
        changes.note_pass(clocks, aggregator);
        self.share_pass();

        let now = self.clocks.now().monotonic;
        self.publisher.note_reads(now);
        let is_flushed = !kind.skips_rings() && !has_more;
        if is_flushed || !violations.is_empty() || self.publisher.due_in(now).is_zero() {
            self.publish(is_flushed);
        }
        let panics = self.observers.panics();
        self.limits.announce(violations, &mut self.observers);
        if self.pool.is_inherited() {
            // A hook has forked, and this is the child.
            return PassResult { pause: Duration::ZERO, has_more: false };
        }
        if self.observers.panics() > panics {
            // The report above does not include these panics of hooks, and this may be the last
            // pass.
            self.publish(false);
        }
        if kind != PassKind::Last {
            self.readers.keep_rings_ready(self.clocks.now().monotonic);
        }
        let pause = if has_more {
            Duration::ZERO
        } else {
            self.readers.due_in().min(self.publisher.due_in(now))
        };
        PassResult { pause, has_more }
    }
}
