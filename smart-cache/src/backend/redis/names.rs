//! The names of everything in Redis: `{<namespace>}:` in front of each, so a namespace is one
//! cluster slot and no name leaves it.

use crate::entry::EntryId;
use crate::protocol::token_name;

/// Builds names; a cheap value of one backend.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
    version: String,
}

impl Names {
    pub(crate) fn new(namespace: &str, version: &str) -> Self {
        Self {
            prefix: format!("{{{namespace}}}:"),
            version: version.to_owned(),
        }
    }

    /// What the cluster tells the slots of partitions by. The first has the namespace's own name, so one
    /// partition is no other layout than none.
    pub(crate) fn tag_of_partition(namespace: &str, number: u32) -> String {
        match number {
            0 => namespace.to_owned(),
            number => format!("{namespace}#{number}"),
        }
    }

    /// In how many partitions processes spread the namespace; beside the tokens of the first.
    pub(crate) fn partitions(&self) -> String {
        format!("{}partitions", self.prefix)
    }

    /// The token of the namespace. No key has this name, for no key is empty.
    pub(crate) fn namespace_token(&self) -> String {
        self.token_prefix()
    }

    /// What the names of all tokens begin with.
    pub(crate) fn token_prefix(&self) -> String {
        format!("{}t:", self.prefix)
    }

    /// The token of a key or tag; without the version, or a roll-out would lose the clears of
    /// the other build.
    pub(crate) fn token(&self, key: &str) -> String {
        self.of_key("t:", key)
    }

    pub(crate) fn entry(&self, id: EntryId) -> String {
        let mut name = String::with_capacity(self.prefix.len() + self.version.len() + 48);
        self.push_entry(&mut name, id);
        name
    }

    /// [`Names::entry`] behind a text: a lookup writes all of its names into one buffer.
    pub(crate) fn push_entry(&self, text: &mut String, id: EntryId) {
        text.push_str(&self.prefix);
        text.push_str("e:");
        text.push_str(&self.version);
        text.push(':');
        crate::protocol::push_hex(text, id.as_bytes());
    }

    /// [`Names::token`] behind a text.
    pub(crate) fn push_token(&self, text: &mut String, key: &str) {
        self.push_of_key(text, "t:", key);
    }

    pub(crate) fn lease(&self, id: EntryId) -> String {
        format!("{}l:{}:{}", self.prefix, self.version, id.hex())
    }

    /// The ids of the entries under a key.
    pub(crate) fn index(&self, key: &str) -> String {
        self.of_key(&format!("n:{}:", self.version), key)
    }

    /// A value of the low-level API.
    pub(crate) fn value(&self, name: &str) -> String {
        format!("{}v:{name}", self.prefix)
    }

    /// The name of a value as its store was given it.
    pub(crate) fn of_value<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?;
        std::str::from_utf8(rest.strip_prefix(b"v:")?).ok()
    }

    /// A SCAN pattern for the values whose names match a glob.
    pub(crate) fn values_like(&self, glob: &str) -> String {
        let mut pattern = self.pattern("v:");
        pattern.pop();
        pattern.push_str(glob);
        pattern
    }

    /// [`Names::index`] of a key whose name is known already, as a walk finds it.
    pub(crate) fn named_index(&self, name: &str) -> String {
        format!("{}n:{}:{name}", self.prefix, self.version)
    }

    /// [`Names::token`] of a key whose name is known already.
    pub(crate) fn named_token(&self, name: &str) -> String {
        format!("{}t:{name}", self.prefix)
    }

    /// The open holds of a key.
    pub(crate) fn holds(&self, key: &str) -> String {
        self.of_key("h:", key)
    }

    pub(crate) fn clock(&self) -> String {
        format!("{}clock", self.prefix)
    }

    /// Which builds have announced themselves, and when.
    pub(crate) fn builds(&self) -> String {
        format!("{}builds", self.prefix)
    }

    /// Marks that the first process of this version has come.
    pub(crate) fn first_of_version(&self) -> String {
        format!("{}first:{}", self.prefix, self.version)
    }

    /// When the last sweep was finished, and how many entries it removed.
    pub(crate) fn swept(&self) -> String {
        format!("{}swept", self.prefix)
    }

    /// The journal of clears.
    pub(crate) fn clears(&self) -> String {
        format!("{}clears", self.prefix)
    }

    /// The processes that report.
    pub(crate) fn processes(&self) -> String {
        format!("{}processes", self.prefix)
    }

    /// What a process reports.
    pub(crate) fn report(&self, process: &str) -> String {
        format!("{}s:{process}", self.prefix)
    }

    /// Held by the process that sweeps.
    pub(crate) fn sweeper(&self) -> String {
        format!("{}sweeper", self.prefix)
    }

    /// A name that nothing ever has.
    pub(crate) fn nothing(&self) -> String {
        format!("{}nothing", self.prefix)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// A SCAN pattern for all names that begin with `kind`; the namespace may hold glob
    /// characters, which must stand for themselves.
    pub(crate) fn pattern(&self, kind: &str) -> String {
        self.pattern_of(kind, "*")
    }

    /// [`Names::pattern`] with a glob of its own behind it.
    pub(crate) fn pattern_of(&self, kind: &str, glob: &str) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + kind.len() + 1);
        for char in self.prefix.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '\\' | '^') {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push_str(kind);
        pattern.push_str(glob);
        pattern
    }

    /// Version and rest of a name of this kind (`e:`, `n:`).
    pub(crate) fn split<'a>(&self, kind: &str, name: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
        let rest = name
            .strip_prefix(self.prefix.as_bytes())?
            .strip_prefix(kind.as_bytes())?;
        let colon = rest.iter().position(|byte| *byte == b':')?;
        Some((
            std::str::from_utf8(&rest[..colon]).ok()?,
            &rest[colon + 1..],
        ))
    }

    /// The same names as another build would use them.
    pub(crate) fn of_version(&self, version: &str) -> Self {
        Self {
            prefix: self.prefix.clone(),
            version: version.to_owned(),
        }
    }

    fn of_key(&self, kind: &str, key: &str) -> String {
        let mut name = String::with_capacity(self.prefix.len() + kind.len() + key.len() + 1);
        self.push_of_key(&mut name, kind, key);
        name
    }

    fn push_of_key(&self, text: &mut String, kind: &str, key: &str) {
        text.push_str(&self.prefix);
        text.push_str(kind);
        text.push_str(&token_name(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_protocol() {
        let names = Names::new("cache", "v1");
        let id = EntryId::of(b"x");
        assert_eq!(names.namespace_token(), "{cache}:t:");
        assert_eq!(names.token("product:7"), "{cache}:t:product:7");
        assert_eq!(names.entry(id), format!("{{cache}}:e:v1:{}", id.hex()));
        assert_eq!(names.index("product:7"), "{cache}:n:v1:product:7");
        assert_eq!(
            names.split("e:", names.entry(id).as_bytes()),
            Some(("v1", id.hex().as_bytes()))
        );
    }

    #[test]
    fn no_two_keys_share_a_name() {
        let names = Names::new("c", "v");
        let long = "x".repeat(10_000);
        let hashed = names.token(&long);
        assert!(hashed.len() < 100);
        let lookalike = hashed.strip_prefix("{c}:t:").unwrap();
        assert_ne!(names.token(lookalike), hashed);
        assert_ne!(names.token(&format!("{long}y")), hashed);
    }

    #[test]
    fn glob_characters_of_a_namespace_stand_for_themselves() {
        assert_eq!(Names::new("a*b?", "v").pattern("e:"), "{a\\*b\\?}:e:*");
    }
}
