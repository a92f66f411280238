//! `ls [glob]`: the keys that have entries.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use smart_cache::SmartCache;
use smart_cache::inspect::{KeyLine, TokenState};

use crate::Ended;
use crate::arguments::{Ls, Place};
use crate::connect;
use crate::failure::Failure;
use crate::output::{Output, progress};

/// Keys of one page.
const PAGE: usize = 500;

pub(crate) async fn run(place: &Place, ls: &Ls, out: &mut Output) -> Result<Ended, Failure> {
    let cache = connect::open(place).await?;
    let mut left = ls.limit.unwrap_or(u64::MAX);
    let mut keys = Keys::new(&cache, &ls.glob);
    while let Some(page) = keys.page().await? {
        // A bar and lines on one terminal would tear each other apart.
        keys.bar.suspend(|| -> Result<(), Failure> {
            for line in page {
                if left == 0 {
                    break;
                }
                left -= 1;
                out.print(&line, || shown(&line))?;
            }
            Ok(())
        })?;
        if left == 0 {
            break;
        }
    }
    keys.bar.finish_and_clear();
    Ok(Ended::Well)
}

fn shown(line: &KeyLine) -> String {
    let state = match line.token {
        TokenState::Valid => "",
        TokenState::Held => "  held",
        _ => "  cleared",
    };
    format!(
        "{:>7}  {:<12}  {}{state}",
        line.entries, line.version, line.key
    )
}

/// A walk over all keys that match, each once.
pub(crate) struct Keys<'a> {
    cache: &'a SmartCache,
    glob: &'a str,
    /// `None` at the end; the first place is an empty one.
    from: Option<Option<String>>,
    /// What has been shown: a walk over a table that changes meets some names twice.
    seen: HashSet<u64>,
    looked_at: u64,
    /// Whether a long walk shows how far it is.
    is_shown: bool,
    bar: indicatif::ProgressBar,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(cache: &'a SmartCache, glob: &'a str) -> Self {
        Self {
            cache,
            glob,
            from: Some(None),
            seen: HashSet::new(),
            looked_at: 0,
            is_shown: true,
            bar: indicatif::ProgressBar::hidden(),
        }
    }

    /// For whoever shows a bar already: two on one terminal overwrite each other.
    pub(crate) fn unshown(mut self) -> Self {
        self.is_shown = false;
        self
    }

    /// Some more of them; `None` when all were seen.
    pub(crate) async fn page(&mut self) -> Result<Option<Vec<KeyLine>>, Failure> {
        let Some(from) = self.from.take() else {
            return Ok(None);
        };
        let inspect = self.cache.inspect()?;
        let page = inspect.keys(self.glob, from.as_deref(), PAGE).await?;
        self.looked_at += page.looked_at;
        if self.is_shown && from.is_none() && page.next.is_some() {
            self.bar = progress(page.names, "names");
        }
        self.bar.set_position(self.looked_at);
        self.from = page.next.map(Some);
        let mut keys = page.keys;
        keys.retain(|line| line.entries > 0 && self.seen.insert(hash(line)));
        Ok(Some(keys))
    }
}

fn hash(line: &KeyLine) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&line.version, &line.key).hash(&mut hasher);
    hasher.finish()
}
