//! What a change of a row clears, said once for each table: the database tells the cache.
//!
//! Triggers write the keys of every changed row, the old one and the new one, to an outbox in the
//! same transaction; a relay clears them after the commit. So no handler clears by hand, a process
//! that dies after its commit loses nothing, and a row that is changed by the `sqlite3` shell is
//! gone from the cache a moment later too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use smart_cache::SmartCache;
use smart_cache::hooks::outbox::{self, OutboxError, Relay, TemplateError, Triggers};

use crate::db::Db;

/// How long an answer waits for its own clear; the relay goes on without it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Of the row of a product, and of a row that names its product.
const CATEGORY: &str = "SELECT slug FROM categories WHERE id = {category_id}";
const CATEGORY_OF_PRODUCT: &str = "SELECT c.slug FROM categories AS c
     JOIN products AS p ON p.category_id = c.id WHERE p.id = {product_id}";

/// Clears what the database says has changed, as long as a clone of this lives.
#[derive(Clone, Debug)]
pub(crate) struct Clears(Arc<Relay>);

impl Clears {
    /// Starts the relay.
    pub(crate) fn start(db: &Db, cache: &SmartCache) -> Self {
        Self(Arc::new(outbox::relay(cache, db.pool())))
    }
}

/// Installs the triggers; those that are there already are left alone.
///
/// # Errors
/// The database refuses.
pub(crate) async fn install(db: &Db) -> Result<(), OutboxError> {
    let mut connection = db.pool().acquire().await?;
    for table in tables()? {
        outbox::install_triggers(&mut *connection, &table).await?;
    }
    Ok(())
}

/// Every table that a page is made of.
///
/// A page that is computed over the whole shop has the key or tag `products`, one that is computed
/// over a category `category:lighting`, one that shows a product `product:7`.
fn tables() -> Result<Vec<Triggers>, TemplateError> {
    let of_product = ["product:{product_id}", "category:{category}", "products"];
    Ok(vec![
        Triggers::on(
            "products",
            ["product:{id}", "category:{category}", "products"],
        )?
        .lookup("category", CATEGORY)?,
        Triggers::on("reviews", of_product)?.lookup("category", CATEGORY_OF_PRODUCT)?,
        Triggers::on("stock", of_product)?.lookup("category", CATEGORY_OF_PRODUCT)?,
        Triggers::on("categories", ["category:{slug}", "products"])?,
        Triggers::on("cart_lines", ["cart:{visitor}"])?,
    ])
}

/// Lets the answer to a write wait until its pages are cleared, so that whoever wrote sees it on
/// the next page.
pub(crate) async fn show_own_writes(
    State(clears): State<Clears>,
    request: Request,
    next: Next,
) -> Response {
    let reads = request.method().is_safe();
    let response = next.run(request).await;
    if !reads && !response.status().is_client_error() {
        // What is late is cleared all the same, a moment after this answer.
        let _ = tokio::time::timeout(LONGEST_WAIT, clears.0.caught_up()).await;
    }
    response
}
