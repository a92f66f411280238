//! What tells requests apart that path and extractors cannot: the handler itself, its state, the
//! values of its template.

use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::Method;
use http::request::Parts;
use smart_cache::smart_cache;
use smart_cache_tests::harness::Gate;

use super::variants::blind;
use super::{HIT, STORED, ask, get, in_memory, status_of};

#[tokio::test]
async fn one_handler_with_two_types_of_state_answers_each() {
    #[derive(Clone)]
    struct Shop<T>(Gate, PhantomData<fn() -> T>);

    #[smart_cache("shared")]
    async fn shared<T: Send + 'static>(State(shop): State<Shop<T>>) -> String
    where
        Shop<T>: Clone + Send + Sync,
    {
        format!("{} {}", std::any::type_name::<T>(), shop.0.pass().await)
    }

    let (gate, cache) = (Gate::opened(), in_memory().await);
    let shop = |router: Router<Shop<u8>>| router.with_state(Shop(gate.clone(), PhantomData));
    let one: Router =
        shop(Router::new().route("/", on_get(shared::<u8>))).layer(Extension(cache.clone()));
    let other: Router = Router::new()
        .route("/", on_get(shared::<u16>))
        .with_state(Shop(gate.clone(), PhantomData))
        .layer(Extension(cache));
    assert_eq!(get(&one, "/").await.text(), "u8 1");
    assert_eq!(get(&other, "/").await.text(), "u16 2");
    assert_eq!(get(&one, "/").await.text(), "u8 1");
    assert_eq!(get(&other, "/").await.text(), "u16 2");
}

/// The function is the same and not generic; only what it is mounted with differs.
#[tokio::test]
async fn one_plain_handler_under_two_types_of_state_answers_each() {
    #[derive(Clone)]
    struct One(Gate);

    #[derive(Clone)]
    struct Other(Gate);

    impl FromRef<One> for Gate {
        fn from_ref(one: &One) -> Self {
            one.0.clone()
        }
    }

    impl FromRef<Other> for Gate {
        fn from_ref(other: &Other) -> Self {
            other.0.clone()
        }
    }

    let (gate, cache) = (Gate::opened(), in_memory().await);
    let one: Router = Router::new()
        .route("/", on_get(blind))
        .layer(Extension(cache.clone()))
        .with_state(One(gate.clone()));
    let other: Router = Router::new()
        .route("/", on_get(blind))
        .layer(Extension(cache))
        .with_state(Other(gate.clone()));
    for _ in 0..2 {
        assert_eq!(get(&one, "/").await.text(), "1");
        assert_eq!(get(&other, "/").await.text(), "2");
    }
}

/// Here nothing but the template's values tells the requests apart: neither path nor `KeyPart`.
#[tokio::test]
async fn the_values_of_a_template_count_by_themselves() {
    struct Pair {
        left: String,
        right: String,
    }

    impl<S: Send + Sync> FromRequestParts<S> for Pair {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
            let value = |name| parts.headers[name].to_str().unwrap().to_owned();
            Ok(Self {
                left: value("x-left"),
                right: value("x-right"),
            })
        }
    }

    #[smart_cache("pair:{pair.left}:{pair.right}")]
    async fn joined(#[key(ignore)] pair: Pair) -> String {
        format!("{}|{}", pair.left, pair.right)
    }

    let app: Router = Router::new()
        .route("/", on_get(joined))
        .layer(Extension(in_memory().await));
    for expected in [STORED, HIT] {
        for (left, right) in [("a:b", "c"), ("a", "b:c"), ("a:b:c", ""), ("", "a:b:c")] {
            let answer = ask(
                &app,
                Method::GET,
                "/",
                &[("x-left", left), ("x-right", right)],
            )
            .await;
            assert_eq!(status_of(&answer), expected, "{left} and {right}");
            assert_eq!(answer.text(), format!("{left}|{right}"));
        }
    }
}
