//! The user's function, as the attributes see it.
//!
//! The body stays a heap of tokens: it is moved, never looked into, so that code which does
//! not parse is reported by the compiler itself, on the user's lines.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, BoundLifetimes, Expr, FnArg, GenericParam, Ident, Lifetime, Macro, Meta, Pat,
    PatIdent, PatType, Receiver, ReceiverKind, Result, ReturnType, Signature, Token, Type,
    Visibility, braced,
};

use crate::args::Errors;

/// An async fn with everything that stood around it.
pub(crate) struct Handler {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// `#![allow(..)]` at the head of the body.
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) body: Group,
    /// All that follows the attributes, untouched.
    pub(crate) written: TokenStream,
    pub(crate) arguments: Vec<Argument>,
}

/// One argument of the handler, `self` included.
pub(crate) struct Argument {
    pub(crate) kind: Kind,
    /// `#[cfg]` and `#[cfg_attr]`: they go wherever the argument goes.
    pub(crate) cfgs: Vec<Attribute>,
    /// Lint levels: they go with the pattern.
    pub(crate) lints: Vec<Attribute>,
    pub(crate) key: Key,
    /// The first `#[key]`, for messages.
    pub(crate) key_span: Option<Span>,
}

pub(crate) enum Kind {
    Receiver(Receiver),
    Typed(Box<Pat>, Box<Type>),
}

/// What an argument adds to the variant.
pub(crate) enum Key {
    /// What its type shows.
    Shown,
    /// `#[key(ignore)]`: nothing.
    Ignored,
    /// `#[key(user.id)]`: these expressions instead.
    Parts(Vec<Expr>),
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let written = input.fork().parse()?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        let content;
        let braces = braced!(content in input).span.join();
        let inner_attrs = content.call(Attribute::parse_inner)?;
        let mut body = Group::new(Delimiter::Brace, content.parse()?);
        body.set_span(braces);
        Ok(Self {
            attrs,
            vis,
            sig,
            inner_attrs,
            body,
            written,
            arguments: Vec::new(),
        })
    }
}

impl Handler {
    /// Moves the arguments out of the signature into a model of their own.
    pub(crate) fn read_arguments(&mut self, errors: &mut Errors) {
        let inputs = std::mem::take(&mut self.sig.inputs);
        self.arguments = inputs
            .into_iter()
            .map(|input| Argument::read(input, errors))
            .collect();
    }

    /// The handler's own names, which templates may use.
    pub(crate) fn scope(&self) -> Scope {
        let mut scope = Scope {
            names: Vec::new(),
            has_macros: false,
        };
        for argument in &self.arguments {
            match &argument.kind {
                Kind::Receiver(receiver) => scope
                    .names
                    .push(Ident::new("self", receiver.self_token.span)),
                Kind::Typed(pattern, _) => scope.visit_pat_mut(&mut pattern.clone()),
            }
        }
        scope
    }

    /// Whether the body may hold something that is not its own for ever, as far as the signature
    /// tells: what a type parameter or a receiver stands for, what a reference points to.
    pub(crate) fn may_borrow(&self) -> bool {
        struct Search(bool);
        impl VisitMut for Search {
            fn visit_type_reference_mut(&mut self, _: &mut syn::TypeReference) {
                self.0 = true;
            }

            fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
                self.0 |= lifetime.ident != "static";
            }

            fn visit_type_impl_trait_mut(&mut self, _: &mut syn::TypeImplTrait) {
                self.0 = true;
            }

            // `ref` borrows from the argument, which stays outside of the body.
            fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
                self.0 |= pattern.by_ref.is_some();
                visit_mut::visit_pat_ident_mut(self, pattern);
            }

            // What it stands for cannot be seen.
            fn visit_macro_mut(&mut self, _: &mut Macro) {
                self.0 = true;
            }

