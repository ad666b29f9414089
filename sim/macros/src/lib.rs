//! The test attribute of the simulator. Use it as `#[orloj_sim::test]`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{
    Error, Ident, ItemFn, LitInt, Token, bracketed,
    parse::{Parse, ParseStream},
};

/// Runs an async function as a test in many seeded worlds.
///
/// The function takes the [`Context`] of a host called `test`; it adds further hosts by
/// `orloj_sim::Control`. `#[orloj_sim::test(seeds = 200)]` sets how many seeds a plain run tries
/// (20 otherwise), `keep = [4711]` further ones that failed once and are tried first. A failure
/// names the seed and the command that replays it; `ORLOJ_SEED=N` runs one seed alone,
/// `ORLOJ_SEEDS=A..B` tries others.
///
/// [`Context`]: https://docs.rs/orloj-kernel
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(item as ItemFn);
    let (mut seeds, mut keep) = (20u64, Vec::new());
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            if name == "seeds" {
                seeds = input.parse::<LitInt>()?.base10_parse()?;
            } else if name == "keep" {
                let list;
                bracketed!(list in input);
                for seed in list.parse_terminated(<LitInt as Parse>::parse, Token![,])? {
                    keep.push(seed.base10_parse::<u64>()?);
                }
            } else {
                let message = "the arguments are `seeds = N` and `keep = [N, ..]`";
                return Err(Error::new(name.span(), message));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    syn::parse_macro_input!(attribute with parser);
    if function.sig.asyncness.is_none() {
        let message = "a simulated test is an async function";
        return Error::new_spanned(&function.sig, message).into_compile_error().into();
    }
    let (attributes, name) = (&function.attrs, &function.sig.ident);
    let inner = ItemFn { attrs: Vec::new(), ..function.clone() };
    quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        fn #name() {
            #inner
            ::orloj_sim::testing::run(
                ::core::env!("CARGO_PKG_NAME"),
                ::core::stringify!(#name),
                &[#(#keep),*],
                #seeds,
                |context| ::std::boxed::Box::pin(#name(context)),
            );
        }
    }
    .into()
}
