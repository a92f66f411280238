//! The page of a search: the form, the facets as links, the products, the other pages.

use std::num::NonZeroU32;

use maud::{Markup, html};

use super::choice::{Choice, Sort};
use super::search::{Facet, LONGEST_QUESTION, Results, Search};
use crate::listing;
use crate::money::grouped;
use crate::page::{self, Here};

pub(super) fn list_page(search: &Search, results: &Results) -> Markup {
    let body = html! {
        (search_form(search))
        div.browse {
            aside.facets aria-label="Filters" {
                (categories(search, results))
                (choices(search, results, search.price, |search, price| search.price = price))
                (choices(search, results, search.stars, |search, stars| search.stars = stars))
                (choices(search, results, search.stock, |search, stock| search.stock = stock))
            }
            section aria-labelledby="found" {
                div.found {
                    h1 #found { (heading(search, results)) }
                    (sorts(search))
                }
                @if results.products.is_empty() {
                    (nothing(search, results))
                } @else {
                    (listing::grid(&results.products))
                    (pager(search, results))
                }
            }
        }
    };
    page::frame("Products", Here::Products, &body)
}

/// The address of a search with something changed; always back on its first page.
fn link(search: &Search, change: impl FnOnce(&mut Search)) -> String {
    let mut search = Search {
        page: None,
        ..search.clone()
    };
    change(&mut search);
    // A struct of optional texts has no way to fail here; the bare list is a safe answer.
    let query = serde_urlencoded::to_string(&search).unwrap_or_default();
    if query.is_empty() {
        "/products".to_owned()
    } else {
        format!("/products?{query}")
    }
}

fn heading(search: &Search, results: &Results) -> Markup {
    let noun = if results.total == 1 {
        "product"
    } else {
        "products"
    };
    html! {
        (grouped(results.total)) " " (noun)
        @if let Some(q) = &search.q { " for “" (q) "”" }
    }
}

fn search_form(search: &Search) -> Markup {
    let kept = [
        ("category", search.category.as_deref()),
        ("price", search.price.map(Choice::value)),
        ("stars", search.stars.map(Choice::value)),
        ("stock", search.stock.map(Choice::value)),
        ("sort", search.sort.map(Choice::value)),
    ];
    html! {
        form.search action="/products" role="search" {
            label.hidden for="q" { "Search the shop" }
            input #q type="search" name="q" maxlength=(LONGEST_QUESTION)
                value=(search.q.as_deref().unwrap_or_default()) placeholder="Search: oak lamp, steel mug…";
            @for (name, value) in kept {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            button { "Search" }
        }
    }
}

fn categories(search: &Search, results: &Results) -> Markup {
    html! {
        section {
            h2 { "Category" }
            ul {
                @for facet in results.facets_of("category") {
                    @let chosen = search.category.as_deref() == Some(&*facet.value);
                    @let other = (!chosen).then(|| facet.value.clone());
                    li { (facet_link(facet, chosen, &link(search, |search| search.category = other))) }
                }
            }
        }
    }
}

fn choices<C: Choice>(
    search: &Search,
    results: &Results,
    current: Option<C>,
    set: fn(&mut Search, Option<C>),
) -> Markup {
    html! {
        section {
            h2 { (C::TITLE) }
            ul {
                @for facet in results.facets_of(C::PARAMETER) {
                    @let choice = C::ALL.iter().copied().find(|choice| choice.value() == facet.value);
                    @let chosen = current.is_some() && current == choice;
                    @let other = if chosen { None } else { choice };
                    li { (facet_link(facet, chosen, &link(search, |search| set(search, other)))) }
                }
            }
        }
    }
}

fn facet_link(facet: &Facet, chosen: bool, href: &str) -> Markup {
    html! {
        a href=(href) aria-current=[chosen.then_some("true")] {
            span { (facet.label) }
            span.count { (grouped(facet.products)) }
        }
    }
}

fn sorts(search: &Search) -> Markup {
    let current = search.sort.unwrap_or(Sort::Best);
    html! {
        nav.sorts aria-label=(Sort::TITLE) {
            @for sort in Sort::ALL.iter().copied() {
                a href=(link(search, |search| search.sort = Some(sort)))
                    aria-current=[(sort == current).then_some("true")] { (sort.label()) }
            }
        }
    }
}

fn nothing(search: &Search, results: &Results) -> Markup {
    html! {
        div.notice {
            @if results.total > 0 {
                p { "There are only " (results.pages) " pages." }
                p { a.button href=(link(search, |_| {})) { "To the first one" } }
            } @else {
                p { "Nothing here is like that. Fewer words or filters find more." }
                p { a.button href="/products" { "Browse all products" } }
            }
        }
    }
}

fn pager(search: &Search, results: &Results) -> Markup {
    let to = |page: u32| link(search, |search| search.page = NonZeroU32::new(page));
    html! {
        nav.pager aria-label="Pages" {
            @if results.page > 1 {
                a.button.plain rel="prev" href=(to(results.page - 1)) { "Previous" }
            }
            span { "Page " (results.page) " of " (results.pages) }
            @if results.page < results.pages {
                a.button.plain rel="next" href=(to(results.page + 1)) { "Next" }
            }
        }
    }
}
