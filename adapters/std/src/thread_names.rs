//! The names of threads, by number: as the slowest samples bear them.
//!
//! A number stands for a name as long as one of the slowest samples, or a thread that still records, has it; so there are no
//! more names than these, however many threads come and go.

use std::sync::Arc;

/// What a sample bears that came of a thread for which there was no number.
pub(crate) const NO_NAME: u16 = 0;

#[derive(Debug)]
pub(crate) struct ThreadNames {
    /// By number; `None` for one that is free.
    names: Vec<Option<Arc<str>>>,
    unknown: Arc<str>,
    most: usize,
}

impl ThreadNames {
    /// Room for the names that `samples` samples and `threads` threads can bear.
    pub(crate) fn new(samples: usize, threads: usize) -> Self {
        // One number is taken by what has none.
        let most = samples.saturating_add(threads).saturating_add(1).min(usize::from(u16::MAX) + 1);
        let unknown: Arc<str> = Arc::from("unknown");
        Self { names: vec![Some(Arc::clone(&unknown))], unknown, most }
    }

    /// The number of this name. Where none is left, `mark_used` is asked to call what it is given with each number that is in
    /// use; the others are free then.
    pub(crate) fn number(
        &mut self,
        name: &Arc<str>,
        mark_used: impl FnOnce(&mut dyn FnMut(u16)),
    ) -> u16 {
        let numbered = |names: &[Option<Arc<str>>], wanted: Option<&Arc<str>>| {
            names.iter().skip(1).position(|name| name.as_ref() == wanted).map(|place| place + 1)
        };
        if let Some(number) = numbered(&self.names, Some(name)) {
            return u16::try_from(number).unwrap_or(NO_NAME);
        }
        if self.names.len() == self.most && numbered(&self.names, None).is_none() {
            let mut used = vec![false; self.names.len()];
            mark_used(&mut |number| {
                if let Some(used) = used.get_mut(usize::from(number)) {
                    *used = true;
                }
            });
            for (name, _) in self.names.iter_mut().zip(used).skip(1).filter(|(_, used)| !used) {
                *name = None;
            }
        }
        let free = numbered(&self.names, None).or_else(|| {
            let grows = self.names.len() < self.most;
            grows.then(|| {
                self.names.push(None);
                self.names.len() - 1
            })
        });
        let Some(number) = free else { return NO_NAME };
        self.names[number] = Some(Arc::clone(name));
        u16::try_from(number).unwrap_or(NO_NAME)
    }

    /// The name behind a number.
    pub(crate) fn name(&self, number: u16) -> &Arc<str> {
        self.names.get(usize::from(number)).and_then(Option::as_ref).unwrap_or(&self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_its_name_as_long_as_it_is_used() {
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
        assert_eq!(number("d", &[1, 3]), 2, "b is not used any more");
        assert_eq!(number("a", &[]), 1, "nothing was swept for a name that is known");
        assert_eq!(
            number("e", &[1, 2, 3]),
            NO_NAME,
            "more names than samples and threads: nobody should get here"
        );
        assert_eq!([number("f", &[]), number("g", &[])], [1, 2]);
        assert_eq!(&**threads.name(NO_NAME), "unknown");
        assert_eq!(&**threads.name(77), "unknown");
    }
}
