//! Pieces of pages, rendered by askama and kept until they are cleared.
//!
//! `cargo run -p smart-cache --example fragments` renders a page twice, changes the menu, and renders it
//! again: the menu is rendered once for each user and change, not once for each page.

use std::sync::atomic::{AtomicUsize, Ordering};

use askama::Template;
use smart_cache::{SmartCache, clear_cache, fragment};

#[derive(Template)]
#[template(source = "<h1>{{ title }}</h1>\n{{ menu|safe }}", ext = "html")]
struct Page<'a> {
    title: &'a str,
    /// HTML already: a fragment.
    menu: &'a str,
}

#[derive(Template)]
#[template(
    source = "<nav>{% for item in items %}<a>{{ item }}</a>{% endfor %} for {{ user }}</nav>",
    ext = "html"
)]
struct Menu<'a> {
    user: &'a str,
    items: &'a [String],
}

/// How often a menu was rendered.
static RENDERED: AtomicUsize = AtomicUsize::new(0);

async fn page(title: &str, user: &str, items: &[String]) -> askama::Result<String> {
    // What the piece shows of its surroundings is what it varies on: this user's name.
    let menu = fragment("menu", &[&user])
        .tags("menus")
        .try_get_or_render(async || {
            RENDERED.fetch_add(1, Ordering::Relaxed);
            Menu { user, items }.render()
        })
        .await?;
    Page { title, menu: &menu }.render()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    smart_cache::install(SmartCache::in_memory())?;
    let mut items = vec!["Tea".to_owned(), "Cups & saucers".to_owned()];
    println!("{}", page("Home", "zoë", &items).await?);
    println!("{}", page("Products", "zoë", &items).await?);

    items.push("Spoons".to_owned());
    clear_cache("menus").await?;
    println!("{}", page("Home", "zoë", &items).await?);

    // One user's piece alone; `clear_cache("fragment:menu")` would clear everybody's.
    fragment("menu", &[&"zoë"]).clear().await?;
    println!("{}", page("Home", "zoë", &items).await?);
    println!("menus rendered: {}", RENDERED.load(Ordering::Relaxed));
    assert_eq!(RENDERED.load(Ordering::Relaxed), 3);
    Ok(())
}

#[cfg(test)]
#[test]
fn a_menu_is_rendered_once_for_each_change() {
    main().unwrap();
}
