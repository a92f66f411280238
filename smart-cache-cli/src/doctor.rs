//! `doctor`: looks for trouble, and says what would help.

use serde_json::json;
use smart_cache::SmartCache;
use smart_cache::inspect::{Finding, KeyLine, Level};

use crate::Ended;
use crate::arguments::{Doctor, Place};
use crate::connect;
use crate::failure::Failure;
use crate::ls::Keys;
use crate::output::{Output, bytes, progress};

/// How many of the largest keys are shown.
const LARGEST: usize = 10;
/// Entries of one key that are added up.
const MOST_ENTRIES: usize = 200;
/// What makes keys smaller.
const SMALLER: &str =
    "-> max_body, encodings(..), a ttl, or fewer variants: query(..), SMART_REDIS_MAX_VARIANTS";

pub(crate) async fn run(
    place: &Place,
    doctor: &Doctor,
    out: &mut Output,
) -> Result<Ended, Failure> {
    let cache = connect::open(place).await?;
    let findings = cache.checkup().await;
    for finding in &findings {
        out.print(finding, || shown(finding))?;
    }
    let worst = findings.iter().map(|finding| finding.level).max();
    let worst = worst.unwrap_or(Level::Good);
    // What cannot be reached cannot be walked either.
    if findings.len() > 1 && doctor.sample > 0 {
        memory_by_key(&cache, doctor.sample, out).await?;
    }
    Ok(if worst >= Level::Warning {
        Ended::Badly
    } else {
        Ended::Well
    })
}

fn shown(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Good => "ok     ",
        Level::Note => "note   ",
        Level::Warning => "WARNING",
        _ => "PROBLEM",
    };
    let remedy = finding
        .remedy
        .as_ref()
        .map_or_else(String::new, |remedy| format!("\n{:21}-> {remedy}", ""));
    format!("{mark}  {:<10}  {}{remedy}", finding.check, finding.says)
}

/// Entries of the key in its build, and their bytes; of a key with thousands, those of the first page.
/// Pages go through the builds one after the other, and the first is our own, which has none.
async fn size_of(cache: &SmartCache, line: &KeyLine) -> Result<(u64, u64), Failure> {
    let inspect = cache.inspect()?;
    let (mut count, mut size, mut from) = (0, 0, None);
    loop {
        let page = inspect
            .entries(&line.key, from.as_deref(), MOST_ENTRIES)
            .await?;
        for entry in page.entries {
            if entry.version == line.version {
                count += 1;
                size += entry.bytes;
            }
        }
        from = page.next;
        if count > 0 || from.is_none() {
            return Ok((count, size));
        }
    }
}

/// The largest of some keys: of all, where there are not more than asked for.
async fn memory_by_key(cache: &SmartCache, sample: u64, out: &mut Output) -> Result<(), Failure> {
    let mut sizes: Vec<(u64, u64, String)> = Vec::new();
    let mut keys = Keys::new(cache, "*").unshown();
    let bar = progress(Some(sample), "keys measured");
    let mut complete = false;
    'walk: loop {
        let Some(page) = keys.page().await? else {
            complete = true;
            break;
        };
        for line in page {
            if sizes.len() as u64 == sample {
                break 'walk;
            }
            let (count, size) = size_of(cache, &line).await?;
            // A page of a key with thousands of entries stands for the rest.
            let size = (size as f64 * line.entries as f64 / f64::max(count as f64, 1.0)) as u64;
            sizes.push((size, line.entries, line.key));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    sizes.sort_unstable_by_key(|(size, ..)| std::cmp::Reverse(*size));
    let measured = sizes.len();
    let total: u64 = sizes.iter().map(|(size, ..)| size).sum();
    let of = if complete { "all" } else { "the first" };
    out.say(&format!(
        "\n{of} {measured} keys take {}; the largest:",
        bytes(total)
    ))?;
    for (size, entries, key) in sizes.into_iter().take(LARGEST) {
        let document = json!({
            "check": "memory-by-key",
            "key": key,
            "entries": entries,
            "bytes": size,
            "complete": complete,
        });
        out.print(&document, || {
            format!("{:>10}  {entries:>7} entries  {key}", bytes(size))
        })?;
    }
    if measured > 0 {
        out.say(SMALLER)?;
    }
    Ok(())
}
