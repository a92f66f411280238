//! What is particular to `#[clears_cache]`: the keys, written before the body runs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Error, LitStr, Path, Result};

use crate::args::{Arg, Arguments, Errors, Slot};
use crate::check;
use crate::expand::{Attributes, Names};
use crate::handler::{Argument, Handler};
use crate::template::Template;
use crate::values::{CacheName, CratePath};

/// The arguments of `#[clears_cache]`.
#[derive(Default)]
pub(crate) struct ClearsCache {
    /// There was a key, right or wrong.
    has_key: bool,
    keys: Vec<Template>,
    cache: Arg<CacheName>,
    krate: Arg<CratePath>,
}

impl Arguments for ClearsCache {
    const ATTRIBUTE: &'static str = "clears_cache";
    const NAMED: &'static [&'static str] = &["cache", "crate"];

    fn template(&mut self, literal: LitStr) -> Result<()> {
        self.has_key = true;
        self.keys.push(Template::parse(&literal)?);
        Ok(())
    }

    fn misread_template(&mut self) {
        self.has_key = true;
    }

    fn named(&mut self, name: &str) -> Option<&mut dyn Slot> {
        Some(match name {
            "cache" => &mut self.cache,
            "crate" => &mut self.krate,
            _ => return None,
        })
    }
}

impl Attributes for ClearsCache {
    const LAST: &'static str = "clears_cache_last";

    fn crate_path(&self) -> Option<&Path> {
        self.krate.get().map(|krate| &krate.0)
    }

    fn check(&self, handler: &Handler, errors: &mut Errors) {
        if !self.has_key {
            errors.push(Error::new(
                Span::call_site(),
                "what does this clear? name the keys and tags: `#[clears_cache(\"product:{id}\", \"products\")]`",
            ));
        }
        check::has_no_key_attributes(handler, errors);
    }

    fn headers(&self, _: &TokenStream) -> Option<TokenStream> {
        None
    }

    fn call(&self, handler: &Handler, names: &Names) -> TokenStream {
        let Names {
            private, context, ..
        } = names;
        let name = handler.sig.ident.unraw().to_string();
        let keys = self.keys.iter().map(|key| key.source().value());
        let cache = match self.cache.get() {
            Some(CacheName(name)) => quote!(#private::Option::Some(#name)),
            None => quote!(#private::Option::None),
        };
        // The statics stand in a block of their own, for the body must not see their names.
        quote! {
            static SITE: #private::ClearSite = #private::ClearSite {
                module: #private::module_path!(),
                name: #name,
                file: #private::file!(),
                line: #private::line!(),
                column: #private::column!(),
                keys: &[#(#keys),*],
                cache: #cache,
            };
            #private::inventory::submit! { #private::ClearHandler(&SITE) }
            #private::ClearCall::new(#context, &SITE)
        }
    }

    fn run(&self, _: &Handler) -> &'static str {
        "run"
    }

    fn argument(&self, _: &Argument, _: &Ident, _: &Names) -> Option<TokenStream> {
        None
    }

    fn bindings(&self, handler: &Handler, names: &Names) -> TokenStream {
        let Names { private, call, .. } = names;
        let scope = handler.scope();
        let keys = self.keys.iter().map(|key| key.format_args(&scope, private));
        quote!(#(#call.key(#keys);)*)
    }
}
