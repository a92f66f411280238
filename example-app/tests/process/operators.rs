//! What whoever runs the shop meets: the admin page and the way in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use smart_cache_tests::harness::Client;

use crate::shop::{Shop, hit};

const PAGE: &str = "/admin/cache/handlers";

async fn ask(shop: Client, user: &str, password: &str) -> Response<Bytes> {
    let account = STANDARD.encode(format!("{user}:{password}"));
    let request = Request::get(PAGE)
        .header("authorization", format!("Basic {account}"))
        .body(Bytes::new());
    shop.send(request.unwrap()).await
}

#[tokio::test]
async fn the_page_opens_with_the_password_of_the_environment_which_is_never_printed() {
    let mut process = Shop::start(&[
        ("SMART_REDIS_BACKEND", "memory"),
        ("ADMIN_USER", "ops"),
        ("ADMIN_PASSWORD", "s3cret word"),
    ]);
    let shop = process.client().await;
    let page = process.logs("its cache is shown at http://").await;
    assert!(page.ends_with("/admin/cache"), "{page}");
    hit(shop, "/products/7").await;
    assert_eq!(shop.get(PAGE).await.status(), 401);
    assert_eq!(ask(shop, "ops", "wrong").await.status(), 401);
    assert_eq!(ask(shop, "admin", "s3cret word").await.status(), 401);
    let page = ask(shop, "ops", "s3cret word").await;
    assert_eq!(page.status(), 200);
    let page = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(page.contains("product:{product.id}"), "{page}");
    assert!(page.contains("/products/{id}"), "its route: {page}");
    process.stop();
    process.logs("the shop is closed").await;
    assert!(!process.everything_logged().contains("s3cret"));
}

#[tokio::test]
async fn without_a_password_one_is_made_up_and_printed_however_quiet_the_log_is() {
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let mut process = Shop::start(&[
            ("SMART_REDIS_BACKEND", "memory"),
            ("RUST_LOG", "error,example_app=info"),
            ("ADMIN_PASSWORD", ""),
        ]);
        let line = process.logs("the admin page's user is ").await;
        let words: Vec<&str> = line.split('"').collect();
        let [_, user, _, password, _] = words[..] else {
            panic!("{line}");
        };
        let shop = process.client().await;
        assert_eq!(ask(shop, user, "").await.status(), 401);
        assert_eq!(ask(shop, user, password).await.status(), 200);
        assert!(password.len() >= 16, "{password}");
        passwords.push(password.to_owned());
    }
    assert_ne!(passwords[0], passwords[1]);
}
