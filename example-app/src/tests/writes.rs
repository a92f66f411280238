//! Writing: what is written shows in what is read, and bad input is refused with the reason.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::Shop;

#[tokio::test]
async fn a_new_name_and_price_show_everywhere() {
    let shop = Shop::open().await;
    let change = json!({ "name": "Zyzzyva Lamp", "price_cents": 123_456 });
    let answer = shop.json(Method::PUT, "/products/7", change).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["name"], "Zyzzyva Lamp");

    assert_eq!(
        shop.get_json("/api/products/7").await["price_cents"],
        123_456
    );
    assert_eq!(shop.get_json("/api/products?q=zyzzyva").await["total"], 1);
    let page = shop.get("/products/7").await.text;
    assert!(page.contains("Zyzzyva Lamp") && page.contains("€1,234.56"));
}

#[tokio::test]
async fn what_a_change_leaves_out_stays_as_it_is() {
    let shop = Shop::open().await;
    let before = shop.get_json("/api/products/7").await;
    shop.json(Method::PUT, "/products/7", json!({ "price_cents": 0 }))
        .await;
    let after = shop.get_json("/api/products/7").await;
    assert_eq!(
        (&after["name"], &after["price_cents"]),
        (&before["name"], &json!(0))
    );
}

#[tokio::test]
async fn a_bad_change_is_refused_with_the_remedy() {
    let shop = Shop::open().await;
    let before = shop.get_json("/api/products/7").await;
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    for (change, status, reason) in [
        (json!({}), invalid, "send name, price_cents or both"),
        (json!({ "name": "  " }), invalid, "from 1 to 120"),
        (json!({ "name": "x".repeat(121) }), invalid, "from 1 to 120"),
        (json!({ "price_cents": -1 }), invalid, "from 0 to"),
        (json!({ "price_cents": "1" }), invalid, "price_cents"),
        (json!({ "price": 1 }), invalid, "unknown field `price`"),
    ] {
        shop.json(Method::PUT, "/products/7", change)
            .await
            .is_refused(status, reason);
    }
    let unknown = shop
        .json(Method::PUT, "/products/301", json!({ "name": "x" }))
        .await;
    unknown.is_refused(StatusCode::NOT_FOUND, "no product 301");
    assert_eq!(shop.get_json("/api/products/7").await, before);
}

#[tokio::test]
async fn the_edit_form_changes_and_leads_back() {
    let shop = Shop::open().await;
    let answer = shop
        .form("/products/7/edit", "", "name=By+form&price=12%2C50")
        .await;
    answer.leads_to("/products/7");
    let product = shop.get_json("/api/products/7").await;
    assert_eq!(
        (&product["name"], &product["price_cents"]),
        (&json!("By form"), &json!(1250))
    );

    let answer = shop.form("/products/7/edit", "", "name=x&price=much").await;
    answer.is_refused(StatusCode::UNPROCESSABLE_ENTITY, "must look like 12.50");
}

#[tokio::test]
async fn a_review_counts_at_once_from_json_and_from_a_form() {
    let shop = Shop::open().await;
    let before = shop.get_json("/api/products/7").await["reviews"]
        .as_i64()
        .unwrap();

    let review = json!({ "stars": 5, "author": "Ada", "text": "Fine." });
    let answer = shop.json(Method::POST, "/products/7/reviews", review).await;
    assert_eq!(
        (answer.status, &answer.json()["author"]),
        (StatusCode::CREATED, &json!("Ada"))
    );
    let answer = shop
        .form("/products/7/reviews", "", "stars=1&author=Bo&text=No.")
        .await;
    answer.leads_to("/products/7#reviews");

    let product = shop.get_json("/api/products/7").await;
    assert_eq!(product["reviews"], before + 2);
    assert_eq!(product["latest_reviews"][0]["author"], "Bo");
    assert_eq!(product["latest_reviews"][1]["author"], "Ada");
}

