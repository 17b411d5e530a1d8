//! The attribute `#[measure]` of [`tailwatch`](https://docs.rs/tailwatch).
//!
//! Do not depend on this crate, but on `tailwatch`, which re-exports the attribute. The generated
//! code calls functions of `tailwatch`.

#![forbid(unsafe_code)]
// The print macros panic if nobody reads the stream any more. No output may make a call fail.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

mod arguments;
mod expand;
mod function;
mod future;
mod returned;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{ExprClosure, Result, parse_quote_spanned};

use self::arguments::Arguments;

/// Records a *span*, one measured interval of an event, for each call of a function or method.
///
/// Write `#[measure(Event)]` or `#[measure(Event, err, future, tag = …, crate = …)]`.
///
/// - The span of a function begins when the function is called and ends when it returns. If a panic
///   unwinds the function, the span ends as `Outcome::Cancelled`. (Without `err`, it ends as
///   `Outcome::Ok` if the thread was already unwinding when the function was called.)
/// - The span of an async function begins when its future is first polled and ends when the future
///   completes. If the future panics, or is dropped before it completes, the span ends as
///   `Outcome::Cancelled`. A future that is never polled records nothing. The measured future is
///   not boxed, need not be `'static`, and is `Send` if the plain future is.
/// - A function that [returns a future](#functions-that-return-a-future) is measured like an async
///   function. Methods under `#[async_trait]` are such functions.
///
/// ```
/// use tailwatch::{Trading, measure};
///
/// struct Order { id: u64, price: f64 }
///
/// #[measure(Trading::SignalGeneration)]
/// fn is_worth_it(order: &Order) -> bool {
///     order.price > 100.0
/// }
///
/// #[measure(Trading::OrderPlacement, err, tag = order.id)]
/// async fn place(order: Order) -> Result<u64, String> {
///     if !is_worth_it(&order) {
///         return Err("too cheap".to_owned()); // the span ends as an error
///     }
///     send(&order).await?; // the same here, if `send` fails
///     Ok(order.id)
/// }
/// # async fn send(order: &Order) -> Result<(), String> { Ok(()) }
/// # let collector = tailwatch::Collector::builder().start().unwrap();
/// # collector.install().unwrap();
/// # let mut placing = core::pin::pin!(place(Order { id: 5, price: 10.0 }));
/// # let mut context = core::task::Context::from_waker(core::task::Waker::noop());
/// # let polled = placing.as_mut().poll(&mut context);
/// # assert!(matches!(polled, core::task::Poll::Ready(Err(_))));
/// # collector.stop();
/// # let report = collector.report();
/// # assert_eq!(report.event(Trading::OrderPlacement).unwrap().outcomes.error, 1);
/// ```
///
/// # Arguments
///
/// | argument | meaning |
/// |---|---|
/// | the event | comes first; any expression whose type implements `tailwatch::Event` |
/// | `err` | a returned `Err` ends the span as `Outcome::Error`; without `err`, every return ends it as `Outcome::Ok` |
/// | `future` | the function returns a future, although its return type does not show it |
/// | `tag = …` | the span's tag, such as an order id: a `u64` of which the low 46 bits are kept |
/// | `crate = …` | the path of `tailwatch`, for a crate that re-exports it under another path |
///
/// The expressions for the event and the tag are evaluated once, just before the span begins; in an
/// async function, this is when its future is first polled. In a function that is not `async` but
/// returns a future, they are evaluated when the function is called, before its body. They may use
/// the function's arguments and `self`.
///
/// # Functions that return a future
///
/// If the return type of a function shows that it returns a future, the span begins when this
/// future is first polled, and ends like that of an async function. The time until the function
/// returns the future is not measured. These return types show it, with any path, lifetime and
/// further bounds:
///
/// | return type | what measuring costs |
/// |---|---|
/// | `impl Future<Output = T>` | no allocation |
/// | `Pin<Box<dyn Future<Output = T>>>`, also with `impl` | one allocation; none if the body is only `Box::pin(async move { … })` |
/// | `BoxFuture<'_, T>`, `LocalBoxFuture<'_, T>` | the same |
/// | `Box<dyn Future<Output = T>>` | one allocation |
///
/// The bound `Unpin` costs one allocation more.
/// `#[async_trait]` makes a method return the second type, with a body that costs no allocation.
///
/// For a return type that does not show it, write `future`. This works for a type alias of
/// `Pin<Box<…>>`, and for `impl Trait` if every future with this output implements the trait. It
/// does not compile for other types, such as `Ready<T>`, because the attribute cannot put its own
/// future into them. Let the function return `impl Future` instead.
///
/// ```compile_fail,E0277
/// # use tailwatch::{Trading, measure};
/// #[measure(Trading::OrderPlacement, future)]
/// fn number() -> impl std::fmt::Display { // no future with this output implements it
///     5
/// }
/// ```
///
/// ```
/// use std::pin::Pin;
/// use tailwatch::{Trading, measure};
///
/// type Reply<'a> = Pin<Box<dyn Future<Output = Result<u64, String>> + Send + 'a>>;
///
/// #[measure(Trading::OrderPlacement, err)]
/// fn place(id: u64) -> impl Future<Output = Result<u64, String>> {
///     let next = id + 1; // runs when the function is called, before the span
///     async move { Ok(next) }
/// }
///
/// #[measure(Trading::OrderFill, err, future, tag = *id)]
/// fn fill(id: &u64) -> Reply<'_> {
///     Box::pin(place(*id))
/// }
/// # let collector = tailwatch::Collector::builder().start().unwrap();
/// # collector.install().unwrap();
/// # let mut filling = fill(&5);
/// # let mut context = core::task::Context::from_waker(core::task::Waker::noop());
/// # assert_eq!(filling.as_mut().poll(&mut context), core::task::Poll::Ready(Ok(6)));
/// # collector.stop();
/// # let report = collector.report();
/// # assert_eq!(report.event(Trading::OrderPlacement).unwrap().outcomes.ok, 1);
/// # assert_eq!(report.event(Trading::OrderFill).unwrap().outcomes.ok, 1);
/// ```
///
/// # Limits
///
/// - `const fn` and functions without a body cannot be measured. Closures cannot be measured
///   either, because Rust does not allow attributes on them yet.
/// - A function that returns a future in another type, such as a `Result` or a tuple, is measured
///   only until it returns. So is one that returns a named type of future.
/// - The future of a function that returns `impl Future` implements no other trait than `Future`,
///   `Unpin` and the auto traits, so other bounds do not compile.
/// - With `err`, and in functions that are async or return a future, the body becomes a closure or
///   an async block, which captures the arguments that it uses. Therefore these arguments are
///   dropped before the others, and as part of the span. In a function with `#[track_caller]`, the
///   body does not see the caller.
/// - The span makes the future of an async function about 20 bytes larger. If a function returns
///   `impl Future`, or its body is only an async block, the measured future takes up to twice the
///   memory of the plain one and 40 bytes, as the compiler reserves memory for the future before
///   and after its first poll.
/// - `#[tracing::instrument]` may stand above or below. Below, in a function that is not `async`
///   and whose body is more than the async block, its fields cannot use arguments that the body
///   moves into the future. Write it above.
/// - Under `#[async_trait]`, the event and the tag cannot use an argument that is a pattern,
///   because `#[async_trait]` moves patterns into the body.
#[proc_macro_attribute]
pub fn measure(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    measured(arguments, item, "tailwatch")
}

