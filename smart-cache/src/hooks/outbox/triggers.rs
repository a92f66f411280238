//! Triggers: the database itself says which keys a change is about, whoever makes the change.

use super::statements;
use super::template::{Piece, TemplateError, check_name, parse};

/// Whose SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL 14 or newer.
    Postgres,
    /// SQLite 3.24 or newer, as the programs that write have it.
    Sqlite,
}

/// Which keys the changes of one table clear.
///
/// For each inserted, updated and deleted row, the old and the new one, each template is filled
/// with the row's columns and the key written to the outbox, in the same transaction. So it covers
/// what no hook of a library sees: other programs, migrations, cascades, bulk updates.
///
/// On PostgreSQL the triggers see each statement once, with all of its rows, and write every key
/// once: an `UPDATE` of 100 000 rows writes 100 000 product keys and one `products`, in rows of
/// 1 000 keys, each of which is one clear; past [`Triggers::beyond`] a single tag. `TRUNCATE`
/// reads the table before. On SQLite they see each row; the outbox holds every key once.
///
/// # Example
/// ```
/// use smart_cache::hooks::outbox::{Dialect, Triggers};
///
/// # fn main() -> Result<(), smart_cache::hooks::outbox::TemplateError> {
/// let triggers = Triggers::on("products", ["product:{id}", "products"])?
///     // A column of another table, found by the row's own.
///     .lookup("category", "SELECT slug FROM categories WHERE id = {category_id}")?
///     .key("category:{category}")?
///     // Every cached answer about products carries the tag "products".
///     .beyond(1_000, "products");
/// let file = triggers.sql(Dialect::Postgres);
/// assert!(file.contains("AFTER UPDATE"));
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// A key is made of the database's own text for a value, which must be what the handler's
/// `Display` gives: so for integers, texts and UUIDs; not for floats or times. A column that is
/// NULL makes no key. A column that is renamed makes every write of the table fail: install the
/// triggers again in the same migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggers {
    pub(super) table: String,
    pub(super) schema: Option<String>,
    pub(super) keys: Vec<Template>,
    pub(super) lookups: Vec<(String, Vec<Piece>)>,
    /// More distinct keys than this in one statement are one clear of that tag.
    pub(super) beyond: Option<(u32, String)>,
    /// Sets of columns by which a REPLACE finds the row that it removes; SQLite alone.
    pub(super) unique: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
}

impl Triggers {
    /// Triggers on this table, named exactly so, for these templates of keys and tags.
    ///
    /// # Errors
    /// When a template is none: its message says why.
    pub fn on<K: Into<String>>(
        table: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Self, TemplateError> {
        let table = table.into();
        check_name(&table)?;
        let triggers = Self {
            table,
            schema: None,
            keys: Vec::new(),
            lookups: Vec::new(),
            beyond: None,
            unique: Vec::new(),
        };
        keys.into_iter().try_fold(triggers, Self::key)
    }

    /// One template more.
    ///
    /// # Errors
    /// When it is none.
    pub fn key(mut self, template: impl Into<String>) -> Result<Self, TemplateError> {
        let text = template.into();
        let pieces = parse(&text)?;
        self.keys.push(Template { text, pieces });
        Ok(self)
    }

    /// The table's schema, where it is not on the search path. PostgreSQL alone.
    ///
    /// # Errors
    /// When it cannot be a name.
    pub fn schema(mut self, schema: impl Into<String>) -> Result<Self, TemplateError> {
        let schema = schema.into();
        check_name(&schema)?;
        self.schema = Some(schema);
        Ok(self)
    }

    /// Lets templates name a value that another table has: `{name}` is the one value of this query,
    /// in which `{column}` stands for the changed row's column. No row, no key.
    ///
    /// The query is code: it goes into the trigger as it is, so it must never be made of what a
    /// user has typed. It runs for each changed row, so its condition should have an index.
    ///
    /// # Errors
    /// When a brace of the query has no other half.
    pub fn lookup(
        mut self,
        name: impl Into<String>,
        query: impl AsRef<str>,
    ) -> Result<Self, TemplateError> {
        self.lookups.push((name.into(), parse(query.as_ref())?));
        Ok(self)
    }

    /// A statement that changes more distinct keys than `most` clears this one tag instead.
    ///
    /// Right only if every answer that depends on a row of the table carries the tag; then it
    /// spares the outbox a hundred thousand keys. PostgreSQL alone: SQLite sees single rows, and
    /// clears them in batches of 1 000.
    #[must_use]
    pub fn beyond(mut self, most: u32, tag: impl Into<String>) -> Self {
        self.beyond = Some((most, tag.into()));
        self
    }

    /// Columns that together tell the rows apart, beside the primary key: a `REPLACE` of SQLite
    /// removes the row that has the same, and no trigger hears of it. So the triggers look for that
    /// row before. [`install_triggers`] finds all of them by itself; this is for a printed file.
    #[must_use]
    pub fn unique<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.unique
            .push(columns.into_iter().map(Into::into).collect());
        self
    }

