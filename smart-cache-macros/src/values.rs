//! The named arguments of the attributes: each is a type that knows how it is written.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, Lit, LitBool, LitInt, LitStr, Path, Result, Token, parenthesized};

use crate::args::{Errors, Value, each};
use crate::template::Template;

/// `tags("products", "shop:{shop}")`
pub(crate) struct Tags(pub(crate) Vec<Template>);
/// `query("page", "q")`: the only parameters that count; none counts in `query()`.
pub(crate) struct Query(pub(crate) Vec<String>);
/// `vary("accept-language")`, in lower case.
pub(crate) struct Vary(pub(crate) Vec<String>);
/// `encodings("zstd", "br")`: names, each with its place; none is kept in `encodings()`.
pub(crate) struct Encodings(pub(crate) Vec<Ident>);
/// `ttl = "10m"`, in milliseconds.
pub(crate) struct Ttl(pub(crate) u64);
/// `stale_if_error = "1h"`, in milliseconds.
pub(crate) struct StaleIfError(pub(crate) u64);
/// `audit = false`
pub(crate) struct Audit(pub(crate) bool);
/// `status(200, 404)`
pub(crate) struct Status(pub(crate) Vec<u16>);
/// `cache = "name"`
pub(crate) struct CacheName(pub(crate) String);
/// `local = false`
pub(crate) struct Local(pub(crate) bool);
/// `honour_freshness = true`
pub(crate) struct HonourFreshness(pub(crate) bool);
/// `max_body = "1MiB"`, in bytes.
pub(crate) struct MaxBody(pub(crate) u64);
/// `crate = my_reexports::smart_cache`
pub(crate) struct CratePath(pub(crate) Path);

impl Value for Tags {
    const EXAMPLE: &'static str = "tags(\"products\", \"shop:{shop}\")";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        list::<Self, _, _>(input, 1, |literal: &LitStr| Template::parse(literal)).map(Self)
    }
}

impl Value for Query {
    const EXAMPLE: &'static str = "query(\"page\", \"q\")";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        list::<Self, _, _>(input, 0, |literal: &LitStr| Ok(literal.value())).map(Self)
    }
}

impl Value for Vary {
    const EXAMPLE: &'static str = "vary(\"accept-language\")";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        list::<Self, _, _>(input, 1, header_name).map(Self)
    }
}

impl Value for Encodings {
    const EXAMPLE: &'static str = "encodings(\"zstd\", \"br\", \"gzip\")";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        list::<Self, _, _>(input, 0, encoding).map(Self)
    }
}

impl Value for Status {
    const EXAMPLE: &'static str = "status(200, 404)";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        list::<Self, _, _>(input, 1, storable_status).map(Self)
    }
}

impl Value for Ttl {
    const EXAMPLE: &'static str = "ttl = \"10m\"";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let zero = "a ttl under one millisecond would store nothing";
        let endless = "this is too long; leave `ttl` out to keep the response until it is cleared";
        milliseconds::<Self>(input, zero, endless).map(Self)
    }
}

impl Value for StaleIfError {
    const EXAMPLE: &'static str = "stale_if_error = \"1h\"";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let zero = "no time at all is what leaving `stale_if_error` out means";
        milliseconds::<Self>(input, zero, "this is too long").map(Self)
    }
}

/// `= "10m"`
fn milliseconds<V: Value>(input: ParseStream<'_>, zero: &str, endless: &str) -> Result<u64> {
    let literal: LitStr = scalar::<V, _>(input)?;
    let error = |why: &str| {
        Error::new(
            literal.span(),
            format!("{why}; write a time such as \"30s\", \"10m\" or \"1h 30m\""),
        )
    };
    let time =
        humantime::parse_duration(&literal.value()).map_err(|why| error(&why.to_string()))?;
    match u64::try_from(time.as_millis()) {
        Ok(0) => Err(error(zero)),
        Ok(milliseconds) => Ok(milliseconds),
        Err(_) => Err(error(endless)),
    }
}

impl Value for MaxBody {
    const EXAMPLE: &'static str = "max_body = \"1MiB\"";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let literal: LitStr = scalar::<Self, _>(input)?;
        let error = |why: &str| {
            Error::new(
                literal.span(),
                format!("{why}; write a size such as \"500kB\" or \"1MiB\""),
            )
        };
        match literal.value().parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() == 0 => {
                Err(error("a body of no bytes at most would store nothing"))
            }
            Ok(size) => Ok(Self(size.as_u64())),
            Err(_) => Err(error("this is not a size")),
        }
    }
}

