//! The private PostgreSQL.

use std::path::Path;

use smart_cache_tests::harness::PostgresServer;

/// One cluster for all that it promises: each start costs about a second.
#[tokio::test]
async fn a_private_postgres_keeps_databases_apart_and_what_was_committed() {
    let mut server = PostgresServer::start().await;
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    server.psql_at(&one, "create table t as select 7 as n");
    assert_eq!(server.psql_at(&one, "select n from t"), "7");
    assert_eq!(
        server.psql_at(
            &other,
            "select count(*) from pg_tables where tablename = 't'"
        ),
        "0"
    );
    let began = server.psql("select pg_postmaster_start_time()");
    server.restart().await;
    assert_eq!(server.psql_at(&one, "select n from t"), "7");
    assert_ne!(server.psql("select pg_postmaster_start_time()"), began);
    let folder = server.folder().to_owned();
    drop(server);
    assert!(!Path::new(&folder).exists());
}
