//! A table that gives numbers to the names of threads, so that each of the slowest samples stores a
//! number of 16 bits instead of a name.
//!
//! A name keeps its number as long as one of the slowest samples or a recording thread refers to
//! the number. Therefore the size of the table is bounded by the number of slowest samples and
//! rings, however many threads come and go.

use std::{collections::HashMap, sync::Arc};

/// The number for a thread that got no number of its own. Its name is `unknown`.
pub(crate) const NO_NAME: u16 = 0;

/// What a name takes, in bytes, if it has at most 64 bytes: 80 for the name itself, and the rest
/// for its places in the two tables, which grow by doubling.
const NAME_BYTES: usize = 176;

/// The names of threads, by number, and the numbers, by name.
#[derive(Debug)]
pub(crate) struct ThreadNames {
    /// The name of each number, at the index of the number. `None` for a free number.
    names: Vec<Option<Arc<str>>>,
    numbers: HashMap<Arc<str>, u16>,
    /// The free numbers among those of `names`.
    free: Vec<u16>,
    /// The name of [`NO_NAME`].
    unknown: Arc<str>,
    /// The largest length of `names`.
    max_names: usize,
}

impl ThreadNames {
    /// Creates a table that is large enough for the names in `samples` samples and of `threads`
    /// recording threads.
    pub(crate) fn new(samples: usize, threads: usize) -> Self {
        let max_names = Self::max_names(samples, threads);
        let unknown: Arc<str> = Arc::from("unknown");
        let names = vec![Some(Arc::clone(&unknown))];
        Self { names, numbers: HashMap::new(), free: Vec::new(), unknown, max_names }
    }

    /// Returns the largest number of names in the table that [`new`](Self::new) creates.
    fn max_names(samples: usize, threads: usize) -> usize {
        // One more, for `NO_NAME`.
        samples.saturating_add(threads).saturating_add(1).min(usize::from(u16::MAX) + 1)
    }

    /// Returns how many bytes the table that [`new`](Self::new) creates can take, if no name has
    /// more than 64 bytes.
    pub(crate) fn max_bytes(samples: usize, threads: usize) -> usize {
        Self::max_names(samples, threads) * NAME_BYTES
    }

    /// Returns how many bytes the table takes, if no name has more than 64 bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.names.len() * NAME_BYTES
    }

    /// Returns the number of this name. Gives the name a number if it has none.
    ///
    /// If all numbers are taken, calls `mark_used` to find out which are in use, and frees all
    /// others. `mark_used` has to call the closure that is passed to it with every number in use.
    /// Returns [`NO_NAME`] if all numbers are in use.
    pub(crate) fn number(
        &mut self,
        name: &Arc<str>,
        mark_used: impl FnOnce(&mut dyn FnMut(u16)),
    ) -> u16 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.free.is_empty() {
            if self.names.len() < self.max_names {
                self.free.extend(u16::try_from(self.names.len()));
                self.names.push(None);
            } else {
                self.free_unused(mark_used);
            }
        }
        let Some(number) = self.free.pop() else { return NO_NAME };
        self.names[usize::from(number)] = Some(Arc::clone(name));
        self.numbers.insert(Arc::clone(name), number);
        number
    }

    /// Frees the numbers that are not in use.
    fn free_unused(&mut self, mark_used: impl FnOnce(&mut dyn FnMut(u16))) {
        let mut used = vec![false; self.names.len()];
        mark_used(&mut |number| {
            if let Some(used) = used.get_mut(usize::from(number)) {
                *used = true;
            }
        });
        // The smallest number is taken first.
        let numbered = (0..=u16::MAX).zip(self.names.iter_mut().zip(used)).skip(1);
        let unused: Vec<_> = numbered.filter(|(_, (_, used))| !used).collect();
        for (number, (name, _)) in unused.into_iter().rev() {
            if let Some(name) = name.take() {
                self.numbers.remove(&name);
            }
            self.free.push(number);
        }
    }

    /// Returns the name of a number, or `unknown` if no name has the number.
    pub(crate) fn name(&self, number: u16) -> &Arc<str> {
        self.names.get(usize::from(number)).and_then(Option::as_ref).unwrap_or(&self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_name_while_it_is_in_use() {
        let mut threads = ThreadNames::new(2, 1);
        let mut number = |name: &str, used: &[u16]| {
            let name: Arc<str> = Arc::from(name);
            let number = threads.number(&name, |mark| used.iter().for_each(|number| mark(*number)));
            if number != NO_NAME {
                assert_eq!(threads.name(number), &name);
            }
            number
        };
        assert_eq!(
            [number("a", &[]), number("b", &[]), number("a", &[]), number("c", &[])],
            [1, 2, 1, 3]
        );
        assert_eq!(number("d", &[1, 3]), 2, "the number of `b`, which is not in use any more");
        assert_eq!(number("a", &[]), 1, "a name that has a number keeps it");
        assert_eq!(number("e", &[1, 2, 3]), NO_NAME, "all numbers are in use");
        assert_eq!([number("f", &[]), number("g", &[])], [1, 2]);
        assert_eq!(&**threads.name(NO_NAME), "unknown");
        assert_eq!(&**threads.name(77), "unknown");
    }
}
