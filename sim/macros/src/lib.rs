//! The test attribute of the simulator. Use it as `#[orloj_sim::test]`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, LitInt, parse::ParseStream};

/// Runs an async function as a test in many seeded worlds.
///
/// The function takes the [`Context`] of a host called `test`; it adds further hosts by
/// `orloj_sim::Control`. `#[orloj_sim::test(seeds = 200)]` sets how many seeds a plain run tries
/// (20 otherwise). A failure names the seed and the command that replays it; `ORLOJ_SEED=N` replays
/// one and prints its story, `ORLOJ_SEEDS=A..B` tries others.
///
/// [`Context`]: https://docs.rs/orloj-kernel
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(item as ItemFn);
    let mut seeds = 20u64;
    let parser = |input: ParseStream<'_>| {
        if input.is_empty() {
            return Ok(());
        }
        let name: syn::Ident = input.parse()?;
        if name != "seeds" {
            return Err(Error::new(name.span(), "the only argument is `seeds = N`"));
        }
        input.parse::<syn::Token![=]>()?;
        seeds = input.parse::<LitInt>()?.base10_parse()?;
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
                ::core::module_path!(),
                ::core::stringify!(#name),
                #seeds,
                |context| ::std::boxed::Box::pin(#name(context)),
            );
        }
    }
    .into()
}
