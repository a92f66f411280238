//! Statements on their way: the same few calls over the pool of each database.

use sqlx::{AssertSqlSafe, Pool, Row as _};

use crate::backend::BoxFuture;

/// A parameter.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Bytes(Vec<u8>),
    Int(i64),
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Bytes,
    Int,
}

/// A value of a row.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Bytes(Vec<u8>),
    Int(Option<i64>),
}

/// What a statement did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) rows: u64,
    /// MySQL's last insert id, 0 elsewhere.
    pub(super) id: u64,
}

/// Connections that statements are sent over, each in a transaction of its own.
pub(super) trait Driver: std::fmt::Debug + Send + Sync {
    fn fetch<'a>(
        &'a self,
        sql: String,
        args: Vec<Arg>,
        columns: &'a [Column],
    ) -> BoxFuture<'a, Result<Vec<Vec<Cell>>, sqlx::Error>>;

    fn execute(&self, sql: String, args: Vec<Arg>) -> BoxFuture<'_, Result<Done, sqlx::Error>>;

    /// Finds the row, deletes the one in the new place and moves it there, in one transaction;
    /// `false` when there was none to move. To its own place it is only looked for.
    fn rename(
        &self,
        steps: [(String, Vec<Arg>); 3],
        is_same: bool,
    ) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One database's calls. Types of sqlx differ for each, and bounds over all of them would be longer
/// than this.
macro_rules! driver {
    ($database:ty, begin = $begin:expr, id = $id:expr) => {
        impl Driver for Pool<$database> {
            fn fetch<'a>(
                &'a self,
                sql: String,
                args: Vec<Arg>,
                columns: &'a [Column],
            ) -> BoxFuture<'a, Result<Vec<Vec<Cell>>, sqlx::Error>> {
                Box::pin(async move {
                    let mut query = sqlx::query::<$database>(AssertSqlSafe(sql));
                    for arg in args {
                        query = match arg {
                            Arg::Bytes(bytes) => query.bind(bytes),
                            Arg::Int(number) => query.bind(number),
                        };
                    }
                    let mut rows = Vec::new();
                    for row in query.fetch_all(self).await? {
                        let mut cells = Vec::with_capacity(columns.len());
                        for (at, column) in columns.iter().enumerate() {
                            cells.push(match column {
                                Column::Bytes => Cell::Bytes(row.try_get(at)?),
                                Column::Int => Cell::Int(row.try_get(at)?),
                            });
                        }
                        rows.push(cells);
                    }
                    Ok(rows)
                })
            }

            fn execute(
                &self,
                sql: String,
                args: Vec<Arg>,
            ) -> BoxFuture<'_, Result<Done, sqlx::Error>> {
                Box::pin(async move {
                    let mut query = sqlx::query::<$database>(AssertSqlSafe(sql));
                    for arg in args {
                        query = match arg {
                            Arg::Bytes(bytes) => query.bind(bytes),
                            Arg::Int(number) => query.bind(number),
                        };
                    }
                    let done = query.execute(self).await?;
                    Ok(Done {
                        rows: done.rows_affected(),
                        id: $id(&done),
                    })
                })
            }

            fn rename(
                &self,
                steps: [(String, Vec<Arg>); 3],
                is_same: bool,
            ) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
                Box::pin(async move {
                    let mut transaction = self.begin_with($begin).await?;
                    for (at, (sql, args)) in steps.into_iter().enumerate() {
                        let mut query = sqlx::query::<$database>(AssertSqlSafe(sql));
                        for arg in args {
                            query = match arg {
                                Arg::Bytes(bytes) => query.bind(bytes),
                                Arg::Int(number) => query.bind(number),
                            };
                        }
                        if at > 0 {
                            query.execute(&mut *transaction).await?;
                            continue;
                        }
                        let is_there = query.fetch_optional(&mut *transaction).await?.is_some();
                        if is_same || !is_there {
                            transaction.rollback().await?;
                            return Ok(is_there);
                        }
                    }
                    transaction.commit().await?;
                    Ok(true)
                })
            }

            fn close(&self) -> BoxFuture<'_, ()> {
                Box::pin(Pool::close(self))
            }
        }
    };
}

#[cfg(feature = "sql-sqlite")]
driver!(
    sqlx::Sqlite,
    begin = "BEGIN IMMEDIATE",
    id = |_: &sqlx::sqlite::SqliteQueryResult| 0
);
#[cfg(feature = "sql-postgres")]
driver!(
    sqlx::Postgres,
    begin = "BEGIN",
    id = |_: &sqlx::postgres::PgQueryResult| 0
);
#[cfg(feature = "sql-mysql")]
driver!(
    sqlx::MySql,
    begin = "START TRANSACTION",
    id = sqlx::mysql::MySqlQueryResult::last_insert_id
);
