//! The bytes of a stored entry, as these tests write and read them.

use super::sha1;

/// An entry taken apart: two digests (and a third, over the origins of its tokens, which no lookup of
/// these tests reads), a flag, the dynamic tags, the body.
///
/// The scripts know the digests and the flag; the rest is ours. Behind the flag we write the tags,
/// with commas between, then a line break and the body.
pub(super) struct Entry<'a> {
    digest: &'a str,
    dynamic_digest: &'a str,
    pub(super) for_ever: bool,
    pub(super) dynamic: Vec<String>,
    pub(super) body: String,
}

impl<'a> Entry<'a> {
    pub(super) fn of(bytes: &'a str) -> Self {
        let (digests, flagged) = bytes.split_at(120);
        let (digest, others) = digests.split_at(40);
        let dynamic_digest = &others[..40];
        let (dynamic, body) = Self::after_digests(flagged);
        let for_ever = flagged.starts_with('f');
        Self {
            digest,
            dynamic_digest,
            for_ever,
            dynamic,
            body,
        }
    }

    /// The dynamic tags and the body, from what TICKET hands out: all but the digests.
    pub(super) fn after_digests(flagged: &str) -> (Vec<String>, String) {
        let (tags, body) = flagged[1..].split_once('\n').unwrap();
        let tags = tags.split(',').filter(|tag| !tag.is_empty());
        (tags.map(str::to_owned).collect(), body.to_owned())
    }

    /// What STORE puts behind the digests and the flag.
    pub(super) fn head_and_body(dynamic: &[&str], body: &str) -> String {
        format!("{}\n{body}", dynamic.join(","))
    }

    pub(super) fn is_proved_by(&self, tokens: &[Option<String>]) -> bool {
        proves(tokens, self.digest)
    }

    /// Dashes stand there when it has no dynamic tags, and nothing to prove.
    pub(super) fn is_also_proved_by(&self, tokens: &[Option<String>]) -> bool {
        self.dynamic.is_empty() || proves(tokens, self.dynamic_digest)
    }
}

/// Whether all tokens exist, none is held, and their digest is this one.
fn proves(tokens: &[Option<String>], digest: &str) -> bool {
    let tokens: Option<Vec<&str>> = tokens.iter().map(Option::as_deref).collect();
    tokens.is_some_and(|tokens| !tokens.contains(&"!") && sha1(&tokens.join(" ")) == digest)
}
