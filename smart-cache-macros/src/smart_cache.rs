//! What is particular to `#[smart_cache]`: the site, and what tells two answers apart.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Error, LitStr, Path, Result, Type};

use crate::args::{Arg, Arguments, Errors, Slot};
use crate::expand::{Attributes, Names};
use crate::handler::{Argument, Handler, Key, names_impl_trait};
use crate::template::Template;
use crate::values::{
    Audit, CacheName, CratePath, Encodings, HonourFreshness, Local, MaxBody, Query, StaleIfError,
    Status, Tags, Ttl, Vary,
};

/// The arguments of `#[smart_cache]`.
#[derive(Default)]
pub(crate) struct SmartCache {
    /// There was a key, right or wrong.
    has_key: bool,
    key: Option<Template>,
    tags: Arg<Tags>,
    query: Arg<Query>,
    vary: Arg<Vary>,
    encodings: Arg<Encodings>,
    ttl: Arg<Ttl>,
    honour_freshness: Arg<HonourFreshness>,
    status: Arg<Status>,
    cache: Arg<CacheName>,
    local: Arg<Local>,
    max_body: Arg<MaxBody>,
    stale_if_error: Arg<StaleIfError>,
    audit: Arg<Audit>,
    krate: Arg<CratePath>,
}

impl Arguments for SmartCache {
    const ATTRIBUTE: &'static str = "smart_cache";
    const NAMED: &'static [&'static str] = &[
        "tags",
        "query",
        "vary",
        "encodings",
        "ttl",
        "honour_freshness",
        "status",
        "cache",
        "local",
        "max_body",
        "stale_if_error",
        "audit",
        "crate",
    ];

    fn template(&mut self, literal: LitStr) -> Result<()> {
        if std::mem::replace(&mut self.has_key, true) {
            return Err(Error::new(
                literal.span(),
                format!(
                    "a response has one key; what else it depends on goes into `tags({})`",
                    literal.token()
                ),
            ));
        }
        self.key = Some(Template::parse(&literal)?);
        Ok(())
    }

    fn misread_template(&mut self) {
        self.has_key = true;
    }

    fn named(&mut self, name: &str) -> Option<&mut dyn Slot> {
        Some(match name {
            "tags" => &mut self.tags,
            "query" => &mut self.query,
            "vary" => &mut self.vary,
            "encodings" => &mut self.encodings,
            "ttl" => &mut self.ttl,
            "honour_freshness" => &mut self.honour_freshness,
            "status" => &mut self.status,
            "cache" => &mut self.cache,
            "local" => &mut self.local,
            "max_body" => &mut self.max_body,
            "stale_if_error" => &mut self.stale_if_error,
            "audit" => &mut self.audit,
            "crate" => &mut self.krate,
            _ => return None,
        })
    }
}

impl Attributes for SmartCache {
    const LAST: &'static str = "smart_cache_last";

    fn crate_path(&self) -> Option<&Path> {
        self.krate.get().map(|krate| &krate.0)
    }

    fn check(&self, _: &Handler, errors: &mut Errors) {
        if !self.has_key {
            errors.push(Error::new(
                Span::call_site(),
                "what is the key? `#[smart_cache(\"product:{id}\")]` stores under it, and `clear_cache` clears it",
            ));
        }
    }

