//! Changes to a running collector: its limits, its sampling and its switches.

use tailwatch_core::{Event, Limit};
use tailwatch_record::collecting::OFF;

use super::{Collector, error::SetLimitsError};
use crate::{
    drain::{
        exclusive,
        sampling::{self, Sampling, SamplingError},
    },
    sync::lock,
};

impl Collector {
    /// Replaces the limits of `event`.
    ///
    /// A limit that `event` already has keeps its state. A new limit begins as
    /// [`SlaState::Unknown`](crate::SlaState::Unknown) and counts only what is recorded from now
    /// on. A limit that is removed while it is violated is not reported as cleared; no more changes
    /// of it are reported.
    ///
    /// The call drains all rings first, and blocks while another thread drains them.
    ///
    /// # Errors
    /// Returns an error if a limit cannot be watched, if there are too many limits, or if an
    /// observer or hook ([`Builder::observer`](crate::Builder::observer),
    /// [`Builder::on_sla_change`](crate::Builder::on_sla_change)) makes the call. The previous
    /// limits then stay in force.
    pub fn set_limits(&self, event: impl Event, limits: &[Limit]) -> Result<(), SetLimitsError> {
        if self.pool.is_inherited() {
            return Err(SetLimitsError::Forked);
        }
        if exclusive::is_inside_pass() {
            return Err(SetLimitsError::InsidePass);
        }
        // Everything recorded so far is drained first, so that the new limits do not count it.
        self.flush();
        // Before the lock is taken: an event of the program's own type may do anything.
        let id = event.id();
        let set = lock(&self.drain).set_limits(id, limits).map_err(SetLimitsError::Refused);
        self.finish_if_stopped();
        set
    }

    /// Records only the share `rate` of the spans and values of `event`, chosen at random. Returns
    /// the share that is actually in force.
    ///
    /// A rate of 1 records everything. Any other rate is replaced by the nearest of 1, 1/2, 1/4 …
    /// 1/32,768 (by absolute difference). The rate also replaces a [`Sampling::RateLimit`] or
    /// [`Sampling::Budget`] of the event.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let collector = tailwatch::Collector::builder().start()?;
    /// assert_eq!(collector.set_sampling_rate(tailwatch::Trading::EventBusPublish, 0.1)?, 0.125);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if `rate` is not above 0 and at most 1, if the collector has no such event,
    /// or in a process that was forked from that of the collector.
    pub fn set_sampling_rate(&self, event: impl Event, rate: f64) -> Result<f64, SamplingError> {
        self.set_sampling(event, Sampling::Rate(rate))
    }

    /// Sets how `event` is sampled, and returns the share of its spans and values that is recorded
    /// from now on.
    ///
    /// # Errors
    /// Returns an error if a number in `sampling` is out of range, if the collector has no such
    /// event, or in a process that was forked from that of the collector.
    pub fn set_sampling(
        &self,
        event: impl Event,
        sampling: Sampling,
    ) -> Result<f64, SamplingError> {
        let (id, sampling) = (event.id(), sampling.check()?);
        if self.pool.is_inherited() {
            return Err(SamplingError::Forked);
        }
        let mut sampler = lock(&self.sampler);
        let k = sampler.set(id, sampling).ok_or(SamplingError::UnknownEvent { id })?;
        self.pool.update_gate(|gate| {
            gate.set_sampling(id, k);
        });
        Ok(sampling::share(k))
    }

    /// Switches recording of one event on or off. A span that began while recording was on is
    /// recorded to its end.
    ///
    /// Has no effect on a stopped collector, which stays off, and with the feature `off`.
    pub fn set_event_enabled(&self, event: impl Event, enabled: bool) {
        // Before the lock is taken: an event of the program's own type may do anything.
        let id = event.id();
        self.pool.update_gate(|gate| gate.set_event_enabled(id, enabled));
    }

    /// Switches recording of all events on or off, on all threads. A span that began while
    /// recording was on is recorded to its end.
    ///
    /// Has no effect on a stopped collector, which stays off, and with the feature `off`.
    pub fn set_enabled(&self, enabled: bool) {
        self.pool.update_gate(|gate| gate.set_enabled(enabled && !OFF));
    }
}
