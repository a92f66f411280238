//! Reading: every route answers, searches are right, mistakes are explained.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use super::Shop;
use crate::app::app;
use crate::db::Db;

#[tokio::test]
async fn every_page_and_file_answers() {
    let shop = Shop::open().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/products", "text/html; charset=utf-8"),
        (
            "/products?category=kitchen&q=pan&price=25-75&stars=3&stock=in&sort=name&page=1",
            "text/html; charset=utf-8",
        ),
        ("/products/7", "text/html; charset=utf-8"),
        ("/categories/kitchen", "text/html; charset=utf-8"),
        ("/cart", "text/html; charset=utf-8"),
        ("/api/products", "application/json"),
        ("/api/products/7", "application/json"),
        ("/api/categories/kitchen", "application/json"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/status.js", "text/javascript; charset=utf-8"),
        ("/icons.svg", "image/svg+xml"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let answer = shop.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.header(header::CONTENT_TYPE), content_type, "{path}");
        assert!(
            answer.headers["server-timing"]
                .to_str()
                .unwrap()
                .contains("total;dur=")
        );
    }
}

#[tokio::test]
async fn a_second_start_keeps_what_the_first_one_made() {
    let shop = Shop::open().await;
    shop.json(Method::PUT, "/products/7", json!({ "name": "Kept" }))
        .await;
    let again = Db::open(&shop.directory.path().join("shop.db"), 300)
        .await
        .unwrap();
    let shop = Shop {
        app: app(again.clone(), shop.clears.clone()),
        db: again,
        ..shop
    };
    assert_eq!(shop.get_json("/api/products/7").await["name"], "Kept");
    assert_eq!(shop.get_json("/api/products").await["total"], 300);
}

#[tokio::test]
async fn empty_search_fields_are_absent_ones() {
    let shop = Shop::open().await;
    let plain = shop.get_json("/api/products").await;
    let empty = shop
        .get_json("/api/products?category=&q=&price=&stars=&stock=&sort=&page=")
        .await;
    assert_eq!(plain, empty);
}

#[tokio::test]
async fn each_facet_counts_what_choosing_it_gives() {
    let shop = Shop::open().await;
    for filter in [
        "q=lamp",
        "stars=3",
        "category=kitchen&stock=in",
        "price=25-75",
    ] {
        let results = shop.get_json(&format!("/api/products?{filter}")).await;
        for facet in results["facets"].as_array().unwrap() {
            let parameter = facet["parameter"].as_str().unwrap();
            if filter.contains(parameter) {
                continue;
            }
            let value = facet["value"].as_str().unwrap();
            let chosen = shop
                .get_json(&format!("/api/products?{filter}&{parameter}={value}"))
                .await;
            assert_eq!(
                chosen["total"], facet["products"],
                "{filter} {parameter}={value}"
            );
        }
    }
}

#[tokio::test]
async fn the_pages_of_a_search_hold_each_product_once() {
    let shop = Shop::open().await;
    let mut ids = Vec::new();
    for page in 1..=13 {
        let results = shop.get_json(&format!("/api/products?page={page}")).await;
        assert_eq!(results["pages"], 13);
        let products = results["products"].as_array().unwrap().iter();
        ids.extend(products.map(|product| product["id"].as_i64().unwrap()));
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=300));
}

#[tokio::test]
async fn a_page_behind_the_last_says_how_many_there_are() {
    let shop = Shop::open().await;
    let answer = shop.get("/products?page=4000000000").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.text.contains("There are only 13 pages."));
}

#[tokio::test]
async fn a_search_that_makes_no_sense_is_told_why() {
    let shop = Shop::open().await;
    shop.get("/products?sort=x")
        .await
        .is_refused(StatusCode::BAD_REQUEST, "best, cheapest");
    shop.get("/products?page=0")
        .await
        .is_refused(StatusCode::BAD_REQUEST, "page");
    let long = format!("/products?q={}", "a".repeat(101));
    shop.get(&long)
        .await
        .is_refused(StatusCode::UNPROCESSABLE_ENTITY, "at most 100");
}

#[tokio::test]
async fn what_is_not_there_is_a_404_in_the_form_that_was_asked_for() {
    let shop = Shop::open().await;
    for path in [
        "/products/301",
        "/api/products/0",
        "/categories/none",
        "/none",
    ] {
        shop.get(path)
            .await
            .is_refused(StatusCode::NOT_FOUND, "there is no");
        let request = Request::get(path).header(header::ACCEPT, "text/html,*/*;q=0.8");
        let answer = shop.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.starts_with("<!DOCTYPE html>"), "{path}");
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let shop = Shop::open().await;
    let get = shop.get("/products/7").await;
    let head = shop
        .send(Request::head("/products/7").body(Body::empty()).unwrap())
        .await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(
        head.header(header::CONTENT_TYPE),
        get.header(header::CONTENT_TYPE)
    );
}

#[tokio::test]
async fn other_methods_are_told_which_ones_there_are() {
    let shop = Shop::open().await;
    let answer = shop.json(Method::DELETE, "/products/7", json!({})).await;
    answer.is_refused(
        StatusCode::METHOD_NOT_ALLOWED,
        "does not answer that method",
    );
    assert_eq!(answer.header(header::ALLOW), "GET,HEAD,PUT");
}
