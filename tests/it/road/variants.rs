//! Two requests share an answer exactly if the handler cannot tell them apart.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path, Query, RawQuery, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::Method;
use http::request::Parts;
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::Gate;

use super::{Answer, HIT, STORED, ask, every_kind, get, in_memory, status_of};

#[smart_cache("search")]
async fn search(State(gate): State<Gate>, Query(query): Query<Vec<(String, String)>>) -> String {
    format!("{query:?} {}", gate.pass().await)
}

#[smart_cache("raw")]
async fn raw(State(gate): State<Gate>, RawQuery(query): RawQuery) -> String {
    format!("{query:?} {}", gate.pass().await)
}

#[smart_cache("paged", query("page", "q"))]
async fn paged(State(gate): State<Gate>, Query(query): Query<HashMap<String, String>>) -> String {
    format!(
        "{:?} {:?} {}",
        query.get("page"),
        query.get("q"),
        gate.pass().await
    )
}

#[smart_cache("blind")]
pub(super) async fn blind(State(gate): State<Gate>) -> String {
    gate.pass().await.to_string()
}

#[smart_cache("spoken", vary("x-language"))]
async fn spoken(State(gate): State<Gate>) -> String {
    gate.pass().await.to_string()
}

#[smart_cache("pair:{a}:{b}")]
async fn pair(State(gate): State<Gate>, Path((a, b)): Path<(String, String)>) -> String {
    format!("{a}|{b} {}", gate.pass().await)
}

#[smart_cache("item:{id}")]
async fn item(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

#[smart_cache("{name}")]
async fn bare(State(gate): State<Gate>, Named(name): Named) -> String {
    format!("{name} {}", gate.pass().await)
}

/// A header as the only thing that names a page.
struct Named(String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let name = parts
            .headers
            .get("x-name")
            .map(|name| name.to_str().unwrap().to_owned());
        Ok(Self(name.unwrap_or_default()))
    }
}

impl smart_cache::KeyPart for Named {
    fn show(&self, variant: &mut smart_cache::Variant) {
        variant.push(&self.0);
    }
}

/// Who asks, by a header.
struct User {
    id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let id = parts
            .headers
            .get("x-user")
            .map(|id| id.to_str().unwrap().to_owned());
        Ok(Self {
            id: id.unwrap_or_default(),
        })
    }
}

#[smart_cache("cart")]
async fn cart(State(gate): State<Gate>, #[key(user.id)] user: User) -> String {
    format!("cart of {} {}", user.id, gate.pass().await)
}

#[smart_cache("two-users")]
async fn two_users(
    State(gate): State<Gate>,
    #[key(one.id)] one: User,
    #[key(other.id.len())] other: User,
) -> String {
    format!("{} {} {}", one.id, other.id.len(), gate.pass().await)
}

pub(super) fn app(cache: SmartCache, gate: &Gate) -> Router {
    let inner = Router::new().route("/item/{id}", on_get(item));
    Router::new()
        .route("/search", on_get(search))
        .route("/raw", on_get(raw))
        .route("/paged", on_get(paged))
        .route("/blind", on_get(blind))
        .route("/spoken", on_get(spoken))
        .route("/pair/{a}/{b}", on_get(pair))
        .route("/item/{id}", on_get(item))
        .route("/other/{id}", on_get(item))
        .route("/bare", on_get(bare))
        .route("/cart", on_get(cart))
        .route("/two-users", on_get(two_users))
        .nest("/red", inner.clone())
        .nest("/blue", inner.clone())
        .nest(
            "/deep/{tenant}",
            Router::new().nest("/er", Router::new().route("/blind", on_get(blind))),
        )
        .nest_service("/served", inner.with_state(gate.clone()))
        .layer(Extension(cache))
        .with_state(gate.clone())
}

async fn fresh() -> (Router, Gate) {
    let gate = Gate::opened();
    (app(in_memory().await, &gate), gate)
}

pub(super) async fn check_same(one: &str, other: &str) {
    let (app, gate) = fresh().await;
    let first = get(&app, one).await;
    let second = get(&app, other).await;
    assert_eq!(
        (status_of(&second), gate.runs()),
        (HIT, 1),
        "{one} and {other}"
    );
    assert_eq!(first.body, second.body);
}

pub(super) async fn check_apart(one: &str, other: &str) {
    let (app, gate) = fresh().await;
    let first = get(&app, one).await;
    let second = get(&app, other).await;
    assert_eq!(
        (status_of(&second), gate.runs()),
        (STORED, 2),
        "{one} and {other}"
    );
    assert_eq!(get(&app, one).await.own(), first.own());
    assert_eq!(get(&app, other).await.own(), second.own());
    assert_eq!(gate.runs(), 2);
}

async fn spoken_in(app: &Router, languages: &[&str]) -> Answer {
    let headers: Vec<_> = languages
        .iter()
        .map(|language| ("x-language", *language))
        .collect();
    ask(app, Method::GET, "/spoken", &headers).await
}

