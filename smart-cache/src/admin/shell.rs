//! What surrounds every view, and its twin in JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;
use serde_json::json;

use super::assets::VERSION;
use super::visit::Visit;
use super::{Admin, Role};
use crate::error::BackendError;

/// The views in the navigation.
const VIEWS: [(&str, &str); 4] = [
    ("overview", "Overview"),
    ("handlers", "Handlers"),
    ("keys", "Keys"),
    ("clears", "Clears"),
];

/// The view in the navigation that a page belongs to.
fn tab(name: &str) -> &str {
    match name {
        "key" | "entry" => "keys",
        "question" => "clears",
        other => other,
    }
}

/// A view as it was asked for: a page, or the same as JSON.
pub(super) fn view(
    admin: &Admin,
    visit: &Visit,
    (name, title): (&str, &str),
    data: &impl Serialize,
    content: impl FnOnce() -> Markup,
) -> Response {
    if visit.wants_json {
        return Json(data).into_response();
    }
    page(admin, visit, (name, title), &content()).into_response()
}

/// The whole document.
pub(super) fn page(
    admin: &Admin,
    visit: &Visit,
    (name, title): (&str, &str),
    content: &Markup,
) -> Markup {
    let base = &visit.base;
    let namespace = &admin.cache.inner.config.namespace;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · smart-cache" }
                link rel="icon" href={ (base) "/icon.svg?" (*VERSION) };
                link rel="stylesheet" href={ (base) "/style.css?" (*VERSION) };
                script src={ (base) "/script.js?" (*VERSION) } defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href={ (base) "/overview" } {
                        svg.mark viewBox="0 0 24 24" aria-hidden="true" {
                            circle.ring cx="12" cy="12" r="9" {}
                            circle.dot cx="12" cy="12" r="3.5" {}
                        }
                        span { "smart-cache" }
                    }
                    nav aria-label="Views" {
                        @for (view, label) in VIEWS {
                            a href={ (base) "/" (view) } aria-current=[(view == tab(name)).then_some("page")] { (label) }
                        }
                    }
                    p.where {
                        span.namespace { (namespace) }
                        @if visit.role < Role::Full { " " span.pill { "read only" } }
                    }
                }
                main #main tabindex="-1" {
                    (content)
                }
                footer {
                    "Read from the cache itself."
                    // A page that only says something is no view.
                    @if !name.is_empty() {
                        " The same as JSON: "
                        a href={ (base) "/" (name) ".json" (visit.query) } { (name) ".json" }
                    }
                }
            }
        }
    }
}

/// A page that only says something.
pub(super) fn message(
    admin: &Admin,
    visit: &Visit,
    status: StatusCode,
    title: &str,
    text: &str,
) -> Response {
    if visit.wants_json {
        return (status, Json(json!({ "error": text }))).into_response();
    }
    let content = html! {
        h1 { (title) }
        p.notice.bad role="alert" { (text) }
        p { a.button href={ (visit.base) "/overview" } { "To the overview" } }
    };
    (status, page(admin, visit, ("", title), &content)).into_response()
}

/// The backend did not answer.
pub(super) fn failed(admin: &Admin, visit: &Visit, why: &BackendError) -> Response {
    let status = match why {
        BackendError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        BackendError::Protocol(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    message(
        admin,
        visit,
        status,
        "The cache did not answer",
        &why.to_string(),
    )
}

/// A table that scrolls by itself where it does not fit.
pub(super) fn table(label: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { (head) } }
                tbody { (body) }
            }
        }
    }
}

/// Percent-encodes a value of a query.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
