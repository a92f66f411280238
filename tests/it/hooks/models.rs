//! `#[derive(CacheKeys)]`: the keys of rows of every form.

use std::borrow::Cow;

use smart_cache::hooks::{CacheKeys, changed};
use smart_cache::{CachedHandler, registry, smart_cache};

mod reexported {
    pub(super) use ::smart_cache as cache;
}

#[derive(Clone, CacheKeys)]
#[cache_keys("article:{id}", "author:{author.id}", "articles")]
struct Article {
    id: u64,
    author: Author,
}

#[derive(Clone)]
struct Author {
    id: u32,
}

#[derive(CacheKeys)]
#[cache_keys("row:{r}:{type}:{id}{{}}", crate = reexported::cache)]
#[cache_keys("all of {type}")]
struct Row<'a, T: Clone, const N: usize, I>
where
    I: Copy,
{
    r: Cow<'a, str>,
    r#type: T,
    id: &'a I,
    #[expect(
        dead_code,
        reason = "a field that no template names, and that cannot be shown"
    )]
    other: [T; N],
}

#[derive(CacheKeys)]
#[cache_keys("pair:{self.0}:{self.1.id}")]
struct Pair(&'static str, Author);

#[derive(CacheKeys)]
#[cache_keys("settings")]
struct Settings;

mod shadowed {
    #![expect(dead_code, reason = "they are here to be in the way")]

    pub(super) struct String;
    pub(super) struct Vec;
    pub(super) struct Option;
    pub(super) fn format_args() {}

    #[derive(smart_cache::hooks::CacheKeys)]
    #[cache_keys("shadowed:{keys}")]
    pub(super) struct Shadowed {
        pub(super) keys: u8,
    }
}

#[smart_cache("author:{id}")]
async fn author(axum::extract::Path(id): axum::extract::Path<u32>) -> String {
    id.to_string()
}

fn article(id: u64, author: u32) -> Article {
    Article {
        id,
        author: Author { id: author },
    }
}

#[test]
fn a_row_names_its_keys_by_its_fields() {
    let keys = article(7, 3).cache_keys();
    assert_eq!(keys, ["article:7", "author:3", "articles"]);
    assert_eq!(Pair("a", Author { id: 1 }).cache_keys(), ["pair:a:1"]);
    let row = Row {
        r: Cow::Borrowed("a"),
        r#type: 'x',
        id: &1,
        other: ['y'; 3],
    };
    assert_eq!(row.cache_keys(), ["row:a:x:1{}", "all of x"]);
    assert_eq!(Settings.cache_keys(), ["settings"]);
    assert_eq!(shadowed::Shadowed { keys: 2 }.cache_keys(), ["shadowed:2"]);
}

#[test]
fn an_update_that_moves_a_row_names_both_groups_once() {
    let keys = changed(&article(7, 3), &article(7, 4));
    assert_eq!(keys, ["article:7", "author:3", "articles", "author:4"]);
    // A row that was inserted had no keys before, one that was deleted has none after.
    let keys = changed(&None::<Article>, &article(7, 4));
    assert_eq!(keys, ["article:7", "author:4", "articles"]);
    let keys = changed(&[article(1, 1), article(2, 1)][..], &Vec::<Article>::new());
    assert_eq!(keys, ["article:1", "author:1", "articles", "article:2"]);
}

#[test]
fn rows_are_known_to_the_registry() {
    let registry = registry();
    let row = registry.models.iter().find(|row| row.name == "Article");
    let row = row.unwrap();
    assert_eq!(row.keys, ["article:{id}", "author:{author.id}", "articles"]);
    assert_eq!(row.module, module_path!());
    let _: axum::Router = axum::Router::new().route("/authors/{id}", axum::routing::get(author));
    let by_author = |handler: &&CachedHandler| handler.key == "author:{id}";
    assert!(registry.cached.iter().any(|handler| by_author(&handler)));
    assert!(
        !registry.never_cleared().iter().any(by_author),
        "rows of articles clear it"
    );
}
