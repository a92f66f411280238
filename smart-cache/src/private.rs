//! Called by the code that the attributes expand to. Not public API: no promises between
//! versions.

use std::fmt::Arguments;
pub use std::fmt::Display;
use std::future::Future;

use axum::response::{IntoResponse, Response};
use futures_util::future::Either;

pub use inventory;
pub use smart_cache_macros::{clears_cache_last, smart_cache_last};
pub use std::any::type_name_of_val;
pub use std::option::Option;
pub use std::string::String;
pub use std::vec::Vec;
pub use std::{column, file, format_args, line, module_path};

use crate::asked::{Asked, Gathered};
use crate::backend::BoxFuture;
use crate::cache::SmartCache;
use crate::cached::Cached;
use crate::context::{CacheContext, HeadersKept, Shown};
pub use crate::context::{NoHeaders, PutDebugHandlerBelow, WithHeaders};
pub use crate::encode::{br, gzip, zstd};
pub use crate::http::encoding::{Encoding, Encodings};
pub use crate::key::{BodyPart, HeaderPart};
use crate::key::{Form, Variant};
pub use crate::kv::{FunctionCall, Returned, ReturnsValue};
use crate::policy::Bypass;
pub use crate::registry::{
    ClearHandler, ClearSite, Function, FunctionSite, Handler, Model, ModelSite, Site,
};
use crate::run::{self, Run};
pub use crate::start::Home;
use crate::stats::Counted;
use crate::write::ClearGuard;

/// One call of a cached handler, from its arguments to its answer.
#[derive(Debug)]
pub struct Call {
    shown: Option<Shown>,
    gathered: Gathered,
    /// What is asked, or why the request stays out; known once the memory was looked into.
    form: Option<Result<Form, Bypass>>,
}

impl Call {
    pub fn new<H: HeadersKept>(
        context: CacheContext<H>,
        site: &'static Site,
        type_name: &'static str,
    ) -> Self {
        let gathered = Gathered {
            site,
            type_name,
            variant: Variant::new(),
        };
        let mut shown = context.shown;
        if let Some(shown) = &mut shown {
            shown.wants.leave_out(site.vary);
        }
        Self {
            shown,
            gathered,
            form: None,
        }
    }

    pub fn variant(&mut self) -> &mut Variant {
        &mut self.gathered.variant
    }

    pub fn key(&mut self, key: Arguments<'_>) {
        self.gathered.variant.key(key);
    }

    /// The values of a template with several placeholders: a separator inside one of them must
    /// not make two requests share an entry.
    pub fn values(&mut self, values: &[&dyn Display]) {
        for value in values {
            self.gathered.variant.push(value);
        }
    }

    pub fn tag(&mut self, tag: Arguments<'_>) {
        self.gathered.variant.tag(tag);
    }

    pub fn part<P: Display + ?Sized>(&mut self, part: &P) {
        self.gathered.variant.push(part);
    }

    /// The answer, if this process's memory has it. Before the handler's future is made, and
    /// without waiting for anything: most requests end here.
    pub fn ready<T>(&mut self) -> Option<Cached<T>> {
        let shown = self.shown.as_ref()?;
        let site = self.gathered.site;
        let cache = crate::start::at_hand(shown.cache.as_ref(), site.cache, &site.home)?;
        let form = self.form.insert(self.gathered.form(cache, shown));
        let form = form.as_ref().ok()?;
        crate::serve::at_hand(cache, site, form, shown).map(Cached::response)
    }

