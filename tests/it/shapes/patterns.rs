//! Handlers by how they take it: patterns, attributes and comments among the arguments.

use axum::extract::{Path, Query, RawQuery, State};
use serde::Deserialize;
use smart_cache::smart_cache;

use super::{App, Shapes, check_each_is_cached, ran};

#[derive(Deserialize)]
struct Place {
    shop: String,
    item: u64,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[smart_cache("mutable:{path.0}")]
async fn mutable(mut path: Path<u64>) -> String {
    path.0 += 1;
    format!("{} {}", path.0, ran("mutable"))
}

#[smart_cache("inner-mutable:{name}")]
async fn inner_mutable(State(mut _app): State<App>, Path(mut name): Path<String>) -> String {
    _app.shop = super::Shop;
    name.push('!');
    format!("{name} {}", ran("inner-mutable"))
}

#[smart_cache("structs:{shop}:{item}")]
async fn structs(Path(Place { shop, item }): Path<Place>) -> String {
    format!("{shop} {item} {}", ran("structs"))
}

#[smart_cache("fields:{place.shop}:{place.item}:{{literal}}")]
async fn fields(Path(place): Path<Place>) -> String {
    format!("{} {} {}", place.shop, place.item, ran("fields"))
}

#[smart_cache("keyword:{type}:{typed.type}")]
async fn keyword(Path(Typed { r#type }): Path<Typed>, Query(typed): Query<Typed>) -> String {
    format!("{type} {} {}", typed.r#type, ran("keyword"))
}

#[smart_cache("bound:{whole.1}:{first}")]
async fn bound(Path(ref whole @ (first, _)): Path<(u64, u64)>) -> String {
    format!("{whole:?} {first} {}", ran("bound"))
}

#[smart_cache("rest:{id}")]
async fn rest(Path((id, ..)): Path<(u64, u64, u64)>) -> String {
    format!("{id} {}", ran("rest"))
}

#[smart_cache("referenced:{text}")]
async fn referenced(Path(ref text): Path<String>, RawQuery(ref query): RawQuery) -> String {
    tokio::task::yield_now().await;
    format!("{text} {query:?} {}", ran("referenced"))
}

const PREFIX: &str = "constant";

#[smart_cache("{PREFIX}:{id}")]
async fn constant(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("constant"))
}

#[smart_cache("documented:{id}")]
/// Documented below the attribute.
async fn documented(
    // A comment above the first argument.
    State(_app): State<App>, // and behind it
    /* and before */ Path(id): Path<u64>,
    // and a last one.
) -> String {
    format!("{id} {}", ran("documented"))
}

#[smart_cache("unused")]
async fn unused(
    #[allow(unused_variables, reason = "the attribute is the test")] State(app): State<App>,
    #[expect(unused_variables, reason = "the expectation must still be met")]
    RawQuery(query): RawQuery,
) -> String {
    ran("unused")
}

#[smart_cache("configured:{id}")]
async fn configured(
    #[cfg(test)] State(_there): State<App>,
    #[cfg(not(test))] State(_not_there): State<u64>,
    Path(id): Path<u64>,
    #[cfg(test)]
    #[key(there.is_some())]
    RawQuery(there): RawQuery,
    #[cfg(not(test))]
    #[key(not_there)]
    NotThere(not_there): NotThere,
) -> String {
    assert!(there.is_some());
    format!("{id} {}", ran("configured"))
}

#[smart_cache("all-configured")]
async fn all_configured(
    #[cfg(test)] State(_app): State<App>,
    #[cfg(not(test))] State(_app): State<u64>,
) -> String {
    ran("all-configured")
}

#[smart_cache("inner-attributes")]
async fn inner_attributes(State(app): State<App>) -> String {
    #![allow(unused_variables, reason = "the attribute is the test")]
    ran("inner-attributes")
}

#[tokio::test]
async fn handlers_with_any_patterns_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .at("/mutable/{id}", "/mutable/7", mutable)
            .at("/inner-mutable/{name}", "/inner-mutable/a", inner_mutable)
            .at("/structs/{shop}/{item}", "/structs/a/7", structs)
            .at("/fields/{shop}/{item}", "/fields/a/7", fields)
            .at("/keyword/{type}", "/keyword/a?type=b", keyword)
            .at("/bound/{a}/{b}", "/bound/1/2", bound)
            .at("/rest/{a}/{b}/{c}", "/rest/1/2/3", rest)
            .at("/referenced/{text}", "/referenced/a?b", referenced)
            .at("/constant/{id}", "/constant/7", constant)
            .at("/documented/{id}", "/documented/7", documented)
            .plain("/unused", unused)
            .at("/configured/{id}", "/configured/7?there", configured)
            .plain("/all-configured", all_configured)
            .plain("/inner-attributes", inner_attributes),
    )
    .await;
}
