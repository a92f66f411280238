//! `sweep`: removes what clears and forgotten builds have left behind.

use std::time::Instant;

use serde_json::json;

use crate::Ended;
use crate::arguments::Place;
use crate::connect;
use crate::failure::Failure;
use crate::output::{Output, duration, progress};

pub(crate) async fn run(place: &Place, out: &mut Output) -> Result<Ended, Failure> {
    // As a process of the newest build: one that the table of builds does not know would have to
    // take every other build for a living one.
    let cache = connect::open_as_newest(place).await?;
    let began = Instant::now();
    let bar = progress(None, "sweeping");
    let removed = cache.sweep().await;
    bar.finish_and_clear();
    let (removed, took) = (removed?, began.elapsed());
    let document = json!({ "removed": removed, "took_us": took.as_micros() as u64 });
    out.print(&document, || {
        format!("removed {removed} entries in {}", duration(took))
    })?;
    Ok(Ended::Well)
}
