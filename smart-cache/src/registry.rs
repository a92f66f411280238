//! Every annotated handler of the program, known without calling any of them.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use crate::asked::Answerer;
use crate::coverage::{self, ByHand};
use crate::http::encoding::Encodings;
use crate::key::{Template, nearest, overlap};
use crate::layer::{self, CachedLayer};
use crate::start::Home;

/// What the attribute says about one cached handler.
#[derive(Debug)]
#[doc(hidden)]
pub struct Site {
    pub module: &'static str,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    pub key: &'static str,
    pub tags: &'static [&'static str],
    pub query: Option<&'static [&'static str]>,
    pub vary: &'static [&'static str],
    pub ttl_ms: Option<u64>,
    pub honour_freshness: bool,
    pub status: &'static [u16],
    pub cache: Option<&'static str>,
    pub local: bool,
    pub max_body: Option<u64>,
    pub stale_if_error_ms: Option<u64>,
    pub encodings: Option<Encodings>,
    pub audit: bool,
    pub home: Home,
}

/// What the attribute says about one handler that clears.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub struct ClearSite {
    pub module: &'static str,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    pub keys: &'static [&'static str],
    pub cache: Option<&'static str>,
}

/// What the attribute says about one cached function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub struct FunctionSite {
    pub module: &'static str,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    pub key: &'static str,
    pub tags: &'static [&'static str],
    pub ttl_ms: Option<u64>,
    pub cache: Option<&'static str>,
}

/// What `#[derive(CacheKeys)]` says about one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub struct ModelSite {
    pub module: &'static str,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub keys: &'static [&'static str],
}

/// Collected from the whole program.
#[derive(Debug)]
#[doc(hidden)]
pub struct Model(pub &'static ModelSite);

/// Collected from the whole program.
#[derive(Debug)]
#[doc(hidden)]
pub struct Function(pub &'static FunctionSite);

/// Collected from the whole program.
#[derive(Debug)]
#[doc(hidden)]
pub struct Handler(pub &'static Site);

/// Collected from the whole program.
#[derive(Debug)]
#[doc(hidden)]
pub struct ClearHandler(pub &'static ClearSite);

inventory::collect!(Function);
inventory::collect!(Handler);
inventory::collect!(ClearHandler);
inventory::collect!(Model);

/// A handler with `#[smart_cache(..)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedHandler {
    /// Its module.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Where it stands: file and line.
    pub place: (&'static str, u32),
    /// The template of its key.
    pub key: &'static str,
    /// The templates of its tags.
    pub tags: &'static [&'static str],
    /// The named cache that it uses, if not the default one.
    pub cache: Option<&'static str>,
    /// After which its answers end by themselves; `None`: when they are cleared.
    pub ttl: Option<Duration>,
}

/// A handler with `#[clears_cache(..)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearingHandler {
    /// Its module.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Where it stands: file and line.
    pub place: (&'static str, u32),
    /// The templates of the keys that it clears.
    pub keys: &'static [&'static str],
}

/// A row with `#[derive(CacheKeys)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearingModel {
    /// Its module.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Where it stands: file and line.
    pub place: (&'static str, u32),
    /// The templates of the keys that a change of it clears.
    pub keys: &'static [&'static str],
}

/// Every annotated handler of this program, and its layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registry {
    /// Those that are cached, by module and name.
    pub cached: Vec<CachedHandler>,
    /// Those that clear, by module and name.
    pub clearing: Vec<ClearingHandler>,
    /// Rows whose changes clear, by module and name.
    pub models: Vec<ClearingModel>,
    /// Tables whose triggers this process has installed, with the templates that they clear.
    pub triggers: Vec<(String, Vec<String>)>,
    /// Layers that were made until now, by key.
    pub layers: Vec<CachedLayer>,
    /// The functions with `#[smart_cached(..)]`, by module and name.
    pub functions: Vec<CachedHandler>,
}

