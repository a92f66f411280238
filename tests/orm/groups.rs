//! Pages of products and of their categories, for writes that move rows between groups.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, clears_cache, smart_cache};
use smart_cache_tests::harness::eventually;

use crate::stage::{HIT, Products, catalogue, get, kept};

/// Cached before each write; the products 1 and 2 are in the categories 1 and 0.
const PAGES: [&str; 5] = [
    "product/1",
    "product/2",
    "category/0",
    "category/1",
    "category/2",
];

#[smart_cache("category:{id}")]
async fn category(State(products): State<Products>, Path(id): Path<i64>) -> String {
    products.count(id).await.to_string()
}

/// An application over a table of products, and its cache.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) cache: SmartCache,
    app: Router,
}

impl Shop {
    pub(super) fn new(cache: &SmartCache, products: Products) -> Self {
        let categories = Router::new()
            .route("/category/{id}", on_get(category))
            .layer(Extension(cache.clone()))
            .with_state(products.clone());
        Self {
            cache: cache.clone(),
            app: catalogue(cache, products).merge(categories),
        }
    }

    /// Waits until every page is answered from the cache.
    pub(super) async fn warm(&self) {
        for page in PAGES {
            kept(&self.app, &format!("/{page}")).await;
        }
    }

    /// What a page shows to a task of its own, and how it was answered.
    pub(super) async fn page(&self, page: &str) -> (String, String) {
        let shop = self.clone();
        let page = page.to_owned();
        tokio::spawn(async move { shop.page_here(&page).await })
            .await
            .unwrap()
    }

    /// What a page shows to the running task.
    pub(super) async fn page_here(&self, page: &str) -> (String, String) {
        get(&self.app, &format!("/{page}")).await
    }

    /// Which pages are no longer cached; looking caches them again.
    pub(super) async fn cleared(&self) -> Vec<&'static str> {
        let mut cleared = Vec::new();
        for page in PAGES {
            if self.page(page).await.1 != HIT {
                cleared.push(page);
            }
        }
        cleared
    }

    /// Waits until a page is no longer answered from the cache.
    pub(super) async fn gone(&self, page: &str) {
        eventually(format!("{page} is gone"), async || {
            (self.page(page).await.1 != HIT).then_some(())
        })
        .await;
    }

    /// Runs a future as the body of a handler, so that clears without a cache of their own go to
    /// this one.
    pub(super) async fn handle(&self, job: impl Future<Output = ()> + Send + 'static) {
        let job: Job = Arc::new(Mutex::new(Some(Box::pin(job))));
        let app = Router::new()
            .route("/", on_get(handler))
            .layer(Extension(self.cache.clone()))
            .with_state(job);
        get(&app, "/").await;
    }
}

type Job = Arc<Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>>;

#[clears_cache("unrelated")]
async fn handler(State(job): State<Job>) {
    let job = job.lock().unwrap().take().unwrap();
    job.await;
}
