//! The keys that have entries: searched, and page by page.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::{LONGEST_WALK, clear_link, key_link, token_pill};
use crate::admin::Admin;
use crate::admin::shell::{self, encoded};
use crate::admin::visit::Visit;
use crate::admin::words::{count, counted};
use crate::backend::is_glob;
use crate::error::BackendError;
use crate::inspect::{Inspect, KeyLine, KeyPage};

/// Keys of one page, about.
const MOST: usize = 50;

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Asked {
    #[serde(default)]
    search: String,
    from: Option<String>,
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
        Ok(page) => shell::view(&admin, &visit, ("keys", "Keys"), &page, || {
            content(&page, &asked, &visit)
        }),
        Err(why) => shell::failed(&admin, &visit, &why),
    }
}

/// A text without glob characters means the key itself, and every key that has it somewhere.
async fn find(inspect: &dyn Inspect, asked: &Asked) -> Result<KeyPage, BackendError> {
    let text = asked.search.trim();
    let from = asked.from.as_deref();
    if text.is_empty() {
        return walk(inspect, "*", from).await;
    }
    if is_glob(text) {
        return walk(inspect, text, from).await;
    }
    let mut page = walk(inspect, &format!("*{text}*"), from).await?;
    if from.is_none() {
        let mut exact = inspect.keys(text, None, MOST).await?.keys;
        page.keys.retain(|line| line.key != text);
        exact.append(&mut page.keys);
        page.keys = exact;
    }
    Ok(page)
}

/// What several partitions have, as one page.
async fn walk(
    inspect: &dyn Inspect,
    glob: &str,
    from: Option<&str>,
) -> Result<KeyPage, BackendError> {
    let began = Instant::now();
    let mut page = inspect.keys(glob, from, MOST).await?;
    while page.keys.len() < MOST
        && let Some(from) = page.next.take_if(|_| began.elapsed() < LONGEST_WALK)
    {
        let more = inspect
            .keys(glob, Some(&from), MOST - page.keys.len())
            .await?;
        for line in more.keys {
            let is_known =
                |known: &KeyLine| (&known.key, &known.version) == (&line.key, &line.version);
            if !page.keys.iter().any(is_known) {
                page.keys.push(line);
            }
        }
        page.looked_at += more.looked_at;
        page.next = more.next;
    }
    page.keys
        .sort_by(|a, b| (&a.key, &a.version).cmp(&(&b.key, &b.version)));
    Ok(page)
}

fn content(page: &KeyPage, asked: &Asked, visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "Key" }
        th.number scope="col" { "Entries" }
        th scope="col" { "Token" }
        th scope="col" { "Build" }
        th { span.unseen { "Clear" } }
    };
    let body = html! {
        @for line in &page.keys {
            tr {
                th scope="row" { (key_link(visit, &line.key)) }
                td.number { (count(line.entries)) }
                td { (token_pill(line.token)) }
                td { code { (line.version) } @if !line.own { " " span.pill.dim { "another" } } }
                td.act { (clear_link(visit, &line.key)) }
            }
        }
    };
    html! {
        h1 { "Keys" }
        form.search role="search" method="get" action={ (visit.base) "/keys" } {
            label for="search" { "Search" }
            input #search type="search" name="search" value=(asked.search) placeholder="product:7, or product:*" autocomplete="off" spellcheck="false";
            button.button type="submit" { "Search" }
        }
        @if page.keys.is_empty() {
            p.empty {
                @if page.next.is_some() { "Nothing so far; the search goes on on the next page." }
                @else if asked.search.trim().is_empty() { "No key has an entry." }
                @else { "No key has an entry and this name. A tag has no entries of its own: clear it under " a href={ (visit.base) "/clears" } { "clears" } "." }
            }
        } @else {
            (shell::table("Keys with entries", &head, &body))
        }
        p.paging {
            span.note {
                (counted(page.keys.len() as u64, "key", "keys")) " on this page"
                @if let (Some(names), true) = (page.names, page.looked_at > 0) {
                    ", " (counted(page.looked_at.min(names), "name", "names")) " looked at of " (count(names))
                }
            }
            @if asked.from.is_some() {
                a.button href={ (visit.base) "/keys?search=" (encoded(&asked.search)) } { "First page" }
            }
            @if let Some(next) = &page.next {
                a.button rel="next" href={ (visit.base) "/keys?search=" (encoded(&asked.search)) "&from=" (encoded(next)) } { "Next page" }
            }
        }
    }
}
