//! Key and tag templates: text with the names of the handler's own bindings, or of a row's
//! fields, in braces.
//!
//! The grammar is a part of that of `format!`: `{id}`, and `{user.id}`, which `format!` does
//! not know; `{{` and `}}` are braces. A format is refused, because a key must be written
//! the same way by those who store under it and by those who clear it.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Error, Ident, LitStr, Result};

use crate::handler::Scope;

/// A template whose braces were understood.
pub(crate) struct Template {
    literal: LitStr,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Place(Place),
}

/// `{user.id}`: a name, and the way from it to what is written.
struct Place {
    name: String,
    members: Vec<String>,
}

impl Template {
    /// Reads a literal; the error stands on it and says what to write instead.
    pub(crate) fn parse(literal: &LitStr) -> Result<Self> {
        let text = literal.value();
        if text.trim().is_empty() {
            return Err(Error::new(
                literal.span(),
                "an empty key could never be told from another; write it as in \"product:{id}\"",
            ));
        }
        let pieces = pieces(&text).map_err(|why| Error::new(literal.span(), why))?;
        Ok(Self {
            literal: literal.clone(),
            pieces,
        })
    }

    fn span(&self) -> Span {
        self.literal.span()
    }

    /// The template as the user wrote it.
    pub(crate) fn source(&self) -> &LitStr {
        &self.literal
    }

    /// `format_args!(..)` over the handler's bindings.
    ///
    /// The user's own literal is passed on where `format_args!` understands it, for then the
    /// compiler points at the word in it that names nothing.
    pub(crate) fn format_args(&self, scope: &Scope, private: &TokenStream) -> TokenStream {
        if self.places().all(|place| place.members.is_empty()) {
            let mut literal = self.literal.clone();
            // In a handler that a `macro_rules!` macro makes, the template and the arguments
            // may come from different sides of it; names are looked up where the first is bound.
            if let Some(bound) = self.places().find_map(|place| scope.binding(&place.name)) {
                literal.set_span(self.span().resolved_at(bound.span()));
            }
            return quote!(#private::format_args!(#literal));
        }
        let format: String = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.replace('{', "{{").replace('}', "}}"),
                Piece::Place(_) => "{}".to_owned(),
            })
            .collect();
        let mut format = Literal::string(&format);
        format.set_span(self.located());
        let values = self.places().map(|place| self.value(place, scope));
        quote!(#private::format_args!(#format, #(#values),*))
    }

    /// What the handler's bindings put into the template, if that is more than one value:
    /// then a separator inside a value could make two requests look alike.
    pub(crate) fn values(&self, scope: &Scope) -> Option<TokenStream> {
        let bound: Vec<_> = self
            .places()
            .filter(|place| scope.may_bind(&place.name))
            .collect();
        if bound.len() < 2 {
            return None;
        }
        let values = bound.into_iter().map(|place| self.value(place, scope));
        Some(quote_spanned!(self.located()=> &[#(&#values),*]))
    }

    /// Whether a value of this name, or something of it, is written into the template.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.places().any(|place| place.name == name)
    }

    /// The first name in each pair of braces, and whether a field of it follows.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.places()
            .map(|place| (place.name.as_str(), !place.members.is_empty()))
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Place(place) => Some(place),
            Piece::Text(_) => None,
        })
    }

    fn value(&self, place: &Place, scope: &Scope) -> TokenStream {
        let written = self.span();
        let span = scope
            .binding(&place.name)
            .map_or(written, |bound| written.resolved_at(bound.span()));
        let name = identifier(&place.name, span);
        let members = place
            .members
            .iter()
            .map(|member| match member.parse::<u32>() {
                Ok(index) => {
                    let mut index = Literal::u32_unsuffixed(index);
                    index.set_span(written);
                    index.into_token_stream()
                }
                Err(_) => identifier(member, span).into_token_stream(),
            });
        quote_spanned!(self.located()=> #name #(.#members)*)
    }

    /// The place of the template, with the macro's own hygiene, for tokens of its making.
    fn located(&self) -> Span {
        Span::mixed_site().located_at(self.span())
    }
}

/// An identifier for a name that may be a keyword, as in a field called `type`.
fn identifier(name: &str, span: Span) -> Ident {
    let is_plain = matches!(name, "self" | "Self" | "super" | "crate")
        || syn::parse_str::<Ident>(name).is_ok();
    if is_plain {
        Ident::new(name, span)
    } else {
        Ident::new_raw(name, span)
    }
}

