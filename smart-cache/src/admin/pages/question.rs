//! A question before anything is cleared, and the clear.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::shell;
use crate::admin::visit::Visit;
use crate::admin::words::counted;
use crate::admin::{Admin, Role};

/// What is to be cleared.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// A key or a tag.
    Key,
    All,
}

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Asked {
    what: What,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Answered {
    what: What,
    #[serde(default)]
    name: String,
    #[serde(default)]
    token: String,
    /// Only for everything: a box that has to be ticked.
    sure: Option<String>,
}

/// What is asked, and what an answer needs besides.
#[derive(Serialize)]
struct Question<'a> {
    what: What,
    /// The key or tag; nothing when everything is meant.
    name: Option<&'a str>,
    namespace: &'a str,
    /// Entries of its own that a key has; nothing where that is not known, or everything is meant.
    entries: Option<u64>,
    /// What `POST clear` has to bring, beside the cookie of the same value.
    token: &'a str,
}

pub(in crate::admin) async fn ask(
    State(admin): State<Arc<Admin>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Response {
    if visit.role < Role::Full {
        let text = "This account may look and not clear.";
        return shell::message(&admin, &visit, StatusCode::FORBIDDEN, "Not allowed", text);
    }
    let (name, entries) = match asked.what {
        What::All => (None, None),
        What::Key if asked.name.is_empty() => return nameless(&admin, &visit),
        What::Key => (Some(&*asked.name), entries_of(&admin, &asked.name).await),
    };
    let question = Question {
        what: asked.what,
        name,
        namespace: &admin.cache.inner.config.namespace,
        entries,
        token: &visit.token,
    };
    let names = ("question", "Clear");
    shell::view(&admin, &visit, names, &question, || {
        question.name.map_or_else(
            || all(&question, &visit),
            |name| one(name, &question, &visit),
        )
    })
}

/// How many entries a key has of its own, in all builds.
async fn entries_of(admin: &Admin, name: &str) -> Option<u64> {
    let inspect = admin.cache.inspect().ok()?;
    let page = inspect.keys(&literal(name), None, 1).await.ok()?;
    Some(page.keys.iter().map(|line| line.entries).sum())
}

fn nameless(admin: &Admin, visit: &Visit) -> Response {
    let text = "An empty name names nothing: give the key or tag that is to be cleared.";
    shell::message(admin, visit, StatusCode::BAD_REQUEST, "Clear what?", text)
}

fn one(name: &str, question: &Question<'_>, visit: &Visit) -> Markup {
    html! {
        h1 { "Clear " span.key { (name) } "?" }
        p.lead {
            @match question.entries {
                Some(0) => "It has no entries of its own; as a tag it may be what others depend on. ",
                Some(entries) => { "It has " (counted(entries, "entry", "entries")) ". " }
                None => "What it has cannot be told at the moment. ",
            }
            "Every answer that depends on it is gone at once, on every node, and its handlers run again when they are asked."
        }
        form method="post" action={ (visit.base) "/clear" } {
            input type="hidden" name="what" value="key";
            input type="hidden" name="name" value=(name);
            input type="hidden" name="token" value=(visit.token);
            p.actions {
                button.button.danger type="submit" { "Clear it" }
                a.button href={ (visit.base) "/key?key=" (shell::encoded(name)) } { "Keep it" }
            }
        }
    }
}

/// A name with its glob characters standing for themselves, if it has any.
fn literal(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for char in name.chars() {
        if matches!(char, '*' | '?' | '[' | '\\') {
            glob.push('\\');
        }
        glob.push(char);
    }
    glob
}

fn all(question: &Question<'_>, visit: &Visit) -> Markup {
    html! {
        h1 { "Clear everything?" }
        p.lead {
            "Every entry of the namespace " span.key { (question.namespace) }
            " is gone at once, on every node. Every handler runs again for everything that it is asked: expect the load of a cold start. Nothing else in the same Redis is touched."
        }
        form method="post" action={ (visit.base) "/clear" } {
            input type="hidden" name="what" value="all";
            input type="hidden" name="token" value=(visit.token);
            p { label.tick { input type="checkbox" name="sure" value="yes" required; " I mean everything" } }
            p.actions {
                button.button.danger type="submit" { "Clear everything" }
                a.button href={ (visit.base) "/overview" } { "Keep it" }
            }
        }
    }
}

/// The guard has looked at the role and at where the request comes from.
pub(in crate::admin) async fn clear(
    State(admin): State<Arc<Admin>>,
    visit: Visit,
    Form(answered): Form<Answered>,
) -> Response {
    if !visit.vouches_for(&answered.token) {
        let text = "The form is too old, or not from this page. Go back, reload, and try again.";
        return shell::message(&admin, &visit, StatusCode::FORBIDDEN, "Not cleared", text);
    }
    let (outcome, what) = match answered.what {
        What::All if answered.sure.is_none() => {
            let text = "Tick the box to clear everything.";
            return shell::message(&admin, &visit, StatusCode::BAD_REQUEST, "Not cleared", text);
        }
        What::All => (admin.cache.clear_all().await, "everything".to_owned()),
        What::Key if answered.name.is_empty() => return nameless(&admin, &visit),
        What::Key => (admin.cache.clear(&answered.name).await, answered.name),
    };
    tracing::info!(%what, acknowledged = outcome.is_ok(), "cleared from the admin page");
    if let Err(why) = outcome {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return shell::message(&admin, &visit, status, "Not acknowledged", &why.to_string());
    }
    if visit.wants_json {
        return Json(json!({ "cleared": what })).into_response();
    }
    let back = format!("{}/clears?cleared={}", visit.base, shell::encoded(&what));
    Redirect::to(&back).into_response()
}
