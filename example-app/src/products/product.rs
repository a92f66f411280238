//! One product with everything that is known of it.

use serde::Serialize;
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::listing::Listing;
use crate::reviews::{self, Histogram, Review};
use crate::stock::{self, Shelf};

/// A product as its page and its JSON show it.
#[derive(Debug, Serialize)]
pub(crate) struct Product {
    #[serde(flatten)]
    pub(super) described: Described,
    pub(super) shelves: Vec<Shelf>,
    pub(super) histogram: Histogram,
    pub(super) latest_reviews: Vec<Review>,
}

/// Its row in the view `listing`, with the text that lists leave out.
#[derive(Debug, FromRow, Serialize)]
pub(super) struct Described {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub(super) listing: Listing,
    pub(super) description: String,
}

impl Product {
    pub(super) async fn of(db: &Db, id: i64) -> Result<Self, AppError> {
        let described: Option<Described> = sqlx::query_as("SELECT * FROM listing WHERE id = ?1")
            .bind(id)
            .fetch_optional(db.pool())
            .await?;
        Ok(Self {
            described: described.ok_or_else(|| AppError::no_product(id))?,
            shelves: stock::shelves(db, id).await?,
            histogram: Histogram::of_product(db, id).await?,
            latest_reviews: reviews::latest(db, id).await?,
        })
    }

    pub(super) fn listing(&self) -> &Listing {
        &self.described.listing
    }
}

/// What else somebody might want: of its category, near its price, well rated.
///
/// Any product of the category may come into this list or leave it, so whatever shows the list
/// must fall with the category.
pub(super) async fn similar(db: &Db, product: &Product) -> Result<Vec<Listing>, sqlx::Error> {
    let listing = product.listing();
    sqlx::query_as(
        "SELECT * FROM listing
         WHERE category = ?1 AND id <> ?2 AND stock > 0
         ORDER BY abs(price_cents - ?3) / 1000 - score, id LIMIT 4",
    )
    .bind(&listing.category)
    .bind(listing.id)
    .bind(listing.price_cents)
    .fetch_all(db.pool())
    .await
}
