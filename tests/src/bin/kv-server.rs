//! The low-level API over HTTP, so that a foreign test-suite can drive it.
//!
//! `kv-server --port PORT --backend redis|memory|sql|file|memcached [--url URL] [--namespace N]
//! [--default-timeout S]`. Values are raw bytes; redis is found by `SMART_REDIS_*`, and a private
//! temporary store is made where a backend needs an address and none is given.
//!
//! | request | answer |
//! |---|---|
//! | `GET` `PUT` `DELETE /v/{key}?version=&timeout=` | the value, 200, 200; 404 when missing |
//! | `POST /add/{key}` `/touch/{key}` | `true` or `false` |
//! | `POST /incr/{key}?delta=` | the sum; 409 when missing, 422 when it is no integer |
//! | `POST /incr_version/{key}?delta=` | the new version; 409 when missing |
//! | `POST /many/get` `{"keys": [..]}` | `{key: base64}` of what exists |
//! | `POST /many/set` `{"values": {key: base64}, "timeout": seconds or "never"}` | the keys that failed |
//! | `POST /many/delete` `{"keys": [..]}` | how many there were |
//! | `POST /clear` | 200 |
//!
//! `timeout` is in seconds with a fraction, or `never`; absent is the default, zero and negative
//! ones remove. `{key}` is percent-encoded and may be anything but empty. An outage is 503.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use smart_cache::{BackendKind, Builder, Cache, CacheError, SmartCache, StartFlush, Timeout};
use smart_cache_tests::harness::{MemcachedServer, text_after};
use tempfile::TempDir;

const USAGE: &str = "usage: kv-server --port PORT --backend redis|memory|sql|file|memcached [--url URL] [--namespace N] [--default-timeout S]";
/// A value of a hundred megabytes must get through.
const LONGEST_BODY: usize = 512 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kv-server: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The cache, and what must live as long as it.
struct Set {
    builder: Builder,
    _keep: Option<Box<dyn std::any::Any + Send>>,
}

/// Where the values live. The one place that a new backend is added to.
async fn set(backend: &str, url: Option<&str>) -> Result<Set, String> {
    let builder = SmartCache::builder().env();
    match (backend, url) {
        ("redis", None) => Ok(Set {
            builder: builder.backend(BackendKind::Redis),
            _keep: None,
        }),
        ("redis", Some(url)) => Ok(Set {
            builder: builder.backend(BackendKind::Redis).url(url),
            _keep: None,
        }),
        ("memory", _) => Ok(Set {
            builder: builder.backend(BackendKind::Memory),
            _keep: None,
        }),
        ("sql" | "file", None) => {
            let folder = TempDir::with_prefix("kv-").map_err(|why| why.to_string())?;
            let path = folder.path().join("cache");
            let url = match backend {
                "sql" => format!("sqlite:{}.db", path.display()),
                _ => format!("file:{}", path.display()),
            };
            Ok(Set {
                builder: patient(builder).backend(BackendKind::Auto).url(&url),
                _keep: Some(Box::new(folder)),
            })
        }
        ("memcached", None) => {
            let server = MemcachedServer::start().await;
            Ok(Set {
                builder: patient(builder)
                    .backend(BackendKind::Auto)
                    .url(&server.url()),
                _keep: Some(Box::new(server)),
            })
        }
        ("sql" | "file" | "memcached", Some(url)) => {
            // A folder and an address may be given as they are.
            let url = match backend {
                "file" if !url.starts_with("file:") => {
                    let folder = std::path::absolute(url).map_err(|why| why.to_string())?;
                    format!("file:{}", folder.display())
                }
                "memcached" if !url.contains("://") => format!("memcached://{url}"),
                _ => url.to_owned(),
            };
            let kind = match backend {
                "sql" => BackendKind::Sql,
                "file" => BackendKind::File,
                _ => BackendKind::Memcached,
            };
            Ok(Set {
                builder: patient(builder).backend(kind).url(&url),
                _keep: None,
            })
        }
        (other, _) => Err(format!("there is no backend {other:?}; {USAGE}")),
    }
}

