//! A product as lists show it: one row of the view `listing`, and its card.

use maud::{Markup, html};
use serde::Serialize;
use sqlx::FromRow;

use crate::money::euros;

/// One row of the view `listing`.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(crate) struct Listing {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) maker: String,
    pub(crate) category: String,
    pub(crate) category_name: String,
    pub(crate) price_cents: i64,
    /// The mean of its stars; `None` while nobody has reviewed it.
    pub(crate) rating: Option<f64>,
    pub(crate) reviews: i64,
    pub(crate) stock: i64,
}

/// A grid of cards.
pub(crate) fn grid(listings: &[Listing]) -> Markup {
    html! {
        ul.grid {
            @for listing in listings {
                li { (card(listing)) }
            }
        }
    }
}

fn card(listing: &Listing) -> Markup {
    html! {
        article.card {
            (art(&listing.category, listing.id))
            div.card-text {
                p.maker { (listing.maker) }
                h3 { a href={ "/products/" (listing.id) } { (listing.name) } }
                (rating(listing.rating, listing.reviews))
                p.card-foot {
                    span.price { (euros(listing.price_cents)) }
                    (availability(listing.stock))
                }
            }
        }
    }
}

/// The picture of a product: its category's icon on a colour of its own.
pub(crate) fn art(category: &str, id: i64) -> Markup {
    // The golden angle keeps neighbours apart, whatever the page's size.
    let hue = (id * 137).rem_euclid(360);
    html! {
        div.art style={ "--hue:" (hue) } aria-hidden="true" { (icon(category)) }
    }
}

pub(crate) fn icon(name: &str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
            use href={ "/icons.svg#" (name) } {}
        }
    }
}

/// Stars as a filled bar, with the words for those who do not see it.
pub(crate) fn rating(mean: Option<f64>, reviews: i64) -> Markup {
    html! {
        p.rating {
            @if let Some(mean) = mean {
                span.stars role="img" aria-label={ (format!("{mean:.1}")) " of 5 stars" }
                    style={ "--filled:" (format!("{:.0}", mean * 20.0)) "%" } {}
                span.quiet { (format!("{mean:.1}")) " (" (reviews) ")" }
            } @else {
                span.quiet { "No reviews yet" }
            }
        }
    }
}

pub(crate) fn availability(stock: i64) -> Markup {
    html! {
        @match stock {
            0 => { span.stock.out { "Sold out" } }
            1..=9 => { span.stock.low { "Only " (stock) " left" } }
            _ => { span.stock { (stock) " in stock" } }
        }
    }
}
