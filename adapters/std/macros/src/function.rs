//! The function that is measured, as far as it has to be understood.

use proc_macro2::{Delimiter, Group};
use syn::{
    Attribute, Error, Ident, LitStr, Result, Signature, Token, Visibility,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    token,
};

/// A function or method. Its body stays tokens: nothing in it needs to be understood, not even by a later Rust.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// The attributes at the beginning of the body, such as `#![allow(…)]`.
    pub(crate) inner_attributes: Vec<Attribute>,
    /// The rest of it, in its braces.
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
            let message = "a `const fn` cannot be measured: it may run in the compiler, where there is no clock; \
                           drop the `const`, or measure where it is called";
            return Err(Error::new_spanned(constant, message));
        }
        if input.peek(Token![;]) {
            let message = "a function without a body cannot be measured: put `#[measure]` where the body is, such as on \
                           the method of each implementation";
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

/// What is wrong with an item that is no function.
fn other_item(input: ParseStream<'_>) -> Option<Error> {
    if begins_function(&input.fork()) {
        return None;
    }
    let word = input.fork().call(Ident::parse_any).ok();
    let hint = match word.as_ref().map(ToString::to_string).as_deref() {
        Some("impl" | "trait" | "mod") => "put it on each function in here that is to be measured",
        // A closure.
        Some("move" | "async") | None => {
            "a span of other work is begun by the function `measure(event)`"
        }
        Some(_) => "put it on the functions that do the work",
    };
    let message = format!("`#[measure]` belongs on a function or method with a body; {hint}");
    Some(word.map_or_else(|| input.error(&message), |word| Error::new(word.span(), &message)))
}

/// Whether `fn` follows, behind the words that may stand in front of it.
fn begins_function(ahead: ParseStream<'_>) -> bool {
    loop {
        if ahead.peek(Token![fn]) {
            return true;
        }
        let is_qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern]);
        // Behind `extern` may stand its ABI.
        if !is_qualifier
            || ahead.call(Ident::parse_any).is_err()
            || ahead.parse::<Option<LitStr>>().is_err()
        {
            return false;
        }
    }
}
