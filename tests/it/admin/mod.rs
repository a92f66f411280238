//! The admin page: who gets in, what is shown, what is cleared, and what a browser makes of it.
//!
//! Over 400 lines, since every view is asked about in the same few ways.

mod browser;

use axum::extract::{Path, RawQuery};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use smart_cache::admin::{self, Password, Role};
use smart_cache::{BackendKind, SmartCache, smart_cache};
use smart_cache_tests::harness::{Log, RedisServer, eventually, within};
use tower::ServiceExt as _;

use crate::road::{HIT, every_kind, get as get_page, in_memory, redis_at, status_of};

/// `admin:secret`, `viewer:look`.
const FULL: &str = "Basic YWRtaW46c2VjcmV0";
const VIEWER: &str = "Basic dmlld2VyOmxvb2s=";
const EVIL: &str = "<script>document.title='owned'</script>";

/// A shop with the page at `/admin/cache`.
pub(super) fn shop(cache: &SmartCache) -> Router {
    #[smart_cache("product:{id}", tags("products"))]
    async fn product(Path(id): Path<String>, _query: RawQuery) -> axum::response::Html<String> {
        axum::response::Html(format!("<h1>{id}</h1>{EVIL}"))
    }
    #[smart_cache("private:{id}")]
    async fn private(Path(id): Path<u64>) -> ([(&'static str, &'static str); 1], String) {
        ([("set-cookie", "a=b")], id.to_string())
    }
    let guard = Password::new("admin", "secret").read_only("viewer", "look");
    Router::new()
        .route("/product/{id}", on_get(product))
        .route("/private/{id}", on_get(private))
        .layer(Extension(cache.clone()))
        .nest("/admin/cache", admin::router(cache.clone(), guard))
}

