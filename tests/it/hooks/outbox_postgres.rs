//! The outbox in PostgreSQL. One server for each of a few large tests: a cluster takes a while.

use std::time::{Duration, Instant};

use smart_cache::SmartCache;
use smart_cache::hooks::outbox::{
    self, Triggers, clear_in, install_triggers, relay, remove_triggers,
};
use smart_cache::hooks::sqlx::begin_for;
use smart_cache_tests::harness::{PostgresServer, RedisServer, eventually, within};
use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};

use super::outbox_sqlite::{cleared_in_order, descending};
use super::{Products, catalogue, kept, shown, shows};
use crate::road::{in_memory, redis_at};

const TABLE: &str =
    "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, category_id int);
    INSERT INTO products SELECT n, 'old', n % 2 FROM generate_series(1, 5) AS n";

async fn products_of(server: &PostgresServer) -> (String, PgPool) {
    let url = server.database();
    server.psql_at(&url, TABLE);
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .connect(&url)
        .await
        .unwrap();
    (url, pool)
}

fn triggers() -> Triggers {
    Triggers::on(
        "products",
        ["product:{id}", "category:{category_id}", "products"],
    )
    .unwrap()
}

async fn install(pool: &PgPool, triggers: &Triggers) {
    install_triggers(&mut *pool.acquire().await.unwrap(), triggers)
        .await
        .unwrap();
}

async fn is_empty(pool: &PgPool) {
    eventually("an empty outbox", async || {
        (outbox::status(pool).await.unwrap().pending == 0).then_some(())
    })
    .await;
}

/// The keys that a statement writes, and in how many rows.
async fn written(server: &PostgresServer, url: &str, statement: &str) -> (String, String) {
    server.psql_at(url, statement);
    let keys = server.psql_at(
        url,
        "SELECT coalesce(string_agg(key, ' ' ORDER BY key COLLATE \"C\"), '') FROM smart_cache_outbox, unnest(keys) AS key",
    );
    let rows = server.psql_at(url, "SELECT count(*) FROM smart_cache_outbox");
    server.psql_at(url, "DELETE FROM smart_cache_outbox");
    (keys, rows)
}

#[tokio::test]
async fn triggers_write_each_key_of_a_statement_once_in_its_transaction() {
    let server = PostgresServer::start().await;
    let (url, pool) = products_of(&server).await;
    install(&pool, &triggers()).await;
    for (statement, keys) in [
        (
            "UPDATE products SET category_id = 9 WHERE id = 1",
            "category:1 category:9 product:1 products",
        ),
        (
            "UPDATE products SET id = 70 WHERE id = 2",
            "category:0 product:2 product:70 products",
        ),
        (
            "INSERT INTO products VALUES (8, 'x', NULL)",
            "product:8 products",
        ),
        (
            "DELETE FROM products WHERE id IN (3, 5)",
            "category:1 product:3 product:5 products",
        ),
        (
            "INSERT INTO products VALUES (4, 'x', 3) ON CONFLICT (id) DO UPDATE SET category_id = 3",
            "category:0 category:3 product:4 products",
        ),
        (
            "COPY products FROM PROGRAM 'echo 9,c,5' WITH (FORMAT csv)",
            "category:5 product:9 products",
        ),
        ("UPDATE products SET name = name WHERE id = 12345", ""),
        ("BEGIN; UPDATE products SET name = 'y'; ROLLBACK", ""),
        (
            "TRUNCATE products",
            "category:3 category:5 category:9 category:0 product:1 product:4 product:70 product:8 product:9 products",
        ),
    ] {
        let (found, rows) = written(&server, &url, statement).await;
        let mut expected: Vec<_> = keys.split(' ').collect();
        expected.sort_unstable();
        assert_eq!(found, expected.join(" "), "{statement}");
        // PostgreSQL fires the triggers of both for INSERT .. ON CONFLICT DO UPDATE.
        assert!(rows == "0" || rows == "1", "{statement}: {rows} rows");
    }

    // What a cascade changes.
    server.psql_at(
        &url,
        "CREATE TABLE makers (id bigint PRIMARY KEY);
         CREATE TABLE models (id bigint PRIMARY KEY,
            maker bigint REFERENCES makers ON DELETE CASCADE ON UPDATE CASCADE);
         INSERT INTO makers VALUES (1), (2);
         INSERT INTO models VALUES (10, 1), (11, 1), (20, 2);",
    );
    let models = Triggers::on("models", ["model:{id}", "maker:{maker}"]).unwrap();
    install(&pool, &models).await;
    let (keys, _) = written(&server, &url, "DELETE FROM makers WHERE id = 1").await;
    assert_eq!(keys, "maker:1 model:10 model:11");
    let (keys, _) = written(&server, &url, "UPDATE makers SET id = 3 WHERE id = 2").await;
    assert_eq!(keys, "maker:2 maker:3 model:20");

    // Many rows: each key once, a thousand in a row, or one tag.
    let fill = "INSERT INTO products SELECT n, 'x', n % 10 FROM generate_series(1, 100000) AS n";
    server.psql_at(&url, fill);
    server.psql_at(&url, "DELETE FROM smart_cache_outbox");
    server.psql_at(&url, "UPDATE products SET name = 'new'");
    assert_eq!(
        server.psql_at(
            &url,
            "SELECT count(*), sum(cardinality(keys)) FROM smart_cache_outbox"
        ),
        "101|100011"
    );
    let cache = in_memory().await;
    let many = relay(&cache, &pool);
    many.caught_up().await;
    many.stop().await;
    assert_eq!(cache.stats().clears, 101);
    let collapsing = triggers().beyond(1_000, "products");
    install(&pool, &collapsing).await;
    let (keys, _) = written(&server, &url, "UPDATE products SET name = 'newer'").await;
    assert_eq!(keys, "products");
    let (keys, _) = written(&server, &url, "UPDATE products SET name = 'x' WHERE id = 1").await;
    assert_eq!(keys, "category:1 product:1 products");

    // A role that may write to the table alone, and a hostile table in its own schema.
    server.psql_at(
        &url,
        "CREATE ROLE clerk; GRANT SELECT, UPDATE ON products TO clerk; SET ROLE clerk;
         CREATE TEMP TABLE smart_cache_outbox (keys text[]);
         UPDATE products SET name = 'z' WHERE id = 2; RESET ROLE;",
    );
    assert_eq!(
        server.psql_at(&url, "SELECT count(*) FROM smart_cache_outbox"),
        "1"
    );

    let mut connection = pool.acquire().await.unwrap();
    remove_triggers(&mut *connection, &collapsing)
        .await
        .unwrap();
    server.psql_at(&url, "DELETE FROM smart_cache_outbox");
    assert_eq!(written(&server, &url, "DELETE FROM products").await.0, "");

    // The printed file does the same, twice.
    server.psql_at(&url, "DROP TABLE smart_cache_outbox");
    let file = triggers().sql(outbox::Dialect::Postgres);
    server.psql_at(&url, &file);
    server.psql_at(&url, &file);
    let (keys, _) = written(&server, &url, "INSERT INTO products VALUES (1, 'x', 2)").await;
    assert_eq!(keys, "category:2 product:1 products");
    server.psql_at(&url, &triggers().removal_sql(outbox::Dialect::Postgres));
    assert_eq!(written(&server, &url, "DELETE FROM products").await.0, "");
}

