//! What a request shows of itself to a service about which nothing is known.
//!
//! Two requests may share an answer only if the service cannot tell them apart. It may read anything,
//! so what many services read without saying so is in the variant: the target as it was sent, the
//! host, and the headers by which proxies and attackers replace either. Who asks keeps a request
//! out. What remains (`Accept-Language`, say) is in `Vary`, which is checked, or named by the user.

use std::fmt::Display;

use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri};
use http::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, PROXY_AUTHORIZATION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Uri};
use http_body::Body as _;

use super::settings::{Credentials, KeyRule, QuerySeen, Settings};
use crate::asked::{Answerer, Asked};
use crate::cache::SmartCache;
use crate::encode;
use crate::http::wants::Wants;
use crate::key::{Identity, QueryRule, Seen, Variant};
use crate::policy::{self, Bypass, Rules};
use crate::protocol::MAX_TAGS;

/// Headers by which a proxy tells, and an attacker pretends, what the target was. Web frameworks
/// read them to make links, so they count like the target itself.
const TARGETS: [HeaderName; 17] = [
    HOST,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-path"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-http-host-override"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-script-name"),
];

/// Headers that make another method of a GET.
const METHODS: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// How many cache layers a request has passed, so that one which stands twice on its way does not
/// wait for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind(u32);

impl Behind {
    /// For the service behind the layer that has these parts before it.
    pub(super) fn this(parts: &Parts) -> Self {
        Self(Self::passed(parts).saturating_add(1))
    }

    fn passed(parts: &Parts) -> u32 {
        parts.extensions.get::<Self>().map_or(0, |behind| behind.0)
    }
}

/// Whether a method may change something (RFC 9110, section 9.2.1); an unknown one may.
pub(super) fn is_write(method: &Method) -> bool {
    !method.is_safe()
}

/// What a request asks of the cache, or why it stays out.
pub(super) fn ask(
    cache: &SmartCache,
    settings: &Settings,
    parts: &Parts,
    body: &Body,
) -> Result<Asked, Bypass> {
    policy::request(&parts.method)?;
    stays_out(settings, &parts.headers, body)?;
    if settings.bypass.iter().any(|stays_out| stays_out(parts)) {
        return Err(Bypass::Request);
    }
    let mut variant = Variant::new();
    name(&mut variant, settings, parts)?;
    show(&mut variant, settings, parts);
    if variant.is_bypassed() {
        return Err(Bypass::Request);
    }
    if variant.is_nameless() {
        return Err(Bypass::EmptyKey);
    }
    let place = settings.place;
    let config = &cache.inner.config;
    let seen = Seen {
        identity: Identity {
            type_name: "smart_cache::layer",
            place: (place.file(), place.line(), place.column()),
            state: "",
        },
        sent: original(parts).into(),
        rewritten: Some(&parts.uri),
        query: match &settings.query {
            QuerySeen::Only(names) => QueryRule::Only(names),
            QuerySeen::Exact | QuerySeen::Normalised => QueryRule::AllBut(&config.ignored_query),
        },
        query_named: !matches!(settings.query, QuerySeen::Exact),
        vary: &settings.vary,
        headers: Some(&parts.headers),
    };
    Ok(Asked {
        form: variant.into_form(&seen),
        answerer: Answerer::Layer(place),
        rules: Rules {
            status: settings.status.clone(),
            vary: settings.vary.clone(),
            max_body: settings.max_body.unwrap_or(config.max_body),
            encodings: encode::kept(settings.encodings, &settings.vary, config),
            encode_from: config.encode_from,
            honour_freshness: settings.honour_freshness,
        },
        ttl: settings.ttl,
        stale_if_error: settings.stale_if_error,
        audit: settings.audit,
        is_head: parts.method == Method::HEAD,
        wants: Wants::of(&parts.headers).without(&settings.vary),
        local: settings.local,
        route: parts.extensions.get::<MatchedPath>().cloned(),
    })
}

/// Keeps out what a layer can see that it does not understand.
fn stays_out(settings: &Settings, headers: &HeaderMap, body: &Body) -> Result<(), Bypass> {
    let counts = |name: HeaderName| settings.vary.contains(&name.as_str());
    let says_who = |name: &HeaderName| headers.contains_key(name) && !counts(name.clone());
    if METHODS.iter().any(|name| headers.contains_key(name)) {
        return Err(Bypass::Method);
    }
    if settings.authorization == Credentials::Bypass
        && (says_who(&AUTHORIZATION) || says_who(&PROXY_AUTHORIZATION))
    {
        return Err(Bypass::Authorization);
    }
    if settings.cookies.is_none() && says_who(&COOKIE) {
        return Err(Bypass::Cookie);
    }
    if headers.contains_key(UPGRADE) {
        return Err(Bypass::Upgrade);
    }
    if !body.is_end_stream() {
        return Err(Bypass::RequestBody);
    }
    Ok(())
}

/// Key and tags.
fn name(variant: &mut Variant, settings: &Settings, parts: &Parts) -> Result<(), Bypass> {
    match &settings.key {
        KeyRule::Fixed(key) => variant.key(format_args!("{key}")),
        KeyRule::Of(key) => {
            let key = key(parts);
            variant.key(format_args!("{key}"));
        }
    }
    let mut count = 0;
    for tag in settings.tags.iter().flat_map(|tags| tags(parts)) {
        variant.tag(format_args!("{tag}"));
        count += 1;
    }
    if count > MAX_TAGS {
        return Err(Bypass::Tags);
    }
    Ok(())
}

