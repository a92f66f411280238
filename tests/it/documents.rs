//! The examples are short, and the Rust in the guides for operators (`docs/`) compiles: each block stands here too, with what surrounds it, and
//! a test compares. (The README's is a fixture in `tests/ui`, and the guides of the crate are documentation tests:
//! what a reader of those pages sees is laid out by rustdoc, which hides such surroundings; GitHub would not.)

#![expect(
    dead_code,
    unused_variables,
    reason = "what the guides show is compiled, not run"
)]

use std::error::Error;
use std::path::Path;

type Outcome = Result<(), Box<dyn Error>>;

mod admin {
    use axum::Router;
    use smart_cache::SmartCache;

    fn page(app: Router, cache: SmartCache, [secret, other_secret]: [String; 2]) {
        use smart_cache::admin::{self, Password};

        let guard = Password::new("admin", &secret).read_only("viewer", &other_secret);
        let app = app.nest("/admin/cache", admin::router(cache, guard));
    }
}

mod hooks {
    use axum::response::Response;
    use smart_cache::hooks::outbox::{self, Triggers};
    use smart_cache::hooks::{CacheKeys, changed};
    use smart_cache::testing::{assert_cached, assert_clears};
    use sqlx::SqlitePool;

    use super::Outcome;

    async fn collector(pool: SqlitePool, id: i64, name: &str) -> Outcome {
        let mut tx = smart_cache::hooks::sqlx::begin(&pool).await?;
        sqlx::query("UPDATE products SET name = $1 WHERE id = $2")
            .bind(name)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.clear([format!("product:{id}"), "products".to_owned()]);
        tx.commit().await?;
        Ok(())
    }

    async fn models(pool: SqlitePool, names: [String; 2]) -> Outcome {
        let tx = smart_cache::hooks::sqlx::begin(&pool).await?;
        let [old, new] = names.map(|name| Product {
            id: 7,
            category_id: 1,
            name,
        });

        #[derive(CacheKeys)]
        #[cache_keys("product:{id}", "products", "category:{category_id}")]
        struct Product {
            id: i64,
            category_id: i64,
            name: String,
        }

        tx.clear(changed(&old, &new)); // a row that moves clears the group it left and the one it joined
        Ok(())
    }

    async fn triggers(pool: SqlitePool) -> Outcome {
        let triggers = Triggers::on("products", ["product:{id}", "products"])?
            .lookup(
                "category",
                "SELECT slug FROM categories WHERE id = {category_id}",
            )?
            .key("category:{category}")?;
        outbox::install_triggers(&mut *pool.acquire().await?, &triggers).await?;
        Ok(())
    }

    async fn rename(id: u64) {}

    async fn get(app: &axum::Router, path: &str) -> Response {
        Response::default()
    }

    async fn coverage(app: axum::Router) {
        assert_clears(rename(7), ["product:7", "products"]).await; // by whatever way
        assert_cached(async || get(&app, "/products/7").await).await;
    }
}

mod low_level {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};
    use smart_cache::SmartCache;

    use super::Outcome;

    #[derive(Serialize, Deserialize)]
    struct Profile;

    async fn values(smart_cache: SmartCache, profile: Profile) -> Outcome {
        use smart_cache::{Timeout, cache, caches};

        cache().set("profile:7", &profile, Timeout::Default).await?; // 300 s
        let found: Option<Profile> = cache().get("profile:7").await?;
        let visits = cache().incr("visits", 1).await?; // atomic, keeps its timeout
        let sessions = caches("sessions")?; // SMART_REDIS_CACHES=sessions
        let values = smart_cache.values(); // of a cache made in code
        let blocking = cache().blocking(); // every method, without await
        Ok(())
    }

    struct Db;

    #[derive(Debug)]
    struct DbError;

    impl Db {
        async fn profile(&self, id: u64) -> Result<Profile, DbError> {
            Ok(Profile)
        }
    }

    async fn load(id: u64) -> Profile {
        Profile
    }

    async fn render() -> String {
        String::new()
    }

    async fn computed(user_id: u64) -> Outcome {
        use smart_cache::{cache, fragment, smart_cached};

        let profile: Profile = cache()
            .get_or_set("profile:7")
            .tags(["profiles"])
            .timeout(Duration::from_secs(3600))
            .compute(async || load(7).await)
            .await?;

        #[smart_cached("profile:{id}", ttl = "1h", tags("profiles"))]
        async fn profile(#[key(ignore)] db: &Db, id: u64) -> Result<Profile, DbError> {
            db.profile(id).await // the query
        }

        let sidebar = fragment("sidebar", &[&user_id])
            .get_or_render(async || render().await)
            .await;
        Ok(())
    }
}

/// The blocks of Rust in a guide.
fn blocks(guide: &str) -> impl Iterator<Item = &str> {
    let after = guide.split("```rust").skip(1);
    after.map(|rest| {
        let (_, block) = rest.split_once('\n').unwrap();
        block.split("```").next().unwrap()
    })
}

/// Without white space, and without the commas that only a broken line has.
fn dense(code: &str) -> String {
    let dense: String = code.chars().filter(|char| !char.is_whitespace()).collect();
    [(",)", ")"), (",}", "}"), (",]", "]")]
        .iter()
        .fold(dense, |code, (with, without)| code.replace(with, without))
}

#[test]
fn every_block_of_rust_in_the_guides_is_compiled_here() {
    let here = dense(include_str!("documents.rs"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for block in blocks(&std::fs::read_to_string(&path).unwrap()) {
            let is_here = here.contains(&dense(block));
            assert!(
                is_here,
                "{} has a block that tests/it/documents.rs does not compile:\n{block}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn an_example_is_read_at_one_look() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smart-cache/examples");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().map(str::trim);
        let code = code.filter(|line| !line.is_empty() && !line.starts_with("//"));
        // A store has as many methods as its trait.
        let most = if path.ends_with("backend.rs") {
            125
        } else {
            65
        };
        let count = code.count();
        assert!(count <= most, "{}: {count} lines of code", path.display());
    }
}
