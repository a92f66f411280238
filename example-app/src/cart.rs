//! The cart, which belongs to one visitor.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use smart_cache::{depends_on, smart_cache};
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::listing;
use crate::money::euros;
use crate::page::{self, Here};
use crate::visitor::Visitor;

/// The most that a cart holds of one product.
pub(crate) const MOST_OF_ONE: i64 = 99;

/// `GET /cart`: one page for each visitor. The answer to a new one sets a cookie, so it is
/// never stored.
#[smart_cache("cart:{visitor.id}")]
pub(crate) async fn show(
    State(db): State<Db>,
    #[key(visitor.id)] visitor: Visitor,
) -> Result<Response, AppError> {
    let lines = lines(&db, &visitor.id).await?;
    Ok(visitor.remember(cart_page(&lines)))
}

/// What to put into the cart.
#[derive(Debug, Deserialize)]
pub(crate) struct Addition {
    product_id: i64,
    #[serde(default = "one")]
    quantity: i64,
}

fn one() -> i64 {
    1
}

/// `POST /cart`: puts a product into the cart, or more of it.
pub(crate) async fn add(
    State(db): State<Db>,
    visitor: Visitor,
    Form(addition): Form<Addition>,
) -> Result<Response, AppError> {
    put(&db, &visitor.id, &addition).await?;
    Ok(visitor.remember(Redirect::to("/cart")))
}

/// `POST /cart/{product}/remove`: takes a product out of the cart.
pub(crate) async fn remove(
    State(db): State<Db>,
    visitor: Visitor,
    Path(product): Path<i64>,
) -> Result<Response, AppError> {
    sqlx::query("DELETE FROM cart_lines WHERE visitor = ?1 AND product_id = ?2")
        .bind(&visitor.id)
        .bind(product)
        .execute(db.pool())
        .await?;
    Ok(visitor.remember(Redirect::to("/cart")))
}

async fn put(db: &Db, visitor: &str, addition: &Addition) -> Result<(), AppError> {
    if !(1..=MOST_OF_ONE).contains(&addition.quantity) {
        let message = format!("quantity must be from 1 to {MOST_OF_ONE}");
        return Err(AppError::invalid(message));
    }
    let changed = sqlx::query(
        "INSERT INTO cart_lines (visitor, product_id, quantity)
         SELECT ?1, id, ?3 FROM products WHERE id = ?2
         ON CONFLICT (visitor, product_id)
         DO UPDATE SET quantity = min(quantity + excluded.quantity, ?4)",
    )
    .bind(visitor)
    .bind(addition.product_id)
    .bind(addition.quantity)
    .bind(MOST_OF_ONE)
    .execute(db.pool())
    .await?;
    if changed.rows_affected() == 0 {
        return Err(AppError::no_product(addition.product_id));
    }
    Ok(())
}

#[derive(Debug, FromRow)]
struct Line {
    product_id: i64,
    quantity: i64,
    name: String,
    maker: String,
    category: String,
    price_cents: i64,
    stock: i64,
}

impl Line {
    fn sum_cents(&self) -> i64 {
        self.price_cents * self.quantity
    }
}

/// What is in the cart. Whatever shows it falls when one of its products changes, or the category
/// that gives it its picture: which ones these are is known only here.
async fn lines(db: &Db, visitor: &str) -> Result<Vec<Line>, sqlx::Error> {
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT l.id AS product_id, cart.quantity, l.name, l.maker, l.category, l.price_cents, l.stock
         FROM cart_lines AS cart JOIN listing AS l ON l.id = cart.product_id
         WHERE cart.visitor = ?1 ORDER BY l.name, l.id",
    )
    .bind(visitor)
    .fetch_all(db.pool())
    .await?;
    for line in &lines {
        depends_on((
            format!("product:{}", line.product_id),
            format!("category:{}", line.category),
        ));
    }
    Ok(lines)
}

fn cart_page(lines: &[Line]) -> Markup {
    let total: i64 = lines.iter().map(Line::sum_cents).sum();
    let body = html! {
        h1 { "Your cart" }
        @if lines.is_empty() {
            section.notice {
                p { "It is empty." }
                p { a.button href="/products" { "Browse all products" } }
            }
        } @else {
            ul.cart { @for line in lines { li.panel { (line_row(line)) } } }
            p.cart-total { span { "Total" } strong.price { (euros(total)) } }
        }
    };
    page::frame("Your cart", Here::Cart, &body)
}

fn line_row(line: &Line) -> Markup {
    html! {
        (listing::art(&line.category, line.product_id))
        div.cart-text {
            p.maker { (line.maker) }
            h2 { a href={ "/products/" (line.product_id) } { (line.name) } }
            p { (line.quantity) " × " (euros(line.price_cents)) " " (listing::availability(line.stock)) }
        }
        strong.price { (euros(line.sum_cents())) }
        form method="post" action={ "/cart/" (line.product_id) "/remove" } {
            button.plain aria-label={ "Remove " (line.name) } { "Remove" }
        }
    }
}
