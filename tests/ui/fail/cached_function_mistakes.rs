// Each mistake is reported where it was made.

use smart_cache::smart_cached;

#[smart_cached("profile:{id}")]
fn not_async(id: u64) -> u64 {
    id
}

#[smart_cached]
async fn no_key() -> u64 {
    1
}

#[smart_cached("profile:{name}")]
async fn unbound() -> u64 {
    1
}

#[smart_cached("profile", local = false)]
async fn unknown_argument() -> u64 {
    1
}

fn main() {}
