use smart_cache::hooks::CacheKeys;

#[derive(CacheKeys)]
#[cache_keys("product:{id}", "category:{category}")]
struct Product {
    id: u64,
    category: Option<u64>,
}

fn main() {}
