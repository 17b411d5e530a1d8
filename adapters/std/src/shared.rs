//! Rings that other processes can read: the file in which a program shares them, and its readers.

#![allow(dead_code, reason = "being built")]

pub(crate) mod layout;
pub(crate) mod words;
