//! Reviews: writing one, reading the latest, and how the stars are spread.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::Db;
use crate::error::AppError;
use crate::money::grouped;
use crate::posted::Posted;
use crate::products::KnownProduct;

const LONGEST_AUTHOR: usize = 60;
const LONGEST_TEXT: usize = 2000;

/// A review as it is sent.
#[derive(Debug, Deserialize)]
pub(crate) struct NewReview {
    stars: i64,
    author: String,
    text: String,
}

/// `POST /products/{id}/reviews`: JSON or form.
pub(crate) async fn add(
    State(db): State<Db>,
    product: KnownProduct,
    Posted { value, sender }: Posted<NewReview>,
) -> Result<Response, AppError> {
    let review = insert(&db, product.id, &value.checked()?).await?;
    Ok(sender.created(review, &format!("/products/{}#reviews", product.id)))
}

impl NewReview {
    fn checked(self) -> Result<Self, AppError> {
        let Self {
            stars,
            author,
            text,
        } = self;
        let (author, text) = (author.trim().to_owned(), text.trim().to_owned());
        if !(1..=5).contains(&stars) {
            return Err(AppError::invalid(format!(
                "stars must be from 1 to 5, not {stars}"
            )));
        }
        if author.is_empty() || author.chars().count() > LONGEST_AUTHOR {
            let message = format!("author must have from 1 to {LONGEST_AUTHOR} characters");
            return Err(AppError::invalid(message));
        }
        if text.is_empty() || text.chars().count() > LONGEST_TEXT {
            let message = format!("text must have from 1 to {LONGEST_TEXT} characters");
            return Err(AppError::invalid(message));
        }
        Ok(Self {
            stars,
            author,
            text,
        })
    }
}

/// A review as it is shown.
#[derive(Debug, FromRow, Serialize)]
pub(crate) struct Review {
    pub(crate) id: i64,
    pub(crate) stars: i64,
    pub(crate) author: String,
    pub(crate) text: String,
    /// `2025-01-31`
    pub(crate) written_on: String,
}

async fn insert(db: &Db, product: i64, new: &NewReview) -> Result<Review, AppError> {
    sqlx::query_as(
        "INSERT INTO reviews (product_id, stars, author, text, written_at)
         SELECT id, ?2, ?3, ?4, unixepoch() FROM products WHERE id = ?1
         RETURNING id, stars, author, text, date(written_at, 'unixepoch') AS written_on",
    )
    .bind(product)
    .bind(new.stars)
    .bind(&new.author)
    .bind(&new.text)
    .fetch_optional(db.pool())
    .await?
    .ok_or_else(|| AppError::no_product(product))
}

/// The latest reviews of a product.
pub(crate) async fn latest(db: &Db, product: i64) -> Result<Vec<Review>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, stars, author, text, date(written_at, 'unixepoch') AS written_on
         FROM reviews WHERE product_id = ?1 ORDER BY written_at DESC, id DESC LIMIT 12",
    )
    .bind(product)
    .fetch_all(db.pool())
    .await
}

/// How many reviews gave each number of stars; the first counts one star.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Histogram([i64; 5]);

impl Histogram {
    pub(crate) async fn of_product(db: &Db, product: i64) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query_as(
            "SELECT stars, count(*) FROM reviews WHERE product_id = ?1 GROUP BY stars",
        );
        rows.bind(product).fetch_all(db.pool()).await.map(Self::new)
    }

    pub(crate) async fn of_category(db: &Db, slug: &str) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query_as(
            "SELECT r.stars, count(*)
             FROM reviews AS r
             JOIN products AS p ON p.id = r.product_id
             JOIN categories AS c ON c.id = p.category_id
             WHERE c.slug = ?1 GROUP BY r.stars",
        );
        rows.bind(slug).fetch_all(db.pool()).await.map(Self::new)
    }

    fn new(rows: Vec<(i64, i64)>) -> Self {
        let mut counts = [0; 5];
        for (stars, count) in rows {
            // The schema allows no other stars than 1 to 5.
            if let Some(slot) = usize::try_from(stars - 1)
                .ok()
                .and_then(|i| counts.get_mut(i))
            {
                *slot = count;
            }
        }
        Self(counts)
    }

    pub(crate) fn total(&self) -> i64 {
        self.0.iter().sum()
    }
}

/// The histogram as five bars, the best on top.
pub(crate) fn bars(histogram: &Histogram) -> Markup {
    let total = histogram.total().max(1);
    html! {
        ul.bars {
            @for (stars, count) in (1..=5_u8).zip(histogram.0).rev() {
                li {
                    span { (stars) " ★" }
                    span.bar aria-hidden="true" style={ "--filled:" (count * 100 / total) "%" } {}
                    span.quiet { (grouped(count)) }
                }
            }
        }
    }
}

/// The reviews of a product and the form for one more.
pub(crate) fn section(product: i64, histogram: &Histogram, latest: &[Review]) -> Markup {
    html! {
        section #reviews aria-labelledby="reviews-title" {
            h2 #reviews-title { "Reviews" }
            div.reviews {
                div {
                    div.panel { (bars(histogram)) }
                    (form(product))
                }
                ul.review-list {
                    @for review in latest { li.review { (one(review)) } }
                    @if latest.is_empty() {
                        li.review { p.quiet { "Nobody has written one yet. Be the first." } }
                    }
                }
            }
        }
    }
}

fn one(review: &Review) -> Markup {
    html! {
        p.review-head {
            span.stars role="img" aria-label={ (review.stars) " of 5 stars" }
                style={ "--filled:" (review.stars * 20) "%" } {}
            strong { (review.author) }
            time.quiet datetime=(review.written_on) { (review.written_on) }
        }
        p { (review.text) }
    }
}

fn form(product: i64) -> Markup {
    html! {
        form.panel.stacked method="post" action={ "/products/" (product) "/reviews" } {
            h3 { "Write a review" }
            fieldset.star-choice {
                legend { "Stars" }
                @for stars in 1..=5 {
                    label { input type="radio" name="stars" value=(stars) required; (stars) " ★" }
                }
            }
            label for="author" { "Your name" }
            input #author name="author" required maxlength=(LONGEST_AUTHOR) autocomplete="name";
            label for="text" { "What you think of it" }
            textarea #text name="text" required rows="4" maxlength=(LONGEST_TEXT) {}
            button { "Publish the review" }
        }
    }
}
