//! Rings that other processes can read: the file in which a program shares them, and its readers.
//!
//! [`Builder::share`](crate::Builder::share) makes a program share its rings. `docs/sharing.md`
//! describes how to look at them with the command `tailwatch`, and `docs/shared-file.md` every byte
//! of the file. The readers of this module exist in 64-bit Linux programs only.

mod file_error;
#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")),
    allow(dead_code, reason = "nothing is shared")
)]
pub(crate) mod layout;
#[cfg_attr(
    any(
        not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")),
        tailwatch_loom
    ),
    allow(dead_code, reason = "nothing is shared")
)]
pub(crate) mod machine;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    not(tailwatch_loom)
))]
mod reading;
pub(crate) mod share_error;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    not(tailwatch_loom)
))]
pub(crate) mod words;
#[cfg_attr(
    any(
        not(target_os = "linux"),
        not(target_pointer_width = "64"),
        not(target_endian = "little"),
        tailwatch_loom
    ),
    path = "shared/writer/none.rs"
)]
pub(crate) mod writer;

pub use tailwatch_core::{Drained, ReaderStart};

pub use self::file_error::{SharedFileError, SharedFileProblem};
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    not(tailwatch_loom)
))]
pub use self::reading::{
    file::{FileState, Hidden, SharedFile},
    find::{FindError, find, list},
    flight::{Flight, FlightRecord, FlightRing, Open},
    reader::SharedReader,
};
