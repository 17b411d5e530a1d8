//! Generates the measured function.
//!
//! The attributes and the signature of the function stay as they are. The new body begins the span
//! and then runs the original body:
//!
//! | function | original body |
//! |---|---|
//! | sync | a block, while a guard is alive |
//! | sync, `err` | a closure that is called at once, so that `return` and `?` leave only the closure |
//! | async | an async block that is awaited at once, so that `return` and `?` leave only the block |
//!
//! - The original body keeps its own braces. An item is visible in the whole block that contains
//!   it. Without the braces, an item of the body could change the meaning of the event's
//!   expression. A lint on items after statements would also count the generated statements.
//! - A label stands in front of these braces. Without it, the compiler would warn about unnecessary
//!   braces around a single expression.
//! - The generated names have the hygiene of macros (`mixed_site`) and the prefix `__tailwatch`.
//!   The prefix is needed because hygiene does not cover items: a constant of the same name in the
//!   user's module would turn a generated `let` into a pattern.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Result, ReturnType, Type};

use crate::{arguments::Arguments, function::Function, returned};

/// Returns the function with the measuring body.
pub(crate) fn expand(arguments: Arguments, function: Function) -> Result<TokenStream> {
    check_err(&arguments, &function)?;
    let Function { attributes, visibility, signature, inner_attributes, body } = function;
    let head = quote!(#(#attributes)* #visibility #signature);
    let is_async = signature.asyncness.is_some();
    let never_returns = never_returns(&signature.output);
    let at = Span::mixed_site();
    let returned = returned::in_body(signature.output);

    let Arguments { event, err, tag, krate } = arguments;
    let krate = krate.map_or_else(|| quote_spanned!(at=> ::tailwatch), |path| quote!(#path));
    let begin = |plain: TokenStream, tagged: TokenStream| match &tag {
        None => quote_spanned!(at=> #krate::#plain(#event)),
        Some(tag) => quote_spanned!(at=> #krate::#tagged(#event, #tag)),
    };
    let guard = begin(quote_spanned!(at=> measure), quote_spanned!(at=> measure_tagged));
    let cancel_on_drop = begin(
        quote_spanned!(at=> measure_cancel_on_drop),
        quote_spanned!(at=> measure_cancel_on_drop_tagged),
    );

    let outcome = if err.is_some() {
        quote_spanned!(at=> #krate::__private::outcome::<#returned>(&__tailwatch_returned))
    } else {
        quote_spanned!(at=> #krate::Outcome::Ok)
    };
    let measured = if !is_async && err.is_none() {
        quote_spanned! {at=>
            let __tailwatch_span = #guard;
            '_tailwatch_body: #body
        }
    } else if never_returns {
        // The body never returns, so the span can only be cancelled.
        quote_spanned! {at=>
            let __tailwatch_span = #cancel_on_drop;
            '_tailwatch_body: #body
        }
    } else {
        let work = if is_async {
            // `?` and coercions need to know the type that the block returns, but an async block
            // cannot declare it. The unreachable `return` fixes the type.
            quote_spanned! {at=>
                async move {
                    if false {
                        return #krate::__private::never_called::<#returned>();
                    }
                    '_tailwatch_body: #body
                }
                .await
            }
        } else {
            quote_spanned!(at=> #krate::__private::once(move || -> #returned #body)())
        };
        // If the function returns a future, Clippy would warn that the generated block returns a
        // future that is not awaited. It does not warn about functions.
        let allowed = is_async.then(|| quote_spanned!(at=> #[allow(clippy::async_yields_async)]));
        quote_spanned! {at=>
            let __tailwatch_span = #cancel_on_drop;
            #allowed
            let __tailwatch_returned = #work;
            __tailwatch_span.end(#outcome);
            __tailwatch_returned
        }
    };
    Ok(quote_spanned! {at=>
        #head {
            #(#inner_attributes)*
            #measured
        }
    })
}

/// Returns whether the return type is `!`.
fn never_returns(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, returned) if matches!(**returned, Type::Never(_)))
}

/// Returns an error if `err` is given for a function that obviously returns no `Result`. If another
/// return type is not a `Result`, the trait bound of `__private::outcome` produces the error.
fn check_err(arguments: &Arguments, function: &Function) -> Result<()> {
    if arguments.err.is_none() {
        return Ok(());
    }
    match &function.signature.output {
        ReturnType::Default => Err(Error::new_spanned(
            &function.signature.ident,
            "`err` needs a function that returns a `Result`; this one returns nothing, so leave \
             out `err`",
        )),
        output @ ReturnType::Type(_, returned) if never_returns(output) => Err(Error::new_spanned(
            returned,
            "`err` needs a function that returns a `Result`; this one never returns, so leave out \
             `err`",
        )),
        ReturnType::Type(..) => Ok(()),
    }
}
