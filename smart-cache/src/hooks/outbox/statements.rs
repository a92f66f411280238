//! The SQL of outbox and triggers, as text. Pure: it talks to no database.
//!
//! Everything that came from a caller stands in quotes of its dialect: a table or column may be
//! named like a keyword, a template may hold quotes. Only lookups are code.
//!
//! Over 400 lines, since each statement stands here in both dialects, side by side.

use super::template::Piece;
use super::triggers::{Template, Triggers};

/// A name in double quotes.
fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The SQL of one key, out of the row that `row` names.
fn key(template: &Template, triggers: &Triggers, row: &str, sql: &impl Quoting) -> String {
    let parts: Vec<String> = template
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => sql.literal(text),
            Piece::Named(column) => sql.text(&value(column, triggers, row)),
        })
        .collect();
    parts.join(" || ")
}

/// A column, or the lookup of this name.
fn value(column: &str, triggers: &Triggers, row: &str) -> String {
    let lookup = triggers.lookups.iter().find(|(name, _)| name == column);
    let Some((_, query)) = lookup else {
        return format!("{row}.{}", name(column));
    };
    let mut text = String::from("(");
    for piece in query {
        match piece {
            Piece::Literal(code) => text.push_str(code),
            Piece::Named(column) => text.push_str(&format!("{row}.{}", name(column))),
        }
    }
    text.push(')');
    text
}

/// Where the dialects differ in the small.
trait Quoting {
    fn literal(&self, text: &str) -> String;
    fn text(&self, value: &str) -> String;
}

fn has_columns(template: &Template) -> bool {
    template
        .pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Named(_)))
}

/// A trigger's or function's name, short enough for every database, and different for each table.
fn own_name(triggers: &Triggers, suffix: &str) -> String {
    let table = match &triggers.schema {
        Some(schema) => format!("{schema}.{}", triggers.table),
        None => triggers.table.clone(),
    };
    let name = format!("smart_cache_{table}{suffix}");
    if name.len() <= 63 && triggers.schema.is_none() {
        return name;
    }
    let hash = blake3::hash(table.as_bytes()).to_hex();
    let start: String = triggers.table.chars().take(8).collect();
    format!("smart_cache_{start}_{}{suffix}", &hash[..12])
}

pub(super) mod postgres {
    //! Statement-level triggers over transition tables.

    use super::super::triggers::Triggers;
    use super::{has_columns, key, name, own_name};

