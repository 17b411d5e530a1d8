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
//! | returns a future | a closure that is called at once; an async block awaits its result |
//! | only an async block | this block, inside another one |
//!
//! - The original body keeps its own braces. An item is visible in the whole block that contains
//!   it. Without the braces, an item of the body could change the meaning of the event's
//!   expression. A lint on items after statements would also count the generated statements.
//! - A label stands in front of these braces. Without it, the compiler would warn about unnecessary
//!   braces around a single expression.
//! - If a function returns a future, the new body ends with `async move { … }`, possibly in
//!   `Box::pin`. Attributes such as `#[tracing::instrument]` search for this expression.
//! - If the original body is nothing but an async block, the block is not moved out of its box.
//!   This saves an allocation, and the arguments stay available to such attributes.
//! - The generated names have the hygiene of macros (`mixed_site`) and the prefix `__tailwatch`.
//!   The prefix is needed because hygiene does not cover items: a constant of the same name in the
//!   user's module would turn a generated `let` into a pattern.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::quote_spanned;
use syn::{Error, Result, ReturnType, Type};

use crate::{
    arguments::Arguments,
    function::Function,
    future::{self, Form, ReturnedFuture},
    returned,
};

/// Returns the function with the measuring body.
pub(crate) fn expand(arguments: &Arguments, function: &Function) -> Result<TokenStream> {
    check(arguments, function)?;
    let Function { attributes, visibility, signature, inner_attributes, body } = function;
    let measured = match &signature.output {
        ReturnType::Type(_, returned) if signature.asyncness.is_none() => {
            let future = if arguments.future.is_some() {
                Some(ReturnedFuture::stated(returned))
            } else {
                ReturnedFuture::visible(returned)
            };
            future.map(|future| returning_future(arguments, &future, returned, body))
        }
        _ => None,
    };
    let measured = measured.unwrap_or_else(|| plain(arguments, function));
    Ok(quote_spanned! {Span::mixed_site()=>
        #(#attributes)* #visibility #signature {
            #(#inner_attributes)*
            #measured
        }
    })
}

