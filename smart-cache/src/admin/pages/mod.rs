//! The views, one file each.

pub(super) mod clears;
pub(super) mod entry;
pub(super) mod handlers;
pub(super) mod key;
pub(super) mod keys;
pub(super) mod overview;
pub(super) mod question;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use maud::{Markup, html};

use super::visit::Visit;
use super::{Admin, Role, shell};
use crate::inspect::{EntryState, TokenState};

pub(super) async fn not_found(State(admin): State<Arc<Admin>>, visit: Visit, uri: Uri) -> Response {
    let text = format!("There is no view at {}.", uri.path());
    shell::message(&admin, &visit, StatusCode::NOT_FOUND, "Not found", &text)
}

/// The way to a question, for those who may clear.
fn clear_link(visit: &Visit, name: &str) -> Markup {
    html! {
        @if visit.role == Role::Full {
            a.button.small href={ (visit.base) "/question?what=key&name=" (shell::encoded(name)) } aria-label={ "Clear " (name) } { "Clear…" }
        }
    }
}

fn key_link(visit: &Visit, key: &str) -> Markup {
    html! {
        a.key href={ (visit.base) "/key?key=" (shell::encoded(key)) } { (key) }
    }
}

fn state_pill(state: EntryState) -> Markup {
    let kind = match state {
        EntryState::Current => "good",
        EntryState::Settling | EntryState::Expired | EntryState::Held => "warn",
        EntryState::Dead => "dim",
        EntryState::Unreadable => "bad",
    };
    html! { span class={ "pill " (kind) } { (state.as_str()) } }
}

fn token_pill(state: TokenState) -> Markup {
    match state {
        TokenState::Valid => html! { span.pill.good { "valid" } },
        TokenState::Missing => html! { span.pill.dim { "cleared" } },
        TokenState::Held => html! { span.pill.warn { "held" } },
    }
}
