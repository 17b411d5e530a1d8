//! Rings that other processes can read: the file in which a program shares them, and its readers.

#![allow(dead_code, reason = "being built")]

pub(crate) mod layout;
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
pub(crate) mod machine;
pub(crate) mod share_error;
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
