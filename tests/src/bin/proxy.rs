//! A caching reverse proxy, to be driven by a foreign HTTP cache test suite.
//!
//! `proxy -- --origin http://127.0.0.1:PORT --port PORT --mode attribute|layer`
//!
//! Every method, path, header and body passes through unchanged, hop-by-hop headers aside; GET is
//! cached, by the attribute on the handler or by the layer around it. It stands in front of an origin
//! that knows nothing of it, so it does what a shared cache owes to one: it keeps an answer no longer
//! than the answer says, asks anew when the client wants that, and lets a write clear its own path and
//! those that its answer names. Entries live in Redis where `SMART_REDIS_*` names one, else in memory.

use std::convert::Infallible;
use std::fmt::{Display, Formatter};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use smart_cache::{
    BackendKind, KeyPart, SmartCache, Variant, clear_cache, install, layer, smart_cache,
};
use smart_cache_tests::harness::{number_after, text_after};

const USAGE: &str = "usage: proxy --origin http://HOST:PORT --port PORT --mode attribute|layer";

/// Request headers that answers may vary on. The last ones are those that test suites make up.
const VARY: [&str; 9] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "origin",
    "user-agent",
    "x-requested-with",
    "foo",
    "bar",
    "baz",
];

/// Where requests go.
#[derive(Clone)]
struct Origin {
    /// `http://HOST:PORT`, without a slash at its end.
    base: String,
    client: Client<HttpConnector, Body>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("proxy: {why}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> Result<(), String> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let (Some(base), Some(port), Some(mode)) = (
        text_after("--origin"),
        number_after("--port"),
        text_after("--mode"),
    ) else {
        return Err(USAGE.to_owned());
    };
    let port = u16::try_from(port).map_err(|_| format!("no port: {port}; {USAGE}"))?;
    install(cache().await?).map_err(|why| why.to_string())?;
    let origin = Origin {
        base: base.trim_end_matches('/').to_owned(),
        client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
    };
    let app = match mode.as_str() {
        "attribute" => Router::new().fallback(cached).with_state(origin),
        "layer" => {
            let cache = layer("proxy")
                .key(|request| path(&request.uri).to_owned())
                .bypass_if(|request| wants_the_origin(&request.headers))
                .variant(|request, variant| show_varying(&request.headers, variant))
                .status((200..500).filter(|status| *status != 401 && *status != 407))
                .honour_freshness();
            Router::new()
                .fallback(forward)
                .layer(cache)
                .with_state(origin)
        }
        other => return Err(format!("unknown mode {other}; {USAGE}")),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|why| why.to_string())?;
    let address = listener.local_addr().map_err(|why| why.to_string())?;
    println!("listening on {address}");
    axum::serve(listener, app)
        .await
        .map_err(|why| why.to_string())
}

/// The server that the environment names, else this process's memory. Either is flushed at the
/// start, and keeps what it is given at once.
async fn cache() -> Result<SmartCache, String> {
    let is_named = ["URL", "HOST", "PORT", "BACKEND"]
        .iter()
        .any(|name| std::env::var_os(format!("SMART_REDIS_{name}")).is_some());
    let builder = SmartCache::builder().env().settle(Duration::ZERO);
    let builder = if is_named {
        builder
    } else {
        builder.backend(BackendKind::Memory)
    };
    builder.build().await.map_err(|why| why.to_string())
}

/// What of a request a handler in front of any origin must tell apart.
struct Target {
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    stays_out: bool,
}

impl<S: Sync> FromRequestParts<S> for Target {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        Ok(Self {
            path: path(&parts.uri).to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: headers.clone(),
            stays_out: wants_the_origin(headers)
                || headers.contains_key(header::AUTHORIZATION)
                || headers.contains_key(header::COOKIE)
                || headers.contains_key(header::UPGRADE)
                || headers.contains_key(header::TRANSFER_ENCODING)
                || headers
                    .get(header::CONTENT_LENGTH)
                    .is_some_and(|length| length != "0"),
        })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}

