//! Prints the SQL file that creates the outbox and a table's triggers.
//!
//! `cargo run -p smart-cache --example triggers -- postgres products 'product:{id}' products`

use smart_cache::hooks::outbox::{Dialect, triggers_sql};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dialect = match arguments.next().as_deref() {
        Some("postgres") => Dialect::Postgres,
        Some("sqlite") => Dialect::Sqlite,
        _ => return Err("triggers postgres|sqlite TABLE TEMPLATE..".into()),
    };
    let table = arguments.next().ok_or("which table?")?;
    print!("{}", triggers_sql(dialect, table, arguments)?);
    Ok(())
}