/// Returns the statements that run `work` in the span that `cancel_on_drop` begins. `returned` is
/// the type of the work's result.
fn in_span(
    arguments: &Arguments,
    cancel_on_drop: &TokenStream,
    work: &TokenStream,
    returned: &TokenStream,
) -> TokenStream {
    let at = Span::mixed_site();
    let krate = &arguments.krate;
    let outcome = if arguments.err.is_some() {
        quote_spanned!(at=> #krate::__private::outcome::<#returned>(&__tailwatch_returned))
    } else {
        quote_spanned!(at=> #krate::Outcome::Ok)
    };
    // If the result is a future, Clippy would warn that a generated block returns a future that is
    // not awaited. It does not warn about functions.
    quote_spanned! {at=>
        let __tailwatch_span = #cancel_on_drop;
        #[allow(clippy::async_yields_async)]
        let __tailwatch_returned = #work;
        __tailwatch_span.end(#outcome);
        __tailwatch_returned
    }
}

/// Returns the new body of an async function, or of one that does not return a future.
fn plain(arguments: &Arguments, function: &Function) -> TokenStream {
    let Function { signature, body, .. } = function;
    let is_async = signature.asyncness.is_some();
    let at = Span::mixed_site();
    let returned = returned::in_body(signature.output.clone());

    let Arguments { event, err, tag, .. } = arguments;
    let krate = &arguments.krate;
    let begin = |plain: TokenStream, tagged: TokenStream| match tag {
        None => quote_spanned!(at=> #krate::#plain(#event)),
        Some(tag) => quote_spanned!(at=> #krate::#tagged(#event, #tag)),
    };
    let guard = begin(quote_spanned!(at=> measure), quote_spanned!(at=> measure_tagged));
    let cancel_on_drop = begin(
        quote_spanned!(at=> measure_cancel_on_drop),
        quote_spanned!(at=> measure_cancel_on_drop_tagged),
    );

    if !is_async && err.is_none() {
        return quote_spanned! {at=>
            let __tailwatch_span = #guard;
            '_tailwatch_body: #body
        };
    }
    if never_returns(&signature.output) {
        // The body never returns, so the span can only be cancelled.
        return quote_spanned! {at=>
            let __tailwatch_span = #cancel_on_drop;
            '_tailwatch_body: #body
        };
    }
    let work = if is_async {
        // `?` and coercions need to know the type that the block returns, but an async block cannot
        // declare it. The unreachable `return` fixes the type.
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
    in_span(arguments, &cancel_on_drop, &work, &returned)
}

/// Returns the new body of a function that returns `future`, whose type is `returned`.
fn returning_future(
    arguments: &Arguments,
    future: &ReturnedFuture,
    returned: &Type,
    body: &Group,
) -> TokenStream {
    let at = Span::mixed_site();
    let Arguments { event, tag, .. } = arguments;
    let krate = &arguments.krate;
    let output = returned::type_in_body(future.output.clone());
    // The arguments are moved into the future, so the event and the tag are evaluated before.
    let event = quote_spanned!(at=> let __tailwatch_event = #krate::__private::any_event(#event););
    let tag = tag
        .as_ref()
        .map(|tag| quote_spanned!(at=> let __tailwatch_tag: ::core::primitive::u64 = #tag;));
    let cancel_on_drop = if tag.is_some() {
        let tagged = quote_spanned!(at=> measure_cancel_on_drop_tagged);
        quote_spanned!(at=> #krate::#tagged(__tailwatch_event, __tailwatch_tag))
    } else {
        quote_spanned!(at=> #krate::measure_cancel_on_drop(__tailwatch_event))
    };

    let (inner, work) = if let Some(block) = future.only_block(body) {
        (None, quote_spanned!(at=> #krate::__private::future::<#output, _>(#block).await))
    } else {
        let in_body = returned::type_in_body(returned.clone());
        let inner = quote_spanned!(at=> #krate::__private::once(move || -> #in_body #body)());
        // Spanned so that the error about a wrong type points at the type.
        let of_type = future::inferred(returned);
        let inner = match future.form {
            Form::Boxed => quote_spanned!(at=> #krate::__private::Box::into_pin(#inner)),
            Form::Pinned if future.is_stated => {
                quote_spanned!(at=> #krate::__private::pinned_box::<#of_type>(#inner))
            }
            Form::Block if future.is_stated => {
                quote_spanned!(at=> #krate::__private::any_future::<#of_type>(#inner))
            }
            Form::Pinned => inner,
            Form::Block => quote_spanned!(at=> #krate::__private::future::<#output, _>(#inner)),
        };
        let inner = quote_spanned!(at=> let __tailwatch_future = #inner;);
        (Some(inner), quote_spanned!(at=> __tailwatch_future.await))
    };
    let in_span = in_span(arguments, &cancel_on_drop, &work, &output);
    // `#[tracing::instrument]` gives its variables the hygiene of these braces, but the code that
    // uses them the hygiene of the call site.
    let in_span = Group::new(Delimiter::Brace, in_span);
    let mut block = quote_spanned!(at=> async move #in_span);
    if future.is_unpin {
        block = quote_spanned!(at=> #krate::__private::Box::pin(#block));
    }
    let block = match future.form {
        Form::Block => block,
        Form::Pinned => quote_spanned!(at=> #krate::__private::Box::pin(#block)),
        Form::Boxed => quote_spanned!(at=> #krate::__private::Box::new(#block)),
    };
    quote_spanned! {at=>
        #event
        #tag
        #inner
        #block
    }
}

/// Returns whether the return type is `!`.
fn never_returns(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, returned) if matches!(**returned, Type::Never(_)))
}

/// Returns an error if `err` is given for a function that obviously returns no `Result`, or
/// `future` for one that obviously returns no future. For other return types, the trait bounds in
/// `__private` produce the error.
fn check(arguments: &Arguments, function: &Function) -> Result<()> {
    let signature = &function.signature;
    if let (Some(future), Some(_)) = (&arguments.future, &signature.asyncness) {
        return Err(Error::new_spanned(
            future,
            "an `async fn` is measured as a future anyway, so leave out `future`",
        ));
    }
    let (word, needed) = if arguments.future.is_some() {
        ("future", "a future")
    } else if arguments.err.is_some() {
        ("err", "a `Result`")
    } else {
        return Ok(());
    };
    let message = |returns: &str| {
        format!(
            "`{word}` needs a function that returns {needed}; this one {returns}, so leave out \
             `{word}`"
        )
    };
    match &signature.output {
        ReturnType::Default => {
            Err(Error::new_spanned(&signature.ident, message("returns nothing")))
        }
        output @ ReturnType::Type(_, returned) if never_returns(output) => {
            Err(Error::new_spanned(returned, message("never returns")))
        }
        ReturnType::Type(..) => Ok(()),
    }
}
