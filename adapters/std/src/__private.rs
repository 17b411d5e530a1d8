//! Items that the expansion of `#[measure]` uses. They are not part of the API.

use tailwatch_core::Outcome;

/// A return type that shows whether the function failed.
#[diagnostic::on_unimplemented(
    message = "`err` needs a function that returns a `Result`; this one returns `{Self}`",
    label = "not a `Result`",
    note = "leave out `err`: without it, every span whose function returns ends as `Outcome::Ok`"
)]
pub trait Fallible {
    /// The outcome of the span whose function returned this value.
    fn outcome(&self) -> Outcome;
}

impl<T, E> Fallible for Result<T, E> {
    #[inline(always)]
    fn outcome(&self) -> Outcome {
        if self.is_ok() { Outcome::Ok } else { Outcome::Error }
    }
}

/// Returns the outcome of the span whose function returned this value.
#[inline(always)]
pub fn outcome<R: Fallible>(returned: &R) -> Outcome {
    returned.outcome()
}

/// Returns its argument, and thereby makes the compiler infer a closure that is called once. Such a
/// closure may move out of its captures and return borrows of them.
#[inline(always)]
pub const fn once<R, F: FnOnce() -> R>(body: F) -> F {
    body
}

/// Returns a value of any type, for code that is compiled only to fix a type and is never executed.
///
/// # Panics
/// Always.
#[cold]
pub fn never_called<T>() -> T {
    unreachable!("only called behind `if false`")
}
