//! The extractors of axum-extra.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum_extra::either::{Either, Either3};
use axum_extra::extract::{Cached, OptionalQuery, Query, WithRejection};
use smart_cache::smart_cache;

use super::{App, Shapes, check_each_is_cached, ran};

type Pairs = Vec<(String, String)>;

#[smart_cache("extra-query")]
async fn query(_: Query<Pairs>, _: OptionalQuery<Pairs>) -> String {
    ran("extra-query")
}

/// An extractor is cached by axum-extra for one request, which is no business of ours.
#[smart_cache("extra-cached")]
async fn cached(Cached(State(_)): Cached<State<App>>) -> String {
    ran("extra-cached")
}

struct Refused;

impl<E> From<E> for Refused
where
    E: std::error::Error,
{
    fn from(_: E) -> Self {
        Self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        StatusCode::BAD_REQUEST.into_response()
    }
}

#[smart_cache("extra-rejection:{id}")]
async fn rejection(WithRejection(Path(id), _): WithRejection<Path<u64>, Refused>) -> String {
    format!("{id} {}", ran("extra-rejection"))
}

#[smart_cache("extra-either")]
async fn either(id: Either<Path<u64>, RawQuery>, _: Either3<Path<u64>, RawQuery, ()>) -> String {
    assert!(matches!(id, Either::E2(_)));
    ran("extra-either")
}

#[tokio::test]
async fn handlers_with_extractors_of_axum_extra_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .at("/extra-query", "/extra-query?a=1", query)
            .plain("/extra-cached", cached)
            .at("/extra-rejection/{id}", "/extra-rejection/7", rejection)
            .at("/extra-either/{id}", "/extra-either/word?a", either),
    )
    .await;
}
