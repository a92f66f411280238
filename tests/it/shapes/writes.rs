//! Write handlers: any extractors, bodies included, and the page is gone afterwards.

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use axum_macros::debug_handler;
use smart_cache::{clears_cache, smart_cache};

use super::{App, Shapes, ask, ran};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("page"))
}

#[clears_cache("pages")]
async fn nothing() {}

#[clears_cache("page:{id}")]
async fn one(Path(id): Path<u64>) {
    assert_eq!(id, 7);
}

#[clears_cache("page:{id}", "new:{name}", "pages", crate = ::smart_cache)]
async fn json(
    State(_): State<App>,
    Path(id): Path<u64>,
    Extension(_tenant): Extension<String>,
    _: HeaderMap,
    Json(name): Json<String>,
) -> Result<StatusCode, StatusCode> {
    if name.is_empty() {
        return Err(StatusCode::BAD_REQUEST);
    }
    assert_eq!(id, 7);
    Ok(StatusCode::CREATED)
}

#[debug_handler]
#[clears_cache("page:7")]
async fn text_above(mut text: String) -> String {
    text += "!";
    text
}

#[clears_cache("page:7")]
#[debug_handler]
async fn text_below(mut text: String) -> String {
    text += "!";
    text
}

#[clears_cache("page:7")]
#[debug_handler(state = App)]
async fn request(_: State<App>, _: Extension<String>, _: Request) {}

#[debug_handler]
#[clears_cache("page:{name.len}", "pages")]
async fn bytes(name: Name, _: Method, _: Bytes) -> Result<(), impl IntoResponse> {
    let Name { len } = name;
    if len == 7 {
        Ok(())
    } else {
        Err(StatusCode::BAD_REQUEST)
    }
}

struct Name {
    len: usize,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Name {
    type Rejection = ();

    async fn from_request_parts(_: &mut axum::http::request::Parts, _: &S) -> Result<Self, ()> {
        Ok(Self { len: 7 })
    }
}

impl Name {
    #[clears_cache("page:{self.len}")]
    #[debug_handler]
    async fn alone(self) {}

    #[clears_cache("page:{self.len}")]
    async fn with_body(self, body: Bytes) -> String {
        format!("{} {}", self.len, body.len())
    }
}

impl IntoResponse for Name {
    fn into_response(self) -> axum::response::Response {
        self.len.to_string().into_response()
    }
}

#[clears_cache("page:{id}")]
#[tracing::instrument(skip_all, fields(id = id), err)]
async fn instrumented(Path(id): Path<u64>, Json(_): Json<String>) -> Result<(), Broken> {
    Ok(())
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("broken")
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> axum::response::Response {
        StatusCode::BAD_REQUEST.into_response()
    }
}

#[clears_cache("page:7")]
#[expect(clippy::too_many_arguments, reason = "as many as axum takes")]
async fn sixteen(
    _a: State<App>,
    _b: State<App>,
    _c: State<App>,
    _d: State<App>,
    _e: State<App>,
    _f: State<App>,
    _g: State<App>,
    _h: State<App>,
    _i: State<App>,
    _j: State<App>,
    _k: State<App>,
    _l: State<App>,
    _m: State<App>,
    _n: State<App>,
    _o: State<App>,
    _p: Bytes,
) {
}

#[tokio::test]
async fn every_shape_of_write_handler_clears() {
    let shapes = Shapes::default()
        .write("/nothing", "/nothing", nothing)
        .write("/one/{id}", "/one/7", one)
        .write("/json/{id}", "/json/7", json)
        .write("/text-above", "/text-above", text_above)
        .write("/text-below", "/text-below", text_below)
        .write("/request", "/request", request)
        .write("/bytes", "/bytes", bytes)
        .write("/alone", "/alone", Name::alone)
        .write("/with-body", "/with-body", Name::with_body)
        .write("/instrumented/{id}", "/instrumented/7", instrumented)
        .write("/sixteen", "/sixteen", sixteen);
    let addresses = shapes.addresses.clone();
    let router = shapes.at("/page/{id}", "/page/7", page).into_router().await;
    for address in addresses {
        ask(&router, Method::GET, "/page/7").await;
        assert!(
            ask(&router, Method::GET, "/page/7").await.is_hit,
            "before {address}"
        );
        let answer = ask(&router, Method::POST, address).await;
        assert!(
            answer.status.is_success(),
            "answer of {address}: {answer:?}"
        );
        assert!(
            !ask(&router, Method::GET, "/page/7").await.is_hit,
            "after {address}"
        );
    }
}

#[smart_cache("named:{id}", cache = "shapes")]
async fn named(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("named"))
}

#[clears_cache("named:{id}", cache = "shapes")]
async fn clear_named(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[clears_cache("named:{id}")]
async fn clear_elsewhere(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[tokio::test]
async fn a_named_cache_is_filled_and_cleared_by_its_name() {
    smart_cache::install_named("shapes", smart_cache::SmartCache::in_memory()).unwrap();
    let router = Shapes::default()
        .at("/named/{id}", "/named/7", named)
        .write("/clear-named/{id}", "/clear-named/7", clear_named)
        .write(
            "/clear-elsewhere/{id}",
            "/clear-elsewhere/7",
            clear_elsewhere,
        )
        .into_router()
        .await;
    ask(&router, Method::GET, "/named/7").await;
    ask(&router, Method::POST, "/clear-elsewhere/7").await;
    assert!(ask(&router, Method::GET, "/named/7").await.is_hit);
    ask(&router, Method::POST, "/clear-named/7").await;
    assert!(!ask(&router, Method::GET, "/named/7").await.is_hit);
}
