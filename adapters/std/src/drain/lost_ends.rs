//! The ENDs that did not reach the collector that has their START: see
//! [`process`](crate::recording::process).

use core::{mem, time::Duration};
use std::{sync::Arc, time::Instant};

use tailwatch_core::{Aggregator, EventId, Record};

use super::{pass_kind::PassKind, storage::Boxed};
use crate::recording::{
    pool::Pool,
    process::{self, LostEnd, MAX_WAITING},
};

/// How often a drain looks for ENDs in the rings of collectors that have stopped.
const LATE_PERIOD: Duration = Duration::from_millis(10);

/// How many ENDs of unknown events are announced per pass.
const MAX_UNKNOWN: usize = 4_096;

/// The lost ENDs whose STARTs the drain may not have read yet.
#[derive(Debug, Default)]
pub(super) struct LostEnds {
    /// Each with the number of the pass in which it was taken.
    waiting: Vec<(u64, Arc<LostEnd>)>,
    /// When the drain last looked for ENDs in the rings of collectors that have stopped.
    late_at: Option<Instant>,
}

impl LostEnds {
    /// Takes those that were announced to the collector, at the beginning of the pass with this
    /// number. Their STARTs were written before the pass reads the heads of the rings.
    pub(super) fn take(&mut self, pass: u64, kind: PassKind, now: Instant, pool: &Pool) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= LATE_PERIOD;
        if !kind.skips_rings() || self.late_at.is_none_or(is_due) {
            self.late_at = Some(now);
            announce_late_ends();
        }
        // Bounded passes may take long to drain all rings. Until then, the others wait outside,
        // where their number is bounded.
        if self.waiting.len() < MAX_WAITING {
            let announced = process::take_lost_ends(pool);
            self.waiting.extend(announced.into_iter().map(|end| (pass, end)));
        }
    }

    /// Gives up the spans of those whose STARTs have been drained, and calls `note` with their
    /// events. All records that were written before the pass with the number `drained` began have
    /// been drained.
    pub(super) fn settle(
        &mut self,
        drained: u64,
        kind: PassKind,
        pool: &Pool,
        aggregator: &mut Aggregator<Boxed>,
        mut note: impl FnMut(EventId),
    ) {
        for (pass, end) in mem::take(&mut self.waiting) {
            if pass > drained && kind != PassKind::Last {
                self.waiting.push((pass, end));
                continue;
            }
            // Another collector's span must not be taken for an untracked one of this collector.
            let may_be_untracked = end.is_announced_once();
            let had_span = (may_be_untracked || aggregator.has_open_span(end.event, end.start))
                && aggregator.abandon(end.event, end.start);
            if had_span {
                note(end.event);
            }
            end.settle(pool, had_span);
        }
    }
}

/// Announces the ENDs that threads have written into the rings of collectors after their last pass.
fn announce_late_ends() {
    for closed in process::closed_pools() {
        for (event, start) in closed.take_late_ends() {
            process::announce_lost_end(event, start, Some(&closed));
        }
    }
}

/// Announces the ENDs that were drained before the pass with the number `pass`, and whose STARTs
/// have not come, to the other collectors of the process.
pub(super) fn announce_orphans(pass: u64, pool: &Pool, aggregator: &mut Aggregator<Boxed>) {
    if !process::has_other() {
        return;
    }
    let mut orphans = Vec::new();
    aggregator.early_ends(pass, |event, start| orphans.push((event, start)));
    announce(&orphans, pool);
}

/// Announces ENDs that `pool` has without their START to the other collectors of the process.
pub(super) fn announce(ends: &[(EventId, u64)], pool: &Pool) {
    for (event, start) in ends {
        process::announce_lost_end(*event, *start, Some(pool));
    }
}

/// The ENDs of events that the collector does not have, in one pass. They may be those of another
/// collector.
#[derive(Debug, Default)]
pub(super) struct UnknownEnds(Vec<(EventId, u64)>);

impl UnknownEnds {
    /// Notes the record if it is an END or FORGET. The collector does not have its event.
    pub(super) fn note(&mut self, record: Record) {
        if self.0.len() < MAX_UNKNOWN {
            self.0.extend(process::ended_span(record));
        }
    }

    /// Announces them to the other collectors of the process.
    pub(super) fn announce(&mut self, pool: &Pool) {
        let ends = mem::take(&mut self.0);
        if process::has_other() {
            announce(&ends, pool);
        }
    }
}
