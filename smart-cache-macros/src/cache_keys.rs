//! `#[derive(CacheKeys)]`: the keys of a row, written from its fields.
//!
//! The fields that the templates name are bound under their own names, and the templates are then
//! read as those of a handler are, so a name that is no field is reported on that word.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Error, Field, GenericParam, Generics, Item, ItemStruct, LitStr, Meta, Result,
};

use crate::args::{self, Arg, Arguments, Errors, Slot};
use crate::expand::Names;
use crate::handler::Scope;
use crate::template::Template;
use crate::values::CratePath;

/// What stands in one `#[cache_keys(..)]`.
#[derive(Default)]
struct CacheKeys {
    /// There was a key, right or wrong.
    has_key: bool,
    keys: Vec<Template>,
    krate: Arg<CratePath>,
}

impl Arguments for CacheKeys {
    const ATTRIBUTE: &'static str = "cache_keys";
    const NAMED: &'static [&'static str] = &["crate"];

    fn template(&mut self, literal: LitStr) -> Result<()> {
        self.has_key = true;
        self.keys.push(Template::parse(&literal)?);
        Ok(())
    }

    fn misread_template(&mut self) {
        self.has_key = true;
    }

    fn named(&mut self, name: &str) -> Option<&mut dyn Slot> {
        (name == "crate").then_some(&mut self.krate)
    }
}

/// The implementation, or what is wrong; the item itself is not touched.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let row = syn::parse2(item).and_then(row);
    let implementation = errors.take(row).map(|row| {
        let attribute = read(&row.attrs, &mut errors);
        implement(&row, &attribute)
    });
    let errors = errors.into_tokens();
    quote!(#errors #implementation)
}

fn row(item: Item) -> Result<ItemStruct> {
    let (ident, what) = match item {
        Item::Struct(row) => return Ok(row),
        Item::Enum(item) => (item.ident, "an enum"),
        Item::Union(item) => (item.ident, "a union"),
        other => {
            return Err(Error::new_spanned(
                other,
                "`CacheKeys` is derived for a struct",
            ));
        }
    };
    Err(Error::new(
        ident.span(),
        format!(
            "`{ident}` is {what}, and `CacheKeys` is derived from the fields of a struct; write `impl CacheKeys for {ident}` yourself"
        ),
    ))
}

/// All attributes of the row count as one, so that long lists can be split.
fn read(attributes: &[Attribute], errors: &mut Errors) -> CacheKeys {
    let mut all = CacheKeys::default();
    for attribute in attributes {
        if !attribute.path().is_ident("cache_keys") {
            continue;
        }
        // Any other form holds no key, which is reported below.
        let Meta::List(list) = &attribute.meta else {
            continue;
        };
        let one: CacheKeys = args::read(list.tokens.clone(), errors);
        all.has_key |= one.has_key;
        all.keys.extend(one.keys);
        if one.krate.get().is_some() {
            all.krate = one.krate;
        }
    }
    if !all.has_key {
        errors.push(Error::new(
            Span::call_site(),
            "what does a change of such a row clear? name its keys: `#[cache_keys(\"product:{id}\", \"products\")]`",
        ));
    }
    all
}

fn implement(row: &ItemStruct, attribute: &CacheKeys) -> TokenStream {
    let Names { krate, private, .. } = Names::new(attribute.krate.get().map(|path| &path.0));
    let named: BTreeSet<&str> = attribute
        .keys
        .iter()
        .flat_map(Template::names)
        .map(|(name, _)| name)
        .collect();
    let fields: Vec<&Ident> = row
        .fields
        .iter()
        .filter_map(|field| field.ident.as_ref())
        .filter(|field| named.contains(field.unraw().to_string().as_str()))
        .collect();
    let scope = Scope::of(fields.iter().copied().cloned().collect());
    let keys = attribute
        .keys
        .iter()
        .map(|key| key.format_args(&scope, &private));
    let texts: Vec<String> = attribute
        .keys
        .iter()
        .map(|key| key.source().value())
        .collect();
    let name = &row.ident;
    let shown = name.unraw().to_string();
    let mut generics = row.generics.clone();
    for field in displayed(row, &attribute.keys) {
        let ty = &field.ty;
        let bound = syn::parse_quote!(#ty: #private::Display);
        generics.make_where_clause().predicates.push(bound);
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters #krate::hooks::CacheKeys for #name #arguments #bounds {
            fn cache_keys(&self) -> #private::Vec<#private::String> {
                #(let #fields = &self.#fields;)*
                #private::keys(&[#(#keys),*])
            }
        }

        const _: () = {
            static SITE: #private::ModelSite = #private::ModelSite {
                module: #private::module_path!(),
                name: #shown,
                file: #private::file!(),
                line: #private::line!(),
                keys: &[#(#texts),*],
            };
            #private::inventory::submit! { #private::Model(&SITE) }
        };
    }
}

/// The fields that stand in a template themselves and whose type a parameter decides: whether they
/// can be shown is then for the parameter's own type to say.
fn displayed<'a>(row: &'a ItemStruct, keys: &[Template]) -> Vec<&'a Field> {
    let shown: BTreeSet<&str> = keys
        .iter()
        .flat_map(Template::names)
        .filter(|(_, has_members)| !has_members)
        .map(|(name, _)| name)
        .collect();
    row.fields
        .iter()
        .filter(|field| {
            field
                .ident
                .as_ref()
                .is_some_and(|name| shown.contains(name.unraw().to_string().as_str()))
        })
        .filter(|field| names_parameter(field.ty.to_token_stream(), &row.generics))
        .collect()
}

fn names_parameter(tokens: TokenStream, generics: &Generics) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => generics.params.iter().any(|parameter| match parameter {
            GenericParam::Type(parameter) => parameter.ident == ident,
            _ => false,
        }),
        TokenTree::Group(group) => names_parameter(group.stream(), generics),
        _ => false,
    })
}
