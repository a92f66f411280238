use smart_cache::hooks::CacheKeys;

#[derive(CacheKeys)]
struct Forgotten {
    id: u64,
}

#[derive(CacheKeys)]
#[cache_keys]
struct Empty {
    id: u64,
}

#[derive(CacheKeys)]
#[cache_keys("{}", 7, ttl = "1m")]
struct Wrong {
    id: u64,
}

fn main() {}
