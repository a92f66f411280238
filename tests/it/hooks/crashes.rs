//! A process that commits and clears is killed with SIGKILL, at each point between the two and
//! wherever it happens to be, many times: the outbox and a relay of another process lose nothing.
//! Nor is anything lost when a relay's process is killed, before or after its clear has arrived.

use std::time::Duration;

use axum::Router;
use smart_cache::SmartCache;
use smart_cache::hooks::outbox::{self, OutboxDatabase, relay};
use smart_cache_tests::harness::{
    Chaos, Direction, Loss, PostgresServer, Program, Random, RedisServer, SqliteFile, eventually,
};
use sqlx::{Pool, Postgres, Sqlite};

use super::{Products, catalogue, kept, shown, shows};
use crate::road::redis_at;

/// One for each time that a process is killed.
const PRODUCTS: i64 = 60;

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

    /// A writer, or a relay, that reaches Redis by this address.
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
        let products = 1..=PRODUCTS;
        for product in products.clone() {
            kept(&self.app, product).await;
        }
        let url = self.redis.url();

        // Before the commit: nothing has changed. Between commit and clear: the row is there.
        for product in 1..=20 {
            let mode = if product <= 10 {
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
        for product in 21..=40 {
            let direction = if product <= 30 {
                Direction::Requests
            } else {
                Direction::Replies
            };
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
        for product in 41..=PRODUCTS {
            let mut writer = self.writer("loop", &url, product);
            writer.line_with("committed").await;
            tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
            writer.kill();
        }
        self.nothing_is_lost(products).await;
    }

    /// A row that its writer has not cleared, since it is dead.
    async fn leave_a_row(&self, product: i64) {
        let url = self.redis.url();
        let (status, _) = self.writer("between", &url, product).ended().await;
        assert!(!status.success(), "it has killed itself");
        assert!(shown(&self.app, product).await.1, "nobody has cleared it");
    }

    /// On SQLite a dead relay is succeeded after two seconds; only the last successor of a series
    /// waits for that.
    async fn end_the_lease(&self) {
        if let Products::Sqlite(pool) = &self.products {
            let end = sqlx::query("DELETE FROM smart_cache_relay");
            end.execute(pool).await.unwrap();
        }
    }

    async fn survives_every_killed_relay(&self) {
        for product in 1..=20 {
            kept(&self.app, product).await;
        }

        // Before its clear has arrived: nobody has cleared anything.
        for product in 1..=10 {
            self.leave_a_row(product).await;
            self.end_the_lease().await;
            let mut clear = self.chaos.hold(format!("product:{product}"));
            let mut deliverer = self.writer("relay", &self.chaos.url(), product);
            clear.arrived().await;
            deliverer.kill();
            // The connection first: what it held must not go on to the server.
            self.chaos.cut();
            drop(clear);
            assert!(shown(&self.app, product).await.1, "nobody has cleared it");
        }
        self.nothing_is_lost(1..=10).await;

        // After it has arrived, before its reply has: it is cleared, and nobody knows that.
        for product in 11..=20 {
            self.leave_a_row(product).await;
            self.end_the_lease().await;
            self.chaos
                .lose_reply_of(format!("product:{product}"), Loss::Silence);
            let mut deliverer = self.writer("relay", &self.chaos.url(), product);
            shows(&self.app, product, "new").await;
            deliverer.kill();
            assert!(outbox::status(&self.pool).await.unwrap().pending > 0);
        }
        self.nothing_is_lost(11..=20).await;
    }
}

async fn on_sqlite() -> (SqliteFile, World<Sqlite>) {
    let (file, pool) = SqliteFile::of_products().await;
    file.shell(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 6 UNION ALL SELECT i + 1 FROM n WHERE i < {PRODUCTS})
         INSERT INTO products SELECT i, 'old', NULL, 1 FROM n"
    ));
    let world = World::new(file.url(), pool.clone(), Products::Sqlite(pool)).await;
    (file, world)
}

async fn on_postgres() -> (PostgresServer, World<Postgres>) {
    let server = PostgresServer::start().await;
    let url = server.database();
    server.psql_at(
        &url,
        &format!(
            "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL);
             INSERT INTO products SELECT n, 'old' FROM generate_series(1, {PRODUCTS}) AS n"
        ),
    );
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let world = World::new(url, pool.clone(), Products::Postgres(pool)).await;
    (server, world)
}

#[tokio::test]
async fn a_writer_on_sqlite_that_is_killed_anywhere_loses_no_clear() {
    let (_file, world) = on_sqlite().await;
    world.survives_every_kill().await;
}

#[tokio::test]
async fn a_writer_on_postgres_that_is_killed_anywhere_loses_no_clear() {
    let (_server, world) = on_postgres().await;
    world.survives_every_kill().await;
}

#[tokio::test]
async fn a_relay_on_sqlite_that_is_killed_while_it_clears_loses_no_clear() {
    let (_file, world) = on_sqlite().await;
    world.survives_every_killed_relay().await;
}

#[tokio::test]
async fn a_relay_on_postgres_that_is_killed_while_it_clears_loses_no_clear() {
    let (_server, world) = on_postgres().await;
    world.survives_every_killed_relay().await;
}
