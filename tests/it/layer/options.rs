//! What a layer can be told.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::Method;
use smart_cache::{Bypass, CacheLayer, depends_on, install_named, layer};
use smart_cache_tests::harness::{Gate, eventually};

use super::{
    HIT, STORED, ask, asked, check_apart, check_shared, check_stays_out, get, in_memory, run, site,
    status_of, stored,
};

#[tokio::test]
async fn each_request_may_have_its_own_key() {
    let (app, cache) =
        site(|layer| layer.key(|request| request.uri.path().trim_start_matches('/').to_owned()))
            .await;
    for path in ["/a", "/b"] {
        get(&app, path).await;
    }
    cache.clear("a").await.unwrap();
    assert_eq!(get(&app, "/a").await.text(), "3");
    assert_eq!(get(&app, "/b").await.text(), "2");
    check_stays_out(&app, "/", &[], "smart-cache; fwd=bypass; detail=empty-key").await;
}

#[tokio::test]
async fn tags_of_the_request_clear_it_too() {
    let (app, cache) = site(|layer| {
        layer
            .tags(|request| [format!("page:{}", request.uri.path()), "pages".to_owned()])
            .tags(|_| "all")
    })
    .await;
    let runs = async || (get(&app, "/a").await.text(), get(&app, "/b").await.text());
    assert_eq!(runs().await, ("1".into(), "2".into()));
    cache.clear("page:/a").await.unwrap();
    assert_eq!(runs().await, ("3".into(), "2".into()));
    cache.clear("pages").await.unwrap();
    assert_eq!(runs().await, ("4".into(), "5".into()));
    cache.clear("all").await.unwrap();
    assert_eq!(runs().await, ("6".into(), "7".into()));
    cache.clear("site").await.unwrap();
    assert_eq!(runs().await, ("8".into(), "9".into()));
}

#[tokio::test]
async fn tags_found_behind_a_layer_clear_it_too() {
    let cache = in_memory().await;
    let app: Router = Router::new()
        .route(
            "/",
            on_get(|State(gate): State<Gate>| async move {
                assert!(depends_on("row:7"));
                gate.pass().await.to_string()
            }),
        )
        .layer(layer("list").cache(cache.clone()))
        .with_state(Gate::opened());
    // A new tag is refused once: it might have been cleared meanwhile.
    for _ in 0..2 {
        get(&app, "/").await;
    }
    stored(&cache, 1).await;
    assert_eq!(get(&app, "/").await.text(), "2");
    cache.clear("row:7").await.unwrap();
    assert_eq!(get(&app, "/").await.text(), "3");
}

#[tokio::test]
async fn without_a_word_the_query_counts_as_it_was_sent() {
    let (app, _) = site(|layer| layer).await;
    for (one, other) in [
        ("/q?a=1&b=2", "/q?b=2&a=1"),
        ("/r?a=1", "/r?a=1&utm_source=x"),
        ("/s", "/s?"),
        ("/t?a=%20", "/t?a=+"),
        ("/u?a", "/u?a="),
        ("/v?a=1", "/v?a=1&a=1"),
        ("/w?%61=1", "/w?a=1"),
    ] {
        check_apart(&app, (one, &[]), (other, &[])).await;
    }
}

#[tokio::test]
async fn a_normalised_query_is_sorted_and_without_tracking() {
    let (app, _) = site(CacheLayer::normalised_query).await;
    check_shared(&app, ("/a?x=1&y=2", &[]), ("/a?y=2&utm_source=z&x=1", &[])).await;
    check_apart(&app, ("/b?x=1&x=2", &[]), ("/b?x=2&x=1", &[])).await;
}

#[tokio::test]
async fn named_parameters_are_the_only_ones_that_count() {
    let (app, _) = site(|layer| layer.query(["page"])).await;
    check_shared(&app, ("/a?page=1&x=1", &[]), ("/a?x=2&page=1", &[])).await;
    check_apart(&app, ("/b?page=1", &[]), ("/b?page=2", &[])).await;
    check_apart(&app, ("/c", &[]), ("/c?page=", &[])).await;
    let (app, _) = site(|layer| layer.query([])).await;
    check_shared(&app, ("/a?x=1", &[]), ("/a", &[])).await;
}

