//! The cache: every page is stored, and no write leaves an old one behind.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Answer, FORM, Shop};

impl Answer {
    fn cache_status(&self) -> &str {
        self.headers["cache-status"].to_str().unwrap()
    }

    #[track_caller]
    fn is_a_hit(&self) {
        assert_eq!(self.cache_status(), "smart-cache; hit");
    }
}

/// An address, and the cookie of the visitor who asks for it.
type Page = (String, String);

async fn ask(app: &Router, (path, cookie): &Page) -> Answer {
    let request = Request::get(path).header(header::COOKIE, cookie);
    let answer = Answer::of(app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer
}

/// The page as the cache has it. An answer leaves before it is stored, so the next request may
/// still be given the one on its way; and the first answer that depends on a key which the cache
/// never met before is not stored, but the second one is.
async fn ask_stored(app: &Router, page: &Page) -> Answer {
    for _ in 0..10 {
        let answer = ask(app, page).await;
        if answer.cache_status() == "smart-cache; hit" {
            return answer;
        }
        assert!(!answer.cache_status().contains("bypass"), "{}", page.0);
    }
    panic!("{} is not stored", page.0);
}

fn json(method: Method, path: &str, body: &Value) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn form(path: &str, cookie: &str, body: &'static str) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
    let request = request.header(header::COOKIE, cookie);
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn the_second_answer_of_every_route_is_the_first_one_stored() {
    let shop = Shop::open().await;
    let cookie = shop.get("/cart").await.cookie();
    for path in [
        "/",
        "/products",
        "/products?category=kitchen&q=pan&sort=name",
        "/products/7",
        "/categories/kitchen",
        "/cart",
        "/api/products",
        "/api/products?q=lamp&page=2",
        "/api/products/7",
        "/api/categories/kitchen",
    ] {
        let page = (path.to_owned(), cookie.clone());
        let first = ask(&shop.app, &page).await;
        // What a page found that it depends on may be too new to be stored with the first answer.
        let ran = ["smart-cache; fwd=miss; stored", "smart-cache; fwd=miss"];
        assert!(
            ran.contains(&first.cache_status()),
            "{path}: {}",
            first.cache_status()
        );
        let second = ask_stored(&shop.app, &page).await;
        assert_eq!(first.text, second.text, "{path}");
        let kept = |answer: &Answer| answer.headers[header::CONTENT_TYPE].clone();
        assert_eq!(kept(&first), kept(&second), "{path}");
    }
}

#[tokio::test]
async fn parameters_that_no_search_knows_make_no_page_of_their_own() {
    let shop = Shop::open().await;
    shop.get("/products?q=lamp&page=1").await;
    shop.get("/products?page=1&utm_source=letter&x=1&q=lamp")
        .await
        .is_a_hit();
}

#[tokio::test]
async fn what_is_not_there_is_not_stored() {
    let shop = Shop::open().await;
    for path in ["/products/301", "/categories/none", "/products?sort=x"] {
        shop.get(path).await;
        let again = shop.get(path).await;
        assert!(again.status.is_client_error(), "{path}");
        let status = again.headers.get("cache-status");
        assert!(status.is_none_or(|status| status != "smart-cache; hit"));
    }
}

#[tokio::test]
async fn nobody_is_shown_the_cart_of_somebody_else() {
    let shop = Shop::open().await;
    let (ada, bo) = (
        shop.get("/cart").await.cookie(),
        shop.get("/cart").await.cookie(),
    );
    shop.form("/cart", &ada, "product_id=7").await;
    shop.form("/cart", &bo, "product_id=8").await;
    for (cookie, own, other) in [
        (&ada, "/products/7", "/products/8"),
        (&bo, "/products/8", "/products/7"),
    ] {
        let page = ("/cart".to_owned(), cookie.clone());
        let first = ask(&shop.app, &page).await.text;
        assert!(first.contains(own) && !first.contains(other));
        assert_eq!(ask_stored(&shop.app, &page).await.text, first);
    }

    let stranger = shop.get("/cart").await;
    assert_eq!(
        stranger.cache_status(),
        "smart-cache; fwd=bypass; detail=set-cookie"
    );
    assert!(stranger.text.contains("It is empty."));
    let stranger = stranger.cookie();
    assert!(stranger != ada && stranger != bo);
}

/// The best rated product that is in stock: also the home page shows it.
const BEST: &str = "24";

/// A shop with every kind of page warm, which are compared with what an uncached shop shows.
struct Warm {
    shop: Shop,
    uncached: Router,
    pages: Vec<Page>,
    ada: String,
    bo: String,
}

impl Warm {
    /// `product` is in Ada's cart, and not in Bo's.
    async fn with(product: &str) -> Self {
        let shop = Shop::open().await;
        let (ada, bo) = (
            shop.get("/cart").await.cookie(),
            shop.get("/cart").await.cookie(),
        );
        let body = format!("product_id={product}&quantity=2");
        shop.form("/cart", &ada, &body).await;
        shop.form("/cart", &bo, "product_id=299").await;

        let described = shop.get_json(&format!("/api/products/{product}")).await;
        let category = described["category"].as_str().unwrap();
        // The last of its words tells the product from most others.
        let name = described["name"].as_str().unwrap();
        let word = name.split(' ').next_back().unwrap();
        let mut paths = vec!["/".to_owned()];
        for search in [
            "",
            "page=2",
            "sort=cheapest",
            "sort=dearest",
            "sort=name",
            "stars=4",
            "stock=in",
            "price=under-25",
            "price=over-200",
            "q=zyzzyva",
            "q=nothing+is+called+so",
            &format!("q={word}"),
            &format!("category={category}"),
            &format!("category={category}&stock=in&sort=dearest"),
            "category=garden",
        ] {
            paths.extend(["", "/api"].map(|api| format!("{api}/products?{search}")));
        }
        let home = shop.get("/").await.text;
        assert!(product != BEST || home.contains("\"/products/24\""));
        let after_each = home.split("href=\"/categories/").skip(1);
        for slug in after_each.map(|rest| rest.split('"').next().unwrap()) {
            paths.extend(["", "/api"].map(|api| format!("{api}/categories/{slug}")));
        }
        // Everything that may show the product as similar, and some that cannot.
        let mut ids: Vec<i64> = (1..10).collect();
        for page in 1..=2 {
            let path = format!("/api/products?category={category}&page={page}");
            let found = shop.get_json(&path).await;
            let found = found["products"].as_array().unwrap().iter();
            ids.extend(found.map(|product| product["id"].as_i64().unwrap()));
        }
        for id in ids {
            paths.extend(["", "/api"].map(|api| format!("{api}/products/{id}")));
        }

        let pages = paths.into_iter().map(|path| (path, ada.clone()));
        let carts = [&ada, &bo].map(|cookie| ("/cart".to_owned(), cookie.clone()));
        Self {
            uncached: shop.uncached(),
            pages: pages.chain(carts).collect(),
            shop,
            ada,
            bo,
        }
    }

    /// Does the write over warm pages and compares each with what is true now. Returns the
    /// paths of the pages that are still served from the cache.
    async fn write(&self, what: &str, request: Request<Body>) -> Vec<&str> {
        let mut before = Vec::new();
        for page in &self.pages {
            ask(&self.shop.app, page).await;
            before.push(ask_stored(&self.shop.app, page).await.text);
        }

        let answer = Answer::of(&self.shop.app, request).await;
        let status = answer.status;
        assert!(
            status.is_success() || status.is_redirection(),
            "{what}: {status} {}",
            answer.text
        );

        let mut changed = 0;
        let mut kept = Vec::new();
        for (page, before) in self.pages.iter().zip(before) {
            let shown = ask(&self.shop.app, page).await;
            let is_true = ask(&self.uncached, page).await;
            assert!(
                shown.text == is_true.text,
                "{what} left an old answer at {}",
                page.0
            );
            changed += usize::from(before != is_true.text);
            if shown.cache_status() == "smart-cache; hit" {
                kept.push(page.0.as_str());
            }
        }
        assert!(changed > 0, "{what} changes no page, so it proves nothing");
        kept
    }
}

#[tokio::test]
async fn a_rename_shows_on_every_page_at_once() {
    let warm = Warm::with(BEST).await;
    let change = json!({ "name": "Zyzzyva Lamp" });
    let kept = warm
        .write("renaming", json(Method::PUT, "/products/24", &change))
        .await;
    assert!(kept.contains(&"/api/products/8"), "{kept:?}");
    assert!(!kept.iter().any(|path| path.contains("products?")));
    // Ada's cart holds the product; of the two only Bo's is still there.
    assert_eq!(kept.iter().filter(|path| **path == "/cart").count(), 1);
}

#[tokio::test]
async fn a_new_price_shows_on_every_page_at_once() {
    let warm = Warm::with(BEST).await;
    for cents in [0, 4_321, 99_999_999] {
        let change = json!({ "price_cents": cents });
        warm.write("repricing", json(Method::PUT, "/products/24", &change))
            .await;
    }
}

#[tokio::test]
async fn the_edit_form_shows_on_every_page_at_once() {
    let warm = Warm::with(BEST).await;
    let request = form("/products/24/edit", "", "name=Zyzzyva&price=1.50");
    warm.write("editing", request).await;
}

#[tokio::test]
async fn a_review_shows_on_every_page_at_once() {
    let warm = Warm::with(BEST).await;
    let review = json!({ "stars": 1, "author": "Ada", "text": "No." });
    let request = json(Method::POST, "/products/24/reviews", &review);
    warm.write("a review by JSON", request).await;
    let request = form("/products/24/reviews", "", "stars=5&author=Bo&text=Yes.");
    warm.write("a review by form", request).await;
}

#[tokio::test]
async fn a_delivery_shows_on_every_page_at_once() {
    let warm = Warm::with(BEST).await;
    let delivery = json!({ "quantity": 3 });
    let request = json(Method::POST, "/products/24/stock", &delivery);
    let kept = warm.write("a delivery by JSON", request).await;
    assert!(kept.contains(&"/api/products/8"), "{kept:?}");
    let request = form("/products/24/stock", "", "quantity=9&warehouse=Riga");
    warm.write("a delivery by form", request).await;
}

#[tokio::test]
async fn what_was_sold_out_comes_back_on_every_page_at_once() {
    let shop = Shop::open().await;
    let mut sold_out = None;
    for id in 1..=300 {
        let product = shop.get_json(&format!("/api/products/{id}")).await;
        if product["stock"] == 0 {
            sold_out = Some(id.to_string());
            break;
        }
    }
    drop(shop);
    let id = sold_out.expect("the catalogue has products that are sold out");
    let warm = Warm::with(&id).await;
    let path = format!("/products/{id}/stock");
    let delivery = json!({ "quantity": 50 });
    warm.write("the first delivery", json(Method::POST, &path, &delivery))
        .await;
}

#[tokio::test]
async fn a_purchase_shows_in_the_cart_at_once_and_changes_nothing_else() {
    let warm = Warm::with(BEST).await;
    let all_but_one = warm.pages.len() - 1;
    let kept = warm
        .write("adding", form("/cart", &warm.ada, "product_id=9"))
        .await;
    assert_eq!(kept.len(), all_but_one);
    let kept = warm
        .write("adding more", form("/cart", &warm.bo, "product_id=299"))
        .await;
    assert_eq!(kept.len(), all_but_one);
    let kept = warm
        .write("removing", form("/cart/9/remove", &warm.ada, ""))
        .await;
    assert_eq!(kept.len(), all_but_one);
}

#[tokio::test]
async fn what_is_refused_clears_nothing() {
    let shop = Shop::open().await;
    ask_stored(&shop.app, &("/products/7".to_owned(), String::new())).await;
    for change in [json!({}), json!({ "price_cents": -1 })] {
        let answer = shop.json(Method::PUT, "/products/7", change).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = shop.form("/products/7/stock", "", "quantity=0").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    shop.get("/products/7").await.is_a_hit();
}
