//! The words of a shared file that is mapped into memory.
//!
//! The program writes them, and readers in other processes copy them. A row that is used again is
//! written as under a seqlock: its generation is odd meanwhile. Each ordering other than Relaxed is
//! written as `at("name", ordering)` or `fence_at("name", ordering)`, and has a row in this table:
//!
//! | name | ordering | partner | what breaks without it | model |
//! |---|---|---|---|---|
//! | `shared: rows are published` | program, `published` store, Release | reader, `published` load, Acquire | a reader takes a row whose words are not there yet | none |
//! | `shared: a look at the rows` | reader, `published` load, Acquire | program, `published` store, Release | as in the row above | none |
//! | `shared: a row is begun` | program, fence after the odd generation, Release | reader, fence behind its copy, Acquire | a reader copies words of the next use of a row, and does not see that it was begun | none |
//! | `shared: a row was copied` | reader, fence behind its copy, Acquire | program, fence after the odd generation, Release | as in the row above | none |
//! | `shared: a row is complete` | program, even generation store, Release | reader, generation load, Acquire | a reader takes a complete row whose words are not there yet | none |
//! | `shared: a look at a row` | reader, generation load, Acquire | program, even generation store, Release | as in the row above | none |
//! | `shared: an anchor is begun` | program, fence after `begin`, Release | reader, fence behind its copy, Acquire | a reader takes an anchor of which one half is newer | none |
//! | `shared: an anchor was copied` | reader, fence behind its copy, Acquire | program, fence after `begin`, Release | as in the row above | none |
//! | `shared: an anchor is complete` | program, `end` store, Release | reader, `end` load, Acquire | a reader takes an anchor whose fields are not there yet | none |
//! | `shared: a look at an anchor` | reader, `end` load, Acquire | program, `end` store, Release | as in the row above | none |
//! | `shared: stopped` | program, `state` store, Release | reader, `state` load, Acquire | a reader that sees the stop misses the last records | none |
//! | `shared: a look at the state` | reader, `state` load, Acquire | program, `state` store, Release | as in the row above | none |
//!
//! The models do not map files, so no model fails without them: the first six are the protocol of a
//! seqlock, as in the ring's own model, and the rings are ordered by their own.

#![allow(unsafe_code, reason = "mapped memory is accessed as atomic words")]

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::layout::{TextField, WORD_BYTES};

/// A part of a shared file as words, which other processes may change at any time.
///
/// All access is by atomic words, so a change by others is never undefined behaviour. Where no
/// ordering is named, loads and stores are Relaxed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'m> {
    words: &'m [AtomicU64],
}

impl<'m> Words<'m> {
    /// Returns the words of a mapping.
    ///
    /// # Safety
    /// Throughout `'m`, `start` must point to `bytes` mapped bytes and be aligned to a word. This
    /// process must access them only as atomics. The memory need not be writable if nothing is
    /// stored through the result.
    pub(crate) unsafe fn of_mapping(start: NonNull<u8>, bytes: usize) -> Self {
        let (start, len) = (start.cast::<AtomicU64>(), bytes / WORD_BYTES);
        // SAFETY: the caller guarantees that the memory is valid and aligned. Any bits are a valid
        // word.
        Self { words: unsafe { core::slice::from_raw_parts(start.as_ptr(), len) } }
    }

    /// Returns the number of words.
    pub(crate) fn len(self) -> usize {
        self.words.len()
    }

    /// Returns `len` words from `first` on, or `None` if there are fewer.
    pub(crate) fn part(self, first: usize, len: usize) -> Option<Self> {
        let words = self.words.get(first..first.checked_add(len)?)?;
        Some(Self { words })
    }

    /// Returns the word at a position.
    ///
    /// # Panics
    /// Panics if there are fewer words. The positions of [`layout`](super::layout) are in the
    /// header, or in a row that was checked to be large enough.
    #[track_caller]
    pub(crate) fn at(self, position: usize) -> &'m AtomicU64 {
        &self.words[position]
    }

    /// Returns the first words, if there are so many. Accesses at positions that are constants then
    /// cannot panic.
    pub(crate) fn first<const WORDS: usize>(self) -> Option<&'m [AtomicU64; WORDS]> {
        self.words.first_chunk()
    }

    /// Loads the word at a position.
    #[track_caller]
    pub(crate) fn load(self, position: usize) -> u64 {
        self.at(position).load(Relaxed)
    }

    /// Stores the word at a position.
    #[track_caller]
    pub(crate) fn store(self, position: usize, value: u64) {
        self.at(position).store(value, Relaxed);
    }

    /// Returns the bytes of a text, of which there are at most as many as the field has.
    pub(crate) fn load_text(self, field: TextField) -> Vec<u8> {
        let stated = usize::try_from(self.load(field.at)).unwrap_or(usize::MAX);
        let words = (0..field.words).map(|word| self.load(field.at + 1 + word).to_le_bytes());
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(stated);
        bytes
    }

    /// Stores a text, of which it keeps as much as the field has room for.
    pub(crate) fn store_text(self, field: TextField, text: &str) {
        let text = &text[..text.floor_char_boundary(field.max_bytes())];
        self.store(field.at, text.len() as u64);
        let mut chunks = text.as_bytes().chunks(WORD_BYTES);
        for word in 0..field.words {
            let mut bytes = [0; WORD_BYTES];
            let chunk = chunks.next().unwrap_or_default();
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.store(field.at + 1 + word, u64::from_le_bytes(bytes));
        }
    }
}
