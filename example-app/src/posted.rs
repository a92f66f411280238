//! A body that may come from a program (JSON) or from a page (form), and the fitting answer.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, Json};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

/// What was sent, read by the request's `Content-Type`.
#[derive(Debug)]
pub(crate) struct Posted<T> {
    pub(crate) value: T,
    pub(crate) sender: Sender,
}

/// Who sent it, so who reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Program,
    Page,
}

impl Sender {
    /// 201 and what was made for a program; for a page, a redirect to where it shows.
    pub(crate) fn created(self, made: impl Serialize, shown_at: &str) -> Response {
        match self {
            Self::Program => (StatusCode::CREATED, Json(made)).into_response(),
            Self::Page => Redirect::to(shown_at).into_response(),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase());
        match content_type.as_deref() {
            Some("application/json") => Json::from_request(request, state)
                .await
                .map(|Json(value)| Self {
                    value,
                    sender: Sender::Program,
                })
                .map_err(IntoResponse::into_response),
            Some("application/x-www-form-urlencoded") => Form::from_request(request, state)
                .await
                .map(|Form(value)| Self {
                    value,
                    sender: Sender::Page,
                })
                .map_err(IntoResponse::into_response),
            _ => {
                let message = "send application/json or application/x-www-form-urlencoded";
                Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response())
            }
        }
    }
}

/// For fields of forms and queries: an empty one, which browsers send, is an absent one.
pub(crate) fn blank_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    match text.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Fields {
        #[serde(default, deserialize_with = "blank_is_none")]
        page: Option<NonZeroU32>,
    }

    #[test]
    fn an_empty_field_is_an_absent_one() {
        for text in [
            r"{}",
            r#"{"page":null}"#,
            r#"{"page":""}"#,
            r#"{"page":"  "}"#,
        ] {
            let fields: Fields = serde_json::from_str(text).unwrap();
            assert_eq!(fields.page, None, "{text}");
        }
        let fields: Fields = serde_json::from_str(r#"{"page":" 7 "}"#).unwrap();
        assert_eq!(fields.page, NonZeroU32::new(7));
        assert!(serde_json::from_str::<Fields>(r#"{"page":"0"}"#).is_err());
    }
}
