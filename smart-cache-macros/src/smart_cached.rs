//! `#[smart_cached]`: a function that is no handler, whose value is computed once for each key.
//!
//! The signature stays as it is. What tells two calls apart are the values in the template and in
//! `#[key(..)]`, so an argument that is in neither is an error: two calls that differ in it would
//! share a value.

use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Error, LitStr, Result, ReturnType};

use crate::args::{self, Arg, Arguments, Errors, Slot};
use crate::expand::{Names, body};
use crate::handler::{Argument, Handler, Key, Kind, names_impl_trait};
use crate::smart_cache::{number, option, text};
use crate::template::Template;
use crate::values::{CacheName, CratePath, Tags, Ttl};
use crate::{check, fallback};

/// The arguments of `#[smart_cached]`.
#[derive(Default)]
struct SmartCached {
    /// There was a key, right or wrong.
    has_key: bool,
    key: Option<Template>,
    tags: Arg<Tags>,
    ttl: Arg<Ttl>,
    cache: Arg<CacheName>,
    krate: Arg<CratePath>,
}

impl Arguments for SmartCached {
    const ATTRIBUTE: &'static str = "smart_cached";
    const NAMED: &'static [&'static str] = &["tags", "ttl", "cache", "crate"];

    fn template(&mut self, literal: LitStr) -> Result<()> {
        if std::mem::replace(&mut self.has_key, true) {
            return Err(Error::new(
                literal.span(),
                format!(
                    "a value has one key; what else it depends on goes into `tags({})`",
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
            "ttl" => &mut self.ttl,
            "cache" => &mut self.cache,
            "crate" => &mut self.krate,
            _ => return None,
        })
    }
}

/// The function with its new body; on a mistake the function as it was, and every mistake.
pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let arguments: SmartCached = args::read(args, &mut errors);
    let Some(mut function) = errors.take(check::is_function(SmartCached::ATTRIBUTE, item)) else {
        return fallback::item(item, errors);
    };
    function.read_arguments(&mut errors);
    if !check::is_async(SmartCached::ATTRIBUTE, &function, &mut errors) {
        return fallback::handler(&function, errors);
    }
    if !arguments.has_key {
        errors.push(Error::new(
            Span::call_site(),
            "what is the key? `#[smart_cached(\"profile:{id}\")]` stores under it, and `clear_cache` clears it",
        ));
    }
    if let ReturnType::Type(_, ty) = &function.sig.output
        && names_impl_trait(ty)
    {
        errors.push(Error::new(
            ty.span(),
            "the value is stored and read back, so its type must be named instead of `impl Trait`",
        ));
    }
    if let Some(key) = &arguments.key {
        for argument in &function.arguments {
            is_in_the_key(argument, key, &mut errors);
        }
    }
    if errors.is_empty() {
        rewrite(&arguments, function)
    } else {
        fallback::handler(&function, errors)
    }
}

/// Every name that an argument binds must count, or be said not to.
fn is_in_the_key(argument: &Argument, key: &Template, errors: &mut Errors) {
    if !matches!(argument.key, Key::Shown) {
        return;
    }
    let names = match &argument.kind {
        Kind::Receiver(receiver) => vec![Ident::new("self", receiver.self_token.span)],
        Kind::Typed(pattern, _) => crate::handler::bound(pattern),
    };
    for name in names {
        if key.mentions(&name.unraw().to_string()) {
            continue;
        }
        errors.push(Error::new(
            name.span(),
            format!(
                "`{name}` is not in the key, so two calls that differ in it would share a value; write `{{{name}}}` in the template, or in front of the argument `#[key({name}.id)]` for what of it counts, or `#[key(ignore)]` if it cannot change the value (a connection, say)"
            ),
        ));
    }
}

fn rewrite(arguments: &SmartCached, mut function: Handler) -> TokenStream {
    let names = Names::new(arguments.krate.get().map(|krate| &krate.0));
    let Names { private, call, .. } = &names;
    let setup = setup(arguments, &function, private);
    let bindings = bindings(arguments, &function, &names);
    let output = function.output();
    let work = body(&function, private);
    let span = Span::mixed_site().located_at(output.span());
    // A type that cannot be stored is reported where it is declared.
    let run = quote_spanned!(span=> #private::Returned::<#output>::new().run(#call, #work).await);
    let inner_attrs = std::mem::take(&mut function.inner_attrs);
    let mut block = Group::new(
        function.body.delimiter(),
        quote! {
            #(#inner_attrs)*
            use #private::ReturnsValue as _;
            let mut #call = { #setup };
            #bindings
            #run
        },
    );
    block.set_span(function.body.span());
    function.body = block;
    function.into_token_stream()
}

/// The site and the call, in a block of their own: the body must not see their names.
fn setup(arguments: &SmartCached, function: &Handler, private: &TokenStream) -> TokenStream {
    let name = function.sig.ident.unraw().to_string();
    let key = arguments.key.iter().map(|key| text(key.source()));
    let tags = arguments
        .tags
        .get()
        .map_or(&[][..], |tags| &tags.0)
        .iter()
        .map(|tag| text(tag.source()));
    let ttl = option(private, arguments.ttl.get().map(|ttl| number(ttl.0)));
    let cache = option(
        private,
        arguments.cache.get().map(|cache| {
            let name = &cache.0;
            quote!(#name)
        }),
    );
    quote! {
        static SITE: #private::FunctionSite = #private::FunctionSite {
            module: #private::module_path!(),
            name: #name,
            file: #private::file!(),
            line: #private::line!(),
            column: #private::column!(),
            key: #(#key)*,
            tags: &[#(#tags),*],
            ttl_ms: #ttl,
            cache: #cache,
        };
        #private::inventory::submit! { #private::Function(&SITE) }
        #private::FunctionCall::new(&SITE, #private::type_name_of_val(&|| ()))
    }
}

/// What the arguments tell the call.
fn bindings(arguments: &SmartCached, function: &Handler, names: &Names) -> TokenStream {
    let Names { private, call, .. } = names;
    let scope = function.scope();
    let key = arguments.key.iter().map(|key| {
        let text = key.format_args(&scope, private);
        let values = key
            .values(&scope)
            .map(|values| quote!(#call.values(#values);));
        quote!(#call.key(#text); #values)
    });
    let tags = arguments
        .tags
        .get()
        .into_iter()
        .flat_map(|tags| &tags.0)
        .map(|tag| {
            let text = tag.format_args(&scope, private);
            quote!(#call.tag(#text);)
        });
    let parts = function.arguments.iter().flat_map(|argument| {
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