#[tokio::test]
async fn a_header_counts_once_it_is_named() {
    let (app, _) = site(|layer| layer.vary(["x-tenant"]).vary(["x-colour"])).await;
    check_apart(
        &app,
        ("/a", &[("x-tenant", "1")]),
        ("/a", &[("x-tenant", "2")]),
    )
    .await;
    check_apart(&app, ("/b", &[("x-colour", "")]), ("/b", &[])).await;
    check_shared(&app, ("/c", &[("x-other", "1")]), ("/c", &[])).await;
}

#[tokio::test]
async fn the_variant_can_hold_whatever_a_layer_outside_has_found() {
    #[derive(Clone)]
    struct User(u64);

    let cache = in_memory().await;
    let mine = layer("mine").variant(|request, variant| match request.extensions.get::<User>() {
        Some(User(0)) => variant.bypass(),
        Some(User(id)) => variant.push(id),
        None => variant.absent(),
    });
    let router = Router::new()
        .route("/", on_get(run))
        .layer(mine.cache(cache))
        .with_state(Gate::opened());
    let of = |user: Option<u64>| -> Router {
        match user {
            Some(id) => router.clone().layer(Extension(User(id))),
            None => router.clone(),
        }
    };
    for _ in 0..2 {
        assert_eq!(get(&of(Some(1)), "/").await.text(), "1");
        assert_eq!(get(&of(Some(2)), "/").await.text(), "2");
        assert_eq!(get(&of(None), "/").await.text(), "3");
    }
    check_stays_out(
        &of(Some(0)),
        "/",
        &[],
        "smart-cache; fwd=bypass; detail=request",
    )
    .await;
}

#[tokio::test]
async fn a_request_may_be_sent_around_the_cache() {
    let (app, cache) = site(|layer| {
        layer
            .bypass_if(|request| request.headers.contains_key("x-preview"))
            .bypass_if(|request| request.uri.path().starts_with("/admin"))
    })
    .await;
    let why = "smart-cache; fwd=bypass; detail=request";
    check_stays_out(&app, "/page", &[("x-preview", "1")], why).await;
    check_stays_out(&app, "/admin/page", &[], why).await;
    check_shared(&app, ("/page", &[]), ("/page", &[])).await;
    assert_eq!(cache.stats().bypasses, [(Bypass::Request, 4)]);
}

#[tokio::test]
async fn what_a_client_says_about_caching_does_not_count() {
    let (app, _) = site(|layer| layer).await;
    for headers in [
        [("cache-control", "no-cache")],
        [("cache-control", "no-store, max-age=0")],
        [("pragma", "no-cache")],
    ] {
        check_shared(&app, ("/page", &[]), ("/page", &headers)).await;
    }
}