    /// Creates the outbox.
    pub(in super::super) const OUTBOX: &str = "\
CREATE TABLE IF NOT EXISTS smart_cache_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    keys text[] NOT NULL,
    due timestamptz NOT NULL DEFAULT clock_timestamp(),
    written timestamptz NOT NULL DEFAULT clock_timestamp()
)";
    /// Two that create it at once would collide in the catalogue.
    pub(in super::super) const LOCK: &str =
        "SELECT pg_advisory_xact_lock(hashtextextended('smart_cache_outbox:create', 0))";
    /// The functions look for the outbox where it is now, and for nothing in a writer's own
    /// temporary schema before.
    const PATH: &str =
        "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)";
    /// Keys in one row of the outbox.
    const KEYS_IN_ROW: usize = 1_000;

    struct Postgres;

    impl super::Quoting for Postgres {
        fn literal(&self, text: &str) -> String {
            // Backslashes count in this form alone, whatever the server's settings.
            format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
        }

        fn text(&self, value: &str) -> String {
            format!("{value}::text")
        }
    }

    fn literal(text: &str) -> String {
        super::Quoting::literal(&Postgres, text)
    }

    fn table(triggers: &Triggers) -> String {
        match &triggers.schema {
            Some(schema) => format!("{}.{}", name(schema), name(&triggers.table)),
            None => name(&triggers.table),
        }
    }

    pub(in super::super) fn function_name(triggers: &Triggers) -> String {
        name(&own_name(triggers, ""))
    }

    /// What finds the distinct keys of these rows.
    fn keys_of(triggers: &Triggers, rows: &str) -> String {
        let (of_rows, fixed): (Vec<_>, Vec<_>) = triggers
            .keys
            .iter()
            .partition(|template| has_columns(template));
        let mut queries = Vec::new();
        if !of_rows.is_empty() {
            let values: Vec<String> = of_rows
                .iter()
                .map(|template| format!("({})", key(template, triggers, "r", &Postgres)))
                .collect();
            queries.push(format!(
                "SELECT k.key FROM ({rows}) AS r CROSS JOIN LATERAL (VALUES {}) AS k (key)",
                values.join(", ")
            ));
        }
        for template in fixed {
            queries.push(format!(
                "SELECT {} WHERE EXISTS ({rows})",
                key(template, triggers, "r", &Postgres)
            ));
        }
        if queries.is_empty() {
            queries.push("SELECT NULL::text".to_owned());
        }
        format!(
            "SELECT array_agg(DISTINCT found.key) INTO changed FROM (\n            {}\n        ) AS found (key) WHERE found.key <> ''",
            queries.join("\n            UNION ALL ")
        )
    }

    fn function(triggers: &Triggers) -> String {
        let beyond = triggers.beyond.as_ref().map_or_else(String::new, |(most, tag)| {
            format!(
                "    IF cardinality(changed) > {most} THEN\n        changed := ARRAY[{}];\n    END IF;\n",
                literal(tag)
            )
        });
        let body = format!(
            "DECLARE
    changed text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        {inserted};
    ELSIF TG_OP = 'UPDATE' THEN
        {updated};
    ELSIF TG_OP = 'DELETE' THEN
        {deleted};
    ELSE
        {truncated};
    END IF;
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;
{beyond}    INSERT INTO smart_cache_outbox (keys)
        SELECT array_agg(part.key) FROM unnest(changed) WITH ORDINALITY AS part (key, at)
        GROUP BY (part.at - 1) / {KEYS_IN_ROW} ORDER BY (part.at - 1) / {KEYS_IN_ROW};
    PERFORM pg_notify('smart_cache_outbox', '');
    RETURN NULL;
END",
            inserted = keys_of(triggers, "SELECT * FROM new_rows"),
            updated = keys_of(
                triggers,
                "SELECT * FROM old_rows UNION ALL SELECT * FROM new_rows"
            ),
            deleted = keys_of(triggers, "SELECT * FROM old_rows"),
            truncated = keys_of(triggers, &format!("SELECT * FROM {}", table(triggers))),
        );
        let tag = dollar_tag(&body);
        // Whoever may write to the table may have its keys cleared, without rights on the outbox.
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n    SET search_path FROM CURRENT AS {tag}\n{body}\n{tag}",
            function_name(triggers)
        )
    }

    /// A quote that the text does not hold.
    fn dollar_tag(body: &str) -> String {
        (0..)
            .map(|number| format!("$smart_cache_{number}$"))
            .find(|tag| !body.contains(tag.as_str()))
            .unwrap_or_default()
    }

    pub(in super::super) fn install(triggers: &Triggers) -> Vec<String> {
        let mut all = vec![LOCK.to_owned(), PATH.to_owned(), OUTBOX.to_owned()];
        all.push(function(triggers));
        let (table, function) = (table(triggers), function_name(triggers));
        for (event, rows) in [
            ("INSERT", "REFERENCING NEW TABLE AS new_rows "),
            (
                "UPDATE",
                "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
            ),
            ("DELETE", "REFERENCING OLD TABLE AS old_rows "),
        ] {
            all.push(format!(
                "CREATE OR REPLACE TRIGGER smart_cache_{} AFTER {event} ON {table} {rows}\n    FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                event.to_lowercase()
            ));
        }
        all.push(format!(
            "CREATE OR REPLACE TRIGGER smart_cache_truncate BEFORE TRUNCATE ON {table}\n    FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        ));
        all.push(format!(
            "COMMENT ON FUNCTION {function}() IS {}",
            literal(&fingerprint(triggers))
        ));
        all
    }

    /// By which triggers that are there already are recognised: creating them anew would wait for
    /// every open transaction of the table.
    pub(in super::super) fn fingerprint(triggers: &Triggers) -> String {
        let text = format!("{}{}", function(triggers), table(triggers));
        format!(
            "smart-cache {}",
            &blake3::hash(text.as_bytes()).to_hex()[..32]
        )
    }

    pub(in super::super) fn remove(triggers: &Triggers) -> Vec<String> {
        // The triggers depend on their function and go with it.
        vec![format!(
            "DROP FUNCTION IF EXISTS {}() CASCADE",
            function_name(triggers)
        )]
    }
}

pub(super) mod sqlite {
    //! Row-level triggers, and an outbox that holds each key once.

    use super::super::triggers::Triggers;
    use super::{key, name, own_name};

    /// Creates the outbox. No STRICT and nothing newer than 3.24: the triggers run in whatever
    /// SQLite the writing program has.
    pub(in super::super) const OUTBOX: &str = "\
CREATE TABLE IF NOT EXISTS smart_cache_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL,
    written INTEGER NOT NULL
)";
    /// Which relay is at work, and until when it must have said so again.
    pub(in super::super) const RELAY: &str = "\
CREATE TABLE IF NOT EXISTS smart_cache_relay (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
)";
    /// Milliseconds since 1970.
    macro_rules! now {
        () => {
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        };
    }
    /// A key that is pending becomes another version of itself: a relay that is clearing the
    /// former one must not remove this.
    macro_rules! again {
        () => {
            "ON CONFLICT (key) DO UPDATE SET version = version + 1, due = min(due, excluded.due)"
        };
    }
    #[cfg(feature = "sqlx-sqlite")]
    pub(in super::super) const WRITE: &str = concat!(
        "INSERT INTO smart_cache_outbox (key, due, written) VALUES (?1, ",
        now!(),
        " + ?2, ",
        now!(),
        ") ",
        again!(),
        " RETURNING id, version"
    );
    #[cfg(feature = "sqlx-sqlite")]
    pub(in super::super) const LOOK: &str = concat!(
        "SELECT id, version, key FROM smart_cache_outbox WHERE due <= ",
        now!(),
        " ORDER BY id LIMIT ?1"
    );
    #[cfg(feature = "sqlx-sqlite")]
    pub(in super::super) const ANY: &str = "SELECT EXISTS (SELECT 1 FROM smart_cache_outbox)";
    #[cfg(feature = "sqlx-sqlite")]
    pub(in super::super) const TAKE_LEASE: &str = concat!(
        "INSERT INTO smart_cache_relay (one, holder, until) VALUES (1, ?1, ",
        now!(),
        " + ?2) ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, until = excluded.until
         WHERE holder = excluded.holder OR until < ",
        now!(),
        " RETURNING one"
    );
    #[cfg(feature = "sqlx-sqlite")]
    pub(in super::super) const STATUS: &str = concat!(
        "SELECT count(*), ",
        now!(),
        " - min(written) FROM smart_cache_outbox"
    );

    struct Sqlite;

    impl super::Quoting for Sqlite {
        fn literal(&self, text: &str) -> String {
            format!("'{}'", text.replace('\'', "''"))
        }

        fn text(&self, value: &str) -> String {
            format!("CAST({value} AS TEXT)")
        }
    }

    /// Writes the keys of these rows.
    fn write(triggers: &Triggers, rows: &[&str], from: &str) -> String {
        let mut keys: Vec<String> = Vec::new();
        for template in &triggers.keys {
            for row in rows {
                let key = format!(
                    "SELECT {} AS key{from}",
                    key(template, triggers, row, &Sqlite)
                );
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() {
            keys.push("SELECT NULL AS key".to_owned());
        }
        format!(
            "    INSERT INTO smart_cache_outbox (key, due, written)\n    SELECT key, {now}, {now} FROM (\n        {keys}\n    ) WHERE key <> ''\n    {again};\n",
            now = now!(),
            again = again!(),
            keys = keys.join("\n        UNION "),
        )
    }

    /// What these triggers are: name and text.
    pub(in super::super) fn triggers(triggers: &Triggers) -> Vec<(String, String)> {
        let table = name(&triggers.table);
        let mut all = Vec::new();
        for (event, rows) in [
            ("INSERT", &["NEW"][..]),
            ("UPDATE", &["OLD", "NEW"][..]),
            ("DELETE", &["OLD"][..]),
        ] {
            let own = own_name(triggers, &format!("_{}", event.to_lowercase()));
            let body = write(triggers, rows, "");
            let text = format!(
                "CREATE TRIGGER {} AFTER {event} ON {table} BEGIN\n{body}END",
                name(&own)
            );
            all.push((own, text));
        }
        if !triggers.unique.is_empty() {
            for event in ["INSERT", "UPDATE"] {
                all.push(replaced(triggers, &table, event));
            }
        }
        all
    }

    /// REPLACE removes a row without telling any trigger, so it is looked for before.
    fn replaced(triggers: &Triggers, table: &str, event: &str) -> (String, String) {
        let own = own_name(triggers, &format!("_replace_{}", event.to_lowercase()));
        let same: Vec<String> = triggers
            .unique
            .iter()
            .map(|columns| {
                let columns: Vec<String> = columns
                    .iter()
                    .map(|column| format!("r.{0} = NEW.{0}", name(column)))
                    .collect();
                format!("({})", columns.join(" AND "))
            })
            .collect();
        let mut from = format!(" FROM {table} AS r WHERE ({})", same.join(" OR "));
        if let ("UPDATE", Some(columns)) = (event, triggers.unique.first()) {
            // The row itself is the business of the other trigger.
            let itself: Vec<String> = columns
                .iter()
                .map(|column| format!("r.{0} = OLD.{0}", name(column)))
                .collect();
            from.push_str(&format!(" AND ({}) IS NOT TRUE", itself.join(" AND ")));
        }
        let body = write(triggers, &["r"], &from);
        let text = format!(
            "CREATE TRIGGER {} BEFORE {event} ON {table} BEGIN\n{body}END",
            name(&own)
        );
        (own, text)
    }

    pub(in super::super) fn install(spec: &Triggers) -> Vec<String> {
        let mut all = vec![OUTBOX.to_owned(), RELAY.to_owned()];
        all.extend(remove(spec));
        all.extend(triggers(spec).into_iter().map(|(_, text)| text));
        all
    }

    pub(in super::super) fn remove(triggers: &Triggers) -> Vec<String> {
        [
            "_insert",
            "_update",
            "_delete",
            "_replace_insert",
            "_replace_update",
        ]
        .iter()
        .map(|suffix| {
            format!(
                "DROP TRIGGER IF EXISTS {}",
                name(&own_name(triggers, suffix))
            )
        })
        .collect()
    }
}
