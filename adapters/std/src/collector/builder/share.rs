//! The settings that share the rings with other processes, and how a start obeys them.

use std::sync::Arc;

use super::Builder;
use crate::{
    clock::HostClock,
    settings::{Origin, Settings, build_error::BuildError},
    shared::writer::{Share, ShareSizes, ShareSpec},
    warning,
};

impl Builder {
    /// Shares the rings with other processes: `share` is a name, such as `bot`, or a path that ends
    /// in one. By default, they are not shared.
    ///
    /// The rings, events, limits and clock are then in one file, which the command `tailwatch` and
    /// [`SharedReader`](crate::shared::SharedReader) read while the program runs, and after it was
    /// killed. The file is `/dev/shm/tailwatch-<uid>/NAME.<pid>.<start>`; to a path,
    /// `.<pid>.<start>` is added. [`stop`](crate::Collector::stop) removes it, unless
    /// [`keep_shared`](Self::keep_shared) is set. A name has 1 to 64 letters, digits, `.`, `_` or
    /// `-`, and does not begin with a dot.
    ///
    /// A span costs what it costs without sharing. The rings in the file do not count towards
    /// [`max_ring_bytes`](Self::max_ring_bytes); once [`share_bytes`](Self::share_bytes) is used
    /// up, further rings are outside the file and do. The memory of the file is in use until the
    /// last thread that has recorded ends, even after a stop.
    ///
    /// # Limits
    ///
    /// - Only 64-bit Linux programs can share.
    /// - If somebody truncates the file, the operating system kills every process that has it
    ///   mapped (SIGBUS), also this one. Only the owner and root may do so.
    /// - A path on a disk is allowed, with a warning: the disk can stall the program for hundreds
    ///   of milliseconds while it writes the pages back, even if they are locked in memory.
    /// - The file of a killed program seems to be alive while a child lives that it created by a
    ///   raw `clone` or `_Fork` and that executes no other program. `fork` is fine.
    pub fn share(mut self, share: impl Into<String>) -> Self {
        self.settings.share.offer(Some(share.into()), Origin::Builder);
        self
    }

    /// Sets the largest size of the shared file in bytes: by default 32 MiB. The file takes memory
    /// only for its tables and for the rings that exist.
    ///
    /// In a file that is full, a thread that needs a larger ring moves to one outside the file, and
    /// so does each new thread. The collector's statistics remain complete. Other processes do not
    /// see these records: [`Health::hidden_records`](crate::Health::hidden_records) counts them.
    pub fn share_bytes(mut self, bytes: usize) -> Self {
        self.settings.share_bytes.offer(bytes, Origin::Builder);
        self
    }

    /// Sets whether the collector starts without sharing if the rings cannot be shared. By default,
    /// it does not start. [`Health::not_shared`](crate::Health::not_shared) says why.
    pub fn share_optional(mut self, optional: bool) -> Self {
        self.settings.share_optional.offer(optional, Origin::Builder);
        self
    }

    /// Sets whether the shared file stays when the collector stops. By default, it is removed.
    pub fn keep_shared(mut self, keep: bool) -> Self {
        self.settings.keep_shared.offer(keep, Origin::Builder);
        self
    }

    /// Sets how many files of programs of the same name that have died, or were to
    /// [stay](Self::keep_shared), are left when the collector starts: by default the 4 newest. All
    /// older ones are removed.
    pub fn keep_crashed(mut self, files: usize) -> Self {
        self.settings.keep_crashed.offer(files, Origin::Builder);
        self
    }
}

/// The shared file, or why there is none although a setting asks for it.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    pub(super) share: Option<Arc<Share>>,
    pub(super) not_shared: Option<Box<str>>,
}

impl Sharing {
    /// Creates the shared file, if the settings ask for one. It has no name yet.
    ///
    /// # Errors
    /// Returns an error if that fails and is not optional.
    pub(super) fn create(
        settings: &Settings,
        sizes: &ShareSizes,
        clock: HostClock,
    ) -> Result<Self, BuildError> {
        let Some(share) = settings.share.value.clone() else { return Ok(Self::default()) };
        let spec = ShareSpec {
            share,
            bytes: settings.share_bytes.value,
            keep: settings.keep_shared.value,
            keep_dead: settings.keep_crashed.value,
        };
        match Share::create(&spec, sizes, clock) {
            Ok(share) => {
                if share.is_on_disk() {
                    warning::SHARED_ON_DISK.print();
                }
                Ok(Self { share: Some(share), not_shared: None })
            }
            Err(error) if settings.share_optional.value => {
                Ok(Self { share: None, not_shared: Some(error.to_string().into()) })
            }
            Err(error) => Err(BuildError::Share(error)),
        }
    }
}
