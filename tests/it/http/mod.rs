//! What a client may ask of a stored answer: whether it has it already, a part of it, another
//! encoding; and what the cache says of itself.

mod conditional;
mod encodings;
mod ranges;
mod status;
mod vary;

use axum::Router;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use smart_cache_tests::harness::Served;

/// A request with headers over a connection of its own.
async fn ask(
    served: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    served
        .client()
        .send(request.body(Bytes::new()).unwrap())
        .await
}

async fn get(served: &Served, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    ask(served, Method::GET, path, headers).await
}

/// The only line of a header.
#[track_caller]
fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    let mut lines = answer.headers().get_all(name).iter();
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{name} in {answer:?}"));
    assert!(lines.next().is_none(), "one {name} in {answer:?}");
    line.to_str().unwrap()
}

/// The status as a number, for tables.
fn code(answer: &Response<Bytes>) -> u16 {
    answer.status().as_u16()
}

async fn serve(router: Router, cache: &smart_cache::SmartCache) -> Served {
    smart_cache_tests::harness::serve(router.layer(axum::Extension(cache.clone()))).await
}
