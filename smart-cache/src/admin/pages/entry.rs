//! One stored response, shown and never executed.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::{clear_link, key_link, name, state_pill, token_pill};
use crate::admin::Admin;
use crate::admin::shell;
use crate::admin::visit::Visit;
use crate::admin::words::{ago, bytes, duration};
use crate::entry::EntryId;
use crate::inspect::{EntryState, EntryView};

/// Bytes of a body that are shown: of text, and of anything else.
const MOST_TEXT: usize = 16 << 10;
const MOST_BINARY: usize = 512;

#[derive(Debug, Deserialize)]
pub(in crate::admin) struct Asked {
    version: String,
    id: String,
}

/// The beginning of a body, as text.
#[derive(Serialize)]
struct Preview {
    body_bytes: usize,
    /// `text` or `hex`.
    kind: &'static str,
    preview: String,
    is_cut: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a EntryView,
    #[serde(flatten)]
    body: &'a Preview,
}

pub(in crate::admin) async fn show(
    State(admin): State<Arc<Admin>>,
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(id) = EntryId::parse(&asked.id) else {
        let text = "An entry's name is forty hex digits.";
        return shell::message(
            &admin,
            &visit,
            StatusCode::BAD_REQUEST,
            "No such entry",
            text,
        );
    };
    let found = match admin.cache.inspect() {
        Ok(inspect) => inspect.entry(&asked.version, id).await,
        Err(why) => Err(why),
    };
    match found {
        Ok(Some(entry)) => {
            let body = Preview::of(&entry.body);
            let data = Shown {
                entry: &entry,
                body: &body,
            };
            shell::view(&admin, &visit, ("entry", &entry.key), &data, || {
                content(&entry, &body, &visit)
            })
        }
        Ok(None) => {
            let text = "It was reclaimed, evicted, or has expired since the list was made.";
            shell::message(
                &admin,
                &visit,
                StatusCode::NOT_FOUND,
                "The entry is gone",
                text,
            )
        }
        Err(why) => shell::failed(&admin, &visit, &why),
    }
}

impl Preview {
    fn of(body: &[u8]) -> Self {
        let start = &body[..body.len().min(MOST_TEXT)];
        // A character may have been cut in two at the end.
        let text = match std::str::from_utf8(start) {
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() && start.len() < body.len() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let is_plain = |text: &&str| {
            !text
                .chars()
                .any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
        };
        match text.filter(is_plain) {
            Some(text) => Self {
                body_bytes: body.len(),
                kind: "text",
                preview: text.to_owned(),
                is_cut: text.len() < body.len(),
            },
            None => Self {
                body_bytes: body.len(),
                kind: "hex",
                preview: hex(&body[..body.len().min(MOST_BINARY)]),
                is_cut: body.len() > MOST_BINARY,
            },
        }
    }
}

/// Sixteen bytes in a line, with what of them is ASCII.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    for (at, line) in bytes.chunks(16).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:04x}  ", at * 16);
        for place in 0..16 {
            let _ = match line.get(place) {
                Some(byte) => write!(text, "{byte:02x} "),
                None => write!(text, "   "),
            };
        }
        text.push(' ');
        text.extend(line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
        text.push('\n');
    }
    text
}

fn content(entry: &EntryView, body: &Preview, visit: &Visit) -> Markup {
    let line = &entry.line;
    html! {
        p.crumbs { a href={ (visit.base) "/keys" } { "Keys" } " / " (key_link(visit, &entry.key)) }
        div.title {
            h1 {
                span.key { @if line.request.is_empty() { (line.id.hex()) } @else { (line.request) } }
            }
            (clear_link(visit, &entry.key))
        }
        dl.facts.wide {
            dt { "State" } dd { (state_pill(line.state)) }
            @if let Some(status) = line.status { dt { "Status" } dd { (status) } }
            dt { "Size" } dd { (bytes(line.bytes)) " stored, body " (bytes(body.body_bytes as u64)) }
            @if let Some(created) = line.created { dt { "Made" } dd { (ago(created)) " by a handler that took " (duration(line.took)) } }
            dt { "Lives" }
            dd {
                @match (line.state, line.ttl) {
                    (EntryState::Dead, _) => "no more: the sweep frees it, or a new answer takes its place",
                    (_, Some(ttl)) => { "for " (duration(ttl)) " more" },
                    _ => "until it is cleared",
                }
            }
            dt { "Build" } dd { code { (line.version) } }
            dt { "Name" } dd { code.long { (line.id.hex()) } }
        }
        section aria-labelledby="tokens" {
            h2 #tokens { "Depends on" }
            (tokens(entry, visit))
        }
        section aria-labelledby="headers" {
            h2 #headers { "Headers" }
            (headers(entry))
        }
        section aria-labelledby="body" {
            h2 #body { "Body" }
            @if body.body_bytes == 0 {
                p.empty { "Empty." }
            } @else {
                pre.body tabindex="0" aria-label="Body" { (body.preview) }
                @if body.is_cut { p.note { "Only the beginning is shown." } }
            }
        }
    }
}

fn tokens(entry: &EntryView, visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "Key or tag" }
        th scope="col" { "Token" }
        th scope="col" { "Since" }
        th { span.unseen { "Clear" } }
    };
    let body = html! {
        @for token in &entry.tokens {
            tr {
                th scope="row" {
                    @if token.name.is_empty() { span.dim { "the namespace" } }
                    @else {
                        (name(&token.name))
                        @if token.found { " " span.pill.dim { "found by the handler" } }
                    }
                }
                td { (token_pill(token.state)) }
                td { @match token.minted { Some(minted) => (ago(minted)), None => "–" } }
                td.act { @if !token.name.is_empty() { (clear_link(visit, &token.name)) } }
            }
        }
    };
    shell::table("What the entry depends on", &head, &body)
}

fn headers(entry: &EntryView) -> Markup {
    let head = html! { th scope="col" { "Name" } th scope="col" { "Value" } };
    let body = html! {
        @for (name, value) in &entry.headers {
            tr { th scope="row" { code { (name) } } td { code { (value) } } }
        }
    };
    html! {
        @if entry.headers.is_empty() {
            p.empty { "None that could be read." }
        } @else {
            (shell::table("Stored headers", &head, &body))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_text_where_it_is_text() {
        assert_eq!(Preview::of("grün\n".as_bytes()).preview, "grün\n");
        let long = "ü".repeat(MOST_TEXT);
        let cut = Preview::of(&long.as_bytes()[1..]);
        assert_eq!(cut.kind, "hex", "it begins in the middle of a character");
        let cut = Preview::of(format!("x{long}").as_bytes());
        assert_eq!((cut.kind, cut.is_cut), ("text", true));
        let binary = Preview::of(b"\x00PNG\xff");
        assert_eq!(binary.kind, "hex");
        assert!(
            binary.preview.starts_with("0000  00 50 4e 47 ff"),
            "{}",
            binary.preview
        );
        assert!(binary.preview.trim_end().ends_with(".PNG."));
    }
}
