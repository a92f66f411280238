//! The cart and its visitor.

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use super::Shop;

#[tokio::test]
async fn a_cart_belongs_to_one_visitor() {
    let shop = Shop::open().await;
    let (first, second) = (
        shop.get("/cart").await.cookie(),
        shop.get("/cart").await.cookie(),
    );
    assert_ne!(first, second);
    shop.json(
        Method::PUT,
        "/products/7",
        json!({ "name": "Seven", "price_cents": 250 }),
    )
    .await;
    shop.form("/cart", &first, "product_id=7&quantity=2")
        .await
        .leads_to("/cart");
    shop.form("/cart", &first, "product_id=7")
        .await
        .leads_to("/cart");

    let cart = shop.cart(&first).await;
    assert!(
        cart.text.contains("Seven") && cart.text.contains("€7.50"),
        "{}",
        cart.text
    );
    assert!(
        !cart.headers.contains_key(header::SET_COOKIE),
        "a known visitor gets no new cookie"
    );
    assert!(shop.cart(&second).await.text.contains("It is empty."));

    shop.form("/cart/7/remove", &first, "")
        .await
        .leads_to("/cart");
    assert!(shop.cart(&first).await.text.contains("It is empty."));
}

#[tokio::test]
async fn a_visitor_who_begins_with_a_purchase_keeps_it() {
    let shop = Shop::open().await;
    let cookie = shop.form("/cart", "", "product_id=7").await.cookie();
    assert!(shop.cart(&cookie).await.text.contains("/products/7"));
}

#[tokio::test]
async fn a_cart_refuses_what_cannot_be_bought() {
    let shop = Shop::open().await;
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    let answer = shop.form("/cart", "", "product_id=7&quantity=0").await;
    answer.is_refused(invalid, "from 1 to 99");
    let answer = shop.form("/cart", "", "product_id=999").await;
    answer.is_refused(StatusCode::NOT_FOUND, "no product 999");
    let cookie = shop
        .form("/cart", "", "product_id=7&quantity=60")
        .await
        .cookie();
    shop.form("/cart", &cookie, "product_id=7&quantity=60")
        .await
        .leads_to("/cart");
    assert!(shop.cart(&cookie).await.text.contains("99 × "));
}