#[tokio::test]
async fn answers_expire_when_they_are_told_to() {
    let (app, _) = site(|layer| layer.ttl(Duration::from_millis(200))).await;
    assert_eq!(asked(&app, "/", &[]).await, ("1".into(), STORED.into()));
    eventually("the answer's end", async || {
        (get(&app, "/").await.text() == "2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn statuses_are_kept_when_they_are_listed() {
    async fn status(
        State(gate): State<Gate>,
        path: axum::extract::Path<u16>,
    ) -> axum::response::Response {
        gate.pass().await;
        (http::StatusCode::from_u16(path.0).unwrap(), "body").into_response()
    }

    let listed = [200, 201, 301, 404, 410, 206, 304, 412, 416, 500, 503];
    let app: Router = Router::new()
        .route("/{status}", on_get(status))
        .layer(layer("statuses").status(listed).cache(in_memory().await))
        .with_state(Gate::opened());
    for status in listed {
        let path = format!("/{status}");
        get(&app, &path).await;
        let again = get(&app, &path).await;
        let is_kept = matches!(status, 200 | 201 | 301 | 404 | 410);
        assert_eq!(status_of(&again) == HIT, is_kept, "{status}");
        assert_eq!(again.status.as_u16(), status);
    }
}

#[tokio::test]
async fn a_layer_may_use_a_named_cache() {
    let cache = in_memory().await;
    install_named("layer_named", cache.clone()).unwrap();
    let app: Router = Router::new()
        .route("/", on_get(run))
        .layer(layer("named").named_cache("layer_named"))
        .with_state(Gate::opened());
    get(&app, "/").await;
    assert_eq!(status_of(&get(&app, "/").await), HIT);
    assert_eq!(cache.stats().hits, 1);
}

#[tokio::test]
async fn requests_with_credentials_stay_out_until_they_are_allowed() {
    let one: &[(&str, &str)] = &[("authorization", "Bearer one")];
    let other: &[(&str, &str)] = &[("authorization", "Bearer other")];
    let (app, _) = site(|layer| layer).await;
    get(&app, "/").await;
    let why = "smart-cache; fwd=bypass; detail=authorization";
    check_stays_out(&app, "/", one, why).await;
    check_stays_out(&app, "/", &[("proxy-authorization", "x")], why).await;

    for allowed in [
        site(CacheLayer::allow_authorization).await.0,
        site(|layer| layer.vary(["authorization", "proxy-authorization"]))
            .await
            .0,
    ] {
        check_apart(&allowed, ("/", one), ("/", other)).await;
        check_apart(&allowed, ("/", one), ("/", &[])).await;
    }
    let (ignored, _) = site(CacheLayer::ignore_authorization).await;
    check_shared(&ignored, ("/", one), ("/", other)).await;
    check_shared(&ignored, ("/", one), ("/", &[])).await;
}

#[tokio::test]
async fn requests_with_cookies_stay_out_until_they_are_allowed() {
    let (app, _) = site(|layer| layer).await;
    get(&app, "/").await;
    let why = "smart-cache; fwd=bypass; detail=cookie";
    for cookie in ["session=1", "", "_ga=1"] {
        check_stays_out(&app, "/", &[("cookie", cookie)], why).await;
    }
    let (whole, _) = site(|layer| layer.vary(["cookie"])).await;
    check_apart(
        &whole,
        ("/", &[("cookie", "a=1")]),
        ("/", &[("cookie", "a=2")]),
    )
    .await;
    check_apart(&whole, ("/", &[("cookie", "a=1")]), ("/", &[])).await;
}

#[tokio::test]
async fn cookies_that_are_named_count_and_others_do_not() {
    let (app, _) = site(|layer| layer.allow_cookies(["theme", "session"])).await;
    let with = |cookie: &'static str| [("cookie", cookie)];
    check_shared(
        &app,
        ("/a", &with("theme=dark; _ga=1")),
        ("/a", &with("_ga=2; theme=dark")),
    )
    .await;
    check_shared(&app, ("/a", &[]), ("/a", &[])).await;
    for (path, one, other) in [
        ("/b", "theme=dark", "theme=light"),
        ("/c", "theme=dark", "session=dark"),
        ("/d", "theme=dark; session=1", "theme=dark; session=2"),
        ("/e", "theme=dark; theme=light", "theme=light; theme=dark"),
        ("/f", "theme=", "_ga=1"),
        ("/g", "%74heme=dark", "_ga=1"),
        ("/h", "theme=\"a; session=1\"", "theme=\"a; _ga=1\""),
    ] {
        check_apart(&app, (path, &with(one)), (path, &with(other))).await;
    }
    let (none, _) = site(|layer| layer.allow_cookies([])).await;
    check_shared(&none, ("/", &with("session=1")), ("/", &[])).await;
}

#[tokio::test]
async fn allowed_credentials_never_leave_a_get_that_overrides_its_method() {
    let (app, _) = site(|layer| layer.ignore_authorization().allow_cookies([])).await;
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        check_stays_out(&app, "/", &[(name, "DELETE")], "smart-cache; fwd=method").await;
    }
    let post = ask(&app, Method::POST, "/", &[]).await;
    assert_eq!(status_of(&post), "smart-cache; fwd=method");
}
