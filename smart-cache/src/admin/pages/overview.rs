//! What the operator sees first: is it well, and what does it do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::admin::gather::{Overview, mean};
use crate::admin::history::Seen;
use crate::admin::plot::plot;
use crate::admin::shell;
use crate::admin::visit::Visit;
use crate::admin::words::{ago, bytes, count, counted, duration, rate, share};
use crate::admin::{Admin, Role};
use crate::inspect::{Facts, ProcessReport, TokenState};

pub(in crate::admin) async fn show(State(admin): State<Arc<Admin>>, visit: Visit) -> Response {
    let seen = admin.watch.now().await;
    shell::view(&admin, &visit, ("overview", "Overview"), &*seen, || {
        html! {
            h1 { "Overview" }
            div data-live={ (visit.base) "/live" } { (live(&seen, &visit)) }
            @if visit.role == Role::Full {
                p.actions {
                    a.button.danger href={ (visit.base) "/question?what=all" } { "Clear everything…" }
                }
            }
        }
    })
}

/// The part that changes by itself.
pub(in crate::admin) fn live(seen: &Seen, visit: &Visit) -> Markup {
    let overview = &seen.overview;
    html! {
        @if let Some(trouble) = &overview.trouble {
            p.notice.bad { strong { "The backend did not answer. " } (trouble) ". Handlers run; the numbers below are this process's own." }
        } @else if !overview.available {
            p.notice.bad { strong { "No connection. " } "Every handler runs until the backend is back." }
        }
        @if overview.pending_clears > 0 {
            p.notice.warn {
                strong { (counted(overview.pending_clears, "clear is", "clears are")) " not acknowledged. " }
                "Their keys are not served by the processes that cleared them, and the clears are being repeated."
            }
        }
        (numbers(seen))
        div.columns {
            (health(overview))
            @if let Some(facts) = &overview.facts { (server(facts, &overview.backend)) }
        }
        (fleet(&overview.fleet, visit))
        @if let Some(facts) = &overview.facts { (builds(facts)) }
    }
}

fn numbers(seen: &Seen) -> Markup {
    let (overview, samples) = (&seen.overview, &seen.samples);
    let last = samples.last();
    let lookups: u64 = overview.fleet.iter().map(|process| process.lookups).sum();
    let lookup_time: Duration = overview
        .fleet
        .iter()
        .map(|process| process.lookup_time)
        .sum();
    let ratio = last.and_then(|sample| sample.hit_ratio);
    let requests = last.map_or(0.0, |sample| sample.requests_per_second);
    let lookup = last
        .and_then(|sample| sample.lookup_us)
        .map(|micros| Duration::from_micros(micros as u64))
        .or_else(|| mean(lookup_time, lookups));
    let lookup = lookup.map_or_else(|| "–".to_owned(), duration);
    let saved = Duration::from_micros(overview.total.saved_us);
    html! {
        section.cards aria-label="Numbers of the whole fleet" {
            div.card {
                h2 { "Hit ratio" }
                p.figure { (share(ratio.or(overview.hit_ratio))) }
                p.note { (share(overview.hit_ratio)) " since the start" }
                (plot(samples, |sample| sample.hit_ratio, Some(1.0), |most| share(Some(most)), &format!("Hit ratio of the last ten minutes, now {}", share(ratio))))
            }
            div.card {
                h2 { "Requests" }
                p.figure { (rate(requests)) span.unit { "/s" } }
                p.note { (count(overview.total.requests())) " since the start" }
                (plot(samples, |sample| Some(sample.requests_per_second), None, |most| format!("{}/s", rate(most)), &format!("Requests per second of the last ten minutes, now {}", rate(requests))))
            }
            div.card {
                h2 { "Lookup" }
                p.figure { (lookup) }
                p.note { "mean time of " (counted(lookups, "question", "questions")) }
                (plot(samples, |sample| sample.lookup_us, None, |most| duration(Duration::from_micros(most as u64)), &format!("Mean time of a lookup in the last ten minutes, now {lookup}")))
            }
            div.card {
                h2 { "Handler time saved" }
                p.figure { (duration(saved)) }
                p.note { "by " (counted(overview.total.hits, "hit", "hits")) }
                (outcome(overview))
            }
        }
    }
}

