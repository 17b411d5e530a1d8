//! Recognises the functions that are not `async` but return a future.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    AngleBracketedGenericArguments, Error, GenericArgument, Path, PathArguments, PathSegment,
    Result, Token, Type, TypeParamBound,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

/// How an async block becomes a value of the return type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is one already: `impl Future`.
    Block,
    /// `Pin<Box<dyn Future>>`.
    Pinned,
    /// `Box<dyn Future>`.
    Boxed,
}

/// The future that a function returns.
pub(crate) struct ReturnedFuture {
    pub(crate) form: Form,
    /// Whether the future in [`form`](Self::form) has to be `Unpin`, which an async block is not.
    pub(crate) is_unpin: bool,
    /// The output, or `_` if the return type does not show it.
    pub(crate) output: Type,
    /// Whether only the argument `future` states that the function returns a future.
    pub(crate) is_stated: bool,
}

impl ReturnedFuture {
    /// Returns the future if `returned` is visibly the type of one.
    pub(crate) fn visible(returned: &Type) -> Option<Self> {
        let returned = without_groups(returned);
        if let Type::ImplTrait(hidden) = returned {
            return Self::bounded(Form::Block, &hidden.bounds);
        }
        let last = last_segment(returned)?;
        if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
            let output = types_in(last).last().cloned().unwrap_or_else(|| inferred(last));
            return Some(Self { form: Form::Pinned, is_unpin: false, output, is_stated: false });
        }
        if last.ident == "Box" {
            return Self::pointee(Form::Boxed, last);
        }
        let pinned = types_in(last).next().filter(|_| last.ident == "Pin")?;
        let boxed = last_segment(without_groups(pinned)).filter(|last| last.ident == "Box")?;
        Self::pointee(Form::Pinned, boxed)
    }

    /// Returns the future of a function with the argument `future`.
    pub(crate) fn stated(returned: &Type) -> Self {
        Self::visible(returned).unwrap_or_else(|| {
            let is_hidden = matches!(without_groups(returned), Type::ImplTrait(_));
            let form = if is_hidden { Form::Block } else { Form::Pinned };
            Self { form, is_unpin: false, output: inferred(returned), is_stated: true }
        })
    }

    /// Returns the future that `boxed`, the segment `Box<…>` of a path, contains.
    fn pointee(form: Form, boxed: &PathSegment) -> Option<Self> {
        match without_groups(types_in(boxed).next()?) {
            Type::TraitObject(object) => Self::bounded(form, &object.bounds),
            // In a box, only a pinned one can be told from a future that is not a trait object.
            Type::ImplTrait(hidden) if form == Form::Pinned => Self::bounded(form, &hidden.bounds),
            // Rust 2018 allows a trait object without `dyn`.
            Type::Path(object) if object.qself.is_none() => {
                let output = output_of(&object.path)?;
                Some(Self { form, is_unpin: false, output, is_stated: false })
            }
            _ => None,
        }
    }

    /// Returns the future that has these bounds.
    fn bounded(form: Form, bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<Self> {
        let paths = || {
            bounds.iter().filter_map(|bound| match bound {
                TypeParamBound::Trait(bound) => Some(&bound.path),
                _ => None,
            })
        };
        let output = paths().find_map(output_of)?;
        let is_unpin =
            paths().any(|path| path.segments.last().is_some_and(|last| last.ident == "Unpin"));
        Some(Self { form, is_unpin, output, is_stated: false })
    }

    /// Returns the async block if `body` consists of nothing else, apart from `Box::pin` for a
    /// pinned future. `#[async_trait]` generates such bodies.
    pub(crate) fn only_block(&self, body: &Group) -> Option<TokenStream> {
        let is_pinned = match self.form {
            Form::Block => false,
            Form::Pinned => true,
            Form::Boxed => return None,
        };
        if self.is_unpin {
            return None;
        }
        let parse = |input: ParseStream<'_>| {
            if !is_pinned {
                return async_block(input);
            }
            let path = Path::parse_mod_style(input)?;
            let names: Vec<_> = path.segments.iter().map(|segment| &segment.ident).collect();
            if !matches!(names[..], [.., boxed, pin] if boxed == "Box" && pin == "pin") {
                return Err(input.error("not `Box::pin`"));
            }
            let argument;
            syn::parenthesized!(argument in input);
            let block = async_block(&argument)?;
            argument.parse::<Option<Token![,]>>()?;
            Ok(block)
        };
        // The parser also fails if something follows.
        parse.parse2(body.stream()).ok()
    }
}