impl KeyPart for Target {
    fn show(&self, variant: &mut Variant) {
        if self.stays_out {
            variant.bypass();
        }
        variant.header(&header::HOST, &self.headers);
        show_varying(&self.headers, variant);
        match &self.query {
            Some(query) => {
                variant.present();
                variant.push(query);
            }
            None => variant.absent(),
        }
    }
}

/// Puts the headers that answers may vary on into the variant. Unlike `vary(..)` that adds nothing to
/// the answer: here the origin says what it varies on.
fn show_varying(headers: &HeaderMap, variant: &mut Variant) {
    for name in VARY {
        variant.header(&HeaderName::from_static(name), headers);
    }
}

/// Whether the client wants the origin's own answer, as RFC 9111 lets it, section 5.2.1.
fn wants_the_origin(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, words: &[&str]| {
        let lines = headers.get_all(name).iter();
        let mut members = lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(|member| member.split(|byte| *byte == b'=').next())
            .map(|name| name.unwrap_or_default().trim_ascii());
        members.any(|said| {
            words
                .iter()
                .any(|word| said.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    says(
        &header::CACHE_CONTROL,
        &["no-cache", "no-store", "max-age", "min-fresh"],
    ) || !headers.contains_key(header::CACHE_CONTROL) && says(&header::PRAGMA, &["no-cache"])
}

#[smart_cache(
    "{target}",
    status(
        200, 201, 202, 203, 204, 205, 299, 300, 301, 302, 303, 307, 308, 399, 400, 402, 403, 404,
        405, 406, 408, 409, 410, 411, 413, 414, 415, 417, 451, 499
    ),
    honour_freshness = true
)]
async fn cached(
    State(origin): State<Origin>,
    target: Target,
    #[key(ignore)] request: Request,
) -> Response {
    // Only the cache needs it: the request goes on as it came.
    drop(target);
    forward(State(origin), request).await
}

/// Asks the origin.
async fn forward(State(origin): State<Origin>, request: Request) -> Response {
    if only_if_cached(request.headers()) {
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    let (mut parts, body) = request.into_parts();
    let (method, sent_to) = (parts.method.clone(), parts.uri.clone());
    let target = format!(
        "{}{}",
        origin.base,
        sent_to
            .path_and_query()
            .map_or("/", |target| target.as_str())
    );
    let Ok(uri) = target.parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    parts.uri = uri;
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    strip(&mut parts.headers);
    let answer = match origin
        .client
        .request(Request::from_parts(parts, body))
        .await
    {
        Ok(answer) => answer,
        Err(why) => return (StatusCode::BAD_GATEWAY, why.to_string()).into_response(),
    };
    let mut answer = answer.map(Body::new);
    // What the connection says of itself would be an answer's extension, which no cache keeps.
    answer.extensions_mut().clear();
    strip(answer.headers_mut());
    answer.headers_mut().entry(header::DATE).or_insert_with(|| {
        HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
            .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
    });
    if !method.is_safe() && (answer.status().is_success() || answer.status().is_redirection()) {
        forget(&sent_to, answer.headers()).await;
    }
    answer
}

/// Clears what a write has changed: its own target, and those of its site that its answer names
/// (RFC 9111, section 4.4).
async fn forget(target: &Uri, headers: &HeaderMap) {
    let mut keys = vec![path(target).to_owned()];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let named = headers.get(name).and_then(|value| value.to_str().ok());
        // A path alone is of this site; what names a host may be of another.
        if let Some(named) = named.filter(|named| named.starts_with('/')) {
            keys.extend(named.parse::<Uri>().ok().map(|uri| path(&uri).to_owned()));
        }
    }
    if let Err(why) = clear_cache(keys).await {
        tracing::warn!(%why, "a write's clear is repeated");
    }
}

/// The key: what a write to it makes old, whatever its query.
fn path(uri: &Uri) -> &str {
    match uri.path() {
        "" => "/",
        path => path,
    }
}

fn only_if_cached(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case("only-if-cached"))
}

/// Removes what belongs to one connection (RFC 9110, section 7.6.1).
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}
