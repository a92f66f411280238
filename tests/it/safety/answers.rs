//! Answers that belong to one visitor, or to one moment, are never kept.

use axum::Router;
use axum::extract::RawQuery;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use http::{HeaderValue, StatusCode};
use smart_cache::{layer, smart_cache};
use smart_cache_tests::harness::serve;

use super::{HIT, LISTED, ask, fronts, in_memory};

#[tokio::test]
async fn an_answer_that_anybody_may_have_is_kept() {
    for front in fronts().await {
        assert!(front.keeps(200, &[]).await);
        for value in [
            "public",
            "max-age=60",
            "max-age=0",
            "privately",
            "x=private-ish",
        ] {
            assert!(
                front.keeps(200, &[("cache-control", value)]).await,
                "{value}"
            );
        }
    }
}

#[tokio::test]
async fn failures_refusals_redirects_and_parts_are_not_kept() {
    for front in fronts().await {
        for status in LISTED.into_iter().filter(|status| *status != 200) {
            assert!(!front.keeps(status, &[]).await, "{} {status}", front.name);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_private_in_any_spelling_is_not_kept() {
    for front in fronts().await {
        for value in [
            "private",
            "Private",
            "PRIVATE",
            " private ",
            "\tprivate",
            "private=\"set-cookie\"",
            "private = x",
            "max-age=60,private",
            "public, pRiVaTe",
            ",,private,,",
            "no-store",
            "No-Store",
            "no-cache",
            "No-Cache=\"x\"",
            "max-age=60 , no-store",
            "private;max-age=60",
            "public;no-store",
        ] {
            assert!(
                !front.keeps(200, &[("cache-control", value)]).await,
                "{} {value:?}",
                front.name
            );
        }
        let lines = [("cache-control", "public"), ("Cache-Control", "Private")];
        assert!(!front.keeps(200, &lines).await);
    }
}

#[tokio::test]
async fn an_answer_that_varies_on_everything_is_not_kept_whatever_white_space_is_around_it() {
    for front in fronts().await {
        for value in ["*", " *", "* ", "\t*\t", "accept , *", "*,accept", " , * ,"] {
            assert!(!front.keeps(200, &[("vary", value)]).await, "{value:?}");
        }
        assert!(!front.keeps(200, &[("vary", "x"), ("vary", "*")]).await);
    }
}

#[tokio::test]
async fn an_answer_that_varies_on_what_nobody_declared_is_not_kept() {
    for front in fronts().await {
        for value in [
            "cookie",
            "Cookie",
            "authorization",
            "accept-language",
            "x y",
        ] {
            assert!(!front.keeps(200, &[("vary", value)]).await, "{value:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_sets_a_cookie_is_not_kept() {
    for front in fronts().await {
        for headers in [
            &[("set-cookie", "id=1")][..],
            &[("Set-Cookie", "")],
            &[("set-cookie", "a=1"), ("set-cookie", "b=2")],
            &[
                ("set-cookie", "id=1"),
                ("cache-control", "public, max-age=60"),
            ],
            &[("set-cookie", "id=1"), ("vary", "cookie")],
        ] {
            assert!(!front.keeps(200, headers).await, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn a_cookie_that_is_set_for_one_who_has_cookies_reaches_nobody_else() {
    for front in fronts().await {
        front
            .script
            .write(200, &[("set-cookie", "id=anna")], "anna");
        let first = front.get(&[("cookie", "theme=dark")]).await;
        assert_eq!(first.header("set-cookie"), Some("id=anna"));
        front.script.write(200, &[], "anybody");
        for headers in [&[("cookie", "theme=dark")][..], &[]] {
            let next = front.get(headers).await;
            assert_eq!(next.header("set-cookie"), None, "{}", front.name);
            assert_eq!(next.body, "anybody");
        }
    }
}

#[tokio::test]
async fn headers_of_one_connection_are_not_kept() {
    for front in fronts().await {
        let headers = [
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ];
        assert!(front.keeps(200, &headers).await);
        let kept = front.get(&[]).await;
        assert!(kept.head.contains(HIT));
        for (name, _) in &headers[1..7] {
            assert_eq!(kept.header(name), None, "{} {name}", front.name);
        }
        assert_eq!(kept.header("x-kept"), Some("1"));
    }
}

#[tokio::test]
async fn a_failure_does_not_replace_what_was_kept() {
    for front in fronts().await {
        assert!(front.keeps(200, &[]).await);
        front.script.write(500, &[], "broken");
        let kept = front.get(&[]).await;
        assert_eq!((kept.status, kept.body.as_str()), (200, "first"));
    }
}

#[tokio::test]
async fn a_page_that_looks_like_a_file_is_not_kept_when_it_is_private() {
    for front in fronts().await {
        for target in [
            "/account/x.css",
            "/account/..%2fx.css",
            "/account%2f..%2fstatic%2fx.css",
            "/account;x.css",
            "/account%3b.css",
            "/account%00.css",
            "/account%23.css",
            "/account%3f.css",
            "/account/x.css?y",
            "/account//x.js",
            "/static/../account",
        ] {
            front
                .script
                .write(200, &[("cache-control", "private")], "of anna");
            ask(&front.served, target, &[]).await;
            front
                .script
                .write(200, &[("cache-control", "private")], "of bert");
            let next = ask(&front.served, target, &[]).await;
            assert_ne!(next.body, "of anna", "{} {target}", front.name);
        }
    }
}

/// Puts what the client sent into a header, decoded, as redirects do.
fn directed(query: Option<&str>) -> Response {
    let to = query.and_then(|query| query.strip_prefix("to="));
    let to: Vec<u8> = percent_encoding::percent_decode_str(to.unwrap_or_default()).collect();
    match HeaderValue::from_bytes(&to) {
        Ok(to) => ([("x-to", to)], "page").into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "no header").into_response(),
    }
}

#[smart_cache("directs", status(200, 400))]
async fn directs(RawQuery(query): RawQuery) -> Response {
    directed(query.as_deref())
}

#[tokio::test]
async fn what_a_client_puts_into_a_header_never_becomes_another_header() {
    let attribute = Router::new()
        .route("/", on_get(directs))
        .layer(axum::Extension(in_memory().await));
    let behind_layer = Router::new()
        .route(
            "/",
            on_get(|RawQuery(query): RawQuery| async move { directed(query.as_deref()) }),
        )
        .layer(layer("directs").status([200, 400]).cache(in_memory().await));
    for (name, app) in [("attribute", attribute), ("layer", behind_layer)] {
        let site = serve(app).await;
        for (to, status) in [
            ("a%0d%0aset-cookie:%20x=1", 400),
            ("a%0aset-cookie:%20x=1", 400),
            ("a%0dset-cookie:%20x=1", 400),
            ("%00", 400),
            // Its code point ends in the byte of a line feed.
            ("%E5%98%8A", 200),
        ] {
            let target = format!("/?to={to}");
            let first = ask(&site, &target, &[]).await;
            let second = ask(&site, &target, &[]).await;
            assert!(second.head.contains(HIT), "{name} {to}");
            for reply in [&first, &second] {
                assert_eq!(reply.status, status, "{name} {to}");
                assert_eq!(reply.header("set-cookie"), None, "{name} {to}");
            }
            assert_eq!(first.header("x-to"), second.header("x-to"), "{name} {to}");
            assert_eq!(first.body, second.body, "{name} {to}");
        }
    }
}
