//! What things are named in the store; the store itself puts its namespace in front.

use crate::entry::EntryId;
use crate::protocol::token_name;

/// The names of one version.
#[derive(Debug)]
pub(super) struct Names {
    version: String,
}

/// What begins the name of every entry, of any version.
pub(super) const ENTRIES: &str = "e:";
/// What begins the name of every place in an index, of any version.
pub(super) const PLACES: &str = "s:";

/// What begins the name of every token.
pub(super) const TOKENS: &str = "t:";
/// What begins the names of a key's index: how many places it has given out, and who has each.
pub(super) const INDEXES: [&str; 2] = ["c:", "n:"];
/// What begins the name that says that a build has come.
pub(super) const FIRSTS: &str = "f:";

impl Names {
    pub(super) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
        }
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn entry(&self, id: EntryId) -> String {
        format!("{ENTRIES}{}:{}", self.version, id.hex())
    }

    pub(super) fn lease(&self, id: EntryId) -> String {
        format!("l:{}:{}", self.version, id.hex())
    }

    /// Where an entry stands in its key's index.
    pub(super) fn place(&self, id: EntryId) -> String {
        format!("{PLACES}{}:{}", self.version, id.hex())
    }

    /// How many places of a key's index have been given out.
    pub(super) fn places(&self, key: &str) -> String {
        format!("c:{}:{}", self.version, token_name(key))
    }

    /// Which entry has a place in a key's index.
    pub(super) fn at_place(&self, key: &str, place: u64) -> String {
        format!("n:{}:{place}:{}", self.version, token_name(key))
    }

    /// Tokens carry no version: a clear of one build is heard by all.
    #[expect(clippy::unused_self, reason = "names are asked of one place")]
    pub(super) fn token(&self, key: &str) -> String {
        format!("t:{}", token_name(key))
    }

    #[expect(clippy::unused_self, reason = "names are asked of one place")]
    pub(super) fn namespace_token(&self) -> String {
        "t:".to_owned()
    }

    pub(super) fn first_of_version(&self) -> String {
        format!("f:{}", self.version)
    }

    /// Says that a build is in use.
    #[expect(clippy::unused_self, reason = "names are asked of one place")]
    pub(super) fn announcement(&self, version: &str) -> String {
        format!("b:{version}")
    }

    /// Says that tokens have been given an end.
    #[expect(clippy::unused_self, reason = "names are asked of one place")]
    pub(super) fn retiring(&self) -> String {
        "r:".to_owned()
    }

    #[expect(clippy::unused_self, reason = "names are asked of one place")]
    pub(super) fn sweeper(&self) -> String {
        "w:".to_owned()
    }
}

/// The version and the id in the name of an entry or of a place.
pub(super) fn version_and_id(name: &str) -> Option<(&str, EntryId)> {
    let rest = name
        .strip_prefix(ENTRIES)
        .or_else(|| name.strip_prefix(PLACES))?;
    let (version, id) = rest.rsplit_once(':')?;
    Some((version, EntryId::parse(id)?))
}

/// The version, and the key as it names its token, in a name of an index; of the name that says that
/// a build has come, the version alone.
pub(super) fn indexed_key(name: &str) -> Option<(&str, Option<&str>)> {
    if let Some(version) = name.strip_prefix(FIRSTS) {
        return Some((version, None));
    }
    let [counts, places] = INDEXES;
    if let Some(rest) = name.strip_prefix(counts) {
        let (version, key) = rest.split_once(':')?;
        return Some((version, Some(key)));
    }
    let (version, rest) = name.strip_prefix(places)?.split_once(':')?;
    let (_, key) = rest.split_once(':')?;
    Some((version, Some(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_an_index_tell_version_and_key() {
        let names = Names::new("v1.2");
        for key in ["product:7", "a:b:c", "#x", ""] {
            let key_of = |name: &str| {
                let (version, key) = indexed_key(name)?;
                assert_eq!(version, "v1.2");
                key.map(str::to_owned)
            };
            let expected = Some(token_name(key).into_owned());
            assert_eq!(key_of(&names.places(key)), expected);
            assert_eq!(key_of(&names.at_place(key, 12)), expected);
        }
        assert_eq!(indexed_key(&names.first_of_version()), Some(("v1.2", None)));
        assert_eq!(indexed_key("t:k"), None);
    }
}
