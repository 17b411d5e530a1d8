//! The return type of a function, in a form that is allowed inside its body.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    GenericArgument, Path, PathArguments, ReturnType, Type, TypeParamBound, spanned::Spanned,
};

/// Returns the return type with each `impl Trait` in it replaced by `_`, because `impl Trait` is
/// not allowed inside a body.
pub(crate) fn in_body(output: ReturnType) -> TokenStream {
    match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, returned) => type_in_body(*returned),
    }
}

/// Returns a type with each `impl Trait` in it replaced by `_`.
pub(crate) fn type_in_body(mut returned: Type) -> TokenStream {
    erase(&mut returned);
    quote!(#returned)
}

/// Replaces each `impl Trait` in a type by `_`.
fn erase(returned: &mut Type) {
    match returned {
        Type::ImplTrait(hidden) => {
            let at = hidden.impl_token.span();
            *returned = Type::Verbatim(quote_spanned!(at=> _));
        }
        Type::Path(named) => {
            if let Some(qualified) = &mut named.qself {
                erase(&mut qualified.ty);
            }
            erase_in_path(&mut named.path);
        }
        Type::TraitObject(object) => {
            for bound in &mut object.bounds {
                if let TypeParamBound::Trait(bound) = bound {
                    erase_in_path(&mut bound.path);
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(erase),
        Type::Array(array) => erase(&mut array.elem),
        Type::Group(group) => erase(&mut group.elem),
        Type::Paren(paren) => erase(&mut paren.elem),
        Type::Ptr(pointer) => erase(&mut pointer.elem),
        Type::Reference(reference) => erase(&mut reference.elem),
        Type::Slice(slice) => erase(&mut slice.elem),
        // The other types cannot contain `impl Trait`.
        _ => (),
    }
}

/// Replaces each `impl Trait` in the generic arguments of a path by `_`.
fn erase_in_path(path: &mut Path) {
    for segment in &mut path.segments {
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
            for argument in &mut arguments.args {
                match argument {
                    GenericArgument::Type(argument) => erase(argument),
                    GenericArgument::AssocType(argument) => erase(&mut argument.ty),
                    _ => (),
                }
            }
        }
    }
}
