// A value is stored as bytes and read back: it must be of a type that can be.

use smart_cache::smart_cached;

struct Profile;

#[smart_cached("profile:{id}")]
async fn profile(id: u64) -> Profile {
    let _ = id;
    Profile
}

#[smart_cached("name:{id}")]
async fn name(id: u64) -> Result<Profile, String> {
    let _ = id;
    Ok(Profile)
}

#[smart_cached("text:{id}")]
async fn text(id: u64) -> impl ToString {
    id
}

fn main() {}
