//! Every cached handler of the program, and what became of its requests.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Serialize;

use crate::admin::Admin;
use crate::admin::gather;
use crate::admin::shell;
use crate::admin::visit::Visit;
use crate::admin::words::{ago, bytes, count, counted, duration, share};
use crate::inspect::HandlerReport;

/// So many handlers that were never asked are shown at once, where no other one was.
const FEW: usize = 30;

#[derive(Serialize)]
struct Handlers {
    handlers: Vec<HandlerReport>,
}

pub(in crate::admin) async fn show(State(admin): State<Arc<Admin>>, visit: Visit) -> Response {
    let handlers = gather::handlers(&admin.cache).await;
    let data = Handlers { handlers };
    shell::view(&admin, &visit, ("handlers", "Handlers"), &data, || {
        content(&data.handlers, &visit)
    })
}

fn content(handlers: &[HandlerReport], visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "Key" }
        th scope="col" { "Route" }
        th.number scope="col" { "Hits" }
        th.number scope="col" { "Misses" }
        th.number scope="col" { "Joined" }
        th.number scope="col" { "Hit ratio" }
        th scope="col" { "Bypasses" }
        th.number scope="col" { "Time saved" }
        th.number scope="col" { "Stored" }
        th scope="col" { "Last asked" }
    };
    let (asked, quiet): (Vec<_>, Vec<_>) = handlers
        .iter()
        .partition(|handler| handler.total.requests() > 0);
    let body = |handlers: &[&HandlerReport]| {
        html! { @for handler in handlers { (row(handler, visit)) } }
    };
    html! {
        h1 { "Handlers" }
        p.lead { "Every cached handler that is linked into this program, with the requests of the whole fleet since each process's start." }
        @if handlers.is_empty() {
            p.empty { "No handler of this program is annotated with " code { "#[smart_cache]" } "." }
        }
        @if !asked.is_empty() {
            (shell::table("Cached handlers", &head, &body(&asked)))
        }
        @if !quiet.is_empty() {
            details open[asked.is_empty() && quiet.len() <= FEW] {
                summary { (counted(quiet.len() as u64, "handler that was", "handlers that were")) " never asked" }
                (shell::table("Cached handlers that were never asked", &head, &body(&quiet)))
            }
        }
    }
}

fn row(handler: &HandlerReport, visit: &Visit) -> Markup {
    let total = &handler.total;
    let asked = handler
        .asked_ms
        .and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
    html! {
        tr {
            th scope="row" {
                a.key href={ (visit.base) "/keys?search=" (shell::encoded(&glob_of(&handler.key))) } { (handler.key) }
                div.note { (handler.handler) }
            }
            td {
                @if handler.routes.is_empty() { span.dim { "–" } }
                @for route in &handler.routes { code { (route) } " " }
            }
            td.number { (count(total.hits)) }
            td.number { (count(total.misses)) }
            td.number { (count(total.collapsed)) }
            td.number { (share(total.hit_ratio())) }
            td {
                @if total.bypasses.is_empty() { span.dim { "none" } }
                @for (reason, number) in &total.bypasses {
                    span.reason { (reason) " " b { (count(*number)) } } " "
                }
            }
            td.number { (duration(Duration::from_micros(total.saved_us))) }
            td.number { (count(total.stored)) div.note { (bytes(total.stored_bytes)) } }
            td { @match asked { Some(asked) => (ago(asked)), None => span.dim { "never" } } }
        }
    }
}

/// `product:{id}` as a search for the keys that it makes.
fn glob_of(template: &str) -> String {
    let mut glob = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        glob.push_str(before);
        glob.push('*');
        rest = behind.split_once('}').map_or("", |(_, rest)| rest);
    }
    glob + rest
}

#[cfg(test)]
mod tests {
    use super::glob_of;

    #[test]
    fn a_template_is_searched_by_its_fixed_parts() {
        assert_eq!(glob_of("product:{id}"), "product:*");
        assert_eq!(glob_of("{a}:x:{b.c}"), "*:x:*");
        assert_eq!(glob_of("home"), "home");
    }
}