            fn visit_path_segment_mut(&mut self, segment: &mut syn::PathSegment) {
                self.0 |= segment.ident == "Self";
                visit_mut::visit_path_segment_mut(self, segment);
            }
        }
        let mut search = Search(
            self.sig.generics.type_params().next().is_some()
                || self.sig.generics.lifetimes().next().is_some(),
        );
        for argument in &self.arguments {
            match &argument.kind {
                Kind::Typed(pattern, ty) => {
                    search.visit_pat_mut(&mut (**pattern).clone());
                    search.visit_type_mut(&mut (**ty).clone());
                }
                Kind::Receiver(_) => search.0 = true,
            }
        }
        search.0
    }

    /// The type that the body returns, as written.
    pub(crate) fn output(&self) -> TokenStream {
        match &self.sig.output {
            ReturnType::Default => {
                let span = self.sig.ident.span();
                quote::quote_spanned!(span=> ())
            }
            ReturnType::Type(_, ty) => ty.to_token_stream(),
        }
    }
}

impl Argument {
    fn read(input: FnArg, errors: &mut Errors) -> Self {
        let (attrs, kind) = match input {
            FnArg::Receiver(mut receiver) => (
                std::mem::take(&mut receiver.attrs),
                Kind::Receiver(receiver),
            ),
            FnArg::Typed(typed) => (typed.attrs, Kind::Typed(typed.pat, typed.ty)),
        };
        let mut argument = Self {
            kind,
            cfgs: Vec::new(),
            lints: Vec::new(),
            key: Key::Shown,
            key_span: None,
        };
        for attr in attrs {
            let path = attr.path();
            if path.is_ident("key") {
                argument.read_key(&attr, errors);
            } else if path.is_ident("cfg") || path.is_ident("cfg_attr") {
                argument.cfgs.push(attr);
            } else if !path.is_ident("doc") {
                argument.lints.push(attr);
            }
        }
        argument
    }

    fn read_key(&mut self, attr: &Attribute, errors: &mut Errors) {
        const USE: &str =
            "write `#[key(ignore)]`, or what the response depends on: `#[key(user.id)]`";
        let span = attr.meta.span();
        if self.key_span.replace(span).is_some() {
            errors.push(syn::Error::new(
                span,
                "an argument takes one `#[key]`; write `#[key(user.id, user.role)]`",
            ));
            return;
        }
        let Meta::List(list) = &attr.meta else {
            errors.push(syn::Error::new(
                span,
                format!("`#[key]` says nothing; {USE}"),
            ));
            return;
        };
        let parser = syn::punctuated::Punctuated::<Expr, Token![,]>::parse_terminated;
        let Some(parts) = errors.take(list.parse_args_with(parser)) else {
            return;
        };
        let parts: Vec<Expr> = parts.into_iter().collect();
        let is_ignore =
            |part: &Expr| matches!(part, Expr::Path(path) if path.path.is_ident("ignore"));
        match parts.as_slice() {
            [] => errors.push(syn::Error::new(
                span,
                format!("`#[key()]` says nothing; {USE}"),
            )),
            [only] if is_ignore(only) => self.key = Key::Ignored,
            _ if parts.iter().any(is_ignore) => {
                errors.push(syn::Error::new(
                    span,
                    "`ignore` means that nothing of the argument counts, so it stands alone",
                ));
            }
            _ => self.key = Key::Parts(parts),
        }
    }

    /// The type by which the argument shows itself, with the user's own spans.
    pub(crate) fn shown_type(&self) -> Type {
        match &self.kind {
            Kind::Typed(_, ty)
            | Kind::Receiver(Receiver {
                kind: ReceiverKind::Typed(_, ty),
                ..
            }) => (**ty).clone(),
            Kind::Receiver(receiver) => {
                let this = Ident::new("Self", receiver.self_token.span);
                syn::parse_quote!(#this)
            }
        }
    }
}

/// The names that a handler's patterns bind.
pub(crate) struct Scope {
    names: Vec<Ident>,
    /// A pattern is a macro, so there may be names that cannot be seen.
    has_macros: bool,
}

impl Scope {
    /// These names and no others.
    pub(crate) fn of(names: Vec<Ident>) -> Self {
        Self {
            names,
            has_macros: false,
        }
    }

