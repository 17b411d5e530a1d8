//! Changes to a running collector: its limits, its sampling and its switches.

use tailwatch_core::{Event, Limit};

use super::{Collector, SetLimitsError};
use crate::{Sampling, SamplingError, drain::exclusive, sampling, sync::lock};

impl Collector {
    /// Replaces the limits of `event`.
    ///
    /// A limit that does not change keeps its state. A new or changed limit begins as
    /// [`SlaState::Unknown`](crate::SlaState::Unknown) and counts only what is recorded from now
    /// on. A removed limit emits no further changes, so it is not cleared even if it was violated.
    /// Makes a pass, and blocks while another pass runs.
    ///
    /// # Errors
    /// If a limit cannot be watched, if there are too many, or if an observer or hook calls this
    /// function. The previous limits then stay in force.
    pub fn set_limits(&self, event: impl Event, limits: &[Limit]) -> Result<(), SetLimitsError> {
        if exclusive::is_inside_pass() {
            return Err(SetLimitsError::InsidePass);
        }
        // Everything recorded so far is drained first, so that the new limits do not count it.
        self.flush();
        let set = lock(&self.drain).set_limits(event.id(), limits).map_err(SetLimitsError::Refused);
        self.finish_if_stopped();
        set
    }

    /// Records this share of the spans and values of `event`, and returns the share that is
    /// actually in force.
    ///
    /// 1 records everything. Any other share is replaced by the nearest power of two, down to
    /// 2^-15. The rate replaces any [`Sampling::RateLimit`] or [`Sampling::Budget`] of the event.
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
    /// If `rate` is not above 0 and at most 1, or the collector has no such event.
    pub fn set_sampling_rate(&self, event: impl Event, rate: f64) -> Result<f64, SamplingError> {
        self.set_sampling(event, Sampling::Rate(rate))
    }

    /// Sets how `event` is sampled, and returns the share that is recorded from now on.
    ///
    /// # Errors
    /// If a number in `sampling` is out of range, or the collector has no such event.
    pub fn set_sampling(
        &self,
        event: impl Event,
        sampling: Sampling,
    ) -> Result<f64, SamplingError> {
        let (id, sampling) = (event.id(), sampling.check()?);
        let mut sampler = lock(&self.sampler);
        let k = sampler.set(id, sampling).ok_or(SamplingError::UnknownEvent { id })?;
        self.pool.update_gate(|gate| {
            gate.set_sampling(id, k);
        });
        Ok(sampling::share(k))
    }

    /// Switches recording of one event on or off. Spans that are already open are still ended.
    pub fn set_event_enabled(&self, event: impl Event, enabled: bool) {
        self.pool.update_gate(|gate| gate.set_event_enabled(event.id(), enabled));
    }

    /// Switches recording of all events on or off, on all threads. Spans that are already open are
    /// still ended.
    ///
    /// Has no effect on a stopped collector, which stays off.
    pub fn set_enabled(&self, enabled: bool) {
        self.pool.update_gate(|gate| gate.set_enabled(enabled));
    }
}