async fn warm(app: &Router, path: &str) {
    eventually(format!("a hit for {path}"), async || {
        (status_of(&get_page(app, path).await) == HIT).then_some(())
    })
    .await;
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn ask(
    app: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Page {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(axum::body::Body::from(body.to_owned()))
        .unwrap();
    let answer = within(path.to_owned(), app.clone().oneshot(request))
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    let body: Bytes = within("a body", body.collect()).await.unwrap().to_bytes();
    Page {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

async fn see(app: &Router, path: &str) -> Page {
    ask(
        app,
        Method::GET,
        &format!("/admin/cache{path}"),
        &[("authorization", FULL)],
        "",
    )
    .await
}

async fn json(app: &Router, path: &str) -> Value {
    let page = see(app, path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
    serde_json::from_str(&page.text).unwrap()
}

/// Posts a form with this token in cookie and form.
async fn post(app: &Router, form: &str, headers: &[(&str, &str)]) -> Page {
    let token = "0123456789abcdef0123456789abcdef";
    let cookie = format!("other=1; smart-cache-admin={token}");
    let mut all = vec![
        ("authorization", FULL),
        ("cookie", &*cookie),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    all.extend_from_slice(headers);
    let form = format!("{form}&token={token}");
    ask(app, Method::POST, "/admin/cache/clear", &all, &form).await
}

const VIEWS: [&str; 8] = [
    "",
    "/overview",
    "/handlers",
    "/keys",
    "/key?key=product:1",
    "/clears",
    "/question?what=all",
    "/style.css",
];

#[tokio::test]
async fn nobody_gets_in_without_the_right_password_not_even_to_the_assets() {
    let app = shop(&in_memory().await);
    for view in VIEWS.iter().chain(&[
        "/live",
        "/clear",
        "/no-such-view",
        "/script.js",
        "/overview.json",
    ]) {
        let path = format!("/admin/cache{view}");
        for wrong in [
            None,
            Some("Basic YWRtaW46d3Jvbmc="),
            Some("Basic !"),
            Some("Bearer x"),
        ] {
            let headers: Vec<_> = wrong
                .iter()
                .map(|wrong| ("authorization", *wrong))
                .collect();
            let answer = ask(&app, Method::GET, &path, &headers, "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {wrong:?}");
            assert!(
                answer.headers["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .starts_with("Basic realm=")
            );
        }
    }
}

#[tokio::test]
async fn every_view_is_a_page_and_json_and_is_armoured() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = shop(&cache);
        warm(&app, "/product/1").await;
        for view in VIEWS {
            let page = see(&app, view).await;
            assert_eq!(page.status, StatusCode::OK, "{view}");
            let header = |name| page.headers[name].to_str().unwrap();
            let policy = header("content-security-policy");
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'")
            );
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("referrer-policy"), "no-referrer");
            let kept = if view == "/style.css" {
                "private, max-age=31536000, immutable"
            } else {
                "no-store"
            };
            assert_eq!(header("cache-control"), kept, "{view}");
            assert!(
                !page.text.contains(" style=") && !page.text.contains(" onclick"),
                "{view}"
            );
        }
        for view in [
            "/overview.json",
            "/handlers.json",
            "/keys.json",
            "/key.json?key=product:1",
            "/clears.json",
            "/question.json?what=all",
        ] {
            assert!(json(&app, view).await.is_object(), "{view}");
        }
        let accept = [("authorization", FULL), ("accept", "application/json")];
        let page = ask(&app, Method::GET, "/admin/cache/keys", &accept, "").await;
        assert!(page.text.starts_with('{'), "{}", page.text);
        assert_eq!(
            see(&app, "/nothing-here").await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn the_views_tell_what_is_true() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    warm(&app, "/product/1?page=2").await;
    get_page(&app, "/private/1").await;
    let overview = json(&app, "/overview.json").await;
    assert_eq!(overview["available"], true);
    assert_eq!(overview["facts"]["namespace"], "n");
    assert_eq!(overview["fleet"][0]["own"], true);
    let stats = cache.stats();
    assert_eq!(overview["total"]["hits"], stats.hits);
    assert_eq!(
        overview["total"]["bypasses"][0],
        serde_json::json!(["set-cookie", 1])
    );
    let handlers = json(&app, "/handlers.json").await;
    let handlers = handlers["handlers"].as_array().unwrap();
    let product = handlers.iter().find(|handler| {
        let name = handler["handler"].as_str().unwrap();
        name.contains("admin") && handler["key"] == "product:{id}"
    });
    let product = product.unwrap();
    assert_eq!(product["routes"], serde_json::json!(["/product/{id}"]));
    assert_eq!(product["total"]["hits"], stats.hits);
    assert!(product["asked_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let keys = json(&app, "/keys.json?search=duct").await;
    assert_eq!(keys["keys"][0]["key"], "product:1");
    assert_eq!(keys["keys"][0]["entries"], 2);
    let entries = json(&app, "/key.json?key=product:1").await;
    let entry = &entries["entries"][0];
    let (version, id) = (
        entry["version"].as_str().unwrap(),
        entry["id"].as_str().unwrap(),
    );
    let path = format!("/entry.json?version={version}&id={id}");
    let entry = json(&app, &path).await;
    assert_eq!(entry["state"], "current");
    assert_eq!(entry["preview"], format!("<h1>1</h1>{EVIL}"));
    assert_eq!(entry["tokens"][1]["name"], "product:1");
    assert_eq!(
        see(&app, "/entry?version=v&id=short").await.status,
        StatusCode::BAD_REQUEST
    );
    let gone = format!("/entry?version=v&id={}", "0".repeat(40));
    assert_eq!(see(&app, &gone).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_pages_show_plots_server_link_and_sweep_and_how_long_cleared_entries_lived() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).local_capacity(64 << 20);
    let cache = cache.build().await.unwrap();
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    cache.sweep().await.unwrap();
    let overview = eventually("the tracking link to be proved", async || {
        let page = see(&app, "/overview").await;
        page.text
            .contains("<dt>Tracking link, this process</dt><dd>proved ")
            .then_some(page.text)
    })
    .await;
    assert_eq!(overview.matches("<svg role=\"img\"").count(), 3);
    for label in [
        "Hit ratio of the last ten minutes, now ",
        "Requests per second of the last ten minutes, now ",
        "Mean time of a lookup in the last ten minutes, now ",
    ] {
        let label = format!("aria-label=\"{label}");
        assert_eq!(overview.matches(&*label).count(), 1, "{label}: {overview}");
    }
    let facts = cache.inspect().unwrap().facts().await.unwrap();
    let identity = facts.server_id.unwrap();
    let identity = format!("<dt>Identity</dt><dd><code>{identity}</code></dd>");
    assert!(overview.contains(&identity), "{identity}: {overview}");
    assert!(
        overview.contains("<dt>Last sweep</dt><dd><time ") && overview.contains(" removed</dd>"),
        "{overview}"
    );

    cache.clear("product:1").await.unwrap();
    let fleet = json(&app, "/overview.json").await;
    let process = fleet["fleet"][0]["process"].as_str().unwrap();
    let clears = eventually("the clear to be noted", async || {
        let page = see(&app, "/clears").await;
        page.text.contains("lived ").then_some(page.text)
    })
    .await;
    assert!(
        clears.contains(" on average, ") && clears.contains("1 entry<"),
        "{clears}"
    );
    assert!(
        clears.contains("<span class=\"key\">product:1</span>"),
        "{clears}"
    );
    assert!(
        clears.contains(&format!("<td>{process}</td>")),
        "{process}: {clears}"
    );
}

#[test]
fn a_password_says_in_the_log_that_it_needs_tls_and_keeps_itself_out_of_it() {
    let (log, _guard) = Log::of_this_thread();
    let guard = Password::new("admin", "swordfish");
    let text = log.text();
    assert!(
        text.contains("travels in clear text unless TLS is in front of it"),
        "{text}"
    );
    assert!(!text.contains("swordfish"), "{text}");
    assert!(!format!("{guard:?}").contains("swordfish"), "{guard:?}");
}

#[tokio::test]
async fn what_is_stored_and_what_is_asked_is_escaped() {
    let app = shop(&in_memory().await);
    warm(&app, "/product/1").await;
    let entries = json(&app, "/key.json?key=product:1").await;
    let id = entries["entries"][0]["id"].as_str().unwrap();
    let page = see(&app, &format!("/entry?version=memory&id={id}")).await;
    assert!(
        page.text.contains("&lt;script&gt;document.title="),
        "{}",
        page.text
    );
    let evil = "%3Cscript%3Ealert(1)%3C/script%3E";
    for view in [
        format!("/keys?search={evil}"),
        format!("/key?key={evil}"),
        format!("/question?what=key&name={evil}"),
        format!("/clears?cleared={evil}"),
        format!("/{evil}"),
    ] {
        let page = see(&app, &view).await;
        assert!(!page.text.contains("<script>alert"), "{view}");
        assert!(!page.text.contains("<script>document"), "{view}");
    }
}

#[tokio::test]
async fn a_key_a_tag_and_everything_are_cleared_after_a_question() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = shop(&cache);
        for (form, question) in [
            (
                "what=key&name=product%3A1",
                "/question?what=key&name=product%3A1",
            ),
            ("what=key&name=products", "/question?what=key&name=products"),
            ("what=all&sure=yes", "/question?what=all"),
        ] {
            warm(&app, "/product/1").await;
            let asked = see(&app, question).await;
            assert!(asked.text.contains("<form method=\"post\""), "{question}");
            let answer = post(&app, form, &[("sec-fetch-site", "same-origin")]).await;
            assert_eq!(
                answer.status,
                StatusCode::SEE_OTHER,
                "{form}: {}",
                answer.text
            );
            let back = answer.headers["location"].to_str().unwrap().to_owned();
            assert!(back.starts_with("/admin/cache/clears?cleared="), "{back}");
            assert_ne!(
                status_of(&get_page(&app, "/product/1").await),
                HIT,
                "{form}"
            );
        }
        let unsure = post(&app, "what=all", &[]).await;
        assert_eq!(unsure.status, StatusCode::BAD_REQUEST);
        let nameless = post(&app, "what=key&name=", &[]).await;
        assert_eq!(nameless.status, StatusCode::BAD_REQUEST);
        let recent = json(&app, "/clears.json").await;
        let recent = recent["recent"].as_array().unwrap();
        assert!(recent.iter().any(|note| note["all"] == true));
    }
}

#[tokio::test]
async fn the_question_as_json_tells_what_would_go_and_how_to_say_yes() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = shop(&cache);
        warm(&app, "/product/1").await;
        warm(&app, "/product/1?page=2").await;
        let asked = see(&app, "/question.json?what=key&name=product%3A1").await;
        let question: Value = serde_json::from_str(&asked.text).unwrap();
        assert_eq!(
            (&question["what"], &question["name"], &question["entries"]),
            (&"key".into(), &"product:1".into(), &2.into()),
            "{question}"
        );
        let tag = json(&app, "/question.json?what=key&name=products").await;
        assert_eq!(tag["entries"], 0, "{tag}");
        let all = json(&app, "/question.json?what=all").await;
        assert!(all["name"].is_null() && all["entries"].is_null(), "{all}");
        assert!(!all["namespace"].as_str().unwrap().is_empty(), "{all}");
        let nameless = see(&app, "/question.json?what=key&name=").await;
        assert_eq!(nameless.status, StatusCode::BAD_REQUEST);

        // Its token with its cookie are what a clear needs.
        let cookie = asked.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let token = question["token"].as_str().unwrap();
        let headers = [
            ("authorization", FULL),
            ("accept", "application/json"),
            ("cookie", cookie),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let form = format!("what=key&name=product%3A1&token={token}");
        let answer = ask(&app, Method::POST, "/admin/cache/clear", &headers, &form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.text, "{\"cleared\":\"product:1\"}");
        assert_ne!(status_of(&get_page(&app, "/product/1").await), HIT);
    }
}

/// Two builds in three partitions are six places, most of them empty for one key.
#[tokio::test]
async fn a_key_is_one_page_in_however_many_places_it_is() {
    let server = RedisServer::start().await;
    let spread = || redis_at(&server.url()).partitions(3);
    let cache = spread().build().await.unwrap();
    let others = spread().app_version("a-newer-one").build().await.unwrap();
    let (app, theirs) = (shop(&cache), shop(&others));
    for number in 1..=9 {
        warm(&theirs, &format!("/product/{number}")).await;
    }
    for page in 1..=9 {
        warm(&app, &format!("/product/1?page={page}")).await;
    }
    let key = json(&app, "/key.json?key=product:1").await;
    assert_eq!(key["entries"].as_array().unwrap().len(), 10, "{key}");
    assert!(key["next"].is_null(), "{key}");
    // Of the other build alone.
    let key = json(&app, "/key.json?key=product:2").await;
    assert_eq!(key["entries"].as_array().unwrap().len(), 1, "{key}");
    let keys = json(&app, "/keys.json?search=product").await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 10, "{keys}");
    assert!(keys["next"].is_null(), "{keys}");
}

#[tokio::test]
async fn an_entry_that_is_dead_is_not_said_to_live_until_it_is_cleared() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    let key = json(&app, "/key.json?key=product:1").await;
    let id = key["entries"][0]["id"].as_str().unwrap().to_owned();
    let entry = format!("/entry?version=v&id={id}");
    let lives = "until it is cleared";
    assert!(see(&app, &entry).await.text.contains(lives));
    cache.clear("products").await.unwrap();
    let page = see(&app, &entry).await.text;
    assert!(page.contains(">dead</span>"), "{page}");
    assert!(!page.contains(lives), "{page}");
    let page = see(&app, "/key?key=product:1").await.text;
    assert!(!page.contains("for ever"), "{page}");
}

/// A soft clear is not a clear, and the page does not say that it were one.
#[tokio::test]
async fn a_soft_clear_is_shown_as_what_it_is() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = shop(&cache);
        warm(&app, "/product/1").await;
        cache.expire("product:1").await.unwrap();
        cache.clear("products").await.unwrap();
        let recent = eventually("both clears to be noted", async || {
            let recent = json(&app, "/clears.json").await["recent"].clone();
            (recent.as_array().unwrap().len() == 2).then_some(recent)
        })
        .await;
        let of = |key: &str| {
            let mut notes = recent.as_array().unwrap().iter();
            let note = notes.find(|note| note["keys"][0] == key);
            note.unwrap()["soft"].as_bool().unwrap()
        };
        assert!(of("product:1") && !of("products"), "{recent}");
        let page = see(&app, "/clears").await.text;
        assert_eq!(page.matches(">soft</span>").count(), 1, "{page}");
        assert!(page.contains("shown until made anew"), "{page}");
    }
}