impl Value for CacheName {
    const EXAMPLE: &'static str = "cache = \"name\"";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let literal: LitStr = scalar::<Self, _>(input)?;
        match literal.value() {
            name if name.is_empty() => {
                Err(Error::new(literal.span(), "the name of the cache is empty"))
            }
            name => Ok(Self(name)),
        }
    }
}

impl Value for Local {
    const EXAMPLE: &'static str = "local = false";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        scalar::<Self, LitBool>(input).map(|literal| Self(literal.value))
    }
}

impl Value for Audit {
    const EXAMPLE: &'static str = "audit = false";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        scalar::<Self, LitBool>(input).map(|literal| Self(literal.value))
    }
}

impl Value for HonourFreshness {
    const EXAMPLE: &'static str = "honour_freshness = true";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        scalar::<Self, LitBool>(input).map(|literal| Self(literal.value))
    }
}

impl Value for CratePath {
    const EXAMPLE: &'static str = "crate = my_reexports::smart_cache";

    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(Token![=]) {
            return Err(expected::<Self>(input.span()));
        }
        input.parse::<Token![=]>()?;
        let start = input.span();
        input
            .call(Path::parse_mod_style)
            .map(Self)
            .map_err(|_| expected::<Self>(start))
    }
}

fn expected<V: Value>(span: Span) -> Error {
    Error::new(span, format!("expected `{}`", V::EXAMPLE))
}

/// `= literal`, where any other literal is told what was expected.
fn scalar<V: Value, L: Parse>(input: ParseStream<'_>) -> Result<L> {
    if !input.peek(Token![=]) {
        return Err(expected::<V>(input.span()));
    }
    input.parse::<Token![=]>()?;
    let start = input.span();
    input.parse().map_err(|_| expected::<V>(start))
}

/// `(literal, literal)`; all of the list's mistakes come back as one error.
fn list<V: Value, L: Parse, T>(
    input: ParseStream<'_>,
    at_least: usize,
    item: impl Fn(&L) -> Result<T>,
) -> Result<Vec<T>> {
    let start = input.span();
    if !input.peek(syn::token::Paren) {
        return Err(expected::<V>(start));
    }
    let content;
    parenthesized!(content in input);
    let mut items = Vec::new();
    let mut errors = Errors::default();
    let mut found = 0;
    each(&content, &mut errors, |input| {
        found += 1;
        let start = input.span();
        let literal = input.parse::<L>().map_err(|_| expected::<V>(start))?;
        items.push(item(&literal)?);
        Ok(())
    });
    if found < at_least {
        errors.push(expected::<V>(start));
    }
    errors.into_result().map(|()| items)
}

fn header_name(literal: &LitStr) -> Result<String> {
    let name = literal.value().to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name == "*" {
        return Err(Error::new(
            literal.span(),
            "`*` would vary on everything, so nothing could be served; name the headers",
        ));
    }
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Error::new(
            literal.span(),
            "this is not the name of a header; write it as in \"accept-language\"",
        ));
    }
    Ok(name)
}

/// The name of the function that stands for the encoding, if it is compiled in.
fn encoding(literal: &LitStr) -> Result<Ident> {
    match literal.value().as_str() {
        name @ ("zstd" | "br" | "gzip") => Ok(Ident::new(
            name,
            Span::mixed_site().located_at(literal.span()),
        )),
        _ => Err(Error::new(
            literal.span(),
            "this is not an encoding that can be stored; there are \"zstd\", \"br\" and \"gzip\"",
        )),
    }
}

fn storable_status(literal: &Lit) -> Result<u16> {
    let error = |why: &str| Err(Error::new(literal.span(), why));
    let Lit::Int(number) = literal else {
        return Err(expected::<Status>(literal.span()));
    };
    match LitInt::base10_parse::<u16>(number) {
        Ok(206) => error("206 is a part of a body and is never stored"),
        Ok(304) => error("304 has no body of its own and is never stored"),
        Ok(500..=599) => error("a server error is never stored"),
        Ok(status @ 200..=499) => Ok(status),
        _ => error("this is not the status of a response; write one from 200 to 499"),
    }
}
