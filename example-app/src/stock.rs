//! Stock: what lies in which warehouse, and how more gets there.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::posted::{Posted, blank_is_none};
use crate::products::KnownProduct;

/// Where the goods lie.
pub(crate) const WAREHOUSES: [&str; 3] = ["Porto", "Riga", "Utrecht"];

const LARGEST_DELIVERY: i64 = 10_000;

/// A delivery as it is sent; without a warehouse it goes to the first.
#[derive(Debug, Deserialize)]
pub(crate) struct Delivery {
    quantity: i64,
    #[serde(default, deserialize_with = "blank_is_none")]
    warehouse: Option<String>,
}

/// `POST /products/{id}/stock`: JSON or form.
pub(crate) async fn restock(
    State(db): State<Db>,
    product: KnownProduct,
    Posted { value, sender }: Posted<Delivery>,
) -> Result<Response, AppError> {
    let shown_at = format!("/products/{}", product.id);
    let to = value.checked()?;
    let shelf = receive(&db, product.id, value.quantity, to).await?;
    Ok(sender.created(shelf, &shown_at))
}

impl Delivery {
    /// The warehouse that it goes to.
    fn checked(&self) -> Result<&'static str, AppError> {
        if !(1..=LARGEST_DELIVERY).contains(&self.quantity) {
            let message = format!("quantity must be from 1 to {LARGEST_DELIVERY}");
            return Err(AppError::invalid(message));
        }
        let Some(name) = self.warehouse.as_deref() else {
            return Ok(WAREHOUSES[0]);
        };
        WAREHOUSES
            .into_iter()
            .find(|warehouse| *warehouse == name)
            .ok_or_else(|| {
                AppError::invalid(format!(
                    "warehouse must be one of {}",
                    WAREHOUSES.join(", ")
                ))
            })
    }
}

/// What one warehouse has of a product.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Shelf {
    pub(crate) warehouse: String,
    pub(crate) quantity: i64,
}

/// Adds to the stock.
async fn receive(db: &Db, id: i64, quantity: i64, to: &str) -> Result<Shelf, AppError> {
    sqlx::query_as(
        "INSERT INTO stock (product_id, warehouse, quantity)
         SELECT id, ?2, ?3 FROM products WHERE id = ?1
         ON CONFLICT (product_id, warehouse) DO UPDATE SET quantity = quantity + excluded.quantity
         RETURNING warehouse, quantity",
    )
    .bind(id)
    .bind(to)
    .bind(quantity)
    .fetch_optional(db.pool())
    .await?
    .ok_or_else(|| AppError::no_product(id))
}

/// What each warehouse has of a product.
pub(crate) async fn shelves(db: &Db, product: i64) -> Result<Vec<Shelf>, sqlx::Error> {
    sqlx::query_as("SELECT warehouse, quantity FROM stock WHERE product_id = ?1 ORDER BY warehouse")
        .bind(product)
        .fetch_all(db.pool())
        .await
}

/// The form that restocks a product.
pub(crate) fn form(product: i64) -> Markup {
    html! {
        form.panel.stacked method="post" action={ "/products/" (product) "/stock" } {
            h3 { "Restock" }
            label for="quantity" { "Pieces" }
            input #quantity type="number" name="quantity" required min="1" max=(LARGEST_DELIVERY) value="10";
            label for="warehouse" { "Warehouse" }
            select #warehouse name="warehouse" {
                @for warehouse in WAREHOUSES { option { (warehouse) } }
            }
            button.plain { "Add to the stock" }
        }
    }
}
