//! The rules that a handler must keep, each with the remedy in its message.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Error, Result};

use crate::args::Errors;
use crate::handler::Handler;

/// Reads the item, or says what the attribute belongs on.
pub(crate) fn is_function(attribute: &str, item: &TokenStream) -> Result<Handler> {
    let tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    let is_keyword =
        |tree: &TokenTree, word: &str| matches!(tree, TokenTree::Ident(ident) if ident == word);
    let other = [
        "struct",
        "enum",
        "union",
        "impl",
        "trait",
        "mod",
        "use",
        "static",
        "type",
        "macro_rules",
    ];
    let first_keyword = tokens
        .iter()
        .find(|tree| is_keyword(tree, "fn") || other.iter().any(|word| is_keyword(tree, word)));
    let is_fn = first_keyword.is_some_and(|tree| is_keyword(tree, "fn"));
    if !is_fn {
        let message = if attribute == "smart_cached" {
            format!("`#[{attribute}]` goes on an `async fn`; here put it on each function")
        } else {
            format!(
                "`#[{attribute}]` goes on an `async fn`, a handler of axum; here put it on each handler"
            )
        };
        return Err(match first_keyword.or_else(|| tokens.first()) {
            Some(tree) => Error::new(tree.span(), message),
            None => Error::new(proc_macro2::Span::call_site(), message),
        });
    }
    let has_body = matches!(tokens.last(), Some(TokenTree::Group(_)));
    if !has_body {
        return Err(Error::new_spanned(
            item,
            format!("this function has no body; put `#[{attribute}]` where the handler is written"),
        ));
    }
    syn::parse2(item.clone())
}

/// A handler that answers later must say so: nothing else can be awaited on a miss.
pub(crate) fn is_async(attribute: &str, handler: &Handler, errors: &mut Errors) -> bool {
    if handler.sig.asyncness.is_some() {
        return true;
    }
    errors.push(Error::new(
        handler.sig.fn_token.span,
        format!("`#[{attribute}]` goes on an `async fn`; write `async fn {}`, and `.await` inside it what it returned", handler.sig.ident),
    ));
    false
}

/// Finds a second attribute of ours by what the first one turned into.
pub(crate) fn stands_alone(attribute: &str, handler: &Handler, errors: &mut Errors) -> bool {
    let is_ours = |attr: &&Attribute| {
        attr.path().segments.last().is_some_and(|last| {
            last.ident == "smart_cache_last" || last.ident == "clears_cache_last"
        })
    };
    if !handler.attrs.iter().any(|attr| is_ours(&attr)) {
        return true;
    }
    errors.push(Error::new(
        proc_macro2::Span::call_site(),
        format!("a handler takes one `#[smart_cache]` or `#[clears_cache]`; more keys go into `tags(..)`, or into the one `#[{attribute}]`"),
    ));
    false
}

/// `#[key]` shapes the variant of a cached response, and a write handler has none.
pub(crate) fn has_no_key_attributes(handler: &Handler, errors: &mut Errors) {
    for span in handler
        .arguments
        .iter()
        .filter_map(|argument| argument.key_span)
    {
        errors.push(Error::new(
            span,
            "`#[key]` belongs to `#[smart_cache]`; what `#[clears_cache]` clears stands in its templates",
        ));
    }
}
