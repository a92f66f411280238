use smart_cache::{clears_cache, smart_cache};

#[smart_cache("pages")]
struct Pages;

#[clears_cache("pages")]
mod pages {}

#[smart_cache("pages")]
impl Pages {
    async fn index() {}
}

trait Index {
    #[smart_cache("pages")]
    async fn index();
}

fn main() {
    let _ = Pages;
    let _ = Pages::index;
}
