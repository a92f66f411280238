//! What one request asks of the cache: its form, the rules, and on a miss its entry.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;

use crate::cache::SmartCache;
use crate::context::Shown;
use crate::encode;
use crate::entry::EntryId;
use crate::http::wants::Wants;
use crate::key::{Form, Identity, QueryRule, Seen, Variant};
use crate::listed::Listed;
use crate::policy::{Bypass, Rules};
use crate::protocol::{MAX_TAGS, Target};
use crate::registry::Site;

/// A request that may use the cache.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) form: Form,
    /// Who answers, for the log.
    pub(crate) answerer: Answerer,
    pub(crate) rules: Rules,
    pub(crate) ttl: Option<Duration>,
    /// How long an expired answer outlives refreshes that fail.
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) is_head: bool,
    /// In which form the answer is wanted, as far as the handler does not look at that itself.
    pub(crate) wants: Wants,
    /// Whether the local tier may answer.
    pub(crate) local: bool,
    /// Whether the handler may be run once more to compare what it says.
    pub(crate) audit: bool,
    /// Which route the router has found, for operators.
    pub(crate) route: Option<MatchedPath>,
}

/// What the log calls the one who answers a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answerer {
    /// By the name of its type, which is that of a closure in it.
    Handler(&'static str),
    /// By the place where it was made.
    Layer(&'static Location<'static>),
}

impl std::fmt::Display for Answerer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Handler(name) => f.write_str(name.trim_end_matches("::{{closure}}")),
            Self::Layer(place) => write!(f, "layer at {}:{}", place.file(), place.line()),
        }
    }
}

/// What the attribute gathered while the handler's arguments were shown.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) site: &'static Site,
    pub(crate) type_name: &'static str,
    /// Key and tags included.
    pub(crate) variant: Variant,
}

impl Gathered {
    /// Key, tags and variant, unless the request stays out.
    /// The variant is used up.
    pub(crate) fn form(&mut self, cache: &SmartCache, shown: &Shown) -> Result<Form, Bypass> {
        let (site, variant) = (self.site, self.variant.take());
        shown.method?;
        if variant.is_bypassed() {
            return Err(Bypass::Request);
        }
        if variant.is_nameless() {
            return Err(Bypass::EmptyKey);
        }
        if site.tags.len() > MAX_TAGS {
            return Err(Bypass::Tags);
        }
        let seen = Seen {
            identity: Identity {
                type_name: self.type_name,
                place: (site.file, site.line, site.column),
                state: shown.state,
            },
            sent: (&shown.sent).into(),
            rewritten: shown.rewritten.as_deref(),
            query: site.query.map_or(
                QueryRule::AllBut(&cache.inner.config.ignored_query),
                QueryRule::Only,
            ),
            query_named: site.query.is_some(),
            vary: site.vary,
            headers: shown.headers.as_deref(),
        };
        Ok(variant.into_form(&seen))
    }

    /// What a request asks that shows this form.
    pub(crate) fn asked(&self, cache: &SmartCache, shown: &mut Shown, form: Form) -> Asked {
        let (site, config) = (self.site, &cache.inner.config);
        Asked {
            form,
            answerer: Answerer::Handler(self.type_name),
            rules: Rules {
                status: Listed::Static(site.status),
                vary: Listed::Static(site.vary),
                max_body: site.max_body.unwrap_or(config.max_body),
                encodings: encode::kept(site.encodings, site.vary, config),
                encode_from: config.encode_from,
                honour_freshness: site.honour_freshness,
            },
            ttl: site.ttl_ms.map(Duration::from_millis),
            stale_if_error: site.stale_if_error_ms.map(Duration::from_millis),
            audit: site.audit,
            is_head: shown.is_head,
            wants: std::mem::take(&mut shown.wants),
            local: site.local,
            route: shown.route.take(),
        }
    }
}

impl Asked {
    /// The entry and what it depends on; worked out only when the local tier has no answer.
    pub(crate) fn target(&self) -> Arc<Target> {
        let (key, tags) = self.form.names();
        let tags = tags.into_iter().map(Into::into).collect();
        Arc::new(Target::from_parts(
            EntryId::of(&self.form.canonical()),
            key.unwrap_or_default().into(),
            tags,
        ))
    }
}