/// How requests ended, as one bar and in words.
fn outcome(overview: &Overview) -> Markup {
    let total = &overview.total;
    let parts = [
        ("hits", total.hits, "hit"),
        ("collapsed", total.collapsed, "joined"),
        ("misses", total.misses, "missed"),
        ("bypasses", total.bypassed(), "bypassed"),
    ];
    let all = total.requests().max(1) as f64;
    let mut from = 0.0;
    let bars: Vec<_> = parts
        .iter()
        .map(|(class, number, _)| {
            let (x, width) = (from, 300.0 * *number as f64 / all);
            from += width;
            (*class, x, width)
        })
        .collect();
    html! {
        svg.bar viewBox="0 0 300 10" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, x, width) in bars {
                rect class=(class) x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" {}
            }
        }
        ul.legend {
            @for (class, number, word) in parts.into_iter().filter(|part| part.1 > 0) {
                li { span class={ "swatch " (class) } {} (count(number)) " " (word) }
            }
        }
    }
}

fn health(overview: &Overview) -> Markup {
    let own = overview.fleet.first();
    let local = own.and_then(|process| process.local);
    let total = &overview.total;
    let sum = |part: fn(&ProcessReport) -> u64| overview.fleet.iter().map(part).sum::<u64>();
    html! {
        section aria-labelledby="health" {
            h2 #health { "Health" }
            dl.facts {
                dt { "Backend" }
                dd {
                    @if overview.available { span.pill.good { "answering" } } @else { span.pill.bad { "down" } }
                    " " (overview.backend)
                }
                dt { "Pending clears" } dd { (count(overview.pending_clears)) }
                dt { "Clears" } dd { (count(overview.clears)) }
                dt { "Handlers running" } dd { (count(sum(|process| process.flights))) " to fill an entry" }
                dt { "Local tier, this process" }
                dd {
                    @match local {
                        Some(local) if local.live => {
                            span.pill.good { "live" } " "
                            (counted(local.entries, "entry", "entries")) ", " (bytes(local.bytes))
                        }
                        Some(_) => { span.pill.warn { "resting" } " nothing is heard of clears" }
                        None => { span.pill.dim { "off" } }
                    }
                }
                @if let Some(silent) = local.and_then(|local| local.silent_ms) {
                    dt { "Tracking link, this process" }
                    dd { "proved " (duration(Duration::from_millis(silent))) " ago" }
                }
                dt { "Stored" } dd { (count(total.stored)) " answers, " (bytes(total.stored_bytes)) }
                dt { "Refused stores" } dd { (count(total.refused)) " cleared meanwhile or too young, " (count(total.failed_stores)) " not acknowledged" }
                @let (refreshes, failed) = (sum(|process| process.refreshes), sum(|process| process.failed_refreshes));
                @if refreshes > 0 {
                    dt { "Refreshes" }
                    dd { (count(refreshes)) " after soft clears" @if failed > 0 { ", " span.pill.warn { (count(failed)) " failed" } } }
                }
                @let (same, different) = (sum(|process| process.audits_same), sum(|process| process.audits_different));
                @if same + different > 0 {
                    dt { "Audited hits" }
                    dd {
                        (count(same)) " as their handlers say"
                        @if different > 0 { ", " span.pill.bad { (count(different)) " otherwise" } " see the log" }
                    }
                }
                @if overview.corrupt > 0 {
                    dt { "Unreadable entries" } dd { span.pill.bad { (count(overview.corrupt)) } }
                }
            }
        }
    }
}