#[tokio::test]
async fn a_bad_review_is_refused_with_the_reason() {
    let shop = Shop::open().await;
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    for (review, reason) in [
        (
            json!({ "stars": 0, "author": "Ada", "text": "x" }),
            "from 1 to 5",
        ),
        (
            json!({ "stars": 6, "author": "Ada", "text": "x" }),
            "from 1 to 5",
        ),
        (
            json!({ "stars": 3, "author": " ", "text": "x" }),
            "author must have",
        ),
        (
            json!({ "stars": 3, "author": "Ada", "text": "" }),
            "text must have",
        ),
        (
            json!({ "stars": 3, "author": "Ada" }),
            "missing field `text`",
        ),
    ] {
        shop.json(Method::POST, "/products/7/reviews", review)
            .await
            .is_refused(invalid, reason);
    }
    let review = json!({ "stars": 3, "author": "Ada", "text": "x" });
    let unknown = shop
        .json(Method::POST, "/products/999/reviews", review)
        .await;
    unknown.is_refused(StatusCode::NOT_FOUND, "no product 999");

    let plain = Request::post("/products/7/reviews")
        .body(Body::from("stars=5"))
        .unwrap();
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    shop.send(plain)
        .await
        .is_refused(status, "application/json or");
}

#[tokio::test]
async fn what_people_write_is_shown_and_never_run() {
    let shop = Shop::open().await;
    let review = json!({ "stars": 5, "author": "<b>", "text": "<script>alert(1)</script>" });
    shop.json(Method::POST, "/products/7/reviews", review).await;
    let page = shop.get("/products/7").await.text;
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
    let page = shop.get("/products?q=%3Cscript%3E%22").await.text;
    assert!(page.contains("&lt;script&gt;&quot;") && !page.contains("<script>\""));
}

#[tokio::test]
async fn a_delivery_is_in_stock_at_once_from_json_and_from_a_form() {
    let shop = Shop::open().await;
    let before = shop.get_json("/api/products/7").await["stock"]
        .as_i64()
        .unwrap();

    let answer = shop
        .json(Method::POST, "/products/7/stock", json!({ "quantity": 5 }))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["warehouse"]),
        (StatusCode::CREATED, &json!("Porto"))
    );
    shop.form("/products/7/stock", "", "quantity=7&warehouse=Riga")
        .await
        .leads_to("/products/7");
    assert_eq!(shop.get_json("/api/products/7").await["stock"], before + 12);
}

#[tokio::test]
async fn a_bad_delivery_is_refused_with_the_reason() {
    let shop = Shop::open().await;
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    for (delivery, reason) in [
        (json!({ "quantity": 0 }), "from 1 to 10000"),
        (json!({ "quantity": 10_001 }), "from 1 to 10000"),
        (
            json!({ "quantity": 1, "warehouse": "Mars" }),
            "one of Porto, Riga, Utrecht",
        ),
    ] {
        shop.json(Method::POST, "/products/7/stock", delivery)
            .await
            .is_refused(invalid, reason);
    }
    let unknown = shop
        .json(
            Method::POST,
            "/products/999/stock",
            json!({ "quantity": 1 }),
        )
        .await;
    unknown.is_refused(StatusCode::NOT_FOUND, "no product 999");
}

#[tokio::test]
async fn the_figures_of_a_category_follow_a_write() {
    let shop = Shop::open().await;
    let category = shop.get_json("/api/products/7").await["category"].clone();
    let path = format!("/api/categories/{}", category.as_str().unwrap());
    let before = shop.get_json(&path).await;

    shop.json(
        Method::PUT,
        "/products/7",
        json!({ "price_cents": 99_999_999 }),
    )
    .await;
    shop.json(
        Method::POST,
        "/products/7/stock",
        json!({ "quantity": 100 }),
    )
    .await;
    let review = json!({ "stars": 1, "author": "Ada", "text": "x" });
    shop.json(Method::POST, "/products/7/reviews", review).await;

    let after = shop.get_json(&path).await;
    let stock = |report: &Value| report["figures"]["stock"].as_i64().unwrap();
    assert_eq!(after["figures"]["max_price_cents"], 99_999_999);
    assert_eq!(stock(&after), stock(&before) + 100);
    let one_star = |report: &Value| report["histogram"][0].as_i64().unwrap();
    assert_eq!(one_star(&after), one_star(&before) + 1);
}