/// Parses an async block.
fn async_block(input: ParseStream<'_>) -> Result<TokenStream> {
    let keyword: Token![async] = input.parse()?;
    let capture: Option<Token![move]> = input.parse()?;
    let block: Group = input.parse()?;
    if block.delimiter() != Delimiter::Brace {
        return Err(Error::new(block.span(), "not a block"));
    }
    Ok(quote!(#keyword #capture #block))
}

/// Returns the type without parentheses and without the invisible groups in which `macro_rules!`
/// passes types on.
fn without_groups(mut of: &Type) -> &Type {
    loop {
        of = match of {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return of,
        }
    }
}

/// Returns the last segment of a type that is a path.
fn last_segment(of: &Type) -> Option<&PathSegment> {
    match of {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// Returns the generic arguments of a segment, such as `<'a, T>`.
fn arguments_of(segment: &PathSegment) -> Option<&AngleBracketedGenericArguments> {
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments),
        _ => None,
    }
}

/// Returns the types among the generic arguments of a segment.
fn types_in(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    arguments_of(segment).into_iter().flat_map(|arguments| &arguments.args).filter_map(|argument| {
        match argument {
            GenericArgument::Type(argument) => Some(argument),
            _ => None,
        }
    })
}

/// Returns the `Output` of the trait `Future`, or `_` if it is not given. Returns `None` for
/// another trait, such as the `Future` of a library that has an `Item`.
fn output_of(path: &Path) -> Option<Type> {
    let last = path.segments.last().filter(|last| last.ident == "Future")?;
    let Some(arguments) = arguments_of(last) else {
        return last.arguments.is_none().then(|| inferred(last));
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(named) if named.ident == "Output" => Some(named.ty.clone()),
        _ => None,
    })
}

/// Returns `_`. An error about this type points at `place`.
pub(crate) fn inferred(place: &impl Spanned) -> Type {
    Type::Verbatim(quote_spanned!(place.span()=> _))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the form of the future and whether it must be `Unpin`.
    fn seen(returned: &str) -> Option<(Form, bool)> {
        let future = ReturnedFuture::visible(&syn::parse_str(returned).unwrap())?;
        assert!(!future.is_stated);
        Some((future.form, future.is_unpin))
    }

    #[test]
    fn every_spelling_of_a_future_is_seen() {
        const CASES: [(&str, Option<(Form, bool)>); 16] = [
            ("impl Future<Output = u8>", Some((Form::Block, false))),
            ("(impl Send + ::core::future::Future<Output = u8> + 'a)", Some((Form::Block, false))),
            ("impl Future<Output = u8> + Unpin", Some((Form::Block, true))),
            ("Pin<Box<dyn Future<Output = u8>>>", Some((Form::Pinned, false))),
            (
                "::core::pin::Pin<Box<dyn ::core::future::Future<Output = u8> + Send + \
                 'async_trait>>",
                Some((Form::Pinned, false)),
            ),
            ("Pin<Box<dyn Future<Output = u8> + Unpin>>", Some((Form::Pinned, true))),
            ("Pin<Box<(dyn Future<Output = u8> + Send)>>", Some((Form::Pinned, false))),
            ("Pin<Box<Future<Output = u8>>>", Some((Form::Pinned, false))),
            ("Pin<Box<impl Future<Output = u8>>>", Some((Form::Pinned, false))),
            ("Box<dyn Future<Output = u8> + Unpin>", Some((Form::Boxed, true))),
            ("futures::future::BoxFuture<'a, u8>", Some((Form::Pinned, false))),
            ("LocalBoxFuture<'_, u8>", Some((Form::Pinned, false))),
            ("Result<impl Future<Output = u8>, ()>", None),
            ("impl Future<Item = u8, Error = ()>", None),
            ("Pin<Box<u8>>", None),
            ("(dyn Future<Output = u8>,)", None),
        ];
        for (returned, expected) in CASES {
            assert_eq!(seen(returned), expected, "{returned}");
        }
    }

    #[test]
    fn only_a_body_that_is_an_async_block_avoids_the_second_box() {
        const PINNED: &str = "Pin<Box<dyn Future<Output = u8>>>";
        let is_block = |returned: &str, body: &str| {
            let future = ReturnedFuture::visible(&syn::parse_str(returned).unwrap()).unwrap();
            future.only_block(&syn::parse_str(body).unwrap()).is_some()
        };
        assert!(is_block(PINNED, "{ Box::pin(async move { let x = x; { return 5; } }) }"));
        assert!(is_block(PINNED, "{ ::std::boxed::Box::pin(async {},) }"));
        assert!(is_block("impl Future<Output = u8>", "{ async move { 5 } }"));
        for body in [
            "{ async move { 5 } }",
            "{ if early { return early(); } Box::pin(async move { 5 }) }",
            "{ Box::pin(async move { 5 }.fuse()) }",
            "{ Box::pin(later(5)) }",
            "{ Rc::pin(async move { 5 }) }",
        ] {
            assert!(!is_block(PINNED, body), "{body}");
        }
        assert!(!is_block("impl Future<Output = u8>", "{ Box::pin(async move { 5 }) }"));
        assert!(!is_block("impl Future<Output = u8> + Unpin", "{ async move { 5 } }"));
        assert!(!is_block("Box<dyn Future<Output = u8>>", "{ Box::new(async move { 5 }) }"));
    }
}
