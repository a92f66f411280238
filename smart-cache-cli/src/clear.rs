//! `clear KEY...` and `clear --all`.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;
use smart_cache::SmartCache;

use crate::Ended;
use crate::arguments::{Clear, Place};
use crate::connect;
use crate::failure::Failure;
use crate::output::{Output, duration};

/// Longest wait for what comes after a clear.
const NOTED_WITHIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(place: &Place, clear: &Clear, out: &mut Output) -> Result<Ended, Failure> {
    let cache = connect::open_as_newest(place).await?;
    let what = if clear.all {
        format!("everything of {}", cache.describe())
    } else {
        clear.keys.join(", ")
    };
    if clear.all && !clear.yes && !is_wanted(&what)? {
        eprintln!("smart-cache: nothing was cleared");
        return Ok(Ended::Badly);
    }
    let began = Instant::now();
    if clear.all {
        cache.clear_all().await?;
    } else {
        cache.clear(&clear.keys[..]).await?;
    }
    let took = began.elapsed();
    noted(&cache).await;
    let document = json!({
        "cleared": if clear.all { json!("everything") } else { json!(clear.keys) },
        "took_us": took.as_micros() as u64,
    });
    out.print(&document, || {
        format!("cleared {what} in {}", duration(took))
    })?;
    Ok(Ended::Well)
}

/// Waits until the clear is noted for operators: that comes after what it left behind was freed,
/// in the background, and this program is about to end. The clear itself stands in any case.
async fn noted(cache: &SmartCache) {
    let own = format!(":{}", std::process::id());
    let until = Instant::now() + NOTED_WITHIN;
    while Instant::now() < until {
        match cache.recent_clears().await {
            Ok(notes) if notes.iter().any(|note| note.process.ends_with(&own)) => return,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(_) => return,
        }
    }
}

/// Asks whoever sits there; a script has said `--all` and means it.
fn is_wanted(what: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("Clear {what}? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
