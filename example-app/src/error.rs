//! What can go wrong in a handler, and how a visitor hears of it.
//!
//! A handler, and axum's own extractors, answer a failure with a status and one plain
//! sentence. [`dress`] sits outside the routes and puts that sentence into the form that
//! was asked for: a page for a browser, JSON for everyone else. So no handler needs to know
//! who is asking.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use crate::page;

/// A failure of a handler; the first two are the visitor's to mend, and say how.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the system gave no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl AppError {
    pub(crate) fn no_product(id: i64) -> Self {
        Self::NotFound(format!("there is no product {id}"))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Database(_) | Self::Random(_) => {
                // The details are for the log; a visitor could do nothing with them.
                tracing::error!("{self}");
                let message = "something broke on our side; please try again";
                return (StatusCode::INTERNAL_SERVER_ERROR, message).into_response();
            }
        };
        (status, self.to_string()).into_response()
    }
}

/// The longest message that is dressed.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// Turns a plain failure into a page or into JSON, as the request's `Accept` has it.
pub(crate) async fn dress(request: Request, next: Next) -> Response {
    let wants_page = accepts_html(request.headers());
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }

    let (mut head, body) = response.into_parts();
    let message = match to_bytes(body, LONGEST_MESSAGE).await {
        Ok(bytes) if !bytes.is_empty() => String::from_utf8_lossy(&bytes).into_owned(),
        _ => plain_sentence(status),
    };
    let dressed = if wants_page {
        error_page(status, &message).into_response()
    } else {
        Json(json!({ "error": message })).into_response()
    };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.extend(dressed.headers().clone());
    Response::from_parts(head, Body::new(dressed.into_body()))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

fn plain_sentence(status: StatusCode) -> String {
    match status {
        StatusCode::NOT_FOUND => "there is no such page".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "this address does not answer that method".to_owned(),
        _ => status.to_string(),
    }
}

fn error_page(status: StatusCode, message: &str) -> maud::Markup {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        status if status.is_client_error() => "That did not work",
        _ => "Our fault",
    };
    let body = html! {
        section.notice {
            p.eyebrow { (status.as_u16()) }
            h1 { (title) }
            p { (message) }
            p { a.button href="/products" { "Browse all products" } }
        }
    };
    page::frame(title, page::Here::Elsewhere, &body)
}
