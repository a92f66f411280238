//! From the model to tokens: what both attributes make of a handler.
//!
//! An attribute first gives itself on as the *last* one (`first`), so that `#[instrument]`,
//! `#[utoipa::path]` and `#[debug_handler]` still see the user's own signature, and rewrites
//! the function there (`last`). The function keeps its name, the number of its arguments and
//! its body; the body becomes an async block, not a function, so `?`, `return`, moves and
//! types are checked and reported where the user wrote them. A name made up here has the
//! macro's own hygiene, and all else is reached by absolute paths, so nothing that a user
//! defines or shadows can change the meaning.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Attribute, Lifetime, Meta, Path, ReturnType, Token, Type};

use crate::args::{self, Arguments, Errors};
use crate::handler::{Argument, Handler, Kind, inferred};
use crate::{check, fallback, lint};

/// One of the two attributes.
pub(crate) trait Attributes: Arguments {
    /// The attribute as which it gives itself on.
    const LAST: &'static str;

    /// The path that `crate = ..` names.
    fn crate_path(&self) -> Option<&Path>;

    /// Rules of this attribute alone.
    fn check(&self, handler: &Handler, errors: &mut Errors);

    /// The type parameter of the `CacheContext`, if it is not the default one.
    fn headers(&self, private: &TokenStream) -> Option<TokenStream>;

    /// An expression for the call, before the handler's arguments are taken apart.
    fn call(&self, handler: &Handler, names: &Names) -> TokenStream;

    /// The call's method that runs the handler.
    fn run(&self, handler: &Handler) -> &'static str;

    /// What the function comes to, where `run` runs the handler.
    fn answer(&self, run: TokenStream, _names: &Names) -> TokenStream {
        run
    }

    /// What one argument, still whole, tells the call.
    fn argument(&self, argument: &Argument, whole: &Ident, names: &Names) -> Option<TokenStream>;

    /// What the handler's bindings tell the call.
    fn bindings(&self, handler: &Handler, names: &Names) -> TokenStream;
}

/// How generated code reaches the core crate and its own variables.
pub(crate) struct Names {
    pub(crate) krate: TokenStream,
    pub(crate) private: TokenStream,
    pub(crate) context: Ident,
    pub(crate) call: Ident,
}

