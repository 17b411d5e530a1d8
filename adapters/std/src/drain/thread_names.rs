//! A table that gives numbers to threads, so that each of the slowest samples stores a number of 16
//! bits instead of a thread's name and number of the operating system.
//!
//! A thread keeps its number as long as one of the slowest samples or a lane refers to the number.
//! Therefore the size of the table is bounded by the number of slowest samples and rings, however
//! many threads come and go. It grows only if over half of its numbers are in use, so it takes
//! little memory even if all threads are short-lived.
//!
//! If more threads are in use than the table holds, threads of one name share an entry, which is
//! shown without a number from the operating system.

use std::{collections::HashMap, sync::Arc};

use crate::recording::identity::Identity;

/// The number for a thread that got no number of its own. Its name is `unknown`.
pub(crate) const NO_NAME: u16 = 0;

/// What a thread takes, in bytes, if its name has at most 64 bytes: 80 for the name itself, and the
/// rest for its places in the two tables, which grow by doubling.
const NAME_BYTES: usize = 248;

/// How many numbers are given before those that are not in use are looked for.
const MIN_NUMBERS: usize = 64;

/// The threads that are the source of records or of the slowest samples.
#[derive(Debug)]
pub(crate) struct ThreadNames {
    /// The thread of each number, at the index of the number. `None` for a free number.
    threads: Vec<Option<Identity>>,
    numbers: HashMap<Identity, u16>,
    /// The free numbers among those of `threads`.
    free: Vec<u16>,
    /// The thread of [`NO_NAME`].
    unknown: Identity,
    /// The length of `threads` up to which it grows without a search for unused numbers.
    grow_to: usize,
    /// The largest length of `threads`.
    max_threads: usize,
}

impl ThreadNames {
    /// Creates a table that is large enough for the threads of `samples` samples and for `threads`
    /// recording threads.
    pub(crate) fn new(samples: usize, threads: usize) -> Self {
        let max_threads = Self::max_threads(samples, threads);
        let unknown = Identity { name: Arc::from("unknown"), tid: None };
        Self {
            threads: vec![Some(unknown.clone())],
            numbers: HashMap::new(),
            free: Vec::new(),
            unknown,
            grow_to: MIN_NUMBERS.min(max_threads),
            max_threads,
        }
    }

    /// Returns the largest number of threads in the table that [`new`](Self::new) creates.
    fn max_threads(samples: usize, threads: usize) -> usize {
        // One more, for `NO_NAME`.
        samples.saturating_add(threads).saturating_add(1).min(usize::from(u16::MAX) + 1)
    }

    /// Returns how many bytes the table that [`new`](Self::new) creates can take, if no name has
    /// more than 64 bytes.
    pub(crate) fn max_bytes(samples: usize, threads: usize) -> usize {
        Self::max_threads(samples, threads) * NAME_BYTES
    }

