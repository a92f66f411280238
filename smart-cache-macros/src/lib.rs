//! The attributes of smart-cache. Use them through that crate, which documents them.
//!
//! The crate holds no behaviour, only calls: everything that the generated code does stands
//! in `smart_cache::private`. The way of one expansion is the list of its modules.

mod args; // what stands in the attribute's parentheses
mod cache_keys; // `#[derive(CacheKeys)]`: the keys of a row
mod check; // the rules that a handler must keep
mod clears_cache; // what is particular to `#[clears_cache]`
mod expand; // model to tokens: what both attributes make of a function
mod fallback; // what is emitted when the function cannot be rewritten
mod handler; // the user's function, as a model
mod lint; // `#[expect]`s that the rewritten function would no longer fulfil
mod smart_cache; // what is particular to `#[smart_cache]`
mod smart_cached; // `#[smart_cached]`, for functions that are no handlers
mod template; // "product:{id}"
mod values; // the arguments, one type each

use proc_macro::TokenStream;

use crate::clears_cache::ClearsCache;
use crate::smart_cache::SmartCache;

/// Caches the whole response of a handler; documented in smart-cache.
#[proc_macro_attribute]
pub fn smart_cache(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::first::<SmartCache>(&args.into(), &item.into()).into()
}

/// What `#[smart_cache]` turns into once it is the last attribute. Not public API.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn smart_cache_last(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::last::<SmartCache>(args.into(), &item.into()).into()
}

/// Computes a function's value once for each key; documented in smart-cache.
#[proc_macro_attribute]
pub fn smart_cached(args: TokenStream, item: TokenStream) -> TokenStream {
    smart_cached::expand(args.into(), &item.into()).into()
}

/// Clears keys when a write handler has run; documented in smart-cache.
#[proc_macro_attribute]
pub fn clears_cache(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::first::<ClearsCache>(&args.into(), &item.into()).into()
}

/// What `#[clears_cache]` turns into once it is the last attribute. Not public API.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn clears_cache_last(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::last::<ClearsCache>(args.into(), &item.into()).into()
}

/// The keys that a row's change clears; documented in smart-cache.
#[proc_macro_derive(CacheKeys, attributes(cache_keys))]
pub fn cache_keys(item: TokenStream) -> TokenStream {
    cache_keys::derive(item.into()).into()
}