fn pieces(text: &str) -> std::result::Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..];
        if brace.starts_with("{{") || brace.starts_with("}}") {
            plain.push_str(&brace[..1]);
            rest = &brace[2..];
            continue;
        }
        if brace.starts_with('}') {
            return Err("`}` closes nothing; write `}}` for a brace".to_owned());
        }
        let Some(end) = brace.find('}') else {
            return Err("`{` is never closed; write `{{` for a brace".to_owned());
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Place(place(&brace[1..end])?));
        rest = &brace[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn place(inner: &str) -> std::result::Result<Place, String> {
    if inner.is_empty() {
        return Err("`{}` names nothing; write a name, as in `{id}`".to_owned());
    }
    if let Some((name, _)) = inner.split_once(':') {
        return Err(format!(
            "`{{{inner}}}` asks for a format, and a key is always written with `Display`; write `{{{}}}`",
            name.trim(),
        ));
    }
    if inner.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "`{{{inner}}}` is a position; write a name, as in `{{id}}`"
        ));
    }
    let mut parts = inner.split('.');
    let name = parts.next().unwrap_or_default();
    let members: Vec<&str> = parts.collect();
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_name(name) || !members.iter().all(|part| is_name(part) || is_index(part)) {
        return Err(format!(
            "`{{{inner}}}` is neither a name, `{{id}}`, nor a field, `{{user.id}}`"
        ));
    }
    Ok(Place {
        name: name.to_owned(),
        members: members.into_iter().map(str::to_owned).collect(),
    })
}

/// Any identifier or keyword; which of them is bound is for the compiler to say.
fn is_name(part: &str) -> bool {
    use syn::ext::IdentExt as _;
    use syn::parse::Parser as _;
    part != "_" && !part.contains(['#', ' ']) && Ident::parse_any.parse_str(part).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let shown = match pieces(template) {
            Ok(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => format!("'{text}'"),
                    Piece::Place(place) => {
                        [std::slice::from_ref(&place.name), place.members.as_slice()]
                            .concat()
                            .join("/")
                    }
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(why) => why.split(';').next().unwrap_or_default().to_owned(),
        };
        assert_eq!(shown, expected, "{template}");
    }

    #[test]
    fn names_and_fields_are_read_between_the_text() {
        check("product:{id}", "'product:' id");
        check("{shop.id}:{user.0.type}", "shop/id ':' user/0/type");
        check("all", "'all'");
        check("", "");
    }

    #[test]
    fn doubled_braces_are_text() {
        check("a{{b}}{c}", "'a{b}' c");
        check("{{{id}}}", "'{' id '}'");
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        check("{}", "`{}` names nothing");
        check("{0}", "`{0}` is a position");
        check(
            "{id:05}",
            "`{id:05}` asks for a format, and a key is always written with `Display`",
        );
        check("{id", "`{` is never closed");
        check("id}", "`}` closes nothing");
        check(
            "{a b}",
            "`{a b}` is neither a name, `{id}`, nor a field, `{user.id}`",
        );
        check(
            "{a.}",
            "`{a.}` is neither a name, `{id}`, nor a field, `{user.id}`",
        );
        check(
            "{_}",
            "`{_}` is neither a name, `{id}`, nor a field, `{user.id}`",
        );
        check(
            "{r#type}",
            "`{r#type}` is neither a name, `{id}`, nor a field, `{user.id}`",
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: std::env::var("SMART_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(256),
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        /// Any text is read or refused with a remedy; what was read is what was written.
        #[test]
        fn any_template_is_read_or_refused(
            text in proptest::prop_oneof![".*", "[{}a.:0_# é]{0,12}", "(\\{[a-c.0]{0,4}\\}|\\{\\{|\\}\\}|[a-z:]){0,6}"],
        ) {
            match pieces(&text) {
                Err(why) => assert!(why.contains('`') || why.contains("write"), "{why}"),
                Ok(pieces) => {
                    let written: String = pieces
                        .iter()
                        .map(|piece| match piece {
                            Piece::Text(text) => text.replace('{', "{{").replace('}', "}}"),
                            Piece::Place(place) => {
                                let path = [std::slice::from_ref(&place.name), place.members.as_slice()].concat();
                                format!("{{{}}}", path.join("."))
                            }
                        })
                        .collect();
                    assert_eq!(written, text);
                }
            }
        }
    }
}