/// How many notifications have come before one that is sent now: they come in the order of their
/// commits.
async fn notifications(server: &PostgresServer, url: &str, listener: &mut PgListener) -> usize {
    server.psql_at(url, "SELECT pg_notify('smart_cache_outbox', 'now')");
    let mut before = 0;
    loop {
        let heard = within("a notification", listener.recv()).await.unwrap();
        if heard.payload() == "now" {
            return before;
        }
        before += 1;
    }
}

#[tokio::test]
async fn a_commit_that_wrote_keys_notifies_once_and_a_rollback_does_not() {
    let server = PostgresServer::start().await;
    let (url, pool) = products_of(&server).await;
    install(&pool, &triggers()).await;
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("smart_cache_outbox").await.unwrap();
    for (statement, expected) in [
        ("UPDATE products SET name = 'new' WHERE id = 1", 1),
        ("UPDATE products SET name = 'new' WHERE id = 12345", 0),
        (
            "BEGIN; UPDATE products SET name = 'a'; UPDATE products SET name = 'b'; COMMIT",
            1,
        ),
        ("BEGIN; UPDATE products SET name = 'c'; ROLLBACK", 0),
    ] {
        server.psql_at(&url, statement);
        let heard = notifications(&server, &url, &mut listener).await;
        assert_eq!(heard, expected, "{statement}");
    }
    for (commits, expected) in [(true, 1), (false, 0)] {
        let mut tx = pool.begin().await.unwrap();
        clear_in(&mut tx, "product:1").await.unwrap();
        clear_in(&mut tx, "product:2").await.unwrap();
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        let heard = notifications(&server, &url, &mut listener).await;
        assert_eq!(heard, expected, "commits: {commits}");
    }
}