    /// Where `name` is bound.
    pub(crate) fn binding(&self, name: &str) -> Option<&Ident> {
        use syn::ext::IdentExt as _;
        self.names.iter().find(|bound| bound.unraw() == name)
    }

    /// Whether `name` may be one of the handler's own, rather than a constant.
    pub(crate) fn may_bind(&self, name: &str) -> bool {
        self.has_macros || self.binding(name).is_some()
    }
}

/// The names that a pattern binds, as far as they can be seen.
pub(crate) fn bound(pattern: &Pat) -> Vec<Ident> {
    let mut scope = Scope {
        names: Vec::new(),
        has_macros: false,
    };
    scope.visit_pat_mut(&mut pattern.clone());
    scope.names
}

impl VisitMut for Scope {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        self.names.push(pattern.ident.clone());
        visit_mut::visit_pat_ident_mut(self, pattern);
    }

    fn visit_macro_mut(&mut self, _: &mut Macro) {
        self.has_macros = true;
    }
}

/// Whether the type names `impl Trait` anywhere, which only a signature may.
pub(crate) fn names_impl_trait(ty: &Type) -> bool {
    struct Search(bool);
    impl VisitMut for Search {
        fn visit_type_impl_trait_mut(&mut self, _: &mut syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut search = Search(false);
    search.visit_type_mut(&mut ty.clone());
    search.0
}

/// The type with what only a signature may name, `impl Trait`, left to inference.
///
/// Lifetimes too: a value of the type `Cow<'a, str>` inside an async block is taken to need
/// `'static`, where one of the type `Cow<'_, str>` is not.
pub(crate) fn inferred(ty: &Type) -> Type {
    struct Erase {
        bound: Vec<Lifetime>,
    }
    impl VisitMut for Erase {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(_) = ty {
                let span = ty.span();
                *ty = Type::Verbatim(quote::quote_spanned!(span=> _));
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }

        fn visit_bound_lifetimes_mut(&mut self, bound: &mut BoundLifetimes) {
            // `for<'a>` comes before the places where `'a` stands.
            for parameter in &bound.lifetimes {
                if let GenericParam::Lifetime(parameter) = parameter {
                    self.bound.push(parameter.lifetime.clone());
                }
            }
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" && !self.bound.contains(lifetime) {
                lifetime.ident = Ident::new("_", lifetime.ident.span());
            }
        }
    }
    let mut ty = ty.clone();
    Erase { bound: Vec::new() }.visit_type_mut(&mut ty);
    ty
}

impl ToTokens for Handler {
    /// The function as written, but for `#[key]`, which nothing else understands.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self {
            attrs,
            vis,
            sig,
            inner_attrs,
            body,
            ..
        } = self;
        let mut sig = sig.clone();
        for argument in &self.arguments {
            let attrs = argument.cfgs.iter().chain(&argument.lints).cloned();
            sig.inputs.push(match &argument.kind {
                Kind::Receiver(receiver) => FnArg::Receiver(Receiver {
                    attrs: attrs.collect(),
                    ..receiver.clone()
                }),
                Kind::Typed(pattern, ty) => FnArg::Typed(PatType {
                    attrs: attrs.collect(),
                    pat: pattern.clone(),
                    colon_token: Token![:](Span::call_site()),
                    ty: ty.clone(),
                }),
            });
        }
        let statements = body.stream();
        let mut block = Group::new(body.delimiter(), quote!(#(#inner_attrs)* #statements));
        block.set_span(body.span());
        quote!(#(#attrs)* #vis #sig #block).to_tokens(tokens);
    }
}
