//! The page of one product.

use maud::{Markup, html};

use super::change::LONGEST_NAME;
use super::product::Product;
use crate::cart::MOST_OF_ONE;
use crate::listing::{self, Listing};
use crate::money::{self, euros};
use crate::page::{self, Here};
use crate::{reviews, stock};

pub(super) fn product_page(product: &Product, similar: &[Listing]) -> Markup {
    let listing = product.listing();
    let category = format!("/categories/{}", listing.category);
    let above = [
        ("Products", "/products"),
        (listing.category_name.as_str(), category.as_str()),
    ];
    let body = html! {
        (page::crumbs(&above, &listing.name))
        div.product {
            (listing::art(&listing.category, listing.id))
            div {
                p.maker { (listing.maker) }
                h1 { (listing.name) }
                (listing::rating(listing.rating, listing.reviews))
                p.price.large { (euros(listing.price_cents)) }
                p { (product.described.description) }
                (buy(listing))
                (shelves(product))
            }
        }
        (reviews::section(listing.id, &product.histogram, &product.latest_reviews))
        section aria-labelledby="similar" {
            h2 #similar { "Similar things" }
            (listing::grid(similar))
        }
        details.keeper {
            summary { "For the shopkeeper" }
            div.forms {
                (edit_form(listing))
                (stock::form(listing.id))
            }
        }
    };
    page::frame(&listing.name, Here::Products, &body)
}

fn buy(listing: &Listing) -> Markup {
    html! {
        form.buy method="post" action="/cart" {
            input type="hidden" name="product_id" value=(listing.id);
            label.hidden for="pieces" { "Pieces" }
            input #pieces type="number" name="quantity" value="1" min="1" max=(MOST_OF_ONE) required;
            button { "Add to the cart" }
            (listing::availability(listing.stock))
        }
    }
}

fn shelves(product: &Product) -> Markup {
    html! {
        dl.shelves {
            @for shelf in &product.shelves {
                div { dt { (shelf.warehouse) } dd { (shelf.quantity) } }
            }
        }
    }
}

fn edit_form(listing: &Listing) -> Markup {
    html! {
        form.panel.stacked method="post" action={ "/products/" (listing.id) "/edit" } {
            h3 { "Rename or reprice" }
            label for="name" { "Name" }
            input #name name="name" required maxlength=(LONGEST_NAME) value=(listing.name);
            label for="price" { "Price in euros" }
            input #price name="price" required inputmode="decimal" value=(money::field(listing.price_cents));
            button.plain { "Save" }
        }
    }
}
