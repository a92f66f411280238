//! The entry page: what there is, and the best of it.

use axum::extract::State;
use maud::{Markup, html};
use smart_cache::smart_cache;
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::listing::{self, Listing};
use crate::money::{euros, grouped};
use crate::page::{self, Here};

/// `GET /`
#[smart_cache("home", tags("products"))]
pub(crate) async fn show(State(db): State<Db>) -> Result<Markup, AppError> {
    let tiles = tiles(&db).await?;
    let best = best_rated(&db).await?;
    let products: i64 = tiles.iter().map(|tile| tile.products).sum();
    let body = html! {
        section.hero {
            h1 { "Things that last." }
            p { "Lamps, pots, tents and " (grouped(products)) " more reasons not to buy twice." }
            form.search action="/products" role="search" {
                label.hidden for="q" { "Search the shop" }
                input #q type="search" name="q" maxlength="100" placeholder="Search: oak lamp, steel mug…";
                button { "Search" }
            }
        }
        section aria-labelledby="categories" {
            h2 #categories { "Categories" }
            ul.tiles {
                @for tile in &tiles {
                    li {
                        a.tile href={ "/categories/" (tile.slug) } {
                            (listing::icon(&tile.slug))
                            strong { (tile.name) }
                            span.quiet { (grouped(tile.products)) " from " (euros(tile.cheapest)) }
                        }
                    }
                }
            }
        }
        section aria-labelledby="best" {
            h2 #best { "Best rated" }
            (listing::grid(&best))
        }
    };
    Ok(page::frame("Things that last", Here::Elsewhere, &body))
}

#[derive(FromRow)]
struct Tile {
    slug: String,
    name: String,
    products: i64,
    cheapest: i64,
}

async fn tiles(db: &Db) -> Result<Vec<Tile>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.slug, c.name, count(*) AS products, min(p.price_cents) AS cheapest
         FROM categories AS c JOIN products AS p ON p.category_id = c.id
         GROUP BY c.id ORDER BY c.id",
    )
    .fetch_all(db.pool())
    .await
}

async fn best_rated(db: &Db) -> Result<Vec<Listing>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM listing WHERE stock > 0 ORDER BY score DESC, id LIMIT 8")
        .fetch_all(db.pool())
        .await
}