fn server(facts: &Facts, backend: &str) -> Markup {
    html! {
        section aria-labelledby="server" {
            h2 #server { "Server" }
            dl.facts {
                @match &facts.server_version {
                    Some(version) => { dt { "Version" } dd { (version) } }
                    None => { dt { "Kind" } dd { (backend) } }
                }
                @if let Some(id) = &facts.server_id { dt { "Identity" } dd { code { (id) } } }
                @if let Some(uptime) = facts.uptime { dt { "Up for" } dd { (duration(uptime)) } }
                @if let Some(used) = facts.used_memory {
                    dt { "Memory" }
                    dd {
                        (bytes(used))
                        @match facts.max_memory {
                            Some(most) if most > 0 => { " of " (bytes(most)) }
                            _ => { ", no limit" }
                        }
                        @if let Some(eviction) = &facts.eviction { ", " (eviction) }
                    }
                }
                @if let Some(evicted) = facts.evicted { dt { "Evicted" } dd { (counted(evicted, "name", "names")) } }
                @if let Some(names) = facts.names { dt { "Names" } dd { (count(names)) } }
                dt { "Round trip" } dd { (duration(facts.round_trip)) }
                @if facts.namespace_token == Some(TokenState::Missing) {
                    dt { "Namespace" } dd { span.pill.warn { "cold" } " until the next miss" }
                }
                @if let Some(ahead) = facts.clock_ahead_us.filter(|ahead| *ahead > 1_000_000) {
                    dt { "Clock" } dd { span.pill.warn { "ahead" } " by " (duration(Duration::from_micros(ahead.unsigned_abs()))) }
                }
                dt { "Last sweep" }
                dd {
                    @match &facts.swept {
                        Some(swept) => { (ago(swept.at)) ", " (counted(swept.removed, "entry", "entries")) " removed" }
                        None => "none yet",
                    }
                }
            }
        }
    }
}

fn fleet(fleet: &[ProcessReport], visit: &Visit) -> Markup {
    let head = html! {
        th scope="col" { "Process" }
        th scope="col" { "Build" }
        th.number scope="col" { "Requests" }
        th.number scope="col" { "Hit ratio" }
        th.number scope="col" { "Local hits" }
        th.number scope="col" { "Saved" }
        th scope="col" { "Local tier" }
        th.number scope="col" { "Pending" }
        th scope="col" { "Reported" }
    };
    let body = html! {
        @for process in fleet {
            tr {
                th scope="row" { (process.process) @if process.own { " " span.pill { "this one" } } }
                td { code { (process.version) } }
                td.number { (count(process.total.requests())) }
                td.number { (share(process.total.hit_ratio())) }
                td.number { (count(process.total.local_hits)) }
                td.number { (duration(Duration::from_micros(process.total.saved_us))) }
                td {
                    @match process.local {
                        Some(local) if local.live => {
                            (bytes(local.bytes))
                            @if let Some(silent) = local.silent_ms {
                                div.note { "heard " (duration(Duration::from_millis(silent))) " before it reported" }
                            }
                        }
                        Some(_) => span.pill.warn { "resting" },
                        None => "off",
                    }
                }
                td.number { (count(process.pending_clears)) }
                td { @if process.available { (ago(process.at)) } @else { span.pill.bad { "no backend" } } }
            }
        }
    };
    html! {
        section aria-labelledby="fleet" {
            h2 #fleet { "Fleet " span.dim { (counted(fleet.len() as u64, "process", "processes")) } }
            (shell::table("Processes of the namespace", &head, &body))
            p.note {
                "Counted since each process's start. By handler: "
                a href={ (visit.base) "/handlers" } { "handlers" } "."
            }
        }
    }
}

fn builds(facts: &Facts) -> Markup {
    html! {
        @if facts.builds.len() > 1 {
            section aria-labelledby="builds" {
                h2 #builds { "Builds" }
                ul.plain {
                    @for build in &facts.builds {
                        li {
                            code { (build.version) } " " (build.application) ", announced " (ago(build.announced))
                            @if build.version == facts.version { " " span.pill { "this one" } }
                            @if !build.recent { " " span.pill.dim { "forgotten: its entries are swept" } }
                        }
                    }
                }
            }
        }
    }
}
