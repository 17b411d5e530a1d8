//! The writer where rings cannot be shared: on other systems than 64-bit Linux, and in the models.

use core::{convert::Infallible, time::Duration};
use std::{io, path::Path, sync::Arc};

use tailwatch_core::{EventId, Limit, Ring, WindowSpec};

use super::share_error::ShareError;
use crate::{
    clock::{Anchor, HostClock},
    events::numbers::NamedEvent,
    recording::{identity::Identity, ring_budget::Purpose, ring_settings::RingSettings},
};

/// What a program shares, and where.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "nothing is shared")]
pub(crate) struct ShareSpec {
    pub(crate) share: String,
    pub(crate) bytes: usize,
    pub(crate) keep: bool,
    pub(crate) keep_dead: usize,
}

/// How much there is to share.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "nothing is shared")]
pub(crate) struct ShareSizes {
    pub(crate) events: usize,
    pub(crate) limits: usize,
    pub(crate) windows: usize,
    pub(crate) rings: RingSettings,
}

/// What a pass of the drain has counted.
#[derive(Clone, Copy, Debug, Default)]
#[expect(dead_code, reason = "nothing is shared")]
pub(crate) struct PassCounts {
    pub(crate) is_recording: bool,
    pub(crate) hidden_records: u64,
    pub(crate) unregistered: u64,
}

/// A shared file, which cannot exist.
#[derive(Debug)]
pub(crate) struct Share(Infallible);

/// A ring of a shared file, which cannot exist.
#[derive(Debug)]
pub(crate) struct SharedRing(pub(crate) Infallible);

impl Share {
    pub(crate) fn create(
        _: &ShareSpec,
        _: &ShareSizes,
        _: HostClock,
    ) -> Result<Arc<Self>, ShareError> {
        Err(ShareError::Unsupported)
    }

    pub(crate) fn begin(&self, _: &Anchor, _: &[WindowSpec], _: Duration) {
        match self.0 {}
    }

    pub(crate) fn publish(&self) -> Result<(), ShareError> {
        match self.0 {}
    }

    pub(crate) fn path(&self) -> &Path {
        match self.0 {}
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn ring(self: &Arc<Self>, _: usize, _: Purpose) -> Option<SharedRing> {
        match self.0 {}
    }

    pub(crate) fn has_room(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn count_hidden_thread(&self) {
        match self.0 {}
    }

    pub(crate) fn hidden_threads(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn unknown_records(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn bytes_in_use(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn add_event(&self, _: &NamedEvent) {
        match self.0 {}
    }

    pub(crate) fn set_limits(&self, _: EventId, _: &[(Limit, Arc<str>)]) {
        match self.0 {}
    }

    pub(crate) fn note_pass(&self, _: &Anchor, _: &PassCounts) {
        match self.0 {}
    }

    pub(crate) fn finish(&self) {
        match self.0 {}
    }
}

impl SharedRing {
    pub(crate) fn ring(&self) -> &Ring {
        match self.0 {}
    }

    pub(crate) fn lock(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn enter(&self, _: &Identity) -> Option<usize> {
        match self.0 {}
    }

    pub(crate) fn leave(&self, _: usize) {
        match self.0 {}
    }

    pub(crate) fn go_on(&self, _: Option<usize>, _: &Self) -> Option<usize> {
        match self.0 {}
    }

    pub(crate) fn hide(&self, _: Option<usize>) {
        match self.0 {}
    }
}
