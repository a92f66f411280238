//! Handlers by what they take.

use axum::Extension;
use axum::extract::{
    FromRequestParts, MatchedPath, NestedPath, OriginalUri, Path, Query, RawPathParams, RawQuery,
    State,
};
use axum::http::{HeaderMap, Method, Uri, request::Parts};
use axum::routing::get;
use smart_cache::{KeyPart, Variant, smart_cache};

use super::{App, Shapes, Shop, check_each_is_cached, ran};

#[smart_cache("nothing")]
async fn nothing() -> String {
    ran("nothing")
}

#[smart_cache("one:{id}")]
async fn one(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("one"))
}

#[smart_cache("states")]
async fn states(_: State<App>, _: axum::extract::State<Shop>, State(_): State<App>) -> String {
    ran("states")
}

#[smart_cache("uris")]
async fn uris(_one: Uri, OriginalUri(_two): OriginalUri) -> String {
    ran("uris")
}

#[smart_cache("paths")]
async fn paths(_: MatchedPath, _: Option<MatchedPath>, _: RawPathParams) -> String {
    ran("paths")
}

#[smart_cache("queries")]
async fn queries(Query(_): Query<Vec<(String, String)>>, RawQuery(_): RawQuery) -> String {
    ran("queries")
}

/// The rejection is a value that the handler may answer, so it must not be an obstacle.
#[smart_cache("results")]
async fn results(
    id: Result<Path<u64>, axum::extract::rejection::PathRejection>,
    page: Option<Path<u64>>,
) -> String {
    assert!(id.is_ok() && page.is_some());
    ran("results")
}

#[smart_cache("form")]
async fn form(axum::Form(_): axum::Form<Vec<(String, String)>>) -> String {
    ran("form")
}

#[smart_cache("tuples:{id}")]
async fn tuples((Path(id), (State(_), ())): (Path<u64>, (State<App>, ()))) -> String {
    format!("{id} {}", ran("tuples"))
}

#[smart_cache("ignored")]
async fn ignored(
    #[key(ignore)] _method: Method,
    #[key(ignore)] Extension(_tenant): Extension<String>,
    #[key(ignore)] _parts: Parts,
    #[key(ignore)] _request: axum::extract::Request,
) -> String {
    ran("ignored")
}

#[smart_cache("parts", vary("Accept-Language"))]
async fn parts(
    #[key(tenant, tenant.len() + 1)] Extension(tenant): Extension<String>,
    #[key(ignore)] _: HeaderMap,
) -> String {
    format!("{tenant} {}", ran("parts"))
}

#[smart_cache("varied", vary("accept-language"))]
async fn varied() -> String {
    ran("varied")
}

struct Visitor {
    name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = ();

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, ()> {
        Ok(Self {
            name: "visitor".to_owned(),
        })
    }
}

impl KeyPart for Visitor {
    fn show(&self, variant: &mut Variant) {
        variant.push(&self.name);
    }
}

#[smart_cache(
    "visitor:{visitor.name}:{id}",
    tags("visitors", "visitor:{visitor.name}")
)]
async fn visitor(Path(id): Path<u64>, visitor: Visitor, again: Result<Visitor, ()>) -> String {
    assert!(again.is_ok());
    format!("{id} {} {}", visitor.name, ran("visitor"))
}

#[smart_cache(
    "full:{id}",
    tags("full", "full:{id}",),
    query("page", "q"),
    vary("accept-language"),
    ttl = "10m",
    status(200, 404),
    local = false,
    max_body = "1MiB",
    crate = ::smart_cache,
)]
async fn full(Path(id): Path<u64>, _: RawQuery) -> String {
    format!("{id} {}", ran("full"))
}

#[smart_cache("sixteen:{id}")]
#[expect(clippy::too_many_arguments, reason = "as many as axum takes")]
async fn sixteen(
    Path(id): Path<u64>,
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
    _p: RawQuery,
) -> String {
    format!("{id} {}", ran("sixteen"))
}

#[smart_cache("several:{id}")]
async fn several(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("several"))
}

#[smart_cache("nested:{id}")]
async fn nested(Path(id): Path<u64>, _: NestedPath) -> String {
    format!("{id} {}", ran("nested"))
}

#[smart_cache("moved")]
async fn only_receives_what_it_ignores(_: State<App>) -> String {
    ran("moved")
}

#[tokio::test]
async fn handlers_with_any_extractors_are_cached() {
    let mut shapes = Shapes::default()
        .plain("/nothing", nothing)
        .at("/one/{id}", "/one/7", one)
        .plain("/states", states)
        .plain("/uris", uris)
        .at("/paths/{id}", "/paths/7", paths)
        .at("/queries", "/queries?b=2&a=1", queries)
        .at("/results/{id}", "/results/7", results)
        .at("/form", "/form?a=1", form)
        .at("/tuples/{id}", "/tuples/7", tuples)
        .plain("/ignored", ignored)
        .plain("/parts", parts)
        .plain("/varied", varied)
        .at("/visitor/{id}", "/visitor/7", visitor)
        .at("/full/{id}", "/full/7?page=2", full)
        .at("/sixteen/{id}", "/sixteen/7", sixteen)
        .at("/several/{id}", "/several/7", several)
        .at("/several/again/{id}", "/several/again/7", several)
        .plain("/moved", only_receives_what_it_ignores);
    let inner = axum::Router::new().route("/{id}", get(nested));
    shapes.router = shapes
        .router
        .nest("/nested/a", inner.clone())
        .nest("/nested/b", inner);
    shapes.addresses.extend(["/nested/a/7", "/nested/b/7"]);
    check_each_is_cached(shapes).await;
}

#[tokio::test]
async fn a_handler_called_as_a_function_gives_its_own_value() {
    let answer = one((smart_cache::uncached(), Path(7))).await.into_value();
    assert!(answer.starts_with("7 one"));
    assert!(
        nothing(smart_cache::uncached())
            .await
            .into_value()
            .starts_with("nothing")
    );
    assert!(
        varied(smart_cache::uncached())
            .await
            .into_value()
            .starts_with("varied")
    );
    let answer = parts(
        (smart_cache::uncached(), Extension("a".to_owned())),
        HeaderMap::new(),
    )
    .await;
    assert!(answer.into_value().starts_with("a parts"));
}
