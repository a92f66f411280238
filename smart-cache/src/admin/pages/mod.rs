//! The views, one file each.

pub(super) mod clears;
pub(super) mod entry;
pub(super) mod handlers;
pub(super) mod key;
pub(super) mod keys;
pub(super) mod overview;
pub(super) mod question;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use maud::{Markup, html};

use super::visit::Visit;
use super::{Admin, Role, shell};
use crate::inspect::{EntryState, TokenState};

/// How long a page goes on to look for something to show: what a backend gives at once is of one build
/// in one partition, and may be nothing.
const LONGEST_WALK: Duration = Duration::from_millis(400);

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
        a.key href={ (visit.base) "/key?key=" (shell::encoded(key)) } title=[is_long(key).then_some(key)] { (short(key)) }
    }
}

/// A key or tag in a list, where one must not take the place of all others.
fn name(key: &str) -> Markup {
    html! { span.key title=[is_long(key).then_some(key)] { (short(key)) } }
}

/// Characters of a name that a list shows, and how many of them are its end: there keys differ.
const MOST_SHOWN: usize = 120;
const END_SHOWN: usize = 40;

fn is_long(name: &str) -> bool {
    name.chars().nth(MOST_SHOWN).is_some()
}

fn short(name: &str) -> Cow<'_, str> {
    if !is_long(name) {
        return name.into();
    }
    let all: Vec<char> = name.chars().collect();
    let (start, end) = (
        &all[..MOST_SHOWN - END_SHOWN],
        &all[all.len() - END_SHOWN..],
    );
    start.iter().chain([&'…']).chain(end).copied().collect()
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

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_long_name_is_cut_in_its_middle_and_between_characters() {
        assert_eq!(short("product:7"), "product:7");
        let just = "ü".repeat(120);
        assert_eq!(short(&just), just);
        let long = format!("begin{}end", "ü".repeat(200));
        let cut = short(&long);
        assert_eq!(cut.chars().count(), 121, "{cut}");
        assert!(cut.starts_with("beginü") && cut.ends_with("üend"), "{cut}");
    }
}