/// What may tell two requests apart, beside the path and the headers of `vary`.
fn show(variant: &mut Variant, settings: &Settings, parts: &Parts) {
    let headers = &parts.headers;
    variant.push(Behind::passed(parts));
    let (sent, current) = (original(parts), &parts.uri);
    optional(variant, sent.scheme());
    optional(variant, sent.authority());
    if matches!(settings.query, QuerySeen::Exact) {
        variant.raw_query(sent.query());
    }
    let is_rewritten = current.authority() != sent.authority()
        || current.scheme() != sent.scheme()
        || current.query() != sent.query();
    optional(variant, is_rewritten.then_some(current));
    for name in TARGETS.iter().filter(|name| headers.contains_key(*name)) {
        variant.header(name, headers);
    }
    forwarded(variant, headers);
    if settings.authorization == Credentials::Counted {
        variant.header(&AUTHORIZATION, headers);
        variant.header(&PROXY_AUTHORIZATION, headers);
    }
    if let Some(names) = &settings.cookies {
        cookies(variant, names, headers);
    }
    for show in &settings.variant {
        show(parts, variant);
    }
}

fn optional(variant: &mut Variant, value: Option<impl Display>) {
    match value {
        Some(value) => {
            variant.present();
            variant.push(value);
        }
        None => variant.absent(),
    }
}

/// The target as it was sent, before any router strips a prefix.
fn original(parts: &Parts) -> &Uri {
    let original = parts.extensions.get::<OriginalUri>();
    original.map_or(&parts.uri, |original| &original.0)
}

/// `Forwarded` without the addresses, which differ for every visitor. Lines, separators and places
/// stay, since one parser reads the first host and another one the last.
fn forwarded(variant: &mut Variant, headers: &HeaderMap) {
    for line in headers.get_all(FORWARDED) {
        variant.present();
        for pair in line.as_bytes().split_inclusive(|byte| b",;".contains(byte)) {
            let bare = match pair {
                [bare @ .., b',' | b';'] | bare => bare,
            };
            let counts = if is_plain_address(bare) {
                &pair[bare.len()..]
            } else {
                pair
            };
            variant.push_bytes(counts);
        }
    }
    variant.absent();
}

/// Whether no parser could find anything but an address in this: `for=192.0.2.1`,
/// `by="[2001:db8::1]:80"`.
fn is_plain_address(pair: &[u8]) -> bool {
    let Some((name, value)) = split_pair(pair) else {
        return false;
    };
    let value = match value {
        [b'"', inside @ .., b'"'] => inside,
        bare => bare,
    };
    (name.eq_ignore_ascii_case(b"for") || name.eq_ignore_ascii_case(b"by"))
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".:[]-_".contains(byte))
}

/// The cookies that count: those that were named, and whatever another parser might take for one.
fn cookies(variant: &mut Variant, names: &[&str], headers: &HeaderMap) {
    for (at, line) in headers.get_all(COOKIE).iter().enumerate() {
        for pair in line.as_bytes().split(|byte| *byte == b';') {
            if cookie_counts(names, pair) {
                // Some read the first line alone; how many follow differs from visitor to visitor.
                match at {
                    0 => variant.present(),
                    _ => variant.absent(),
                }
                variant.push_bytes(pair.trim_ascii());
            }
        }
    }
    variant.absent();
}

fn cookie_counts(names: &[&str], pair: &[u8]) -> bool {
    if pair.trim_ascii().is_empty() {
        return false;
    }
    let Some((name, _)) = split_pair(pair) else {
        return true;
    };
    // Many parsers decode `%73ession`, so only a plain name is what it looks like.
    let is_plain = name
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&'*-.^_`|~".contains(byte));
    let is_named = || {
        names
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    name.is_empty() || !is_plain || is_named()
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = pair.split_at(at);
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_left_out_of_forwarded() {
        for pair in [
            "for=192.0.2.60",
            " For=\"[2001:db8::1]:4711\"",
            "by=_hidden",
            "for=unknown ",
        ] {
            assert!(is_plain_address(pair.as_bytes()), "{pair}");
        }
        for pair in [
            "host=a",
            "proto=http",
            "for=\"1",
            "for=a\\",
            "for",
            "",
            "for=1\"x",
            "f%6fr=1",
            "for=1=2",
        ] {
            assert!(!is_plain_address(pair.as_bytes()), "{pair}");
        }
    }

    #[test]
    fn a_cookie_that_some_parser_takes_for_a_named_one_counts() {
        let counts = |pair: &str| cookie_counts(&["session"], pair.as_bytes());
        for pair in [
            "session=1",
            " session = 1",
            "Session=1",
            "%73ession=1",
            "session",
            "=1",
            "\"session\"=1",
            "ses\u{a0}sion=1",
        ] {
            assert!(counts(pair), "{pair}");
        }
        for pair in ["theme=dark", "_ga=GA1.2.3", "", " ", "sessions=1"] {
            assert!(!counts(pair), "{pair}");
        }
    }
}
