//! The entries under one key.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::{LONGEST_WALK, clear_link, state_pill};
use crate::admin::Admin;
use crate::admin::shell::{self, encoded};
use crate::admin::visit::Visit;
use crate::admin::words::{ago, bytes, duration};
use crate::error::BackendError;
use crate::inspect::{EntryPage, EntryState, Inspect};

/// Entries of one page, about.
const MOST: usize = 100;

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Asked {
    key: String,
    from: Option<String>,
}

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
    #[serde(flatten)]
    page: &'a EntryPage,
}

pub(in crate::admin) async fn show(
    State(admin): State<Arc<Admin>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Response {
    let page = match admin.cache.inspect() {
        Ok(inspect) => find(inspect, &asked).await,
        Err(why) => Err(why),
    };
    match page {
        Ok(page) => {
            let data = Key {
                key: &asked.key,
                page: &page,
            };
            shell::view(&admin, &visit, ("key", &asked.key), &data, || {
                content(&page, &asked, &visit)
            })
        }
        Err(why) => shell::failed(&admin, &visit, &why),
    }
}

/// What several builds and partitions have of the key, as one page.
async fn find(inspect: &dyn Inspect, asked: &Asked) -> Result<EntryPage, BackendError> {
    let began = Instant::now();
    let mut page = inspect
        .entries(&asked.key, asked.from.as_deref(), MOST)
        .await?;
    while page.entries.len() < MOST
        && let Some(from) = page.next.take_if(|_| began.elapsed() < LONGEST_WALK)
    {
        let room = MOST - page.entries.len();
        let more = inspect.entries(&asked.key, Some(&from), room).await?;
        page.entries.extend(more.entries);
        page.next = more.next;
    }
    page.entries
        .sort_by(|a, b| (&a.request, &a.version).cmp(&(&b.request, &b.version)));
    Ok(page)
}

fn content(page: &EntryPage, asked: &Asked, visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "Request" }
        th scope="col" { "State" }
        th.number scope="col" { "Status" }
        th.number scope="col" { "Size" }
        th scope="col" { "Made" }
        th.number scope="col" { "Handler took" }
        th scope="col" { "Lives" }
        th scope="col" { "Build" }
    };
    let body = html! {
        @for line in &page.entries {
            tr {
                th scope="row" {
                    a.key href={ (visit.base) "/entry?version=" (encoded(&line.version)) "&id=" (line.id.hex()) } {
                        @if line.request.is_empty() { (line.id.hex()) } @else { (line.request) }
                    }
                }
                td { (state_pill(line.state)) }
                td.number { @match line.status { Some(status) => (status), None => "–" } }
                td.number { (bytes(line.bytes)) }
                td { @match line.created { Some(created) => (ago(created)), None => "–" } }
                td.number { (duration(line.took)) }
                td.brief { @match (line.state, line.ttl) { (EntryState::Dead, _) => "–", (_, Some(ttl)) => { "for " (duration(ttl)) }, _ => "for ever" } }
                td { code { (line.version) } }
            }
        }
    };
    html! {
        p.crumbs { a href={ (visit.base) "/keys" } { "Keys" } }
        div.title {
            h1 { span.key { (asked.key) } }
            (clear_link(visit, &asked.key))
        }
        @if page.entries.is_empty() {
            p.empty {
                @if page.next.is_some() { "Nothing so far; the walk goes on on the next page." } @else { "No entries: it was cleared, or it is a tag. A tag has no entries of its own." }
            }
        } @else {
            (shell::table("Entries under the key", &head, &body))
        }
        @if let Some(next) = &page.next {
            p.paging {
                a.button rel="next" href={ (visit.base) "/key?key=" (encoded(&asked.key)) "&from=" (encoded(next)) } { "Next page" }
            }
        }
    }
}
