//! Who may see the page, and who may clear.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

/// What a visitor may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing at all.
    None,
    /// See everything, stored bodies included; clear nothing.
    ReadOnly,
    /// See and clear.
    Full,
}

/// Decides who a visitor is, by the head of a request. A closure is one.
///
/// It is asked for every request, assets included, and decides without waiting. What needs a
/// database (a session) belongs into a layer in front, which leaves its finding in the request's
/// extensions.
///
/// # Example
/// ```
/// use http::request::Parts;
/// use smart_cache::admin::Role;
///
/// #[derive(Clone)]
/// struct Session {
///     is_operator: bool,
/// }
///
/// let guard = |request: &Parts| match request.extensions.get::<Session>() {
///     Some(session) if session.is_operator => Role::Full,
///     _ => Role::None,
/// };
/// # fn is_guard(_: impl smart_cache::admin::Guard) {}
/// # is_guard(guard);
/// ```
pub trait Guard: Send + Sync + 'static {
    /// What this request's sender may do.
    fn role(&self, request: &Parts) -> Role;

    /// What somebody without a role is answered; 403 unless there is something better to say.
    fn refusal(&self, request: &Parts) -> Response {
        let _ = request;
        (StatusCode::FORBIDDEN, "not allowed here\n").into_response()
    }
}

impl<F> Guard for F
where
    F: Fn(&Parts) -> Role + Send + Sync + 'static,
{
    fn role(&self, request: &Parts) -> Role {
        self(request)
    }
}

/// Asks for a name and a password (HTTP Basic), compared in constant time.
///
/// It says in the log that it needs TLS: the password travels with every request.
pub struct Password {
    accounts: Vec<Account>,
    /// Fresh for each process, so that equal digests tell nothing.
    salt: [u8; 32],
}

struct Account {
    user: blake3::Hash,
    password: blake3::Hash,
    role: Role,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password")
            .field("accounts", &self.accounts.len())
            .finish_non_exhaustive()
    }
}

impl Password {
    /// One account that may see and clear. An empty name or password admits nobody.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        let mut salt = [0; 32];
        // Without randomness the comparison is still right, only less well protected.
        let _ = getrandom::fill(&mut salt);
        tracing::info!(
            "the cache's admin page asks for a password, which travels in clear text unless TLS is in front of it"
        );
        let accounts = Vec::new();
        Self { accounts, salt }.with(user, password, Role::Full)
    }

    /// One more account, which may see and not clear.
    #[must_use]
    pub fn read_only(self, user: &str, password: &str) -> Self {
        self.with(user, password, Role::ReadOnly)
    }

    fn with(mut self, user: &str, password: &str, role: Role) -> Self {
        if user.is_empty() || password.is_empty() {
            tracing::warn!(
                "an account of the cache's admin page without a name or a password admits nobody"
            );
            return self;
        }
        let account = Account {
            user: self.digest(user.as_bytes()),
            password: self.digest(password.as_bytes()),
            role,
        };
        self.accounts.push(account);
        self
    }

    /// Of the same length for everything, and compared in constant time.
    fn digest(&self, text: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.salt, text)
    }
}

impl Guard for Password {
    fn role(&self, request: &Parts) -> Role {
        let Some((user, password)) = credentials(request) else {
            return Role::None;
        };
        let (user, password) = (self.digest(&user), self.digest(&password));
        // Every account is compared, so that the time tells nothing.
        let fits = |account: &Account| (account.user == user) & (account.password == password);
        let role = self
            .accounts
            .iter()
            .map(|account| {
                if fits(account) {
                    account.role
                } else {
                    Role::None
                }
            })
            .max()
            .unwrap_or(Role::None);
        if role == Role::None {
            tracing::warn!("a wrong name or password for the cache's admin page");
        }
        role
    }

    fn refusal(&self, _: &Parts) -> Response {
        let mut response =
            (StatusCode::UNAUTHORIZED, "a name and a password, please\n").into_response();
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"smart-cache\", charset=\"UTF-8\""),
        );
        response
    }
}

/// Name and password of `Authorization: Basic`.
fn credentials(request: &Parts) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = request.headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(guard: &Password, authorization: &str) -> Role {
        let request = http::Request::builder().header("authorization", authorization);
        guard.role(&request.body(()).unwrap().into_parts().0)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn only_a_whole_name_and_its_own_password_admit() {
        let guard = Password::new("admin", "s:cret").read_only("viewer", "look");
        assert_eq!(role(&guard, &basic("admin:s:cret")), Role::Full);
        assert_eq!(
            role(&guard, &basic("admin:s:cret").replace("Basic", "bAsIc")),
            Role::Full
        );
        assert_eq!(role(&guard, &basic("viewer:look")), Role::ReadOnly);
        for wrong in [
            "admin:look",
            "viewer:s:cret",
            "admin:s:cre",
            "admin:",
            ":s:cret",
            "admin",
            "",
        ] {
            assert_eq!(role(&guard, &basic(wrong)), Role::None, "{wrong}");
        }
        for wrong in ["", "Basic", "Basic !!!", "Bearer YWRtaW46czpjcmV0"] {
            assert_eq!(role(&guard, wrong), Role::None, "{wrong}");
        }
    }

    #[test]
    fn an_empty_password_admits_nobody() {
        let guard = Password::new("admin", "").read_only("", "look");
        for text in ["admin:", ":look", ":"] {
            assert_eq!(role(&guard, &basic(text)), Role::None, "{text}");
        }
    }
}
