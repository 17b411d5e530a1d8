//! Writes into the shared file what only the drain knows: the events, the limits, and when it made
//! its last pass.

use std::sync::Arc;

use tailwatch_core::{EventId, Limit, WindowSpec};

use super::Drain;
use crate::{events::numbers::NamedEvent, shared::writer::PassCounts};

impl Drain {
    /// Writes the windows, events and limits into the shared file, if there is one.
    pub(super) fn share_all(&mut self, windows: &[WindowSpec], max_period: core::time::Duration) {
        let Some(share) = self.pool.share().cloned() else { return };
        share.begin(self.clocks.now(), windows, max_period);
        for info in &*Arc::clone(&self.events) {
            self.share_event(&NamedEvent::new(info));
        }
    }

    /// Adds an event and its limits to the shared file, if there is one.
    pub(super) fn share_event(&mut self, event: &NamedEvent) {
        if let Some(share) = self.pool.share() {
            share.add_event(event);
            self.share_limits(event.info.id);
        }
    }

    /// Replaces the limits of an event in the shared file, if there is one.
    pub(super) fn share_limits(&mut self, event: EventId) {
        let Some(share) = self.pool.share() else { return };
        let mut limits: Vec<(Limit, Arc<str>)> = Vec::new();
        self.aggregator.limits_of(event, |status| {
            limits.push((status.limit, self.limits.origin(status)));
        });
        share.set_limits(event, &limits);
    }

    /// Notes the pass that was just made in the shared file, if there is one.
    pub(super) fn share_pass(&self) {
        if let Some(share) = self.pool.share() {
            share.note_pass(
                self.clocks.now(),
                &PassCounts {
                    is_recording: self.pool.gate().is_enabled(),
                    hidden_records: self.readers.hidden(),
                    unregistered: self.pool.unregistered(),
                },
            );
        }
    }
}
