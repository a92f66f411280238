//! The suites on the servers that take long to start: one of each for all checks.

use smart_cache_tests::harness::{MariaDbServer, PostgresServer};

use crate::backends::conformance;
use crate::values::stage::Stage;
use crate::{stores, values};

#[tokio::test]
async fn postgres_keeps_every_promise() {
    let server = PostgresServer::start().await;
    conformance::all(&stores::postgres(&server)).await;
    values::all(&Stage::Stores(stores::postgres(&server))).await;
}

#[tokio::test]
async fn mariadb_keeps_every_promise() {
    let server = MariaDbServer::start().await;
    conformance::all(&stores::mariadb(&server)).await;
    values::all(&Stage::Stores(stores::mariadb(&server))).await;
}