    fn headers(&self, private: &TokenStream) -> Option<TokenStream> {
        self.vary.get().map(|_| quote!(#private::WithHeaders))
    }

    fn call(&self, handler: &Handler, names: &Names) -> TokenStream {
        let Names {
            private, context, ..
        } = names;
        let name = handler.sig.ident.unraw().to_string();
        let key = self
            .key
            .as_ref()
            .map_or_else(|| quote!(""), |key| text(key.source()));
        let tags = self
            .tags
            .get()
            .map_or(&[][..], |tags| &tags.0)
            .iter()
            .map(|tag| text(tag.source()));
        let vary = self.vary.get().map_or(&[][..], |vary| &vary.0);
        let status = self.status.get().map_or(&[][..], |status| &status.0);
        let honour_freshness = self.honour_freshness.get().is_some_and(|honour| honour.0);
        let local = self.local.get().is_none_or(|local| local.0);
        let audit = self.audit.get().is_none_or(|audit| audit.0);
        let query = option(
            private,
            self.query.get().map(|query| {
                let names = &query.0;
                quote!(&[#(#names),*])
            }),
        );
        let ttl = option(private, self.ttl.get().map(|ttl| number(ttl.0)));
        let cache = option(
            private,
            self.cache.get().map(|cache| {
                let name = &cache.0;
                quote!(#name)
            }),
        );
        let stale_if_error = option(
            private,
            self.stale_if_error.get().map(|limit| number(limit.0)),
        );
        let encodings = option(
            private,
            self.encodings.get().map(|encodings| {
                let names = encodings
                    .0
                    .iter()
                    .map(|name| quote_spanned!(name.span()=> #private::#name()));
                quote!(#private::Encodings::of(&[#(#names),*]))
            }),
        );
        let max_body = option(private, self.max_body.get().map(|size| number(size.0)));
        // The statics stand in a block of their own, for the body must not see their names.
        quote! {
            static SITE: #private::Site = #private::Site {
                module: #private::module_path!(),
                name: #name,
                file: #private::file!(),
                line: #private::line!(),
                column: #private::column!(),
                key: #key,
                tags: &[#(#tags),*],
                query: #query,
                vary: &[#(#vary),*],
                ttl_ms: #ttl,
                honour_freshness: #honour_freshness,
                status: &[#(#status),*],
                cache: #cache,
                local: #local,
                max_body: #max_body,
                stale_if_error_ms: #stale_if_error,
                encodings: #encodings,
                audit: #audit,
                home: #private::Home::new(),
            };
            #private::inventory::submit! { #private::Handler(&SITE) }
            #private::Call::new(#context, &SITE, #private::type_name_of_val(&|| ()))
        }
    }

    fn run(&self, handler: &Handler) -> &'static str {
        // Only such a body can be shown to the compiler to be of its own: what a type parameter
        // holds, and what a reference points to, is the caller's affair.
        if handler.may_borrow() {
            "run_attached"
        } else {
            "run"
        }
    }

    fn answer(&self, run: TokenStream, names: &Names) -> TokenStream {
        let Names { private, call, .. } = names;
        let answer = Ident::new("answer", Span::mixed_site());
        // The handler's future is not even made where there is an answer.
        quote! {
            match #call.ready() {
                #private::Option::Some(#answer) => #answer,
                #private::Option::None => #run,
            }
        }
    }

    fn argument(&self, argument: &Argument, whole: &Ident, names: &Names) -> Option<TokenStream> {
        if !matches!(argument.key, Key::Shown) {
            return None;
        }
        let call = &names.call;
        let ty = argument.shown_type();
        let (shown, span) = (shower(&ty, names), Span::mixed_site().located_at(ty.span()));
        Some(quote_spanned!(span=> #shown::show(&#whole, #call.variant());))
    }

    fn bindings(&self, handler: &Handler, names: &Names) -> TokenStream {
        let Names { private, call, .. } = names;
        let scope = handler.scope();
        let key = self.key.iter().map(|key| {
            let text = key.format_args(&scope, private);
            let values = key
                .values(&scope)
                .map(|values| quote!(#call.values(#values);));
            quote!(#call.key(#text); #values)
        });
        let tags = self
            .tags
            .get()
            .into_iter()
            .flat_map(|tags| &tags.0)
            .map(|tag| {
                let text = tag.format_args(&scope, private);
                quote!(#call.tag(#text);)
            });
        let parts = handler.arguments.iter().flat_map(|argument| {
            let Key::Parts(parts) = &argument.key else {
                return TokenStream::new();
            };
            let cfgs = &argument.cfgs;
            parts
                .iter()
                .map(|part| {
                    let span = Span::mixed_site().located_at(part.span());
                    quote_spanned!(span=> #(#cfgs)* #call.part(&(#part));)
                })
                .collect()
        });
        quote!(#(#key)* #(#tags)* #(#parts)*)
    }
}

/// The trait by which a type shows itself; the type decides, its name only chooses the words.
///
/// All three traits hold for the very same types, but a type that has none of them is
/// reported in the words of the one that was asked for.
fn shower(ty: &Type, names: &Names) -> TokenStream {
    let Names { krate, private, .. } = names;
    if names_impl_trait(ty) {
        // `impl Trait` has no name that could stand here; the argument itself has its type.
        return quote!(#krate::KeyPart);
    }
    let name = match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    };
    let span = Span::mixed_site().located_at(ty.span());
    match name.as_deref() {
        Some(
            "HeaderMap" | "TypedHeader" | "Host" | "CookieJar" | "SignedCookieJar"
            | "PrivateCookieJar",
        ) => {
            quote_spanned!(span=> <#ty as #private::HeaderPart>)
        }
        Some(
            "Json" | "Bytes" | "BytesMut" | "String" | "Body" | "Multipart" | "RawForm" | "Request"
            | "Protobuf" | "JsonLines",
        ) => {
            quote_spanned!(span=> <#ty as #private::BodyPart>)
        }
        _ => quote_spanned!(span=> <#ty as #krate::KeyPart>),
    }
}

pub(crate) fn option(private: &TokenStream, value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(#private::Option::Some(#value)),
        None => quote!(#private::Option::None),
    }
}

pub(crate) fn number(value: u64) -> TokenStream {
    let value = Literal::u64_suffixed(value);
    quote!(#value)
}

/// The text of a literal as a plain one, for the site's own record.
pub(crate) fn text(literal: &LitStr) -> TokenStream {
    let text = literal.value();
    quote!(#text)
}