/// A disk may be slow at times; what was set is kept to.
fn patient(builder: Builder) -> Builder {
    match std::env::var_os("SMART_REDIS_TIMEOUT") {
        Some(_) => builder,
        None => builder.timeout(Duration::from_secs(2)),
    }
}

async fn run() -> Result<(), String> {
    let text = |flag: &str| text_after(flag);
    let port: u16 = text("--port")
        .and_then(|port| port.parse().ok())
        .ok_or(USAGE)?;
    let backend = text("--backend").ok_or(USAGE)?;
    let Set { mut builder, _keep } = set(&backend, text("--url").as_deref()).await?;
    builder = builder.flush(StartFlush::Never);
    if let Some(namespace) = text("--namespace") {
        builder = builder.namespace(namespace);
    }
    if let Some(timeout) = text("--default-timeout") {
        builder = builder.default_timeout(read_timeout(&timeout).ok_or(USAGE)?);
    }
    let cache = builder.build().await.map_err(|why| why.to_string())?;
    let app = app(cache.values());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|why| why.to_string())?;
    let address = listener.local_addr().map_err(|why| why.to_string())?;
    println!("listening on {address}, {}", cache.describe());
    axum::serve(listener, app)
        .await
        .map_err(|why| why.to_string())
}

fn app(values: Cache) -> Router {
    // A key may hold anything, slashes and escapes included, so it is read from the raw path.
    Router::new()
        .route("/v/{*key}", get(read).put(write).delete(remove))
        .route("/add/{*key}", post(add))
        .route("/touch/{*key}", post(touch))
        .route("/incr/{*key}", post(incr))
        .route("/incr_version/{*key}", post(incr_version))
        .route("/many/get", post(get_many))
        .route("/many/set", post(set_many))
        .route("/many/delete", post(delete_many))
        .route("/clear", post(clear))
        .fallback(|| async { (StatusCode::BAD_REQUEST, "no such request, or an empty key") })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(values)
}

/// What a request asks for beside its body.
struct Asked {
    key: String,
    values: Cache,
    timeout: Timeout,
    delta: Option<String>,
}

#[derive(Deserialize)]
struct Parameters {
    version: Option<u32>,
    timeout: Option<String>,
    delta: Option<String>,
}

impl FromRequestParts<Cache> for Asked {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(
        parts: &mut Parts,
        values: &Cache,
    ) -> Result<Self, Self::Rejection> {
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        let path = parts.uri.path().trim_start_matches('/');
        let raw = path.split_once('/').map_or("", |(_, key)| key);
        let key = percent_decode_str(raw)
            .decode_utf8()
            .map_err(|_| bad("the key is not UTF-8".to_owned()))?
            .into_owned();
        let Query(parameters) =
            Query::<Parameters>::try_from_uri(&parts.uri).map_err(|why| bad(why.body_text()))?;
        let timeout = match parameters.timeout.as_deref() {
            None => Timeout::Default,
            Some(text) => read_timeout(text)
                .ok_or_else(|| bad(format!("timeout={text:?}: seconds, or never")))?,
        };
        let values = parameters
            .version
            .map_or_else(|| values.clone(), |version| values.version(version));
        Ok(Self {
            key,
            values,
            timeout,
            delta: parameters.delta,
        })
    }
}

impl Asked {
    fn delta<T: std::str::FromStr + From<i8>>(&self) -> Result<T, Refused> {
        match &self.delta {
            None => Ok(T::from(1)),
            Some(text) => text
                .parse()
                .map_err(|_| Refused::bad(&format!("delta={text:?}"))),
        }
    }
}

/// Seconds with a fraction, or `never`. What has expired already is zero, which removes.
fn read_timeout(text: &str) -> Option<Timeout> {
    if matches!(text, "never" | "None" | "none") {
        return Some(Timeout::Never);
    }
    let seconds: f64 = text.parse().ok()?;
    if seconds.is_nan() {
        return None;
    }
    let time = Duration::try_from_secs_f64(seconds.max(0.0));
    Some(Timeout::After(time.unwrap_or(Duration::MAX)))
}

/// An answer that is no success.
struct Refused(StatusCode, String);

impl Refused {
    fn bad(why: &impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }

