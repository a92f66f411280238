use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use smart_cache::smart_cache;

struct CurrentUser(u64);

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = ();

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, ()> {
        Ok(Self(7))
    }
}

#[smart_cache("profile")]
async fn profile(State(_): State<()>, CurrentUser(user): CurrentUser) -> String {
    user.to_string()
}

#[smart_cache("optional")]
async fn optional(user: Result<CurrentUser, ()>) -> String {
    user.is_ok().to_string()
}

fn main() {}