impl Registry {
    /// Cached handlers whose answers nothing is known to clear, and that have no time to live: what
    /// they answer first they answer for ever. Known are `#[clears_cache(..)]`,
    /// `#[derive(CacheKeys)]`, installed triggers, and every clear of this process so far.
    #[must_use]
    pub fn never_cleared(&self) -> Vec<&CachedHandler> {
        coverage::never_cleared(self, |template| {
            let same = |(at, known): (usize, &&str)| *known == template && BY_HAND.is_marked(at);
            template_texts().iter().enumerate().any(same)
        })
    }

    /// Templates that an attribute, a row or a trigger clears, and that no cached handler can produce:
    /// typos, or pages that are no longer cached. Tags that a handler has found so far count as
    /// cached.
    #[must_use]
    pub fn never_cached(&self) -> Vec<String> {
        coverage::never_cached(self, |template| {
            let others = OTHERS
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let found = |found: &String| overlap(template, found);
            others
                .as_ref()
                .is_some_and(|others| others.iter().any(found))
        })
    }
}

/// The templates of all cached handlers.
fn template_texts() -> Vec<&'static str> {
    let handlers = inventory::iter::<Handler>()
        .map(|handler| handler.0)
        .flat_map(|site| std::iter::once(site.key).chain(site.tags.iter().copied()));
    let functions = inventory::iter::<Function>()
        .map(|function| function.0)
        .flat_map(|site| std::iter::once(site.key).chain(site.tags.iter().copied()));
    handlers.chain(functions).collect()
}

/// Which of them were cleared by hand.
static BY_HAND: ByHand = ByHand::new(|| {
    template_texts()
        .iter()
        .map(|_| AtomicBool::new(false))
        .collect()
});

/// Lists every handler with `#[smart_cache(..)]` or `#[clears_cache(..)]` that is linked into
/// this program, whether it is mounted or not, and every layer that was made so far.
#[must_use]
pub fn registry() -> Registry {
    // A generic handler registers once for each codegen unit that has it.
    let mut seen = HashSet::new();
    let mut cached: Vec<_> = inventory::iter::<Handler>()
        .map(|handler| handler.0)
        .filter(|site| seen.insert((site.module, site.name, site.line, site.key)))
        .map(|site| CachedHandler {
            module: site.module,
            name: site.name,
            place: (site.file, site.line),
            key: site.key,
            tags: site.tags,
            cache: site.cache,
            ttl: site.ttl_ms.map(Duration::from_millis),
        })
        .collect();
    let mut seen = HashSet::new();
    let mut clearing: Vec<_> = inventory::iter::<ClearHandler>()
        .map(|handler| handler.0)
        .filter(|site| seen.insert((site.module, site.name, site.line, site.keys)))
        .map(|site| ClearingHandler {
            module: site.module,
            name: site.name,
            place: (site.file, site.line),
            keys: site.keys,
        })
        .collect();
    let mut seen = HashSet::new();
    let mut functions: Vec<_> = inventory::iter::<Function>()
        .map(|function| function.0)
        .filter(|site| seen.insert((site.module, site.name, site.line, site.key)))
        .map(|site| CachedHandler {
            module: site.module,
            name: site.name,
            place: (site.file, site.line),
            key: site.key,
            tags: site.tags,
            cache: site.cache,
            ttl: site.ttl_ms.map(Duration::from_millis),
        })
        .collect();
    functions.sort_by_key(|function| (function.module, function.name, function.place));
    let mut models: Vec<_> = inventory::iter::<Model>()
        .map(|model| model.0)
        .map(|site| ClearingModel {
            module: site.module,
            name: site.name,
            place: (site.file, site.line),
            keys: site.keys,
        })
        .collect();
    cached.sort_by_key(|handler| (handler.module, handler.name, handler.place));
    models.sort_by_key(|model| (model.module, model.name, model.place));
    clearing.sort_by_key(|handler| (handler.module, handler.name, handler.place));
    Registry {
        cached,
        clearing,
        models,
        triggers: coverage::triggers(),
        layers: layer::all(),
        functions,
    }
}

