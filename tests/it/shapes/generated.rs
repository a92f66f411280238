//! Handlers that a `macro_rules!` macro makes, whose names have two kinds of hygiene.

use axum::extract::{Path, RawQuery, State};
use smart_cache::smart_cache;

use super::{App, Shapes, check_each_is_cached, ran};

macro_rules! handler {
    ($name:ident, $template:literal, $ty:ty, $count:expr) => {
        #[smart_cache($template, tags("generated"))]
        async fn $name(Path(id): Path<$ty>, State(_): State<App>) -> String {
            format!("{id} {}", ran($count))
        }
    };
}

handler!(by_template, "by-template:{id}", u64, "by-template");
handler!(by_text, "by-text:{id}", String, "by-text");

macro_rules! whole {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($pattern:pat_param in $ty:ty),*) -> $output:ty $body:block) => {
        $(#[$meta])*
        $vis async fn $name($($pattern: $ty),*) -> $output $body
    };
}

whole! {
    /// Documented.
    #[smart_cache("whole:{id}")]
    pub(super) fn whole(Path(id) in Path<u64>, _ in RawQuery) -> String {
        format!("{id} {}", ran("whole"))
    }
}

macro_rules! inside {
    ($name:ident) => {
        #[smart_cache("inside:{id}")]
        async fn $name(
            #[key(text.is_some())] RawQuery(text): RawQuery,
            Path(id): Path<u64>,
        ) -> String {
            format!("{id} {text:?} {}", ran("inside"))
        }
    };
}

inside!(inside);

macro_rules! without_arguments {
    ($($name:ident = $template:literal),*) => {$(
        #[smart_cache($template)]
        async fn $name() -> String {
            ran($template)
        }
    )*};
}

without_arguments!(first = "generated-first", second = "generated-second");

#[tokio::test]
async fn generated_handlers_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .at("/by-template/{id}", "/by-template/7", by_template)
            .at("/by-text/{id}", "/by-text/a", by_text)
            .at("/whole/{id}", "/whole/7", whole)
            .at("/inside/{id}", "/inside/7?a", inside)
            .plain("/generated-first", first)
            .plain("/generated-second", second),
    )
    .await;
}