    /// Returns how many bytes the table takes, if no name has more than 64 bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.threads.len() * NAME_BYTES
    }

    /// Returns the number of this thread. Gives the thread a number if it has none.
    ///
    /// If no number is free, may call `mark_used` to find out which are in use, and frees all
    /// others. `mark_used` has to call the closure that is passed to it with every number in use.
    /// If all numbers are in use, the thread shares that of a thread with its name. Returns
    /// [`NO_NAME`] if there is none.
    pub(crate) fn number(
        &mut self,
        thread: &Identity,
        mark_used: impl FnOnce(&mut dyn FnMut(u16)),
    ) -> u16 {
        if let Some(number) = self.numbers.get(thread) {
            return *number;
        }
        if self.free.is_empty() && self.threads.len() >= self.grow_to {
            self.free_unused(mark_used);
            if self.free.len() < self.threads.len() / 2 {
                self.grow_to = self.threads.len().saturating_mul(2).min(self.max_threads);
            }
        }
        if self.free.is_empty() && self.threads.len() < self.grow_to {
            self.free.extend(u16::try_from(self.threads.len()));
            self.threads.push(None);
        }
        let Some(number) = self.free.pop() else { return self.shared(&thread.name) };
        self.threads[usize::from(number)] = Some(thread.clone());
        self.numbers.insert(thread.clone(), number);
        number
    }

    /// Returns a number that all threads of this name without a number of their own share, or
    /// [`NO_NAME`] if no thread of this name has a number.
    fn shared(&mut self, name: &Arc<str>) -> u16 {
        let shared = Identity { name: Arc::clone(name), tid: None };
        if let Some(number) = self.numbers.get(&shared) {
            return *number;
        }
        let numbered = (0..=u16::MAX).zip(&mut self.threads).skip(1);
        for (number, thread) in numbered {
            if let Some(thread) = thread
                && thread.name == *name
            {
                self.numbers.remove(thread);
                *thread = shared.clone();
                self.numbers.insert(shared, number);
                return number;
            }
        }
        NO_NAME
    }

    /// Frees the numbers that are not in use.
    fn free_unused(&mut self, mark_used: impl FnOnce(&mut dyn FnMut(u16))) {
        let mut used = vec![false; self.threads.len()];
        mark_used(&mut |number| {
            if let Some(used) = used.get_mut(usize::from(number)) {
                *used = true;
            }
        });
        // The smallest number is taken first.
        let numbered = (0..=u16::MAX).zip(self.threads.iter_mut().zip(used)).skip(1);
        let unused: Vec<_> = numbered.filter(|(_, (_, used))| !used).collect();
        for (number, (thread, _)) in unused.into_iter().rev() {
            if let Some(thread) = thread.take() {
                self.numbers.remove(&thread);
            }
            self.free.push(number);
        }
    }

    /// Returns the thread of a number. Its name is `unknown` if no thread has the number.
    pub(crate) fn identity(&self, number: u16) -> &Identity {
        self.threads.get(usize::from(number)).and_then(Option::as_ref).unwrap_or(&self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_thread_while_it_is_in_use() {
        let mut threads = ThreadNames::new(2, 1);
        let mut number = |name: &str, used: &[u16]| {
            let thread = Identity::from(name);
            let number =
                threads.number(&thread, |mark| used.iter().for_each(|number| mark(*number)));
            if number != NO_NAME {
                assert_eq!(*threads.identity(number), thread);
            }
            number
        };
        assert_eq!(
            [number("a", &[]), number("b", &[]), number("a", &[]), number("c", &[])],
            [1, 2, 1, 3]
        );
        assert_eq!(number("d", &[1, 3]), 2, "the number of `b`, which is not in use any more");
        assert_eq!(number("a", &[]), 1, "a thread that has a number keeps it");
        assert_eq!(number("e", &[1, 2, 3]), NO_NAME, "all numbers are in use");
        assert_eq!([number("f", &[]), number("g", &[])], [1, 2]);
        assert_eq!(&*threads.identity(NO_NAME).name, "unknown");
        assert_eq!(&*threads.identity(77).name, "unknown");
    }

    /// The thread with this number of those called `worker`.
    fn worker(tid: u64) -> Identity {
        Identity { name: "worker".into(), tid: Some(tid) }
    }

    #[test]
    fn short_lived_threads_of_one_name_share_a_small_table() {
        let mut threads = ThreadNames::new(50_000, 16);
        // The sample of every hundredth of 10,000 threads stays one of the slowest.
        let mut used = vec![];
        for tid in 0..10_000 {
            let number = threads
                .number(&worker(tid), |mark| used.iter().for_each(|(number, _)| mark(*number)));
            assert_eq!(*threads.identity(number), worker(tid));
            if tid % 100 == 0 {
                used.push((number, tid));
            }
        }
        let len = threads.threads.len();
        assert!(len <= 4 * used.len(), "{len} numbers for {} in use", used.len());
        assert_eq!(threads.bytes(), threads.threads.len() * NAME_BYTES);
        for (number, tid) in used {
            assert_eq!(*threads.identity(number), worker(tid), "in use");
        }
    }

    #[test]
    fn threads_beyond_the_bound_are_shown_by_name_alone() {
        let mut threads = ThreadNames::new(2, 1);
        let mut number =
            |thread: Identity| threads.number(&thread, |mark| (1..=3).for_each(&mut *mark));
        assert_eq!([1, 2].map(|tid| number(worker(tid))), [1, 2]);
        assert_eq!(number("other".into()), 3);
        assert_eq!([3, 4, 1].map(|tid| number(worker(tid))), [1; 3], "one that `worker` has");
        assert_eq!(number("third".into()), NO_NAME);
        assert_eq!(*threads.identity(1), "worker".into());
        assert_eq!(*threads.identity(2), worker(2));
    }
}
