//! What is emitted when the function cannot be rewritten: the mistakes and the function.
//!
//! The function stays, so that one mistake does not become an error at each of its uses.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};

use crate::args::Errors;
use crate::handler::Handler;

/// The function as written, without `#[key]`, which the compiler does not know.
pub(crate) fn handler(handler: &Handler, errors: Errors) -> TokenStream {
    let errors = errors.into_tokens();
    let handler = handler.to_token_stream();
    quote!(#errors #handler)
}

/// The item as written, for it is not even a function.
pub(crate) fn item(item: &TokenStream, errors: Errors) -> TokenStream {
    let errors = errors.into_tokens();
    quote!(#errors #item)
}