impl Names {
    pub(crate) fn new(crate_path: Option<&Path>) -> Self {
        let krate = crate_path.map_or_else(|| quote!(::smart_cache), |path| quote!(#path));
        Self {
            private: quote!(#krate::private),
            krate,
            context: Ident::new("context", Span::mixed_site()),
            call: Ident::new("call", Span::mixed_site()),
        }
    }
}

/// The first sight of the handler: puts the attribute behind all others.
pub(crate) fn first<A: Attributes>(args: &TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Some(handler) = errors.take(check::is_function(A::ATTRIBUTE, item)) else {
        return fallback::item(item, errors);
    };
    if !check::stands_alone(A::ATTRIBUTE, &handler, &mut errors) {
        return fallback::item(item, errors);
    }
    // Mistakes in the arguments are reported by `last`, together with all others.
    let arguments: A = args::read(args.clone(), &mut errors);
    let private = Names::new(arguments.crate_path()).private;
    let last = Ident::new(A::LAST, Span::call_site());
    let takes_extractors = handler
        .sig
        .inputs
        .iter()
        .any(|input| matches!(input, syn::FnArg::Typed(_)));
    // A handler without extractors gets an argument, and `#[debug_handler]` calls the function
    // as it first saw it. There is no extractor for it to check, so it is left out.
    let attrs = handler
        .attrs
        .iter()
        .filter(|attr| takes_extractors || !is_debug_handler(attr));
    let written = &handler.written;
    quote!(#(#attrs)* #[#private::#last(#args)] #written)
}

/// The only sight that changes the function.
pub(crate) fn last<A: Attributes>(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let arguments: A = args::read(args, &mut errors);
    let Some(mut handler) = errors.take(check::is_function(A::ATTRIBUTE, item)) else {
        return fallback::item(item, errors);
    };
    handler.read_arguments(&mut errors);
    arguments.check(&handler, &mut errors);
    if !check::is_async(A::ATTRIBUTE, &handler, &mut errors) {
        return fallback::handler(&handler, errors);
    }
    // Whatever else is wrong, the function keeps its new form, so that the compiler adds what
    // it has to say about the arguments and the body, and all is reported at once.
    let errors = errors.into_tokens();
    let handler = rewrite(&arguments, handler);
    quote!(#errors #handler)
}

/// `#[debug_handler]`, `#[axum::debug_handler(..)]`, `#[cfg_attr(test, debug_handler)]`.
fn is_debug_handler(attr: &Attribute) -> bool {
    let names_it = |path: &Path| {
        path.segments
            .last()
            .is_some_and(|last| last.ident == "debug_handler")
    };
    if !attr.path().is_ident("cfg_attr") {
        return names_it(attr.path());
    }
    let Ok(items) = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    items.len() == 2 && items.last().is_some_and(|meta| names_it(meta.path()))
}

fn rewrite<A: Attributes>(attribute: &A, mut handler: Handler) -> TokenStream {
    let names = Names::new(attribute.crate_path());
    let Names {
        krate,
        private,
        call,
        ..
    } = &names;
    let inputs = inputs(attribute, &handler, &names);
    let setup = attribute.call(&handler, &names);
    let whole: Vec<TokenStream> = whole_arguments(&handler)
        .filter_map(|(argument, whole)| {
            let shown = attribute.argument(argument, &whole, &names)?;
            let cfgs = &argument.cfgs;
            Some(quote!(#(#cfgs)* #shown))
        })
        .collect();
    let patterns: Vec<TokenStream> = whole_arguments(&handler).filter_map(take_apart).collect();
    let bindings = attribute.bindings(&handler, &names);
    let body = body(&handler, private);

    let output = handler.output();
    let output_span = Span::mixed_site().located_at(output.span());
    // A type that is no response is reported where it is declared.
    let mut call_here = call.clone();
    call_here.set_span(output_span);
    let run = Ident::new(attribute.run(&handler), output_span);
    let run = quote_spanned!(output_span=> #call_here.#run(#body).await);
    let answer = attribute.answer(run, &names);
    let output = quote_spanned!(output_span=> -> #krate::Cached<#output>);
    let attrs = lint::keep_expectations(std::mem::take(&mut handler.attrs));
    let Handler {
        vis,
        inner_attrs,
        sig,
        ..
    } = &handler;
    let syn::Signature {
        constness,
        asyncness,
        safety,
        abi,
        fn_token,
        ident,
        generics,
        ..
    } = sig;
    let where_clause = &generics.where_clause;
    let block = braced(
        handler.body.span(),
        quote! {
            #(#inner_attrs)*
            let mut #call = { #setup };
            #(#whole)*
            #(#patterns)*
            #bindings
            #answer
        },
    );
    quote! {
        #(#attrs)*
        #vis #constness #asyncness #safety #abi #fn_token #ident #generics (#inputs) #output #where_clause #block
    }
}

/// Each argument with the name that holds it whole.
fn whole_arguments(handler: &Handler) -> impl Iterator<Item = (&Argument, Ident)> {
    handler
        .arguments
        .iter()
        .enumerate()
        .map(|(index, argument)| {
            let whole = match &argument.kind {
                Kind::Receiver(receiver) => Ident::new("self", receiver.self_token.span),
                Kind::Typed(..) => format_ident!("_argument{index}", span = Span::mixed_site()),
            };
            (argument, whole)
        })
}

/// The arguments of the new function: as many as before, but where there was no extractor.
///
/// The context rides in a tuple with the first argument that is there in every configuration.
fn inputs<A: Attributes>(attribute: &A, handler: &Handler, names: &Names) -> TokenStream {
    let Names {
        krate,
        private,
        context,
        ..
    } = names;
    let headers = attribute.headers(private);
    let carrier = handler
        .arguments
        .iter()
        .position(|argument| matches!(argument.kind, Kind::Typed(..)) && argument.cfgs.is_empty());
    let mut inputs: Vec<TokenStream> = Vec::new();
    for (index, (argument, whole)) in whole_arguments(handler).enumerate() {
        let cfgs = &argument.cfgs;
        inputs.push(match &argument.kind {
            Kind::Receiver(receiver) => quote!(#(#cfgs)* #receiver),
            Kind::Typed(_, ty) if carrier == Some(index) => {
                let headers = headers.iter();
                quote!((#context, #whole): (#krate::CacheContext #(<#headers>)*, #ty))
            }
            Kind::Typed(_, ty) => quote!(#(#cfgs)* #whole: #ty),
        });
    }
    if carrier.is_none() {
        // Its type is named for the one message in which a user meets it.
        let headers = headers.iter();
        let place = usize::from(matches!(
            handler.arguments.first(),
            Some(Argument {
                kind: Kind::Receiver(_),
                ..
            })
        ));
        inputs.insert(
            place,
            quote!(#context: #krate::CacheContext<#private::PutDebugHandlerBelow #(<#headers>)*>),
        );
    }
    quote!(#(#inputs),*)
}

/// `let State(db) = argument0;`
fn take_apart((argument, whole): (&Argument, Ident)) -> Option<TokenStream> {
    let Argument {
        kind, cfgs, lints, ..
    } = argument;
    let Kind::Typed(pattern, _) = kind else {
        return None;
    };
    if matches!(**pattern, syn::Pat::Wild(_)) {
        return None;
    }
    let span = Span::mixed_site().located_at(pattern.span());
    Some(quote_spanned!(span=> #(#cfgs)* #(#lints)* let #pattern = #whole;))
}

/// The user's body as a future.
///
/// The return in front is never reached; it makes the compiler know the type that was
/// declared before it looks into the body, so that a mismatch is reported in the body.
pub(crate) fn body(handler: &Handler, private: &TokenStream) -> TokenStream {
    let declared: Type = match &handler.sig.output {
        ReturnType::Default => {
            syn::parse2(handler.output()).unwrap_or_else(|_| Type::Verbatim(quote!(())))
        }
        ReturnType::Type(_, ty) => inferred(ty),
    };
    let fake_return = match &handler.sig.output {
        // Nothing is known of it, and a body that never returns must stay free to say so.
        ReturnType::Type(_, ty) if matches!(**ty, Type::ImplTrait(_)) => None,
        _ => {
            let span = Span::mixed_site().located_at(declared.span());
            let never = located(quote!(#private::never), span);
            Some(quote_spanned!(span=> if false { return #never::<#declared>(); }))
        }
    };
    // With a label the user's braces are not taken for superfluous ones. They stay the user's,
    // and so does the label, because lints go by them to tell user code from generated code.
    let user = &handler.body;
    let label = Lifetime::new("'_body", user.span());
    let span = user.span();
    let block = braced(span, quote!(#fake_return #label: #user));
    quote_spanned!(span=> async move #block)
}

/// The tokens as if they stood at `span`, looked up as before.
fn located(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut tree| {
            tree.set_span(tree.span().located_at(span));
            tree
        })
        .collect()
}

fn braced(span: Span, tokens: TokenStream) -> Group {
    let mut group = Group::new(Delimiter::Brace, tokens);
    group.set_span(span);
    group
}