    fn missing() -> Self {
        Self(StatusCode::NOT_FOUND, "missing".to_owned())
    }
}

impl From<CacheError> for Refused {
    fn from(why: CacheError) -> Self {
        use smart_cache::BackendError::TooLarge;

        let status = match &why {
            CacheError::EmptyKey => StatusCode::BAD_REQUEST,
            CacheError::Missing { .. } => StatusCode::CONFLICT,
            CacheError::NotAnInteger { .. } | CacheError::Overflow { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            CacheError::Backend(TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            CacheError::Backend(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, why.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

async fn read(asked: Asked) -> Result<Response, Refused> {
    let found = asked.values.get_bytes(&asked.key).await?;
    let value = found.ok_or_else(Refused::missing)?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, value).into_response())
}

async fn write(asked: Asked, value: Bytes) -> Result<(), Refused> {
    Ok(asked
        .values
        .set_bytes(&asked.key, value, asked.timeout)
        .await?)
}

async fn remove(asked: Asked) -> Result<(), Refused> {
    if asked.values.delete(&asked.key).await? {
        Ok(())
    } else {
        Err(Refused::missing())
    }
}

async fn add(asked: Asked, value: Bytes) -> Result<Json<bool>, Refused> {
    let added = asked.values.add_bytes(&asked.key, value, asked.timeout);
    Ok(Json(added.await?))
}

async fn touch(asked: Asked) -> Result<Json<bool>, Refused> {
    Ok(Json(asked.values.touch(&asked.key, asked.timeout).await?))
}

async fn incr(asked: Asked) -> Result<Json<i64>, Refused> {
    Ok(Json(asked.values.incr(&asked.key, asked.delta()?).await?))
}

async fn incr_version(asked: Asked) -> Result<Json<u32>, Refused> {
    Ok(Json(
        asked
            .values
            .incr_version(&asked.key, asked.delta()?)
            .await?,
    ))
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
    version: Option<u32>,
}

#[derive(Deserialize)]
struct Values {
    values: BTreeMap<String, String>,
    timeout: Option<serde_json::Value>,
    version: Option<u32>,
}

/// Reads JSON whatever the request calls it.
fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|why| Refused::bad(&why))
}

/// The version in the body goes before that in the query.
fn at_version(asked: &Asked, version: Option<u32>) -> Cache {
    version.map_or_else(
        || asked.values.clone(),
        |version| asked.values.version(version),
    )
}

async fn get_many(asked: Asked, body: Bytes) -> Result<Json<BTreeMap<String, String>>, Refused> {
    let Keys { keys, version } = json(&body)?;
    let found = at_version(&asked, version).get_many_bytes(&keys).await?;
    let encoded = found
        .into_iter()
        .map(|(key, value)| (key, STANDARD.encode(value)));
    Ok(Json(encoded.collect()))
}

async fn set_many(asked: Asked, body: Bytes) -> Result<Json<Vec<String>>, Refused> {
    let Values {
        values,
        timeout,
        version,
    } = json(&body)?;
    let timeout = match timeout {
        None | Some(serde_json::Value::Null) => asked.timeout,
        Some(serde_json::Value::String(text)) => {
            read_timeout(&text).ok_or_else(|| Refused::bad(&"timeout: seconds, or never"))?
        }
        Some(number) => read_timeout(&number.to_string())
            .ok_or_else(|| Refused::bad(&"timeout: seconds, or never"))?,
    };
    let decoded = values
        .into_iter()
        .map(|(key, value)| {
            Ok((
                key,
                STANDARD
                    .decode(value)
                    .map_err(|why| Refused::bad(&why))?
                    .into(),
            ))
        })
        .collect::<Result<Vec<(String, Bytes)>, Refused>>()?;
    let cache = at_version(&asked, version);
    Ok(Json(cache.set_many_bytes(decoded, timeout).await?))
}

async fn delete_many(asked: Asked, body: Bytes) -> Result<Json<u64>, Refused> {
    let Keys { keys, version } = json(&body)?;
    Ok(Json(at_version(&asked, version).delete_many(&keys).await?))
}

async fn clear(State(values): State<Cache>) -> Result<(), Refused> {
    Ok(values.clear().await?)
}
