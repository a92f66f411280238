//! `#[expect(..)]` on a handler, for lints that the rewritten function no longer raises.
//!
//! The user is right that the function as written raises them; left alone, the expectation
//! would be reported as unfulfilled. Only those become `allow`; the rest stay expectations.

use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token, parse_quote};

/// What the rewritten function no longer raises, found by trying some hundred lints on both forms.
///
/// The first argument's type stands in a tuple, which hides it from the lints on argument
/// types; the answer is no longer a `Result`; the function awaits.
const SILENCED: [&str; 23] = [
    "clippy::borrowed_box",
    "clippy::box_collection",
    "clippy::cognitive_complexity",
    "clippy::double_must_use",
    "clippy::fn_params_excessive_bools",
    "clippy::linkedlist",
    "clippy::missing_errors_doc",
    "clippy::option_option",
    "clippy::rc_buffer",
    "clippy::rc_mutex",
    "clippy::redundant_allocation",
    "clippy::redundant_clone",
    "clippy::toplevel_ref_arg",
    "clippy::type_complexity",
    "clippy::unused_async",
    "clippy::vec_box",
    // Groups that hold one of these.
    "clippy::all",
    "clippy::complexity",
    "clippy::nursery",
    "clippy::pedantic",
    "clippy::perf",
    "clippy::restriction",
    "clippy::style",
];

/// Splits each `expect` into what is still expected and what is merely allowed.
pub(crate) fn keep_expectations(attrs: Vec<Attribute>) -> Vec<Attribute> {
    attrs.into_iter().flat_map(split).collect()
}

fn split(attr: Attribute) -> Vec<Attribute> {
    if !attr.path().is_ident("expect") {
        return vec![attr];
    }
    let Ok(items) = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return vec![attr];
    };
    let (reason, lints): (Vec<Meta>, Vec<Meta>) = items
        .into_iter()
        .partition(|item| item.path().is_ident("reason"));
    let (allowed, expected): (Vec<Meta>, Vec<Meta>) = lints.into_iter().partition(is_silenced);
    if allowed.is_empty() {
        return vec![attr];
    }
    let mut split = vec![parse_quote!(#[allow(#(#allowed,)* #(#reason)*)])];
    if !expected.is_empty() {
        split.push(parse_quote!(#[expect(#(#expected,)* #(#reason)*)]));
    }
    split
}

fn is_silenced(lint: &Meta) -> bool {
    let path = lint.path();
    let name = quote!(#path).to_string().replace(' ', "");
    SILENCED.contains(&name.as_str())
}
