#![doc = include_str!("../docs/guide.md")]

#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

/// What the code can say, the guides explain: whoever adds a word is told here to write the line.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::HeaderMap;

    use crate::backend::Stored;
    use crate::http::cache_status::{NAME, Status};
    use crate::inspect::EntryState;
    use crate::observe::store_word;
    use crate::policy::Bypass;

    const GUIDE: &str = include_str!("../docs/guide.md");
    const MIGRATING: &str = include_str!("../docs/migrating.md");

    /// Every way in which a request can end; a new one does not compile here.
    fn statuses() -> impl Iterator<Item = Status> {
        use Status::{Collapsed, Hit, Missed, Stale, Stored};

        let all = [Hit, Stale, Stored, Missed, Collapsed];
        let all = all.into_iter().chain(Bypass::ALL.map(Status::Bypass));
        all.inspect(|status| match status {
            Hit | Stale | Stored | Missed | Collapsed | Status::Bypass(_) => {}
        })
    }

    #[track_caller]
    fn explains(line: &str, what: &str) {
        let begins = format!("| `{line}` |");
        let found = GUIDE.lines().any(|line| line.starts_with(&begins));
        assert!(
            found,
            "docs/guide.md has no row that begins with {begins} for {what}"
        );
    }

    #[test]
    fn every_cache_status_is_in_the_decision_tree() {
        for status in statuses() {
            let mut headers = HeaderMap::new();
            status.append_to(&mut headers);
            let value = headers[NAME].to_str().unwrap();
            let after = value.strip_prefix("smart-cache; ").unwrap();
            explains(after, &format!("{status:?}"));
        }
    }

    #[test]
    fn everything_that_becomes_of_a_store_is_in_the_decision_tree() {
        let (landed, lost) = (Stored::Landed(None), Stored::LeaseLost);
        for outcome in [landed, lost, Stored::Cleared, Stored::YoungTag] {
            match outcome {
                Stored::Landed(_) | Stored::LeaseLost | Stored::Cleared | Stored::YoungTag => {}
            }
            explains(store_word(Some(outcome)), "the store");
        }
        explains(store_word(None), "the store");
    }

    #[test]
    fn every_state_of_an_entry_is_in_the_decision_tree() {
        use EntryState::{Current, Dead, Expired, Held, Settling, Unreadable};

        for state in [Current, Settling, Expired, Dead, Held, Unreadable] {
            match state {
                Current | Settling | Expired | Dead | Held | Unreadable => {}
            }
            let word = format!("`{}`", state.as_str());
            assert!(GUIDE.contains(&word), "docs/guide.md does not say {word}");
        }
    }

    /// The public methods of `Cache`, as its source files declare them.
    fn methods() -> BTreeSet<&'static str> {
        let sources = [
            include_str!("kv/mod.rs"),
            include_str!("kv/read.rs"),
            include_str!("kv/write.rs"),
            include_str!("kv/count.rs"),
            include_str!("kv/compute.rs"),
            include_str!("kv/blocking.rs"),
        ];
        let blocks = sources.into_iter().flat_map(|source| {
            let after = source.split("\nimpl Cache {").skip(1);
            after.filter_map(|rest| rest.split("\n}\n").next())
        });
        let lines = blocks.flat_map(str::lines);
        let names = lines.filter_map(|line| {
            let rest = line.strip_prefix("    pub ")?;
            let rest = rest.strip_prefix("async ").unwrap_or(rest);
            rest.strip_prefix("fn ")?.split(['(', '<']).next()
        });
        names.collect()
    }

    #[test]
    fn every_method_of_the_low_level_api_is_in_the_migration_guide() {
        let methods = methods();
        assert!(methods.contains("get_or_set") && methods.contains("blocking"));
        assert!(methods.len() > 20, "{methods:?}");
        for method in methods {
            let is_named = ["`", "(", ":"].iter().any(|end| {
                let word = format!("`{method}{end}");
                MIGRATING.contains(&word)
            });
            assert!(is_named, "docs/migrating.md does not name {method}");
        }
    }
}
