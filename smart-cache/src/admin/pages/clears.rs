//! What was cleared lately, what is still to be, and the way to clear a key or a tag by its name.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::name;
use crate::admin::shell;
use crate::admin::visit::Visit;
use crate::admin::words::{ago, count, counted, duration};
use crate::admin::{Admin, Role};
use crate::error::BackendError;
use crate::inspect::ClearNote;

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Asked {
    /// What was cleared a moment ago, to be said.
    cleared: Option<String>,
}

#[derive(Serialize)]
struct Clears {
    /// Keys and tags whose clear this process repeats; at most 100 of them.
    pending: Vec<String>,
    recent: Vec<ClearNote>,
    /// Why the recent ones cannot be told.
    trouble: Option<String>,
}

pub(in crate::admin) async fn show(
    State(admin): State<Arc<Admin>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Response {
    // While the backend does not answer, what is pending matters most; this process knows it.
    let (recent, trouble) = match admin.cache.recent_clears().await {
        Ok(recent) => (recent, None),
        Err(why @ BackendError::Unsupported(_)) => return shell::failed(&admin, &visit, &why),
        Err(why) => (Vec::new(), Some(why.to_string())),
    };
    let data = Clears {
        pending: admin.cache.inner.pending.names(),
        recent,
        trouble,
    };
    shell::view(&admin, &visit, ("clears", "Clears"), &data, || {
        content(&data, &asked, &visit)
    })
}

fn content(data: &Clears, asked: &Asked, visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "When" }
        th scope="col" { "Cleared" }
        th scope="col" { "Freed" }
        th.number scope="col" { "Took" }
        th scope="col" { "Process" }
    };
    let body = html! { @for note in &data.recent { (row(note)) } };
    html! {
        h1 { "Clears" }
        @if let Some(cleared) = &asked.cleared {
            p.notice.good role="status" { strong { "Cleared: " } (cleared) ". No request gets an answer from before it." }
        }
        @if let Some(trouble) = &data.trouble {
            p.notice.bad { strong { "The backend did not answer. " } (trouble) ". What was cleared lately cannot be told." }
        }
        @if visit.role == Role::Full {
            form.search method="get" action={ (visit.base) "/question" } {
                input type="hidden" name="what" value="key";
                label for="name" { "Clear a key or tag" }
                input #name name="name" required placeholder="products" autocomplete="off" spellcheck="false";
                button.button type="submit" { "Clear…" }
                a.button.danger href={ (visit.base) "/question?what=all" } { "Everything…" }
            }
        }
        @if !data.pending.is_empty() {
            section aria-labelledby="pending" {
                h2 #pending { "Not acknowledged yet" }
                p.notice.warn { "This process neither serves nor stores entries under these, and repeats their clears until they land." }
                ul.plain { @for pending in &data.pending { li { (name(pending)) } } }
            }
        }
        @if data.trouble.is_none() {
            section aria-labelledby="recent" {
                h2 #recent { "Lately" }
                @if data.recent.is_empty() {
                    p.empty { "Nothing was cleared." }
                } @else {
                    (shell::table("Recent clears", &head, &body))
                    p.note { "The newest 200 clears of all processes. Entries under a tag are freed by the sweep, or overwritten." }
                }
            }
        }
    }
}

fn row(note: &ClearNote) -> Markup {
    html! {
        tr {
            th scope="row" { (ago(note.at)) }
            td.names {
                @if note.all { span.pill.warn { "everything" } }
                @if note.soft { span.pill title="shown until it is made anew" { "soft" } " " }
                @for key in &note.keys { (name(key)) " " }
                @if note.more_keys > 0 { span.dim { "and " (count(note.more_keys)) " more " } }
                @if !note.acknowledged { span.pill.bad { "not acknowledged, repeated" } }
                @if note.unnoted > 0 { div.note { "and " (counted(note.unnoted, "clear", "clears")) " more in that second" } }
            }
            td { (freed(note)) }
            td.number { (duration(note.took)) }
            td { (note.process) }
        }
    }
}

/// What went at once, and how long it had lived.
fn freed(note: &ClearNote) -> Markup {
    html! {
        @match &note.freed {
            _ if note.soft => span.dim { "nothing: shown until made anew" },
            Some(freed) if freed.entries > 0 => {
                (counted(freed.entries, "entry", "entries"))
                div.note { "lived " (duration(freed.mean())) " on average, " (duration(freed.longest)) " at most" }
            }
            Some(_) => span.dim title="what depended on it as on a tag goes with the sweep" { "none at once" },
            None => span.dim { "by the sweep" },
        }
    }
}
