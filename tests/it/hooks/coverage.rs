//! What nobody clears, and what is cleared though nobody caches it; and the one-line assertions of
//! a user's own tests.

use axum::extract::Path;
use axum::routing::{get as on_get, put};
use axum::{Extension, Router};
use futures_util::FutureExt as _;
use smart_cache::hooks::outbox::{Triggers, install_triggers, relay};
use smart_cache::testing::{assert_cached, assert_clears};
use smart_cache::{Registry, clears_cache, depends_on, registry, smart_cache};
use smart_cache_tests::harness::SqliteFile;

use super::{Products, catalogue};
use crate::road::{get, in_memory, stored};

#[smart_cache("lonely:{id}")]
async fn lonely(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[smart_cache("triggered:{id}")]
async fn triggered(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[smart_cache("mortal:{id}", ttl = "1m")]
async fn mortal(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[smart_cache("written:{id}", tags("all-written"))]
async fn written(Path(id): Path<u64>) -> String {
    depends_on("found-while-it-ran");
    id.to_string()
}

#[clears_cache("writen:{id}", "all-written", "found-while-it-ran")]
async fn write(Path(id): Path<u64>) {
    let _ = id;
}

/// The registry of a program that has this file alone: others have handlers with any key.
fn own() -> Registry {
    let mut registry = registry();
    registry
        .cached
        .retain(|handler| handler.module == module_path!());
    registry
        .clearing
        .retain(|handler| handler.module == module_path!());
    registry
}

fn never_cleared() -> Vec<&'static str> {
    let own = own();
    let names = own.never_cleared().into_iter().map(|handler| handler.name);
    names.collect()
}

#[tokio::test]
async fn handlers_that_nothing_clears_are_listed_until_something_does() {
    let _mounted: Router = Router::new()
        .route("/lonely/{id}", on_get(lonely))
        .route("/triggered/{id}", on_get(triggered));
    assert_eq!(never_cleared(), ["lonely", "triggered"]);
    let (_file, pool) = SqliteFile::of_products().await;
    let triggers = Triggers::on("products", ["triggered:{id}"]).unwrap();
    install_triggers(&mut *pool.acquire().await.unwrap(), &triggers)
        .await
        .unwrap();
    assert_eq!(never_cleared(), ["lonely"]);
    assert!(
        registry()
            .triggers
            .contains(&("products".to_owned(), vec!["triggered:{id}".to_owned()]))
    );
    in_memory().await.clear("lonely:7").await.unwrap();
    assert_eq!(
        never_cleared(),
        [""; 0],
        "a clear by hand is known once it has run"
    );
}

#[tokio::test]
async fn what_is_cleared_though_nobody_caches_it_is_listed() {
    let listed = |key: &str| own().never_cached().iter().any(|found| found == key);
    assert!(listed("writen:{id}"), "a typo");
    assert!(!listed("all-written"));
    assert!(listed("found-while-it-ran"), "nobody has found it yet");
    let cache = in_memory().await;
    let app = Router::new()
        .route("/written/{id}", on_get(written))
        .route("/mortal/{id}", on_get(mortal))
        .layer(Extension(cache.clone()));
    for _ in 0..2 {
        get(&app, "/written/7").await;
    }
    stored(&cache, 1).await;
    assert!(!listed("found-while-it-ran"));
}

#[tokio::test]
async fn a_users_own_test_of_what_a_write_clears_is_one_line() {
    let cache = in_memory().await;
    let app = Router::new()
        .route("/written/{id}", put(write))
        .layer(Extension(cache.clone()));
    let ask = || crate::road::ask(&app, http::Method::PUT, "/written/7", &[]);
    let answer = assert_clears(ask(), ["writen:7", "all-written"]).await;
    assert_eq!(answer.status, 200);

    // By triggers and a relay, a moment after the commit.
    let (file, pool) = SqliteFile::of_products().await;
    let triggers = Triggers::on("products", ["product:{id}"]).unwrap();
    install_triggers(&mut *pool.acquire().await.unwrap(), &triggers)
        .await
        .unwrap();
    let _relay = relay(&cache, &pool);
    let by_shell = async { file.shell("UPDATE products SET name = 'new' WHERE id IN (1, 2)") };
    assert_clears(by_shell, ["product:1", "product:2"]).await;
    let pages = catalogue(&cache, Products::Sqlite(pool));
    let page = "/product/1";
    assert_cached(async || crate::road::send(&pages, http::Method::GET, page, &[]).await).await;
}

#[tokio::test]
async fn a_page_that_is_not_cached_fails_the_assertion() {
    let plain: Router = Router::new().route("/plain", on_get(async || "plain"));
    let asserting =
        assert_cached(async || crate::road::send(&plain, http::Method::GET, "/plain", &[]).await);
    let asserting = std::panic::AssertUnwindSafe(asserting);
    let failed = asserting.catch_unwind().await.unwrap_err();
    let message = failed.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("never a hit") && message.contains("200 OK"),
        "{message}"
    );
}

#[tokio::test]
async fn a_write_that_forgets_its_clear_fails_the_assertion() {
    let cache = in_memory().await;
    let forgetful = async { cache.clear("other").await };
    let asserting = std::panic::AssertUnwindSafe(assert_clears(forgetful, ["product:7"]));
    let failed = asserting.catch_unwind().await.unwrap_err();
    let message = failed.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("product:7") && message.contains("other"),
        "{message}"
    );
}
