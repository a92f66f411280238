//! A process that commits and clears is killed with SIGKILL, at each point between the two and
//! wherever it happens to be, many times: the outbox and a relay of another process lose nothing.

use std::time::Duration;

use axum::Router;
use smart_cache::SmartCache;
use smart_cache::hooks::outbox::{self, OutboxDatabase, relay};
use smart_cache_tests::harness::{
    Chaos, Direction, PostgresServer, Program, Random, RedisServer, eventually,
};
use sqlx::Pool;

use super::{Products, catalogue, kept, shown, sqlite};
use crate::road::redis_at;

/// Everything that a killed writer leaves to others.
struct World<DB: OutboxDatabase> {
    redis: RedisServer,
    chaos: Chaos,
    cache: SmartCache,
    database: String,
    pool: Pool<DB>,
    products: Products,
    app: Router,
}

impl<DB: OutboxDatabase> World<DB> {
    async fn new(database: String, pool: Pool<DB>, products: Products) -> Self {
        outbox::create(&pool).await.unwrap();
        let redis = RedisServer::start().await;
        let chaos = Chaos::in_front_of(redis.address()).await;
        let cache = redis_at(&redis.url()).build().await.unwrap();
        let app = catalogue(&cache, products.clone());
        Self {
            redis,
            chaos,
            cache,
            database,
            pool,
            products,
            app,
        }
    }

    /// A writer that reaches Redis by this address.
    fn writer(&self, mode: &str, redis: &str, product: i64) -> Program {
        let arguments = [
            mode,
            &self.database,
            redis,
            "n",
            &product.to_string(),
            "new",
        ];
        Program::start(env!("CARGO_BIN_EXE_committer"), &arguments, &[])
    }

    /// Each page shows what its row holds, once a relay has caught up.
    async fn nothing_is_lost(&self, products: impl Iterator<Item = i64> + Clone) {
        let relay = relay(&self.cache, &self.pool);
        relay.caught_up().await;
        for product in products {
            let row = self.products.name(product).await;
            assert_eq!(shown(&self.app, product).await.0, row, "product {product}");
        }
        eventually("an empty outbox", async || {
            (outbox::status(&self.pool).await.unwrap().pending == 0).then_some(())
        })
        .await;
    }

    async fn survives_every_kill(&self) {
        let products = 1..=30;
        for product in products.clone() {
            kept(&self.app, product).await;
        }
        let url = self.redis.url();

        // Before the commit: nothing has changed. Between commit and clear: the row is there.
        for product in 1..=5 {
            let mode = if product == 1 {
                "uncommitted"
            } else {
                "between"
            };
            let (status, _) = self.writer(mode, &url, product).ended().await;
            assert!(!status.success(), "it has killed itself");
            assert!(shown(&self.app, product).await.1, "nobody has cleared it");
        }
        assert!(outbox::status(&self.pool).await.unwrap().pending > 0);

        // While the clear is on its way, and while its answer is.
        for (product, direction) in [
            (6, Direction::Requests),
            (7, Direction::Requests),
            (8, Direction::Replies),
            (9, Direction::Replies),
        ] {
            let mut writer = self.writer("loop", &self.chaos.url(), product);
            writer.line_with("committed").await;
            self.chaos.freeze(direction);
            let before = self.products.name(product).await;
            eventually("a commit whose clear hangs", async || {
                (self.products.name(product).await != before).then_some(())
            })
            .await;
            writer.kill();
            self.chaos.thaw(direction);
        }

        // Wherever it happens to be.
        let mut random = Random::seeded(7);
        for product in 10..=30 {
            let mut writer = self.writer("loop", &url, product);
            writer.line_with("committed").await;
            tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
            writer.kill();
        }
        self.nothing_is_lost(products).await;
    }
}

#[tokio::test]
async fn a_writer_on_sqlite_that_is_killed_anywhere_loses_no_clear() {
    let (file, pool) = sqlite().await;
    file.shell(
        "WITH RECURSIVE n (i) AS (SELECT 6 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
         INSERT INTO products SELECT i, 'old', NULL, 1 FROM n",
    );
    let world = World::new(file.url(), pool.clone(), Products::Sqlite(pool)).await;
    world.survives_every_kill().await;
}

#[tokio::test]
async fn a_writer_on_postgres_that_is_killed_anywhere_loses_no_clear() {
    let server = PostgresServer::start().await;
    let url = server.database();
    server.psql_at(
        &url,
        "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL);
         INSERT INTO products SELECT n, 'old' FROM generate_series(1, 30) AS n",
    );
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let world = World::new(url, pool.clone(), Products::Postgres(pool)).await;
    world.survives_every_kill().await;
}
