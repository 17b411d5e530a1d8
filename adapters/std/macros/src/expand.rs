//! What a measured function becomes.
//!
//! The head stays as it is, and the body stays in its braces, behind what begins the span:
//!
//! | | |
//! |---|---|
//! | sync | a guard |
//! | sync, `err` | the body in a closure that is called at once, so that `return` and `?` leave the closure only |
//! | async | the body in an async block that is awaited at once, likewise |
//!
//! Braces of its own, because items of the body are visible in all of its block: they are not to change what the event means, and
//! a lint on items after statements is not to see ours. A label in front of them, because the compiler takes braces around a single
//! expression for superfluous; those with a label it does not, and they keep their place in the user's file and its edition.
//! Names of ours are written with the macro's own hygiene, and a prefix: a constant of the same name in the user's
//! module would turn a `let` into a pattern.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Result, ReturnType, Type};

use crate::{arguments::Arguments, function::Function, returned};

/// The function, measured.
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
    let unfinished = begin(
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
        // Nothing follows the body: the span can only be cancelled.
        quote_spanned! {at=>
            let __tailwatch_span = #unfinished;
            '_tailwatch_body: #body
        }
    } else {
        let work = if is_async {
            // An async block cannot name its type, and without one `?` and coercions would have nothing to go by: a `return`
            // that is never reached does.
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
        // A function that returns a future is not taken for one that forgot to await it; our block would be.
        let allowed = is_async.then(|| quote_spanned!(at=> #[allow(clippy::async_yields_async)]));
        quote_spanned! {at=>
            let __tailwatch_span = #unfinished;
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

fn never_returns(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, returned) if matches!(**returned, Type::Never(_)))
}

/// Finds an `err` on a function that obviously returns no `Result`; of other types the compiler knows.
fn check_err(arguments: &Arguments, function: &Function) -> Result<()> {
    if arguments.err.is_none() {
        return Ok(());
    }
    match &function.signature.output {
        ReturnType::Default => Err(Error::new_spanned(
            &function.signature.ident,
            "`err` needs a function that returns a `Result`; this one returns nothing: leave out `err`",
        )),
        output @ ReturnType::Type(_, returned) if never_returns(output) => Err(Error::new_spanned(
            returned,
            "`err` needs a function that returns a `Result`; this one does not return: leave out `err`",
        )),
        ReturnType::Type(..) => Ok(()),
    }
}
