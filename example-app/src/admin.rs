//! The cache's page for operators, at `/admin/cache`.

use axum::Router;
use smart_cache::SmartCache;
use smart_cache::admin::{self, Password};

/// Where it is mounted.
pub(crate) const PATH: &str = "/admin/cache";

/// The page behind `ADMIN_USER` and `ADMIN_PASSWORD`; without a password in the environment one is
/// made up and printed.
///
/// # Errors
/// When the system gives no randomness for a password.
pub(crate) fn router(cache: SmartCache) -> Result<Router, getrandom::Error> {
    let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = given("ADMIN_USER").unwrap_or_else(|| "admin".to_owned());
    let password = match given("ADMIN_PASSWORD") {
        Some(password) => password,
        None => {
            let made_up = format!("{:016x}", getrandom::u64()?);
            // Printed once, for this machine's own visitor, and not by the log: however quiet that
            // is told to be, this has to be known. What is given is never printed.
            eprintln!("the admin page's user is {user:?}, its password {made_up:?}");
            made_up
        }
    };
    let page = admin::router(cache, Password::new(&user, &password));
    Ok(Router::new().nest(PATH, page))
}
