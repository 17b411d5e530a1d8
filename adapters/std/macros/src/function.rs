//! Parses the function that has the attribute, as far as the expansion needs.

use proc_macro2::{Delimiter, Group};
use syn::{
    Attribute, Error, Ident, LitStr, Result, Signature, Token, Visibility,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    token,
};

/// A function or method. Its body is not parsed, so the body may use syntax that `syn` does not
/// support.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// The attributes at the beginning of the body, such as `#![allow(…)]`.
    pub(crate) inner_attributes: Vec<Attribute>,
    /// The rest of the body, in its braces.
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if let Some(other) = other_item(input) {
            return Err(other);
        }
        let signature: Signature = input.parse()?;
        if let Some(constant) = &signature.constness {
            let message = "a `const fn` cannot be measured, because it may run at compile time, \
                           where there is no clock; remove `const`, or measure the callers";
            return Err(Error::new_spanned(constant, message));
        }
        if input.peek(Token![;]) {
            let message = "a function without a body cannot be measured; put `#[measure]` on the \
                           function with the body, such as the method in each `impl`";
            return Err(Error::new_spanned(&signature, message));
        }
        let content;
        let brace: token::Brace = syn::braced!(content in input);
        let inner_attributes = content.call(Attribute::parse_inner)?;
        let mut body = Group::new(Delimiter::Brace, content.parse()?);
        body.set_span(brace.span.join());
        Ok(Self { attributes, visibility, signature, inner_attributes, body })
    }
}

/// Returns the error for an item that is not a function, or `None` if a function follows.
fn other_item(input: ParseStream<'_>) -> Option<Error> {
    if begins_function(&input.fork()) {
        return None;
    }
    let word = input.fork().call(Ident::parse_any).ok();
    let hint = match word.as_ref().map(ToString::to_string).as_deref() {
        Some("impl" | "trait" | "mod") => "put it on each function inside that you want to measure",
        // The item is most likely a closure.
        Some("move" | "async") | None => {
            "to measure other code, call the function `measure(event)`"
        }
        Some(_) => "put it on the functions that do the work",
    };
    let message = format!("`#[measure]` only works on a function or method with a body; {hint}");
    Some(word.map_or_else(|| input.error(&message), |word| Error::new(word.span(), &message)))
}

/// Returns whether a function follows: `fn`, possibly after qualifiers such as `async` or `unsafe`.
fn begins_function(ahead: ParseStream<'_>) -> bool {
    loop {
        if ahead.peek(Token![fn]) {
            return true;
        }
        let is_qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern]);
        // An ABI string may follow `extern`.
        if !is_qualifier
            || ahead.call(Ident::parse_any).is_err()
            || ahead.parse::<Option<LitStr>>().is_err()
        {
            return false;
        }
    }
}
