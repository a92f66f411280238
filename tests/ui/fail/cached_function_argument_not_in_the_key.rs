// Two calls that differ in an argument outside the key would share a value.

use smart_cache::smart_cached;

struct Db;

#[smart_cached("profile:{id}", ttl = "1h")]
async fn profile(db: &Db, id: u64, (page, _size): (u32, u32)) -> String {
    let _ = db;
    format!("{id} {page}")
}

impl Db {
    #[smart_cached("all")]
    async fn all(&self) -> String {
        String::new()
    }
}

fn main() {}
