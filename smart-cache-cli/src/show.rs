//! `show KEY`: the entries under a key, or one of them in full.

use smart_cache::SmartCache;
use smart_cache::inspect::{EntryLine, EntryView, TokenState};

use crate::Ended;
use crate::arguments::{Place, Show};
use crate::connect;
use crate::failure::Failure;
use crate::output::{Output, ago, bytes, duration};

/// Entries of one page.
const PAGE: usize = 200;

pub(crate) async fn run(place: &Place, show: &Show, out: &mut Output) -> Result<Ended, Failure> {
    let cache = connect::open(place).await?;
    let mut left = show.limit;
    let mut found = false;
    let mut from = None;
    loop {
        let inspect = cache.inspect()?;
        let page = inspect.entries(&show.key, from.as_deref(), PAGE).await?;
        for line in page.entries {
            match &show.entry {
                Some(id) if !line.id.hex().starts_with(id) => continue,
                Some(_) => {
                    if one(&cache, &line, show.body, out).await? {
                        return Ok(Ended::Well);
                    }
                    // It has gone since it was listed.
                    continue;
                }
                None => out.print(&line, || shown(&line))?,
            }
            found = true;
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
        }
        from = page.next;
        if from.is_none() || left == 0 {
            break;
        }
    }
    if found {
        return Ok(Ended::Well);
    }
    eprintln!("smart-cache: nothing is stored under {:?}", show.key);
    Ok(Ended::Badly)
}

fn shown(line: &EntryLine) -> String {
    let status = line
        .status
        .map_or_else(|| "---".to_owned(), |status| status.to_string());
    let age = line.created.map_or_else(String::new, ago);
    let life = match line.ttl {
        Some(ttl) => format!("{} left", duration(ttl)),
        None => "for ever".to_owned(),
    };
    format!(
        "{}  {:<10}  {status}  {:>9}  {age:>10} old  {life}  took {}  {}",
        &line.id.hex()[..12],
        line.state.as_str(),
        bytes(line.bytes),
        duration(line.took),
        line.request
    )
}

/// One entry in full; whether it was still there.
async fn one(
    cache: &SmartCache,
    line: &EntryLine,
    body: bool,
    out: &mut Output,
) -> Result<bool, Failure> {
    let entry = cache.inspect()?.entry(&line.version, line.id).await?;
    let Some(entry) = entry else {
        return Ok(false);
    };
    if body {
        out.raw(&entry.body)?;
    } else {
        out.print(&entry, || in_full(&entry))?;
    }
    Ok(true)
}

fn in_full(entry: &EntryView) -> String {
    let mut text = format!(
        "{}\nid       {}\nbuild    {}\n",
        shown(&entry.line),
        entry.line.id.hex(),
        entry.line.version
    );
    for token in &entry.tokens {
        let name = if token.name.is_empty() {
            "(namespace)"
        } else {
            &token.name
        };
        let state = match token.state {
            TokenState::Valid => "valid",
            TokenState::Held => "held",
            _ => "missing",
        };
        let minted = token
            .minted
            .map_or_else(String::new, |at| format!(", minted {} ago", ago(at)));
        let found = if token.found { " (found)" } else { "" };
        text.push_str(&format!("depends  {name}{found}: {state}{minted}\n"));
    }
    for (name, value) in &entry.headers {
        text.push_str(&format!("header   {name}: {value}\n"));
    }
    text.push_str(&format!("body     {}", bytes(entry.body.len() as u64)));
    text
}
