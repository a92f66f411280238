//! Methods: `self` is an extractor like any other.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum_macros::debug_handler;
use smart_cache::{KeyPart, Variant, smart_cache};

use super::{Shapes, check_each_is_cached, ran};

struct Visitor {
    name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = ();

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, ()> {
        Ok(Self {
            name: "visitor".to_owned(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Box<Visitor> {
    type Rejection = ();

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, ()> {
        Ok(Self::new(Visitor {
            name: "boxed".to_owned(),
        }))
    }
}

impl KeyPart for Visitor {
    fn show(&self, variant: &mut Variant) {
        variant.push(&self.name);
    }
}

impl Visitor {
    #[smart_cache("alone:{self.name}")]
    #[debug_handler]
    async fn alone(self) -> String {
        format!("{} {}", self.name, ran("alone"))
    }

    #[smart_cache("mutable-self")]
    async fn mutable(mut self) -> String {
        self.name.push('!');
        format!("{} {}", self.name, ran("mutable-self"))
    }

    #[smart_cache("ignored-self")]
    async fn ignored(#[key(ignore)] self) -> String {
        format!("{} {}", self.name, ran("ignored-self"))
    }

    #[smart_cache("part-of-self")]
    async fn part(#[key(self.name)] self, Path(id): Path<u64>) -> String {
        format!("{} {id} {}", self.name, ran("part-of-self"))
    }

    #[smart_cache("boxed-self")]
    async fn boxed(#[key(ignore)] self: Box<Self>) -> String {
        format!("{} {}", self.name, ran("boxed-self"))
    }

    #[debug_handler]
    #[smart_cache("self-and-path:{id}")]
    async fn with_path(self, Path(id): Path<u64>) -> Result<impl IntoResponse, ()> {
        Ok(format!("{id} {}", ran("self-and-path")))
    }

    #[smart_cache("self-and-path-below:{id}")]
    #[debug_handler]
    async fn with_path_below(self, Path(id): Path<u64>) -> Result<(), impl IntoResponse> {
        Err((
            axum::http::StatusCode::OK,
            format!("{id} {}", ran("self-and-path-below")),
        ))
    }

    #[smart_cache("qualified")]
    #[expect(clippy::needless_arbitrary_self_type, reason = "the form is the test")]
    async fn qualified(self: Self) -> String {
        format!("{} {}", self.name, ran("qualified"))
    }
}

#[tokio::test]
async fn methods_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .plain("/alone", Visitor::alone)
            .plain("/mutable-self", Visitor::mutable)
            .plain("/ignored-self", Visitor::ignored)
            .plain("/boxed-self", Visitor::boxed)
            .at("/part-of-self/{id}", "/part-of-self/7", Visitor::part)
            .at(
                "/self-and-path/{id}",
                "/self-and-path/7",
                Visitor::with_path,
            )
            .at(
                "/self-and-path-below/{id}",
                "/self-and-path-below/7",
                Visitor::with_path_below,
            )
            .plain("/qualified", Visitor::qualified),
    )
    .await;
}
