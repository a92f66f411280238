//! What one request asks of the cache: entry, rules, time to live.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::SmartCache;
use crate::context::Shown;
use crate::entry::EntryId;
use crate::key::{Canonical, Identity, QueryRule, Variant};
use crate::policy::{self, Bypass, Rules};
use crate::protocol::{MAX_TAGS, Target};
use crate::registry::Site;

/// A request that may use the cache.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) target: Arc<Target>,
    pub(crate) rules: Rules<'a>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) is_head: bool,
}

/// What the attribute gathered while the handler's arguments were shown.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) site: &'static Site,
    pub(crate) type_name: &'static str,
    pub(crate) variant: Variant,
    pub(crate) key: String,
    pub(crate) tags: Vec<String>,
}

impl Asked<'static> {
    /// Decides what is asked, or why the request stays out.
    pub(crate) fn new(
        cache: &SmartCache,
        shown: &Shown,
        gathered: &Gathered,
    ) -> Result<Self, Bypass> {
        let site = gathered.site;
        policy::request(&shown.method)?;
        if gathered.variant.is_bypassed() {
            return Err(Bypass::Request);
        }
        if gathered.key.is_empty() || gathered.tags.iter().any(String::is_empty) {
            return Err(Bypass::EmptyKey);
        }
        if gathered.tags.len() > MAX_TAGS {
            return Err(Bypass::Tags);
        }
        let canonical = Canonical {
            key: &gathered.key,
            identity: Identity {
                type_name: gathered.type_name,
                place: (site.file, site.line, site.column),
                state: shown.state,
            },
            uri: &shown.uri,
            query: site.query.map_or(
                QueryRule::AllBut(&cache.inner.config.ignored_query),
                QueryRule::Only,
            ),
            query_named: site.query.is_some(),
            vary: site.vary,
            headers: shown.headers.as_ref(),
        };
        let id = EntryId::of(&canonical.bytes(&gathered.variant));
        let tags = gathered
            .tags
            .iter()
            .map(|tag| tag.as_str().into())
            .collect();
        Ok(Self {
            target: Arc::new(Target::from_parts(id, gathered.key.as_str().into(), tags)),
            rules: Rules {
                status: site.status,
                vary: site.vary,
                max_body: site.max_body.unwrap_or(cache.inner.config.max_body),
            },
            ttl: site.ttl_ms.map(Duration::from_millis),
            is_head: shown.method == http::Method::HEAD,
        })
    }
}