#[tokio::test]
async fn a_declared_header_tells_answers_apart_to_the_byte() {
    let (app, gate) = fresh().await;
    let kinds: [&[&str]; 8] = [
        &[],
        &[""],
        &["en"],
        &["EN"],
        &["en, de"],
        &["en", "de"],
        &["de", "en"],
        &["en,de"],
    ];
    for (run, languages) in kinds.iter().enumerate() {
        assert_eq!(
            spoken_in(&app, languages).await.text(),
            (run + 1).to_string(),
            "{languages:?}"
        );
    }
    for (run, languages) in kinds.iter().enumerate() {
        let again = spoken_in(&app, languages).await;
        assert_eq!(
            (status_of(&again), again.text()),
            (HIT, (run + 1).to_string()),
            "{languages:?}"
        );
    }
    assert_eq!(gate.runs(), 8);
}

#[tokio::test]
async fn a_header_that_is_not_declared_does_not_split() {
    let (app, gate) = fresh().await;
    get(&app, "/blind").await;
    let second = ask(
        &app,
        Method::GET,
        "/blind",
        &[
            ("cookie", "a=b"),
            ("authorization", "x"),
            ("accept-language", "de"),
        ],
    )
    .await;
    assert_eq!((status_of(&second), gate.runs()), (HIT, 1));
}

#[tokio::test]
async fn a_nested_router_does_not_hide_the_path() {
    check_apart("/red/item/7", "/blue/item/7").await;
    check_apart("/red/item/7", "/item/7").await;
    check_apart("/served/item/7", "/red/item/7").await;
    check_apart("/served/item/7", "/item/7").await;
    check_apart("/deep/a/er/blind", "/deep/b/er/blind").await;
    check_apart("/deep/a/er/blind", "/blind").await;
}

#[tokio::test]
async fn one_handler_on_two_routes_answers_each() {
    check_apart("/item/7", "/other/7").await;
    check_apart("/item/7", "/item/8").await;
}

#[tokio::test]
async fn one_clear_takes_every_route_of_its_key() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache.clone(), &gate);
        let paths = [
            "/item/7",
            "/item/007",
            "/other/7",
            "/red/item/7",
            "/item/7?x",
        ];
        for path in paths {
            get(&app, path).await;
        }
        get(&app, "/item/8").await;
        cache.clear("item:7").await.unwrap();
        let before = gate.runs();
        for path in &paths[..4] {
            assert_eq!(status_of(&get(&app, path).await), STORED, "{path}");
        }
        assert_eq!(gate.runs(), before + 4);
        assert_eq!(status_of(&get(&app, "/item/8").await), HIT);
    }
}

#[tokio::test]
async fn one_users_page_never_reaches_another() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache.clone(), &gate);
        let users = ["", "ann", "bob", "ann ", "Ann", "1", "01", "ann:bob"];
        for user in users {
            let answer = ask(&app, Method::GET, "/cart", &[("x-user", user)]).await;
            assert!(
                answer.text().starts_with(&format!("cart of {user} ")),
                "{answer:?}"
            );
        }
        assert_eq!(gate.runs(), users.len() as u64);
        for user in users {
            let answer = ask(&app, Method::GET, "/cart", &[("x-user", user)]).await;
            assert_eq!(status_of(&answer), HIT);
            assert!(
                answer.text().starts_with(&format!("cart of {user} ")),
                "{answer:?}"
            );
        }
        cache.clear("cart").await.unwrap();
        let answer = ask(&app, Method::GET, "/cart", &[("x-user", "bob")]).await;
        assert_eq!(status_of(&answer), STORED);
    }
}

#[tokio::test]
async fn an_expression_as_key_part_counts_by_its_value() {
    let (app, gate) = fresh().await;
    for (user, expected) in [("ann", STORED), ("bob", STORED), ("ann", HIT)] {
        let answer = ask(&app, Method::GET, "/two-users", &[("x-user", user)]).await;
        assert_eq!(status_of(&answer), expected);
    }
    assert_eq!(gate.runs(), 2);
}

#[tokio::test]
async fn a_separator_inside_a_value_makes_no_two_requests_one() {
    check_apart("/pair/a:b/c", "/pair/a/b:c").await;
    check_apart("/pair/a/b", "/pair/b/a").await;
    check_apart("/pair/a%3Ab/c", "/pair/a/b%3Ac").await;
    check_apart("/pair/%00/a", "/pair/a/%00").await;
}

#[tokio::test]
async fn a_clear_of_a_key_that_two_requests_render_alike_takes_both() {
    let (app, cache, gate) = {
        let (cache, gate) = (in_memory().await, Gate::opened());
        (app(cache.clone(), &gate), cache, gate)
    };
    for path in ["/pair/a:b/c", "/pair/a/b:c"] {
        get(&app, path).await;
    }
    cache.clear("pair:a:b:c").await.unwrap();
    for path in ["/pair/a:b/c", "/pair/a/b:c"] {
        assert_eq!(status_of(&get(&app, path).await), STORED);
    }
    assert_eq!(gate.runs(), 4);
}

#[tokio::test]
async fn an_empty_key_keeps_the_request_out() {
    let (app, gate) = fresh().await;
    for run in 1..=2 {
        let answer = get(&app, "/bare").await;
        assert_eq!(
            status_of(&answer),
            "smart-cache; fwd=bypass; detail=empty-key"
        );
        assert_eq!(gate.runs(), run);
    }
    for name in [" ", "*", "{x}", "a\tb"] {
        for expected in [STORED, HIT] {
            let answer = ask(&app, Method::GET, "/bare", &[("x-name", name)]).await;
            assert_eq!(status_of(&answer), expected, "{name:?}");
        }
    }
}
