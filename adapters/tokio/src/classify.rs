//! Chooses the outcome of a span from the output of the future or stream that the span measured.

use tailwatch::Outcome;

/// Chooses the [`Outcome`] of a span from what the measured work produced.
///
/// `T` is the output of a future or an item of a stream. This crate has two implementations, and
/// the method that measures the future or stream chooses between them:
/// [`measured`](crate::MeasureExt::measured) uses [`AlwaysOk`], and
/// [`try_measured`](crate::MeasureExt::try_measured) uses [`ByResult`]. The other methods follow
/// the same pattern. The choice is a type parameter of [`Measured`](crate::Measured) and
/// [`MeasuredItems`](crate::MeasuredItems).
///
/// You can implement the trait for a type of your own, but no method of this crate measures with it
/// yet. To choose outcomes by other rules, map the output to a `Result` and use `try_measured`.
pub trait Classify<T> {
    /// Returns the outcome of a span that ends because the measured work produced `output`.
    fn outcome(output: &T) -> Outcome;
}

/// Ends every completed span as [`Outcome::Ok`], whatever the output is.
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
