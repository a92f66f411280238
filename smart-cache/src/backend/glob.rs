//! Globs, read as Redis reads them, for stores that have to match by themselves.

/// Whether a name matches a glob, byte by byte: `*` is any bytes, `?` one byte, `[a-c]` one of
/// them and `[^a]` none of them; `\` before a character lets it stand for itself.
///
/// It takes time in proportion to the product of both lengths at worst.
///
/// # Example
/// ```
/// use smart_cache::backend::matches_glob;
///
/// assert!(matches_glob("user:*", "user:7"));
/// assert!(!matches_glob(r"user:\*", "user:7"));
/// ```
#[must_use]
pub fn matches_glob(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last star stands, and how far the name was when it was met.
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        if glob.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
            continue;
        }
        if let Some(next) = step(glob, at, name[seen]) {
            (at, seen) = (next, seen + 1);
            continue;
        }
        // The last star takes one byte more; an earlier one could not do better.
        let Some((place, taken)) = star else {
            return false;
        };
        star = Some((place, taken + 1));
        (at, seen) = (place + 1, taken + 1);
    }
    glob[at.min(glob.len())..].iter().all(|byte| *byte == b'*')
}

/// Whether a text has any of the characters that make it a glob.
pub(crate) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Where the glob goes on behind one byte, if that byte fits.
fn step(glob: &[u8], at: usize, byte: u8) -> Option<usize> {
    match glob.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(glob, at + 1, byte),
        b'\\' if at + 1 < glob.len() => (glob[at + 1] == byte).then_some(at + 2),
        own => (*own == byte).then_some(at + 1),
    }
}

/// `[a-c]`, with `at` behind the bracket. One that is never closed ends with the glob.
fn class(glob: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = glob.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    while at < glob.len() && glob[at] != b']' {
        if glob[at] == b'\\' && at + 1 < glob.len() {
            found |= glob[at + 1] == byte;
            at += 2;
        } else if at + 2 < glob.len() && glob[at + 1] == b'-' {
            let (low, high) = (glob[at].min(glob[at + 2]), glob[at].max(glob[at + 2]));
            found |= (low..=high).contains(&byte);
            at += 3;
        } else {
            found |= glob[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some((at + 1).min(glob.len()))
}

#[cfg(test)]
mod tests {
    use super::matches_glob;

    #[track_caller]
    fn check(glob: &str, fits: &[&str], does_not: &[&str]) {
        for name in fits {
            assert!(matches_glob(glob, name), "{glob} {name}");
        }
        for name in does_not {
            assert!(!matches_glob(glob, name), "{glob} {name}");
        }
    }

    #[test]
    fn globs_are_read_as_redis_reads_them() {
        check("*", &["", "a", "a/b\n"], &[]);
        check("", &[""], &["a"]);
        check("a*c", &["ac", "abc", "abcc"], &["ab", "cab"]);
        check("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "b"]);
        check("h?llo", &["hello", "hallo"], &["hllo", "heello"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        check("h[^e]llo", &["hallo"], &["hello"]);
        check("h[a-b]llo", &["hallo", "hbllo"], &["hcllo"]);
        check(r"\*", &["*"], &["a", ""]);
        check(r"[\]]", &["]"], &["\\"]);
        check("a[b", &["ab"], &["a", "ac"]);
        check("a\\", &["a\\"], &["a"]);
    }

    #[test]
    fn a_glob_of_stars_is_not_slow() {
        let (glob, name) = ("*a".repeat(50) + "b", "a".repeat(5_000));
        assert!(!matches_glob(&glob, &name));
    }
}
