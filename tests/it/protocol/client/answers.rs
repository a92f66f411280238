//! What is asked for, and what the scripts answer.

/// One page: what its entry is called, and the keys and tags it depends on.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Page {
    pub(in crate::protocol) id: String,
    /// The key first, then the tags, sorted.
    pub(in crate::protocol) keys: Vec<String>,
}

impl Page {
    pub(in crate::protocol) fn new(key: &str, tags: &[&str]) -> Self {
        let mut tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        tags.sort();
        tags.insert(0, key.to_owned());
        Self {
            id: format!("{key}/get"),
            keys: tags,
        }
    }
}

/// What TICKET answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Ticket {
    /// `H`: somebody filled it meanwhile.
    Filled(String),
    /// `L`: run, may store.
    Granted(Grant),
    /// `B`: another one is filling.
    Busy,
    /// `U`: a writer holds a key.
    Held,
    /// `M`: run, do not store.
    Run,
    /// `I`: the namespace belongs to another incarnation of the server.
    Foreign(String),
}

impl Ticket {
    #[track_caller]
    pub(in crate::protocol) fn granted(self) -> Grant {
        match self {
            Self::Granted(grant) => grant,
            other => panic!("expected a lease, got {other:?}"),
        }
    }
}

/// The right to fill one entry, under the tokens that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::protocol) struct Grant {
    pub(in crate::protocol) digest: String,
    pub(in crate::protocol) lease: String,
}

/// What STORE answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Stored {
    /// `ttl` in milliseconds, 0 for ever.
    Yes {
        ttl: u64,
    },
    LeaseLost,
    Cleared,
    TooYoung,
}

/// An answer served from the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::protocol) struct Hit {
    pub(in crate::protocol) body: String,
    /// It stays until it is cleared.
    pub(in crate::protocol) for_ever: bool,
}
