//! What an attacker sends in one request does not come back in another one's answer.

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get as on_get;
use http::HeaderMap;
use smart_cache::{CacheLayer, layer, smart_cache};
use smart_cache_tests::harness::{Served, serve};

use super::{HIT, ask, in_memory};

/// A page with links, as frameworks make them: of whatever header they find.
async fn links(headers: HeaderMap) -> String {
    let mut page = String::new();
    for (name, value) in &headers {
        if name != "connection" {
            page.push_str(&format!("{name}={} ", value.to_str().unwrap()));
        }
    }
    page
}

async fn site(options: fn(CacheLayer) -> CacheLayer) -> Served {
    let cached = options(layer("links")).cache(in_memory().await);
    serve(Router::new().route("/", on_get(links)).layer(cached)).await
}

const EVIL: &str = "evil.test";

/// Each of these headers is reflected to the one who sends it, and to nobody else.
async fn check_reflected(site: &Served, names: &[&str]) {
    for name in names {
        let poisoned = ask(site, "/", &[(*name, EVIL)]).await;
        assert!(poisoned.body.contains(EVIL), "the page reflects {name}");
        let next = ask(site, "/", &[]).await;
        assert!(!next.body.contains(EVIL), "{name}");
    }
}

#[tokio::test]
async fn headers_that_replace_the_target_poison_nobody() {
    let site = site(|layer| layer).await;
    let names = [
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-server",
        "x-host",
        "x-original-url",
        "x-rewrite-url",
        "X-Forwarded-Host",
        "host",
    ];
    check_reflected(&site, &names).await;
    for value in [
        "host=evil.test",
        "for=1;host=evil.test",
        "for=\"1;host=evil.test\"",
        "for=1, host=evil.test",
        "for=evil.test;proto=x",
    ] {
        ask(&site, "/", &[("forwarded", value)]).await;
        assert!(!ask(&site, "/", &[]).await.body.contains(EVIL), "{value}");
        let plain = ask(&site, "/", &[("forwarded", "for=192.0.2.1")]).await;
        assert!(!plain.body.contains(EVIL), "{value}");
    }
}

/// A handler's own headers are not in its variant until it names them; then they count as its
/// arguments do.
#[smart_cache("links", vary("x-forwarded-host", "x-forwarded-proto", "host"))]
async fn named_links(#[key(ignore)] headers: HeaderMap) -> String {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    format!(
        "{:?}://{:?} {:?}",
        text("x-forwarded-proto"),
        text("x-forwarded-host"),
        text("host")
    )
}

#[tokio::test]
async fn headers_that_a_handler_names_poison_nobody() {
    let app = Router::new()
        .route("/", on_get(named_links))
        .layer(axum::Extension(in_memory().await));
    let site = serve(app).await;
    let names = [
        "x-forwarded-host",
        "x-forwarded-proto",
        "X-Forwarded-Host",
        "host",
    ];
    check_reflected(&site, &names).await;
    let again = ask(&site, "/", &[]).await;
    assert!(again.head.contains(HIT), "without them it is kept");
}

#[tokio::test]
async fn headers_that_override_the_method_poison_nobody() {
    let site = site(|layer| layer).await;
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        ask(&site, "/", &[(name, EVIL)]).await;
        assert!(!ask(&site, "/", &[]).await.body.contains(EVIL), "{name}");
    }
}

#[tokio::test]
async fn who_asks_poisons_nobody() {
    for options in [(|layer| layer) as fn(CacheLayer) -> CacheLayer, |layer| {
        layer.allow_authorization().allow_cookies(["id"])
    }] {
        let site = site(options).await;
        for headers in [
            [("authorization", EVIL)],
            [("proxy-authorization", EVIL)],
            [("cookie", "id=evil.test")],
            [("cookie", "%69d=evil.test")],
        ] {
            ask(&site, "/", &headers).await;
            assert!(!ask(&site, "/", &[]).await.body.contains(EVIL));
        }
    }
}

/// The documented limit: what a service reads of an unusual header, and does not say in `Vary`, is
/// served to everybody, until the layer is told its name.
#[tokio::test]
async fn an_unusual_header_that_is_reflected_is_told_apart_once_it_is_named() {
    let careless = site(|layer| layer).await;
    ask(&careless, "/", &[("x-campaign", EVIL)]).await;
    let next = ask(&careless, "/", &[]).await;
    assert!(next.head.contains(HIT) && next.body.contains(EVIL));

    let named = site(|layer| layer.vary(["x-campaign"])).await;
    ask(&named, "/", &[("x-campaign", EVIL)]).await;
    assert!(!ask(&named, "/", &[]).await.body.contains(EVIL));
}

#[tokio::test]
async fn an_unusual_header_that_is_reflected_and_said_in_vary_poisons_nobody() {
    async fn honest(headers: HeaderMap) -> axum::response::Response {
        ([("vary", "x-campaign")], links(headers).await).into_response()
    }

    let cached = layer("honest").cache(in_memory().await);
    let site = serve(Router::new().route("/", on_get(honest)).layer(cached)).await;
    ask(&site, "/", &[("x-campaign", EVIL)]).await;
    assert!(!ask(&site, "/", &[]).await.body.contains(EVIL));
}

#[tokio::test]
async fn an_absent_header_is_not_an_empty_one() {
    let site = site(|layer| layer.vary(["x-tenant"])).await;
    let absent = ask(&site, "/", &[]).await;
    let empty = ask(&site, "/", &[("x-tenant", "")]).await;
    assert!(!absent.body.contains("x-tenant") && empty.body.contains("x-tenant"));
    assert!(!ask(&site, "/", &[]).await.body.contains("x-tenant"));
}

#[tokio::test]
async fn a_request_with_a_body_poisons_nobody() {
    let echo = on_get(|body: String| async move { body });
    let cached = layer("echo").cache(in_memory().await);
    let site = serve(Router::new().route("/", echo).layer(cached)).await;
    let fat = http::Request::get("/").body(EVIL.into()).unwrap();
    assert_eq!(site.client().send(fat).await.body(), EVIL);
    assert_eq!(ask(&site, "/", &[("host", "localhost")]).await.body, "");
}
