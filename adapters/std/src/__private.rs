//! What the expansion of `#[measure]` calls; no part of the API.

use tailwatch_core::Outcome;

/// What tells by itself whether the work failed.
#[diagnostic::on_unimplemented(
    message = "`err` needs a function that returns a `Result`; this one returns `{Self}`",
    label = "not a `Result`",
    note = "leave out `err`: without it a span that returns is `Outcome::Ok`"
)]
pub trait Fallible {
    /// How the span ends that returned this.
    fn outcome(&self) -> Outcome;
}

impl<T, E> Fallible for Result<T, E> {
    #[inline(always)]
    fn outcome(&self) -> Outcome {
        if self.is_ok() { Outcome::Ok } else { Outcome::Error }
    }
}

/// How the span ends that returned this.
#[inline(always)]
pub fn outcome<R: Fallible>(returned: &R) -> Outcome {
    returned.outcome()
}

/// Lets the compiler know that a closure is called once: so it may give away what it captured, and return what borrows
/// from that.
#[inline(always)]
pub const fn once<R, F: FnOnce() -> R>(body: F) -> F {
    body
}

/// Stands for a value of a type, where the compiler is to know the type.
///
/// # Panics
/// Always.
#[cold]
pub fn never_called<T>() -> T {
    unreachable!("it stands behind `if false`")
}