#[tokio::test]
async fn due_rows_are_cleared_in_the_order_in_which_they_were_written() {
    let server = PostgresServer::start().await;
    let (url, pool) = products_of(&server).await;
    outbox::create(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    for keys in descending() {
        clear_in(&mut tx, keys).await.unwrap();
    }
    tx.commit().await.unwrap();
    cleared_in_order(|cache| relay(cache, &pool)).await;
    is_empty(&pool).await;

    // However many rows are not due before them.
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Postgres(pool.clone()));
    kept(&app, 1).await;
    server.psql_at(
        &url,
        "INSERT INTO smart_cache_outbox (keys, due)
            SELECT ARRAY['later:' || n], now() + interval '1 hour' FROM generate_series(1, 200) AS n;
         UPDATE products SET name = 'new' WHERE id = 1;
         INSERT INTO smart_cache_outbox (keys) VALUES (ARRAY['product:1']);",
    );
    let _relay = relay(&cache, &pool);
    shows(&app, 1, "new").await;
    eventually("the others alone", async || {
        (outbox::status(&pool).await.unwrap().pending == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_relay_delivers_what_anybody_commits_and_catches_up_after_every_loss() {
    let mut server = PostgresServer::start().await;
    let redis = RedisServer::start().await;
    let (url, pool) = products_of(&server).await;
    install(&pool, &triggers()).await;
    let mut caches: Vec<SmartCache> = Vec::new();
    for _ in 0..3 {
        caches.push(redis_at(&redis.url()).build().await.unwrap());
    }
    let cache = &caches[0];
    let app = catalogue(cache, Products::Postgres(pool.clone()));
    let mut relays: Vec<_> = caches.iter().map(|cache| relay(cache, &pool)).collect();

    // Another program, in one round and in many; one clear for each, whoever makes it.
    for round in 0..10 {
        kept(&app, 1).await;
        let before: u64 = caches.iter().map(|cache| cache.stats().clears).sum();
        let name = format!("name {round}");
        server.psql_at(
            &url,
            &format!("UPDATE products SET name = '{name}' WHERE id = 1"),
        );
        let committed = Instant::now();
        shows(&app, 1, &name).await;
        assert!(
            committed.elapsed() < Duration::from_secs(1),
            "{:?}",
            committed.elapsed()
        );
        for relay in &relays {
            relay.caught_up().await;
        }
        let clears: u64 = caches.iter().map(|cache| cache.stats().clears).sum();
        assert_eq!(clears - before, 1, "round {round}");
    }

    // All but one stop; then the database goes away, and comes back with a row that nobody heard of.
    relays.truncate(1);
    kept(&app, 1).await;
    server.crash();
    server.restart().await;
    server.psql_at(
        &url,
        "UPDATE products SET name = 'after the crash' WHERE id = 1",
    );
    shows(&app, 1, "after the crash").await;

    // While no relay is at work nothing is lost.
    kept(&app, 1).await;
    relays.clear();
    server.psql_at(
        &url,
        "UPDATE products SET name = 'nobody listens' WHERE id = 1",
    );
    assert_eq!(shown(&app, 1).await, ("after the crash".to_owned(), true));
    let status = outbox::status(&pool).await.unwrap();
    assert_eq!(status.pending, 1);
    assert!(status.oldest.is_some());
    let relay = relay(cache, &pool);
    relay.caught_up().await;
    assert_eq!(shown(&app, 1).await.0, "nobody listens");
    is_empty(&pool).await;

    // Redis away: the rows stay.
    kept(&app, 1).await;
    redis.freeze();
    server.psql_at(
        &url,
        "UPDATE products SET name = 'redis was away' WHERE id = 1",
    );
    let failed = cache.stats().failed_clears;
    eventually("a try that failed", async || {
        (cache.stats().failed_clears > failed).then_some(())
    })
    .await;
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 1);
    redis.thaw();
    relay.caught_up().await;
    shows(&app, 1, "redis was away").await;
}

#[tokio::test]
async fn transactions_of_postgres_clear_after_their_commit_durably_if_asked_to() {
    let server = PostgresServer::start().await;
    let (_, pool) = products_of(&server).await;
    outbox::create(&pool).await.unwrap();
    outbox::create(&pool).await.unwrap();
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Postgres(pool.clone()));
    for id in 1..=3 {
        kept(&app, id).await;
    }
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    clear_in(&mut tx, ["product:1", "products"]).await.unwrap();
    let mut savepoint = tx.begin().await.unwrap();
    clear_in(&mut savepoint, "product:2").await.unwrap();
    savepoint.rollback().await.unwrap();
    tx.commit().await.unwrap().cleared.unwrap();
    assert_eq!(shown(&app, 1).await, ("new".to_owned(), false));
    is_empty(&pool).await;

    let mut tx = pool.begin().await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 3")
        .await
        .unwrap();
    clear_in(&mut tx, "product:3").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 1);
    let relay = relay(&cache, &pool);
    relay.caught_up().await;
    assert_eq!(shown(&app, 3).await.0, "new");

    // A deferred constraint fails at the commit itself: nothing was changed, and it cleared.
    sqlx::raw_sql(
        "CREATE TABLE parts (product bigint REFERENCES products DEFERRABLE INITIALLY DEFERRED)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let before = cache.stats().clears;
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("INSERT INTO parts VALUES (4711)").await.unwrap();
    tx.clear("product:4711");
    tx.commit().await.unwrap_err();
    assert_eq!(cache.stats().clears, before + 1);
}