#[tokio::test]
async fn a_post_from_elsewhere_or_without_the_forms_token_clears_nothing() {
    let cache = in_memory().await;
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    let form = "what=key&name=product%3A1";
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("origin", "https://shop.test.evil.test")],
    ] {
        assert_eq!(
            post(&app, form, headers).await.status,
            StatusCode::FORBIDDEN,
            "{headers:?}"
        );
    }
    let all = [
        ("authorization", FULL),
        ("content-type", "application/x-www-form-urlencoded"),
        (
            "cookie",
            "smart-cache-admin=ffffffffffffffffffffffffffffffff",
        ),
    ];
    for token in ["", "&token=", "&token=0123456789abcdef0123456789abcdef"] {
        let answer = ask(
            &app,
            Method::POST,
            "/admin/cache/clear",
            &all,
            &format!("{form}{token}"),
        )
        .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
    }
    assert_eq!(status_of(&get_page(&app, "/product/1").await), HIT);
    assert_eq!(cache.stats().clears, 0);
    for headers in [
        &[("origin", "https://shop.test")][..],
        &[("sec-fetch-site", "same-origin")],
        &[],
    ] {
        assert_eq!(
            post(&app, form, headers).await.status,
            StatusCode::SEE_OTHER,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_reader_sees_everything_and_clears_nothing() {
    let cache = in_memory().await;
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    let viewer = [("authorization", VIEWER)];
    for view in ["", "/handlers", "/keys", "/key?key=product:1", "/clears"] {
        let page = ask(
            &app,
            Method::GET,
            &format!("/admin/cache{view}"),
            &viewer,
            "",
        )
        .await;
        assert_eq!(page.status, StatusCode::OK, "{view}");
        assert!(page.text.contains("read only"), "{view}");
        assert!(!page.text.contains("/question"), "{view}");
    }
    let asked = ask(
        &app,
        Method::GET,
        "/admin/cache/question?what=all",
        &viewer,
        "",
    )
    .await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    let path = "/admin/cache/question.json?what=key&name=product:1";
    let asked = ask(&app, Method::GET, path, &viewer, "").await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    assert!(!asked.text.contains("token"), "{}", asked.text);
    let token = "0123456789abcdef0123456789abcdef";
    let cookie = format!("smart-cache-admin={token}");
    let headers = [
        ("authorization", VIEWER),
        ("cookie", &*cookie),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let form = format!("what=all&sure=yes&token={token}");
    let answer = ask(&app, Method::POST, "/admin/cache/clear", &headers, &form).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(cache.stats().clears, 0);
}

#[tokio::test]
async fn a_closure_is_a_guard_and_any_mount_point_will_do() {
    let cache = in_memory().await;
    let guard = |request: &http::request::Parts| match request.headers.get("x-operator") {
        Some(_) => Role::Full,
        None => Role::None,
    };
    let page: Router = admin::router(cache.clone(), guard);
    let deep = Router::new().nest("/a/{tenant}/b", page.clone());
    for (app, base) in [(page, ""), (deep, "/a/x/b")] {
        let path = format!("{base}/keys");
        assert_eq!(
            ask(&app, Method::GET, &path, &[], "").await.status,
            StatusCode::FORBIDDEN
        );
        let answer = ask(&app, Method::GET, &path, &[("x-operator", "1")], "").await;
        assert!(
            answer.text.contains(&format!("href=\"{base}/overview\"")),
            "{}",
            answer.text
        );
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let path = if base.is_empty() { "/" } else { base };
        assert!(cookie.contains(&format!("Path={path};")), "{cookie}");
    }
}

#[tokio::test]
async fn with_the_backend_down_the_page_says_so_and_shows_what_this_process_knows() {
    let mut server = RedisServer::start().await;
    let cache = redis_at(&server.url())
        .timeout(std::time::Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let app = shop(&cache);
    warm(&app, "/product/1").await;
    server.kill();
    assert!(cache.clear("product:1").await.is_err());
    let overview = eventually("the page to know", async || {
        let page = see(&app, "/overview").await;
        page.text
            .contains("The backend did not answer")
            .then_some(page)
    })
    .await;
    assert_eq!(overview.status, StatusCode::OK);
    assert!(
        overview.text.contains("not acknowledged"),
        "{}",
        overview.text
    );
    assert_eq!(
        see(&app, "/keys").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    // What nobody else can tell is told: which clears this process repeats.
    let clears = see(&app, "/clears").await;
    assert_eq!(clears.status, StatusCode::OK);
    for part in [
        "Not acknowledged yet",
        "product:1",
        "The backend did not answer",
    ] {
        assert!(clears.text.contains(part), "{part}: {}", clears.text);
    }
    assert!(
        !clears.text.contains("Nothing was cleared"),
        "{}",
        clears.text
    );
    let clears = json(&app, "/clears.json").await;
    assert_eq!(clears["pending"], serde_json::json!(["product:1"]));
    assert!(clears["trouble"].is_string(), "{clears}");
    let answer = post(&app, "what=key&name=products", &[]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_cannot_be_listed_is_said_to_be_so() {
    let off = SmartCache::builder()
        .backend(BackendKind::Off)
        .build()
        .await
        .unwrap();
    let app = shop(&off);
    let keys = see(&app, "/keys").await;
    assert_eq!(keys.status, StatusCode::NOT_IMPLEMENTED);
    assert!(keys.text.contains("cannot list"), "{}", keys.text);
    assert_eq!(see(&app, "/overview").await.status, StatusCode::OK);
    assert_eq!(see(&app, "/handlers").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_numbers_move_by_events_and_the_stream_ends_by_itself() {
    let cache = in_memory().await;
    let app = shop(&cache);
    let request = Request::get("/admin/cache/live").header("authorization", FULL);
    let answer = app
        .clone()
        .oneshot(request.body(axum::body::Body::empty()).unwrap());
    let mut body = answer.await.unwrap().into_body();
    let mut text = String::new();
    while !text.contains("Hit ratio") {
        let frame = within("an event", body.frame()).await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
    }
    assert!(text.starts_with("event: live\n"), "{text}");
    assert!(
        text.contains("\nretry: 500\n") || text.contains("retry:500"),
        "{text}"
    );
}
