//! `#[endpoint(N)]`: the attribute that makes a function an endpoint of a guest program.
//!
//! Here: checking the attribute and the signature, with an error at the token that is wrong. Not here: what
//! an export looks like to the linker (`javm-guest/src/link.rs`) and which types fit a register
//! (`javm-guest/src/register.rs`). The function itself is never changed, so it can be called, and tested,
//! as it stands.
#![forbid(unsafe_code)]

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, ItemFn, LitInt, ReturnType, Type};

/// How many arguments arrive in registers: φ7..φ10.
const MAX_ARGUMENTS: usize = 4;

/// Makes a function endpoint `N` (0..=255) of the program: `#[endpoint(3)] fn transfer(…)` is exported as
/// `transfer@3`.
///
/// The function takes up to four arguments, each of a type that fits a register (`u8` … `u64`, `i8` …
/// `i64`, `bool`, `Slot<_>`); an argument outside its type's range is a fault. It returns such a type, `()`
/// or `!`. More than four arguments, or longer ones, travel as Data in slot 0.
///
/// The function stays an ordinary function; on the host nothing else happens.
#[proc_macro_attribute]
pub fn endpoint(
    attribute: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let original = TokenStream::from(item.clone());
    match expand(attribute.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let error = error.to_compile_error();
            // The function stays, so that one mistake does not show as a second one at its callers.
            quote!(#error #original).into()
        }
    }
}

fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let index = parse_index(attribute)?;
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "#[endpoint(N)] belongs on a function with a body"))?;
    check_signature(&function)?;

    let name = &function.sig.ident;
    let types: Vec<&Type> = function
        .sig
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let registers: Vec<_> = (0..types.len()).map(|i| format_ident!("a{i}")).collect();
    let count = u8::try_from(types.len()).expect("checked above: at most four arguments");
    let symbol = format!("{name}@{index}");
    let entry = format_ident!("__javm_entry_{name}");
    let module = format_ident!("__javm_export_{name}");

    // The spans of the types carry a "does not fit a register" error to where the author wrote the type.
    let arguments = types.iter().zip(&registers).map(|(ty, register)| {
        quote_spanned!(ty.span()=> <#ty as ::javm_guest::FromRegister>::from_register(#register))
    });
    let call = quote!(#name(#(#arguments),*));
    let body = match &function.sig.output {
        ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)) => call,
        ReturnType::Type(_, ty) => {
            quote_spanned!(ty.span()=> <#ty as ::javm_guest::IntoRegister>::into_register(#call))
        }
        ReturnType::Default => quote!({ #call; 0 }),
    };
    let cfgs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let cfgs: Vec<_> = cfgs.collect();

    Ok(quote! {
        #function

        #(#cfgs)*
        #[doc(hidden)]
        #[allow(dead_code)]
        extern "C" fn #entry(#(#registers: u64),*) -> u64 {
            #body
        }

        #(#cfgs)*
        #[doc(hidden)]
        mod #module {
            ::javm_guest::__export! { #symbol, #count, super::#entry }
        }
    })
}

fn parse_index(attribute: TokenStream) -> Result<u8, Error> {
    const USAGE: &str = "an endpoint needs its index, 0 to 255: #[endpoint(3)]";
    if attribute.is_empty() {
        return Err(Error::new(Span::call_site(), USAGE));
    }
    let literal: LitInt = syn::parse2(attribute).map_err(|error| Error::new(error.span(), USAGE))?;
    if !literal.suffix().is_empty() {
        return Err(Error::new(literal.span(), "the index of an endpoint has no type suffix"));
    }
    literal.base10_parse::<u8>().map_err(|_| {
        Error::new(literal.span(), format!("endpoint {literal} does not exist: indices are 0 to 255"))
    })
}

fn check_signature(function: &ItemFn) -> Result<(), Error> {
    let signature = &function.sig;
    let refuse = |span: Span, what: &str| Err(Error::new(span, format!("an endpoint cannot be {what}")));
    if let Some(token) = &signature.asyncness {
        return refuse(token.span(), "async");
    }
    if let Some(token) = &signature.unsafety {
        return refuse(token.span(), "unsafe: whoever holds the instance may call it");
    }
    if let Some(token) = &signature.variadic {
        return refuse(token.span(), "variadic");
    }
    if !signature.generics.params.is_empty() {
        return refuse(signature.generics.span(), "generic");
    }
    for (position, input) in signature.inputs.iter().enumerate() {
        if let FnArg::Receiver(receiver) = input {
            return refuse(receiver.span(), "a method: its state is the program's persistent memory");
        }
        if position == MAX_ARGUMENTS {
            return Err(Error::new(
                input.span(),
                "an endpoint has at most four arguments (registers φ7 to φ10); \
                 pass more, or longer ones, as Data in slot 0",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(attribute: TokenStream, item: TokenStream) -> String {
        expand(attribute, item).expect_err("must be refused").to_string()
    }

    #[test]
    fn an_export_is_named_name_at_index() {
        let tokens = expand(
            quote!(3),
            quote!(
                fn transfer(from: u64, to: u8) -> bool {
                    from == to.into()
                }
            ),
        );
        let text = tokens.expect("is an endpoint").to_string();
        assert!(text.contains("\"transfer@3\" , 2u8 , super :: __javm_entry_transfer"), "{text}");
    }

    #[test]
    fn bad_indices_are_named() {
        let item = quote!(
            fn f() {}
        );
        assert!(error(quote!(), item.clone()).contains("#[endpoint(3)]"));
        assert!(error(quote!("3"), item.clone()).contains("#[endpoint(3)]"));
        assert!(error(quote!(3u8), item.clone()).contains("no type suffix"));
        assert_eq!(error(quote!(256), item), "endpoint 256 does not exist: indices are 0 to 255");
    }

    #[test]
    fn bad_signatures_are_named() {
        let refused = |item| error(quote!(0), item);
        assert!(
            refused(quote!(
                fn f(a: u64, b: u64, c: u64, d: u64, e: u64) {}
            ))
            .contains("at most four")
        );
        assert!(
            refused(quote!(
                async fn f() {}
            ))
            .ends_with("be async")
        );
        assert!(
            refused(quote!(
                fn f<T>() {}
            ))
            .ends_with("be generic")
        );
        assert!(
            refused(quote!(
                fn f(&self) {}
            ))
            .contains("a method")
        );
        assert!(
            refused(quote!(
                unsafe fn f() {}
            ))
            .contains("unsafe")
        );
        assert!(
            refused(quote!(
                struct S;
            ))
            .contains("belongs on a function")
        );
    }
}
