use smart_cache::hooks::CacheKeys;

#[derive(CacheKeys)]
#[cache_keys("product:{idd}", "shop:{shopp.id}", "shop:{shop.idd}")]
struct Product {
    id: u64,
    shop: Shop,
}

struct Shop {
    id: u64,
}

fn main() {}
