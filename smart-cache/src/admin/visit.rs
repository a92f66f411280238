//! Every request passes here: the guard, where it comes from, and what its answer may never lack.
//!
//! A write is accepted only from the page itself: the browser says that it is of the same origin,
//! *and* the form carries the same random token as a `SameSite=Strict` cookie. Neither needs any
//! state, so a form that one process rendered may be sent to another.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Admin, Role};
use crate::protocol::Nonce;

const COOKIE: &str = "smart-cache-admin";
/// Nothing is loaded from elsewhere, nothing inline is executed, nobody frames the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Who is asking, and for what.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) role: Role,
    /// Goes into every form.
    pub(super) token: String,
    /// The path under which the page is mounted, without a slash at its end.
    pub(super) base: String,
    pub(super) wants_json: bool,
    /// The query, with its question mark, if there is one.
    pub(super) query: String,
}

impl Visit {
    /// Whether a form was rendered for this visitor's browser.
    pub(super) fn vouches_for(&self, token: &str) -> bool {
        // Compared as hashes, so that the time tells nothing.
        blake3::hash(token.as_bytes()) == blake3::hash(self.token.as_bytes())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // It is always there: no route lies outside of `admit`.
        let visit = parts.extensions.get::<Self>().cloned();
        Ok(visit.unwrap_or_else(|| Self {
            role: Role::None,
            token: String::new(),
            base: String::new(),
            wants_json: false,
            query: String::new(),
        }))
    }
}

/// Lets a request in, or not.
pub(super) async fn admit(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let role = admin.guard.role(&parts);
    if role == Role::None {
        return armoured(admin.guard.refusal(&parts));
    }
    let is_write = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_write && role < Role::Full {
        return armoured((StatusCode::FORBIDDEN, "this account may not clear\n").into_response());
    }
    if is_write && !is_same_origin(&parts.headers) {
        tracing::warn!("a write from another site was refused by the cache's admin page");
        return armoured((StatusCode::FORBIDDEN, "not from this page\n").into_response());
    }
    let known = cookie(&parts.headers);
    let is_new = known.is_none();
    let fresh =
        || Nonce::fresh().map(|nonce| String::from_utf8_lossy(nonce.as_bytes()).into_owned());
    let Some(token) = known.or_else(|| fresh().ok()) else {
        return armoured(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    let base = base(&parts);
    parts.extensions.insert(Visit {
        role,
        token: token.clone(),
        wants_json: wants_json(&parts),
        query: parts
            .uri
            .query()
            .map_or_else(String::new, |query| format!("?{query}")),
        base: base.clone(),
    });
    let is_https = parts
        .headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https");
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let secure = if is_https { "; Secure" } else { "" };
    let path = if base.is_empty() { "/" } else { &base };
    let set = format!("{COOKIE}={token}; Path={path}; HttpOnly; SameSite=Strict{secure}");
    if let (true, Ok(set)) = (is_new, HeaderValue::try_from(set)) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    armoured(response)
}

/// The headers that no answer may lack.
fn armoured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a write comes from a page of this very site, as far as its browser tells. What is no
/// browser tells nothing, and has no cookies that another site could make it send.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key("sec-fetch-site") {
        return text("sec-fetch-site") == Some("same-origin");
    }
    if !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let own = text("origin").and_then(|origin| origin.split_once("://"));
    own.is_some_and(|(_, own)| text("host") == Some(own) || text("x-forwarded-host") == Some(own))
}

/// The token that this visitor's browser was given.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| {
            let is_token = value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
            *name == COOKIE && is_token
        })
        .map(|(_, value)| value.to_owned())
}

/// What stands in front of the page's own paths.
fn base(parts: &Parts) -> String {
    let own = parts.uri.path();
    let whole = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(own, |original| original.0.path());
    let base = whole.strip_suffix(own).unwrap_or(whole);
    base.trim_end_matches('/').to_owned()
}

fn wants_json(parts: &Parts) -> bool {
    if parts.uri.path().ends_with(".json") {
        return true;
    }
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept
        .is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html"))
}
