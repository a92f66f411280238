//! The statements, in the words of each database.
//!
//! Written with `?` for a parameter, which becomes `$1`, `$2` where the database wants it so. All
//! numbers in the text are our own constants.

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    #[cfg(feature = "sql-sqlite")]
    Sqlite,
    #[cfg(feature = "sql-postgres")]
    Postgres,
    #[cfg(feature = "sql-mysql")]
    Mysql,
}

/// Where the values are.
const TABLE: &str = "smart_cache_values";

impl Dialect {
    /// Milliseconds since the epoch by the clock of the database.
    fn now(self) -> &'static str {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        }
    }

    /// Puts the parameters into the form of this database.
    fn finish(self, text: &str) -> String {
        match self {
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => {
                let mut parts = text.split('?');
                let first = parts.next().unwrap_or_default().to_owned();
                parts
                    .enumerate()
                    .fold(first, |sql, (at, part)| format!("{sql}${}{part}", at + 1))
            }
            #[cfg(any(feature = "sql-sqlite", feature = "sql-mysql"))]
            _ => text.to_owned(),
        }
    }

    fn lives(self) -> String {
        format!(
            "({TABLE}.expires IS NULL OR {TABLE}.expires > {})",
            self.now()
        )
    }

    fn new_end(self, expires: bool) -> String {
        if expires {
            format!("{} + ?", self.now())
        } else {
            "NULL".to_owned()
        }
    }

    /// What makes the table; each statement may fail when it is there already.
    pub(super) fn table(self) -> Vec<String> {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {TABLE} (namespace BLOB NOT NULL, id BLOB NOT NULL, \
                     name BLOB NOT NULL, value BLOB NOT NULL, expires INTEGER, \
                     PRIMARY KEY (namespace, id))"
                ),
                format!(
                    "CREATE INDEX IF NOT EXISTS {TABLE}_expires ON {TABLE} (expires) \
                     WHERE expires IS NOT NULL"
                ),
            ],
            // Unlogged: a crash empties it, which a crash does to the cache anyway.
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => vec![
                format!(
                    "CREATE UNLOGGED TABLE IF NOT EXISTS {TABLE} (namespace BYTEA NOT NULL, \
                     id BYTEA NOT NULL, name BYTEA NOT NULL, value BYTEA NOT NULL, expires BIGINT, \
                     PRIMARY KEY (namespace, id))"
                ),
                format!(
                    "CREATE INDEX IF NOT EXISTS {TABLE}_expires ON {TABLE} (expires) \
                     WHERE expires IS NOT NULL"
                ),
            ],
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => vec![format!(
                "CREATE TABLE IF NOT EXISTS {TABLE} (namespace VARBINARY(255) NOT NULL, \
                 id BINARY(32) NOT NULL, name LONGBLOB NOT NULL, value LONGBLOB NOT NULL, \
                 expires BIGINT, PRIMARY KEY (namespace, id), KEY {TABLE}_expires (expires)) \
                 ENGINE=InnoDB"
            )],
        }
    }

    /// Whether the table can be used.
    #[expect(clippy::unused_self, reason = "statements are asked of one place")]
    pub(super) fn probe(self) -> String {
        format!("DELETE FROM {TABLE} WHERE 1 = 0")
    }

    fn ids(self, count: usize) -> String {
        format!("namespace = ? AND id IN ({})", vec!["?"; count].join(", "))
    }

    pub(super) fn read(self, count: usize) -> String {
        self.finish(&format!(
            "SELECT id, value FROM {TABLE} WHERE {} AND {}",
            self.ids(count),
            self.lives()
        ))
    }

    pub(super) fn upsert(self, rows: usize, expires: bool) -> String {
        let row = format!("(?, ?, ?, ?, {})", self.new_end(expires));
        let rows = vec![row; rows].join(", ");
        let instead = match self {
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => {
                "ON DUPLICATE KEY UPDATE value = VALUES(value), expires = VALUES(expires)"
            }
            #[cfg(any(feature = "sql-sqlite", feature = "sql-postgres"))]
            _ => {
                "ON CONFLICT (namespace, id) DO UPDATE SET value = excluded.value, \
                 expires = excluded.expires"
            }
        };
        self.finish(&format!(
            "INSERT INTO {TABLE} (namespace, id, name, value, expires) VALUES {rows} {instead}"
        ))
    }

    /// Inserts where nothing lives. MySQL cannot replace what has expired by the same statement,
    /// and says instead that the row is taken.
    pub(super) fn insert(self, expires: bool) -> String {
        let instead = match self {
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => String::new(),
            #[cfg(any(feature = "sql-sqlite", feature = "sql-postgres"))]
            _ => format!(
                "ON CONFLICT (namespace, id) DO UPDATE SET value = excluded.value, \
                 expires = excluded.expires WHERE NOT {}",
                self.lives()
            ),
        };
        self.finish(&format!(
            "INSERT INTO {TABLE} (namespace, id, name, value, expires) \
             VALUES (?, ?, ?, ?, {}) {instead}",
            self.new_end(expires)
        ))
    }

    pub(super) fn touch(self, expires: bool) -> String {
        self.finish(&format!(
            "UPDATE {TABLE} SET expires = {} WHERE {} AND {}",
            self.new_end(expires),
            self.ids(1),
            self.lives()
        ))
    }

    /// Whether a DELETE can say which of its rows were alive.
    pub(super) fn tells_what_it_deletes(self) -> bool {
        match self {
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => false,
            #[cfg(any(feature = "sql-sqlite", feature = "sql-postgres"))]
            _ => true,
        }
    }

    pub(super) fn delete(self, count: usize) -> String {
        let told = if self.tells_what_it_deletes() {
            format!(
                "RETURNING CASE WHEN {} THEN {} ELSE {} END",
                self.lives(),
                self.int("1"),
                self.int("0")
            )
        } else {
            String::new()
        };
        self.finish(&format!(
            "DELETE FROM {TABLE} WHERE {} {told}",
            self.ids(count)
        ))
    }

    pub(super) fn delete_expired(self, count: usize) -> String {
        self.finish(&format!(
            "DELETE FROM {TABLE} WHERE {} AND NOT {}",
            self.ids(count),
            self.lives()
        ))
    }

    pub(super) fn delete_plainly(self) -> String {
        self.finish(&format!("DELETE FROM {TABLE} WHERE {}", self.ids(1)))
    }

    /// A number of 64 bits.
    fn int(self, text: &str) -> String {
        match self {
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => format!("CAST({text} AS BIGINT)"),
            #[cfg(any(feature = "sql-sqlite", feature = "sql-mysql"))]
            _ => text.to_owned(),
        }
    }

    /// Whether an UPDATE can return the value that it wrote.
    pub(super) fn returns_what_it_writes(self) -> bool {
        self.tells_what_it_deletes()
    }

    /// How often the delta is a parameter of [`increment`](Self::increment): first, and behind
    /// the name.
    pub(super) fn deltas_of_increment(self) -> usize {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => 4,
            #[cfg(any(feature = "sql-postgres", feature = "sql-mysql"))]
            _ => 2,
        }
    }

    /// Adds to a value that is a whole number, where the sum is one too; one statement, so nobody
    /// comes in between.
    pub(super) fn increment(self) -> String {
        let (set, counts, told) = match self {
            // SQLite would go on with a floating-point number where 64 bits are not enough.
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => {
                let number = "CAST(CAST(value AS TEXT) AS INTEGER)";
                (
                    format!("CAST(CAST({number} + ? AS TEXT) AS BLOB)"),
                    format!(
                        "CASE WHEN length(value) <= 20 AND CAST({number} AS TEXT) = CAST(value AS TEXT) \
                         THEN CASE WHEN ? >= 0 THEN {number} <= 9223372036854775807 - ? \
                         ELSE {number} >= -9223372036854775807 - 1 - ? END ELSE 0 END"
                    ),
                    "RETURNING value",
                )
            }
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => {
                let number = "CAST(encode(value, 'escape') AS NUMERIC)";
                (
                    format!("convert_to(CAST({number} + CAST(? AS BIGINT) AS TEXT), 'UTF8')"),
                    format!(
                        "CASE WHEN length(value) <= 20 \
                         AND encode(value, 'escape') ~ '^(0|-{{0,1}}[1-9][0-9]*)$' \
                         THEN {number} + CAST(? AS BIGINT) \
                         BETWEEN -9223372036854775808 AND 9223372036854775807 ELSE FALSE END"
                    ),
                    "RETURNING value",
                )
            }
            // The value is told through the connection's last insert id, as 64 bits.
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => {
                let text = "CONVERT(value USING latin1)";
                let number = format!("CAST({text} AS DECIMAL(30))");
                (
                    format!(
                        "CAST(CAST(LAST_INSERT_ID(CAST({number} + ? AS SIGNED)) AS SIGNED) AS CHAR)"
                    ),
                    format!(
                        "CASE WHEN LENGTH(value) <= 20 AND {text} REGEXP '^(0|-{{0,1}}[1-9][0-9]*)$' \
                         THEN {number} + ? BETWEEN -9223372036854775808 AND 9223372036854775807 \
                         ELSE FALSE END"
                    ),
                    "",
                )
            }
        };
        self.finish(&format!(
            "UPDATE {TABLE} SET value = {set} WHERE {} AND {} AND {counts} {told}",
            self.ids(1),
            self.lives()
        ))
    }

    /// Another value in the place of one that is still the same, or none.
    pub(super) fn exchange(self, is_set: bool) -> String {
        let change = if is_set {
            format!("UPDATE {TABLE} SET value = ?")
        } else {
            format!("DELETE FROM {TABLE}")
        };
        self.finish(&format!(
            "{change} WHERE {} AND {} AND value = ?",
            self.ids(1),
            self.lives()
        ))
    }

    /// Finds a row that is to be renamed, and keeps it as it is until the end of the transaction.
    pub(super) fn lock(self) -> String {
        let lock = match self {
            // Its transaction has locked everything already.
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => "",
            #[cfg(any(feature = "sql-postgres", feature = "sql-mysql"))]
            _ => "FOR UPDATE",
        };
        self.finish(&format!(
            "SELECT id FROM {TABLE} WHERE {} AND {} {lock}",
            self.ids(1),
            self.lives()
        ))
    }

    pub(super) fn rename(self) -> String {
        self.finish(&format!(
            "UPDATE {TABLE} SET id = ?, name = ? WHERE {}",
            self.ids(1)
        ))
    }

    pub(super) fn time_left(self) -> String {
        self.finish(&format!(
            "SELECT expires - {} FROM {TABLE} WHERE {} AND {}",
            self.now(),
            self.ids(1),
            self.lives()
        ))
    }

    pub(super) fn page(self, rows: i64) -> String {
        self.finish(&format!(
            "SELECT id, name FROM {TABLE} WHERE namespace = ? AND id > ? AND {} ORDER BY id LIMIT {rows}",
            self.lives()
        ))
    }

    fn delete_some(self, which: &str, rows: i64) -> String {
        let sql = match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => format!(
                "DELETE FROM {TABLE} WHERE rowid IN (SELECT rowid FROM {TABLE} WHERE {which} LIMIT {rows})"
            ),
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => format!(
                "DELETE FROM {TABLE} WHERE ctid IN (SELECT ctid FROM {TABLE} WHERE {which} LIMIT {rows} \
                 FOR UPDATE SKIP LOCKED)"
            ),
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => format!("DELETE FROM {TABLE} WHERE {which} LIMIT {rows}"),
        };
        self.finish(&sql)
    }

    pub(super) fn delete_some_of_namespace(self, rows: i64) -> String {
        self.delete_some("namespace = ?", rows)
    }

    pub(super) fn purge(self, rows: i64) -> String {
        self.delete_some(&format!("expires <= {}", self.now()), rows)
    }

    /// The longest value, where the server has not told.
    pub(super) fn longest_value(self) -> u64 {
        match self {
            // Their limit is a billion bytes for a row; the name is in it too.
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite => 999_000_000,
            #[cfg(feature = "sql-postgres")]
            Self::Postgres => 999_000_000,
            #[cfg(feature = "sql-mysql")]
            Self::Mysql => 15 << 20,
        }
    }
}
