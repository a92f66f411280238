//! A category with its figures: prices, stock, ratings, all computed when asked.

use axum::Json;
use axum::extract::{Path, State};
use maud::{Markup, html};
use serde::Serialize;
use smart_cache::smart_cache;
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::listing::{self, Listing};
use crate::money::{euros, grouped};
use crate::page::{self, Here};
use crate::reviews::{self, Histogram};

/// `GET /categories/{slug}`
#[smart_cache("category:{slug}")]
pub(crate) async fn show(
    State(db): State<Db>,
    Path(slug): Path<String>,
) -> Result<Markup, AppError> {
    let report = Report::of(&db, &slug).await?;
    Ok(report_page(&report))
}

/// `GET /api/categories/{slug}`
#[smart_cache("category:{slug}")]
pub(crate) async fn show_json(
    State(db): State<Db>,
    Path(slug): Path<String>,
) -> Result<Json<Report>, AppError> {
    Report::of(&db, &slug).await.map(Json)
}

/// Everything that is to be said about a category.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    slug: String,
    name: String,
    blurb: String,
    figures: Figures,
    histogram: Histogram,
    best_rated: Vec<Listing>,
}

#[derive(Debug, FromRow, Serialize)]
struct Figures {
    products: i64,
    min_price_cents: i64,
    avg_price_cents: i64,
    max_price_cents: i64,
    stock: i64,
    sold_out: i64,
}

impl Report {
    async fn of(db: &Db, slug: &str) -> Result<Self, AppError> {
        let found: Option<(String, String)> =
            sqlx::query_as("SELECT name, blurb FROM categories WHERE slug = ?1")
                .bind(slug)
                .fetch_optional(db.pool())
                .await?;
        let Some((name, blurb)) = found else {
            return Err(AppError::NotFound(format!("there is no category {slug:?}")));
        };
        Ok(Self {
            slug: slug.to_owned(),
            name,
            blurb,
            figures: figures(db, slug).await?,
            histogram: Histogram::of_category(db, slug).await?,
            best_rated: best_rated(db, slug).await?,
        })
    }
}

async fn figures(db: &Db, slug: &str) -> Result<Figures, sqlx::Error> {
    sqlx::query_as(
        "SELECT count(*) AS products,
             coalesce(min(price_cents), 0) AS min_price_cents,
             CAST(round(coalesce(avg(price_cents), 0)) AS INTEGER) AS avg_price_cents,
             coalesce(max(price_cents), 0) AS max_price_cents,
             coalesce(sum(stock), 0) AS stock,
             count(*) FILTER (WHERE stock = 0) AS sold_out
         FROM listing WHERE category = ?1",
    )
    .bind(slug)
    .fetch_one(db.pool())
    .await
}

async fn best_rated(db: &Db, slug: &str) -> Result<Vec<Listing>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM listing WHERE category = ?1 ORDER BY score DESC, id LIMIT 8")
        .bind(slug)
        .fetch_all(db.pool())
        .await
}

fn report_page(report: &Report) -> Markup {
    let figures = &report.figures;
    let numbers = [
        ("Products", grouped(figures.products)),
        ("Lowest price", euros(figures.min_price_cents)),
        ("Average price", euros(figures.avg_price_cents)),
        ("Highest price", euros(figures.max_price_cents)),
        ("Pieces in stock", grouped(figures.stock)),
        ("Sold out", grouped(figures.sold_out)),
    ];
    let body = html! {
        (page::crumbs(&[("Products", "/products")], &report.name))
        header.category-head {
            (listing::icon(&report.slug))
            div {
                h1 { (report.name) }
                p.quiet { (report.blurb) }
            }
            a.button href={ "/products?category=" (report.slug) } { "See all " (grouped(figures.products)) }
        }
        dl.figures {
            @for (name, value) in &numbers {
                div { dt { (name) } dd { (value) } }
            }
        }
        section.panel aria-labelledby="ratings" {
            h2 #ratings { "How it is rated" }
            (reviews::bars(&report.histogram))
        }
        section aria-labelledby="best" {
            h2 #best { "Best rated" }
            (listing::grid(&report.best_rated))
        }
    };
    page::frame(&report.name, Here::Products, &body)
}
