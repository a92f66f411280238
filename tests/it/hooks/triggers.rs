//! What stands in the triggers is quoted, whatever it is.

use smart_cache::hooks::outbox::{self, Dialect, Triggers, install_triggers, triggers_sql};
use smart_cache_tests::harness::{PostgresServer, SqliteFile};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

const HOSTILE: &str = "o'Neil \"x\"; DROP TABLE prey; --\\ $smart_cache_0$ é";

/// A table and a column that are both named so, and a template with it as literal.
fn hostile() -> Triggers {
    let template = format!("{HOSTILE}:{{{HOSTILE}}}");
    Triggers::on(HOSTILE, [template, "table {{literally}}".to_owned()])
        .unwrap()
        .lookup(
            "category",
            format!("SELECT 'c' || {{{HOSTILE}}} || '{{{{}}}}'"),
        )
        .unwrap()
        .key("{category}")
        .unwrap()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn expected() -> Vec<String> {
    let mut keys = vec![
        format!("{HOSTILE}:7"),
        "table {literally}".to_owned(),
        "c7{}".to_owned(),
    ];
    keys.sort();
    keys
}

#[tokio::test]
async fn hostile_names_and_templates_are_taken_literally_by_sqlite() {
    let file = SqliteFile::new();
    let pool = SqlitePool::connect(&file.url()).await.unwrap();
    let table = format!(
        "CREATE TABLE {0} ({0} INTEGER); CREATE TABLE prey (x)",
        quoted(HOSTILE)
    );
    file.shell(&table);
    install_triggers(&mut *pool.acquire().await.unwrap(), &hostile())
        .await
        .unwrap();
    file.shell(&hostile().sql(Dialect::Sqlite));
    file.shell(&format!("INSERT INTO {} VALUES (7)", quoted(HOSTILE)));
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM smart_cache_outbox ORDER BY key")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(keys, expected());
    assert_eq!(file.shell("SELECT count(*) FROM prey"), "0");
    file.shell(&hostile().removal_sql(Dialect::Sqlite));
    file.shell(&format!("DELETE FROM {}", quoted(HOSTILE)));
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 3, "not again");
}

#[tokio::test]
async fn hostile_names_and_templates_are_taken_literally_by_postgres() {
    let server = PostgresServer::start().await;
    let url = server.database();
    let pool = PgPool::connect(&url).await.unwrap();
    for settings in ["on", "off"] {
        let schema = format!("s {settings}'\"$");
        let made = format!(
            "CREATE TABLE IF NOT EXISTS prey (x int); CREATE SCHEMA {0}; CREATE TABLE {0}.{1} ({1} int)",
            quoted(&schema),
            quoted(HOSTILE)
        );
        server.psql_at(&url, &made);
        let triggers = hostile().schema(&schema).unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let set = sqlx::AssertSqlSafe(format!("SET standard_conforming_strings = {settings}"));
        sqlx::raw_sql(set).execute(&mut *connection).await.unwrap();
        install_triggers(&mut *connection, &triggers).await.unwrap();
        let write = format!(
            "INSERT INTO {}.{} VALUES (7)",
            quoted(&schema),
            quoted(HOSTILE)
        );
        server.psql_at(&url, &write);
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT key FROM smart_cache_outbox, unnest(keys) AS key ORDER BY key COLLATE \"C\"",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        assert_eq!(keys, expected());
        sqlx::raw_sql("DELETE FROM smart_cache_outbox; SELECT * FROM prey")
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

#[test]
fn what_is_no_template_is_refused_before_any_database_sees_it() {
    assert!(triggers_sql(Dialect::Sqlite, "products", ["product:{id"]).is_err());
    assert!(triggers_sql(Dialect::Sqlite, "", ["products"]).is_err());
    assert!(triggers_sql(Dialect::Postgres, "products", [""]).is_err());
    assert!(triggers_sql(Dialect::Postgres, "a\0b", ["products"]).is_err());
}

/// Names are cut by PostgreSQL at 63 bytes, which must not make two tables share one trigger.
#[test]
fn long_names_of_tables_do_not_share_a_function() {
    let long = "t".repeat(60);
    let function = |table: &str| {
        let sql = triggers_sql(Dialect::Postgres, table, ["x"]).unwrap();
        let from = sql.find("FUNCTION \"").unwrap() + 10;
        sql[from..].split('"').next().unwrap().to_owned()
    };
    assert_ne!(function(&format!("{long}a")), function(&format!("{long}b")));
    assert!(function(&format!("{long}a")).len() <= 63);
    assert_eq!(function("products"), "smart_cache_products");
}