/// The same attribute for a library, which depends on `tailwatch-record` and not on `tailwatch`.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn measure_recorded(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    measured(arguments, item, "tailwatch_record")
}

/// Returns the measured function, which calls functions of `krate`, unless an argument names
/// another crate.
fn measured(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
    krate: &str,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    expand(arguments, item.clone(), krate).unwrap_or_else(|error| with_error(&item, &error)).into()
}

/// Returns the measured function, or the error if it cannot be measured.
fn expand(
    arguments: proc_macro::TokenStream,
    item: TokenStream,
    krate: &str,
) -> Result<TokenStream> {
    let function = syn::parse2(item)?;
    let mut arguments: Arguments = syn::parse(arguments)?;
    let krate = Ident::new(krate, Span::mixed_site());
    let path = parse_quote_spanned!(Span::mixed_site()=> ::#krate);
    arguments.krate.get_or_insert(path);
    expand::expand(&arguments, &function)
}

/// Returns the unchanged item together with the error. If the item were missing, the code that uses
/// it would cause further errors.
fn with_error(item: &TokenStream, error: &syn::Error) -> TokenStream {
    let error = error.to_compile_error();
    if syn::parse2::<ExprClosure>(item.clone()).is_ok() {
        // A closure is an expression, so the result has to be one as well.
        return quote!({ #error #item });
    }
    quote!(#item #error)
}
