//! How the output of a future or stream determines the outcome of its span.

use tailwatch::Outcome;

/// Chooses the outcome of a span from the output of the measured work.
pub trait Classify<T> {
    /// Returns the outcome of a span whose work produced `output`.
    fn outcome(output: &T) -> Outcome;
}

/// Ends every completed span as [`Outcome::Ok`], whatever the output.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysOk;

impl<T> Classify<T> for AlwaysOk {
    #[inline(always)]
    fn outcome(_: &T) -> Outcome {
        Outcome::Ok
    }
}

/// Ends a span as [`Outcome::Error`] if the output is an `Err`, otherwise as [`Outcome::Ok`].
#[derive(Clone, Copy, Debug)]
pub struct ByResult;

impl<T, E> Classify<Result<T, E>> for ByResult {
    #[inline(always)]
    fn outcome(output: &Result<T, E>) -> Outcome {
        if output.is_ok() { Outcome::Ok } else { Outcome::Error }
    }
}
