//! The frame around every page: head, navigation, and the footer with its status line.

use maud::{DOCTYPE, Markup, html};

/// Which entry of the navigation the page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Products,
    Cart,
    Elsewhere,
}

/// A whole page. It must not contain anything of the one visitor who asked, nor the time: it
/// may be stored and shown to everybody.
pub(crate) fn frame(title: &str, here: Here, body: &Markup) -> Markup {
    let current = |place: Here| (place == here).then_some("page");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Evergreen" }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/status.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    div.wrap {
                        a.brand href="/" {
                            (crate::listing::icon("evergreen"))
                            "Evergreen"
                        }
                        nav aria-label="Main" {
                            a href="/products" aria-current=[current(Here::Products)] { "Products" }
                            a href="/cart" aria-current=[current(Here::Cart)] { "Cart" }
                        }
                    }
                }
                main #main.wrap { (body) }
                footer.bottom {
                    div.wrap {
                        p { "Evergreen is the example of smart-cache. Nothing here is for sale." }
                        // Filled by status.js from the Server-Timing header, and absent
                        // without it: the page itself may be a stored copy.
                        p #answered hidden {}
                    }
                }
            }
        }
    }
}

/// The way from the products down to this page.
pub(crate) fn crumbs(above: &[(&str, &str)], this: &str) -> Markup {
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            ol {
                @for (name, href) in above {
                    li { a href=(href) { (name) } }
                }
                li { span aria-current="page" { (this) } }
            }
        }
    }
}
