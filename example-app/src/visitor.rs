//! Who is asking: a random id in a cookie, made at the first visit that needs one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{AppendHeaders, IntoResponse, Response};

use crate::error::AppError;

const COOKIE: &str = "visitor";
/// 128 random bits in hexadecimal: nobody guesses another visitor's cart.
const ID_LENGTH: usize = 32;
const ONE_YEAR: u32 = 365 * 24 * 60 * 60;

/// The visitor of this request; without a cookie, or with one that is not ours, a new one.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) id: String,
    /// No cookie told us the id, so the answer has to.
    is_new: bool,
}

impl Visitor {
    /// Adds the cookie that makes a new visitor known; nothing for one who has it.
    pub(crate) fn remember(&self, answer: impl IntoResponse) -> Response {
        if !self.is_new {
            return answer.into_response();
        }
        let id = &self.id;
        let cookie = format!("{COOKIE}={id}; Path=/; Max-Age={ONE_YEAR}; HttpOnly; SameSite=Lax");
        (AppendHeaders([(header::SET_COOKIE, cookie)]), answer).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        if let Some(id) = id_from_cookies(&parts.headers) {
            return Ok(Self {
                id: id.to_owned(),
                is_new: false,
            });
        }
        let mut bytes = [0; ID_LENGTH / 2];
        getrandom::fill(&mut bytes)?;
        let id = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, is_new: true })
    }
}

fn id_from_cookies(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, id)| *name == COOKIE && is_id(id))
        .map(|(_, id)| id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn found(cookies: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(cookies).unwrap());
        id_from_cookies(&headers).map(str::to_owned)
    }

    #[test]
    fn the_id_is_found_among_other_cookies() {
        assert_eq!(found(&format!("a=b; visitor={ID}; c")).as_deref(), Some(ID));
    }

    #[test]
    fn an_id_that_we_did_not_make_is_no_id() {
        assert_eq!(found("visitor=1"), None);
        assert_eq!(found(&format!("visitor={}", ID.to_uppercase())), None);
        assert_eq!(found(&format!("xvisitor={ID}")), None);
    }
}
