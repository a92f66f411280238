//! Says how a request was answered and how long that took, in a `Server-Timing` header.
//!
//! A cached page cannot contain this, for it is the same bytes every time. The header is put
//! on outside the cache, and `status.js` reads it in the browser to fill the page's footer.

use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Measures from the request's arrival to the moment the response leaves.
pub(crate) async fn report(request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let mut response = next.run(request).await;
    let milliseconds = arrived.elapsed().as_secs_f64() * 1000.0;
    let value = server_timing(response.headers(), milliseconds);
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

/// `cache;desc="hit", age;dur=12000, total;dur=0.12`; the cache's part only where it spoke.
fn server_timing(headers: &HeaderMap, milliseconds: f64) -> String {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let mut metrics = Vec::new();
    if let Some(status) = text(CACHE_STATUS) {
        metrics.push(format!("cache;desc=\"{}\"", cache_words(status)));
    }
    if let Some(age) = text(header::AGE).and_then(|age| age.parse::<u64>().ok()) {
        metrics.push(format!("age;dur={}", age.saturating_mul(1000)));
    }
    metrics.push(format!("total;dur={milliseconds:.2}"));
    metrics.join(", ")
}

/// The parameters of a `Cache-Status` in the fewest words: `hit`, `shared`, `miss`,
/// `bypass: set-cookie`.
fn cache_words(status: &str) -> String {
    let parameters = || status.split(';').skip(1).map(str::trim);
    let value = |name: &str| {
        parameters()
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.trim_matches('"'))
    };
    if parameters().any(|parameter| parameter == "hit") {
        return "hit".to_owned();
    }
    // Another visitor asked first, and one run of the handler answered both.
    if parameters().any(|parameter| parameter == "collapsed") {
        return "shared".to_owned();
    }
    let forwarded = value("fwd").unwrap_or("miss");
    let words = match value("detail") {
        Some(detail) => format!("{forwarded}: {detail}"),
        None => forwarded.to_owned(),
    };
    // The result stands between quotes.
    words.replace(['"', '\\'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cache_status: &str, expected: &str) {
        assert_eq!(cache_words(cache_status), expected, "{cache_status}");
    }

    #[test]
    fn cache_status_becomes_few_words() {
        check("smart-cache; hit", "hit");
        check("smart-cache; hit; detail=local", "hit");
        check("smart-cache; fwd=miss; stored", "miss");
        check("smart-cache; fwd=miss; collapsed", "shared");
        check(
            "smart-cache; fwd=bypass; detail=set-cookie",
            "bypass: set-cookie",
        );
        check("smart-cache", "miss");
    }

    #[test]
    fn without_a_cache_only_the_time_is_told() {
        assert_eq!(server_timing(&HeaderMap::new(), 1.234), "total;dur=1.23");
    }

    #[test]
    fn a_hit_tells_its_age_in_milliseconds() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("smart-cache; hit"));
        headers.insert(header::AGE, HeaderValue::from_static("12"));
        let expected = "cache;desc=\"hit\", age;dur=12000, total;dur=0.10";
        assert_eq!(server_timing(&headers, 0.1), expected);
    }
}
