use smart_cache::hooks::CacheKeys;

#[derive(CacheKeys)]
#[cache_keys("product:{id}")]
enum Product {
    Lamp { id: u64 },
}

#[derive(CacheKeys)]
#[cache_keys("product:{id}")]
union Either {
    id: u64,
    other: i64,
}

fn main() {}
