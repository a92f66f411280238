//! The page that an operator opens first: what the cache holds and does, read from the cache itself.
//!
//! [`router`] is nested into the application, behind a [`Guard`] that the caller passes; there is no
//! way to mount it without one. Everything is rendered on the server and compiled in: it works
//! without JavaScript, which only makes the numbers move, and loads nothing from anywhere. Every view
//! has a twin in JSON: the same path with `.json`, or `Accept: application/json`.
//!
//! # Example
//! ```
//! use axum::Router;
//! use smart_cache::SmartCache;
//! use smart_cache::admin::{self, Password};
//!
//! # fn example(cache: SmartCache, secret: &str) -> Router {
//! let guard = Password::new("admin", secret).read_only("viewer", "look, do not touch");
//! Router::new().nest("/admin/cache", admin::router(cache, guard))
//! # }
//! ```
//!
//! # Pitfalls
//! A password travels in clear text unless TLS is in front. Stored bodies are shown to whoever the
//! guard lets in, also in the read-only role: an entry may hold what one user alone should see.

mod assets;
mod gather;
mod guard;
mod history;
mod live;
mod pages;
mod plot;
mod shell;
mod visit;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub use self::guard::{Guard, Password, Role};
use self::history::Watch;
use crate::cache::SmartCache;

/// What every request of the page needs.
struct Admin {
    cache: SmartCache,
    guard: Box<dyn Guard>,
    watch: Arc<Watch>,
}

/// The page over `cache`, for everybody whom `guard` lets in; see the [module](self).
///
/// Works under any path, and its state is its own, so it fits into every router. While it is mounted
/// it samples the fleet's numbers, every two seconds while somebody looks and every ten otherwise, for
/// the plots of the last ten minutes.
pub fn router<S>(cache: SmartCache, guard: impl Guard) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let admin = Arc::new(Admin {
        watch: Watch::new(cache.clone()),
        cache,
        guard: Box::new(guard),
    });
    // In `main` there is a runtime already; elsewhere the first visit begins it.
    admin.watch.keep_sampling();
    let views = [
        ("/overview", get(pages::overview::show)),
        ("/handlers", get(pages::handlers::show)),
        ("/keys", get(pages::keys::show)),
        ("/key", get(pages::key::show)),
        ("/entry", get(pages::entry::show)),
        ("/clears", get(pages::clears::show)),
        ("/question", get(pages::question::ask)),
    ];
    let mut router = Router::new().route("/", get(pages::overview::show));
    for (path, view) in views {
        router = router
            .route(&format!("{path}.json"), view.clone())
            .route(path, view);
    }
    router
        .route("/clear", post(pages::question::clear))
        .route("/live", get(live::stream))
        .route("/style.css", get(assets::style))
        .route("/script.js", get(assets::script))
        .route("/icon.svg", get(assets::icon))
        .fallback(pages::not_found)
        .layer(from_fn_with_state(Arc::clone(&admin), visit::admit))
        .with_state(admin)
}