    /// The SQL file that creates outbox and triggers; it may be run again. It is one transaction.
    #[must_use]
    pub fn sql(&self, dialect: Dialect) -> String {
        let mut all = vec![match dialect {
            Dialect::Postgres => "BEGIN".to_owned(),
            Dialect::Sqlite => "BEGIN IMMEDIATE".to_owned(),
        }];
        all.extend(match dialect {
            Dialect::Postgres => statements::postgres::install(self),
            Dialect::Sqlite => statements::sqlite::install(self),
        });
        all.push("COMMIT".to_owned());
        file(&all)
    }

    /// The SQL file that removes the triggers and leaves the outbox.
    #[must_use]
    pub fn removal_sql(&self, dialect: Dialect) -> String {
        file(&match dialect {
            Dialect::Postgres => statements::postgres::remove(self),
            Dialect::Sqlite => statements::sqlite::remove(self),
        })
    }
}

fn file(statements: &[String]) -> String {
    let mut file = String::new();
    for statement in statements {
        file.push_str(statement);
        file.push_str(";\n");
    }
    file
}

/// The SQL file of [`Triggers::sql`] for a table and its templates.
///
/// # Errors
/// When a template is none.
pub fn triggers_sql<K: Into<String>>(
    dialect: Dialect,
    table: impl Into<String>,
    keys: impl IntoIterator<Item = K>,
) -> Result<String, TemplateError> {
    Ok(Triggers::on(table, keys)?.sql(dialect))
}

/// Creates the outbox where it is missing and these triggers, in one transaction. Triggers that are
/// there already, the same, are left alone: a program may call it at each start.
///
/// It makes the templates known to [`registry`](crate::registry) too, so that a cached handler that
/// only the triggers clear does not count as never cleared.
///
/// # Errors
/// When the database refuses: there is no such table or column, or the role may not create
/// triggers.
///
/// # Example
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn example(mut connection: sqlx::SqliteConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::hooks::outbox::{Triggers, install_triggers};
///
/// let triggers = Triggers::on("products", ["product:{id}", "products"])?;
/// install_triggers(&mut connection, &triggers).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub async fn install_triggers<C>(
    connection: &mut C,
    triggers: &Triggers,
) -> Result<(), super::OutboxError>
where
    C: ::sqlx::Connection,
    C::Database: super::OutboxDatabase<Connection = C>,
{
    use super::OutboxDatabase as _;

    C::Database::install(connection, triggers).await?;
    crate::coverage::cleared_by_triggers(
        &triggers.table,
        triggers.keys.iter().map(|template| template.text.as_str()),
    );
    Ok(())
}

/// Removes the triggers of this table; the outbox stays, with what has not been delivered.
///
/// # Errors
/// When the database refuses.
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub async fn remove_triggers<C>(
    connection: &mut C,
    triggers: &Triggers,
) -> Result<(), super::OutboxError>
where
    C: ::sqlx::Connection,
    C::Database: super::OutboxDatabase<Connection = C>,
{
    use super::OutboxDatabase as _;

    C::Database::remove(connection, triggers).await
}