    /// For a handler whose future may be spawned: one that takes no references and is not
    /// generic. All of them share one road.
    pub fn run<T, F>(self, handler: F) -> impl Future<Output = Cached<T>>
    where
        T: IntoResponse,
        F: Future<Output = T> + Send + 'static,
    {
        let served = |call: Self, shown, handler| -> BoxFuture<'static, Response> {
            Box::pin(call.serve(shown, run::detachable(handler)))
        };
        self.answer(handler, served)
    }

    /// For a handler that may borrow from its caller.
    pub fn run_attached<T, F>(self, handler: F) -> impl Future<Output = Cached<T>>
    where
        T: IntoResponse,
        F: Future<Output = T>,
    {
        let served =
            |call: Self, shown, handler| Box::pin(call.serve(shown, run::attached(handler)));
        self.answer(handler, served)
    }

    /// The answer of a request, or what the handler says to a caller. Both are on the heap, since a
    /// request that is answered at once should not carry them.
    fn answer<T, F, S>(
        mut self,
        handler: F,
        served: impl FnOnce(Self, Shown, F) -> S,
    ) -> impl Future<Output = Cached<T>>
    where
        F: Future<Output = T>,
        S: Future<Output = Response>,
    {
        let answer = match self.shown.take() {
            Some(shown) => Ok(served(self, shown, handler)),
            None => Err(Box::pin(handler)),
        };
        async move {
            match answer {
                Ok(response) => Cached::response(response.await),
                Err(value) => Cached::value(value.await),
            }
        }
    }

    /// The road of a request whose cache is set up, as it is but for the first ones.
    fn serve(
        mut self,
        mut shown: Shown,
        run: Run<impl Future<Output = Response>>,
    ) -> impl Future<Output = Response> {
        let site = self.gathered.site;
        let cache = crate::start::at_hand(shown.cache.as_ref(), site.cache, &site.home).cloned();
        match cache {
            Some(cache) => {
                let asked = self.ask(&cache, &mut shown);
                Either::Left(answered(cache, site, asked, run))
            }
            None => Either::Right(Box::pin(self.serve_late(shown, run))),
        }
    }

    async fn serve_late(
        mut self,
        mut shown: Shown,
        run: Run<impl Future<Output = Response>>,
    ) -> Response {
        let site = self.gathered.site;
        match crate::start::resolve(shown.cache.take(), site.cache).await {
            Some(cache) => {
                let asked = self.ask(&cache, &mut shown);
                drop(shown);
                answered(cache, site, asked, run).await
            }
            None => run.future.await,
        }
    }

    fn ask(&mut self, cache: &SmartCache, shown: &mut Shown) -> Result<Asked, Bypass> {
        let form = self.form.take();
        let form = form.unwrap_or_else(|| self.gathered.form(cache, shown))?;
        Ok(self.gathered.asked(cache, shown, form))
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` has room for each argument twice"
)]
fn answered(
    cache: SmartCache,
    site: &'static Site,
    asked: Result<Asked, Bypass>,
    run: Run<impl Future<Output = Response>>,
) -> impl Future<Output = Response> {
    async move {
        let asked = asked.as_ref().map_err(|bypass| *bypass);
        crate::serve::serve(&Counted::new(&cache, site), asked, run).await
    }
}

/// The keys of a row; what cannot be shown names nothing.
pub fn keys(templates: &[Arguments<'_>]) -> Vec<String> {
    templates.iter().copied().filter_map(rendered).collect()
}

/// A key as text; `None` when it is empty or cannot be shown.
fn rendered(key: Arguments<'_>) -> Option<String> {
    use std::fmt::Write as _;

    let mut text = String::new();
    (text.write_fmt(key).is_ok() && !text.is_empty()).then_some(text)
}

/// One call of a handler that clears.
#[derive(Debug)]
pub struct ClearCall {
    shown: Option<Shown>,
    site: &'static ClearSite,
    keys: Vec<String>,
}

impl ClearCall {
    pub fn new<H: HeadersKept>(context: CacheContext<H>, site: &'static ClearSite) -> Self {
        Self {
            shown: context.shown,
            site,
            keys: Vec::new(),
        }
    }

    pub fn key(&mut self, key: Arguments<'_>) {
        // Rendered before the body moves the values away. What cannot be shown names nothing.
        self.keys.extend(rendered(key));
    }

    pub async fn run<T: IntoResponse>(self, handler: impl Future<Output = T>) -> Cached<T> {
        let is_request = self.shown.is_some();
        // Called as a function it belongs to the handler that calls it.
        let surrounding = || crate::protocol::scope::current_cache();
        let own = self.shown.map_or_else(surrounding, |shown| shown.cache);
        let cache = crate::start::resolve(own, self.site.cache).await;
        let scope = cache.as_ref().map(crate::protocol::scope::Scope::silent);
        let guard = ClearGuard {
            cache,
            name: self.site.cache,
            keys: self.keys,
        };
        let value = match scope {
            Some(scope) => scope.hear(handler).await,
            None => handler.await,
        };
        if !is_request {
            guard.clear().await;
            return Cached::value(value);
        }
        let response = value.into_response();
        guard.answered(response.status()).await;
        Cached::response(response)
    }
}

/// A value of the type that the user declared, for a `return` behind `if false`: it makes the
/// compiler report a mismatch on the user's own lines.
pub fn never<T>() -> T {
    unreachable!("stands behind `if false`")
}

/// Parts of the road of a hit, for the benches alone.
pub mod bench {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, Uri};

    use crate::codec::{self, Head};
    use crate::entry::{Answer, EntryId};
    use crate::key::{Identity, IgnoredQuery, QueryRule, Seen, Variant};

    /// Key and variant of a request with two parts and a query; the length of the form.
    pub fn form(uri: &Uri, ignored: &str) -> usize {
        let mut variant = Variant::new();
        variant.push(7);
        variant.query();
        variant.key(format_args!("item:{}", 7));
        let ignored = IgnoredQuery::parse(ignored);
        let seen = Seen {
            identity: Identity {
                type_name: "bench::item",
                place: ("bench.rs", 1, 1),
                state: "()",
            },
            sent: uri.into(),
            rewritten: None,
            query: QueryRule::AllBut(&ignored),
            query_named: false,
            vary: &[],
            headers: None,
        };
        variant.into_form(&seen).local().len()
    }

    /// An answer as stored bytes.
    pub fn encode(body: &Bytes) -> Bytes {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            http::HeaderValue::from_static("application/json"),
        );
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: body.clone(),
            created: std::time::SystemTime::UNIX_EPOCH,
            encoded: Vec::new(),
            took: std::time::Duration::ZERO,
        };
        let head = Head {
            key: "item:7".into(),
            tags: Vec::new(),
            dynamic: Vec::new(),
        };
        codec::encode(EntryId::of(b"bench"), &head, &answer, "/item/7").into()
    }

    /// Whether stored bytes are an answer.
    pub fn decode(bytes: &Bytes) -> bool {
        codec::decode(EntryId::of(b"bench"), bytes).is_some()
    }
}