/// About how many handlers are cached, for sizing tables.
pub(crate) fn announced() -> usize {
    inventory::iter::<Handler>().count()
}

/// Keys that were used otherwise than by an attribute, so that clearing them is no typo.
static OTHERS: Mutex<Option<HashSet<String>>> = Mutex::new(None);
/// The advice is given once for a key, and for this many keys at most.
static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
/// Handlers whose `Vary` was remarked on.
static UNVARIED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
const MOST_REMEMBERED: usize = 10_000;
/// One clear gives this much advice: nobody reads a thousand warnings.
const MOST_WARNINGS: usize = 5;

/// Remembers a tag that a handler found: nothing in the registry can produce it.
pub(crate) fn remember(key: &str) {
    insert_bounded(&OTHERS, key);
}

/// Whether it was inserted: not there before, and room for it.
fn insert_bounded(set: &Mutex<Option<HashSet<String>>>, key: &str) -> bool {
    let mut guard = set
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let set = guard.get_or_insert_default();
    set.len() < MOST_REMEMBERED && !set.contains(key) && set.insert(key.to_owned())
}

/// The templates of all cached handlers, compiled once: the program's handlers do not change.
static TEMPLATES: LazyLock<Vec<Template>> =
    LazyLock::new(|| template_texts().into_iter().map(Template::new).collect());

/// Warns about a key that no annotated handler can produce: a clear of it frees nothing.
pub(crate) fn advise(keys: &[String]) {
    // A program that only writes cannot know what others cache.
    if TEMPLATES.is_empty() {
        return;
    }
    let mut warnings = 0;
    for key in keys {
        if warnings == MOST_WARNINGS {
            return;
        }
        let mut produced = false;
        for (at, template) in TEMPLATES.iter().enumerate() {
            if template.can_produce(key) {
                BY_HAND.mark(at);
                produced = true;
            }
        }
        if produced || layer::may_have_any_key() {
            continue;
        }
        let known = OTHERS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .as_ref()
            .is_some_and(|others| others.contains(key));
        if known || !insert_bounded(&WARNED, key) {
            continue;
        }
        warnings += 1;
        match nearest(key, &TEMPLATES) {
            Some(near) => {
                tracing::warn!(%key, nearest = %near, "no cached handler of this program has this key: was the nearest one meant?");
            }
            None => {
                tracing::warn!(%key, "no cached handler of this program has this key: clearing it frees nothing here");
            }
        }
    }
}

/// Says, once for a handler, which word lets an answer be stored that says it varies on something
/// that nothing tells apart.
pub(crate) fn advise_vary(answerer: Answerer, headers: &http::HeaderMap, declared: &[&str]) {
    let handler = &answerer.to_string()[..];
    if !insert_bounded(&UNVARIED, handler) {
        return;
    }
    let names: Vec<_> = crate::http::vary::uncovered(headers, declared)
        .map(str::to_ascii_lowercase)
        .collect();
    if names.iter().any(|name| name == "*") {
        tracing::warn!(
            handler,
            "its answer says `Vary: *`, that no two requests may share it, so it is never stored"
        );
        return;
    }
    let listed: Vec<_> = declared
        .iter()
        .map(|name| (*name).to_owned())
        .chain(names)
        .map(|name| format!("\"{name}\""))
        .collect();
    let listed = listed.join(", ");
    let remedy = match answerer {
        Answerer::Handler(_) => format!("write vary({listed}) in its attribute"),
        Answerer::Layer(_) => format!("tell it .vary([{listed}])"),
    };
    tracing::warn!(
        handler,
        "its answer says that it varies on a header that the variant does not hold, so it is never stored; {remedy}"
    );
}
