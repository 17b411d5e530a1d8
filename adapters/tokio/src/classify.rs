//! What an output says of how its span ended.

use tailwatch::Outcome;

/// Tells the outcome of a span by what came out of it.
pub trait Classify<T> {
    /// The outcome.
    fn outcome(output: &T) -> Outcome;
}

/// Whatever comes out, the work was done.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysOk;

impl<T> Classify<T> for AlwaysOk {
    #[inline(always)]
    fn outcome(_: &T) -> Outcome {
        Outcome::Ok
    }
}

/// An `Err` is a failure.
#[derive(Clone, Copy, Debug)]
pub struct ByResult;

impl<T, E> Classify<Result<T, E>> for ByResult {
    #[inline(always)]
    fn outcome(output: &Result<T, E>) -> Outcome {
        if output.is_ok() { Outcome::Ok } else { Outcome::Error }
    }
}
