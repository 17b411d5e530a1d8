//! The attribute `#[measure]` of [`tailwatch`](https://docs.rs/tailwatch), which re-exports it: depend on that crate, not on
//! this one.

#![forbid(unsafe_code)]

mod arguments;
mod expand;
mod function;
mod returned;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ExprClosure, Result};

/// Measures each call of a function or method: `#[measure(Event)]`, `#[measure(Event, err, tag = …, crate = …)]`.
///
/// # Limits
///
/// - `const fn` and functions without a body are not measured; nor are closures, whose attributes Rust does not allow yet.
/// - A function that is not `async` but returns a future is measured until it has *made* the future. So are the methods under
///   `#[async_trait]`, which turns them into such functions before this attribute sees them.
/// - With `err`, and in async functions, the body becomes a closure or an async block. Arguments that it uses belong to it, and are
///   dropped before the others, as part of the span. In a function with `#[track_caller]` the body does not see the caller.
/// - A measured future is larger than the plain one by the span, some 20 bytes.
///
/// # What is measured
///
/// A function, from its entry to its return; if a panic unwinds it, the span ends as `Outcome::Cancelled`.
///
/// An async function, from the first poll of its future to its completion. A future that is dropped unfinished, or that
/// panics, ends as `Outcome::Cancelled`; one that is never polled records nothing. The future needs nothing that the plain one
/// does not: it is neither boxed nor `'static`, and `Send` if the plain one is.
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
///     send(&order).await?; // so it does here, if it fails
///     Ok(order.id)
/// }
/// # async fn send(order: &Order) -> Result<(), String> { Ok(()) }
/// # let collector = tailwatch::Collector::builder().start().unwrap();
/// # collector.install().unwrap();
/// # let mut placing = core::pin::pin!(place(Order { id: 5, price: 10.0 }));
/// # let polled = placing.as_mut().poll(&mut core::task::Context::from_waker(core::task::Waker::noop()));
/// # assert!(matches!(polled, core::task::Poll::Ready(Err(_))));
/// # collector.stop();
/// # let report = collector.report();
/// # assert_eq!(report.event(tailwatch::Event::id(Trading::OrderPlacement)).unwrap().outcomes.error, 1);
/// ```
///
/// # Arguments
///
/// | | |
/// |---|---|
/// | the event | stands first: any expression whose type implements `tailwatch::Event` |
/// | `err` | an `Err` that is returned ends the span as `Outcome::Error`; otherwise whatever returns is `Outcome::Ok` |
/// | `tag = …` | the span's tag, a `u64`, of which the low 46 bits are kept |
/// | `crate = …` | the path to `tailwatch`, for a crate that passes it on under a path of its own |
///
/// The event and the tag are evaluated once, before the span begins – in an async function at the first poll –, and may use
/// the function's arguments and `self`.
#[proc_macro_attribute]
pub fn measure(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    expand(arguments, item.clone()).unwrap_or_else(|error| with_error(&item, &error)).into()
}

fn expand(arguments: proc_macro::TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function = syn::parse2(item)?;
    expand::expand(syn::parse(arguments)?, function)
}

/// The item as it was, beside the error: so that whoever uses it does not get errors that it is missing.
fn with_error(item: &TokenStream, error: &syn::Error) -> TokenStream {
    let error = error.to_compile_error();
    if syn::parse2::<ExprClosure>(item.clone()).is_ok() {
        // An expression, where an expression is wanted.
        return quote!({ #error #item });
    }
    quote!(#item #error)
}
