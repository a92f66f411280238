//! Generic handlers, nested ones, and one name in many modules.

use axum::extract::{FromRef, FromRequestParts, Path, RawQuery, State};
use axum::response::IntoResponse;
use smart_cache::{KeyPart, smart_cache};

use super::{App, Shapes, Shop, check_each_is_cached, ran};

trait Store: Clone + Send + Sync + 'static {
    const NAME: &'static str;
}

impl Store for App {
    const NAME: &'static str = "app";
}

impl Store for Shop {
    const NAME: &'static str = "shop";
}

#[smart_cache("generic:{id}")]
async fn generic<S: Store>(State(_): State<S>, Path(id): Path<u64>) -> String
where
    State<S>: Clone,
{
    format!("{id} {} {}", S::NAME, ran("generic"))
}

#[smart_cache("constant-generic")]
async fn constant<const N: usize>() -> String {
    format!("{N} {}", ran("constant-generic"))
}

#[smart_cache("lifetime")]
async fn lifetime<'a>(State(_): State<App>) -> std::borrow::Cow<'a, str> {
    ran("lifetime").into()
}

#[smart_cache("argument:{id}")]
async fn argument(
    Path(id): Path<u64>,
    _query: impl FromRequestParts<App> + KeyPart + Send,
) -> String {
    format!("{id} {}", ran("argument"))
}

#[smart_cache("part")]
async fn part(#[key(ignore)] _state: State<impl Clone + Send + Sync>) -> impl IntoResponse {
    ran("part")
}

fn nested() -> Shapes {
    #[smart_cache("nested-fn:{id}")]
    async fn inner(Path(id): Path<u64>) -> String {
        #[smart_cache("innermost")]
        async fn inner(_: RawQuery) -> String {
            ran("innermost")
        }
        let innermost = inner((smart_cache::uncached(), RawQuery(None)))
            .await
            .into_value();
        assert!(innermost.starts_with("innermost"));
        format!("{id} {}", ran("nested-fn"))
    }
    Shapes::default().at("/nested-fn/{id}", "/nested-fn/7", inner)
}

mod left {
    pub(in crate::shapes) mod pages {
        use smart_cache::smart_cache;

        #[smart_cache("index")]
        pub(in crate::shapes) async fn index() -> String {
            crate::shapes::ran("left")
        }
    }
}

mod right {
    use smart_cache::smart_cache;

    #[smart_cache("index")]
    pub(super) async fn index() -> String {
        crate::shapes::ran("right")
    }
}

#[derive(Clone)]
struct Part;

impl FromRef<App> for Part {
    fn from_ref(_: &App) -> Self {
        Self
    }
}

impl Store for Part {
    const NAME: &'static str = "part";
}

#[tokio::test]
async fn generic_and_nested_handlers_are_cached() {
    let nested = nested();
    let mut shapes = Shapes::default()
        .at("/generic/app/{id}", "/generic/app/7", generic::<App>)
        .at("/generic/shop/{id}", "/generic/shop/7", generic::<Shop>)
        .at("/generic/part/{id}", "/generic/part/7", generic::<Part>)
        .plain("/constant-generic/1", constant::<1>)
        .plain("/constant-generic/2", constant::<2>)
        .plain("/lifetime", lifetime)
        .plain("/left", left::pages::index)
        .plain("/right", right::index);
    shapes.router = shapes.router.merge(nested.router);
    shapes.addresses.extend(nested.addresses);
    check_each_is_cached(shapes).await;
}

/// axum cannot name the type of `impl Trait` in an argument, so nobody can route such a
/// handler by its name; it must compile all the same, and answer when it is called.
#[tokio::test]
async fn handlers_with_impl_trait_arguments_compile() {
    let answer = argument((smart_cache::uncached(), Path(7)), RawQuery(None)).await;
    assert!(answer.into_value().starts_with("7 argument"));
    let answer = part((smart_cache::uncached(), State(App::default())))
        .await
        .into_value();
    assert_eq!(answer.into_response().status(), 200);
}

#[smart_cache("shared-key")]
async fn shared<S: Store>(State(_): State<S>) -> String {
    format!("{} {}", S::NAME, ran("shared-key"))
}

#[tokio::test]
async fn two_instances_of_a_generic_handler_share_no_entries() {
    use axum::http::Method;
    let cache = smart_cache::SmartCache::in_memory();
    let with = |router: axum::Router<App>| {
        router
            .layer(axum::Extension(cache.clone()))
            .with_state(App::default())
    };
    let first = with(axum::Router::new().route("/", axum::routing::get(shared::<App>)));
    let second = with(axum::Router::new().route("/", axum::routing::get(shared::<Shop>)));
    assert!(
        super::ask(&first, Method::GET, "/")
            .await
            .body
            .starts_with("app")
    );
    assert!(
        super::ask(&second, Method::GET, "/")
            .await
            .body
            .starts_with("shop")
    );
}
