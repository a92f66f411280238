//! What `#[smart_cached]` functions and fragments call: a computed value that is never an error.

use std::fmt::{Arguments, Display, Write as _};
use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::road::Job;
use super::{Opened, Timeout};
use crate::cache::SmartCache;
use crate::registry::FunctionSite;

/// What a `#[smart_cached]` function may return: anything that serde can write, and read again as
/// something of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "this is stored as bytes and read back",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; it must own what it holds, so return a `String` and not a `&str`"
)]
pub trait CachedValue: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> CachedValue for T {}

/// One call of a cached function, from its arguments to its value.
#[derive(Debug)]
pub struct FunctionCall {
    cache: Option<&'static str>,
    timeout: Timeout,
    key: String,
    tags: Vec<String>,
    /// The function, and what tells two of its values apart; every field with its length in front.
    identity: Vec<u8>,
    /// An argument could not be shown, so nothing tells two calls apart.
    is_broken: bool,
}

impl FunctionCall {
    /// Of the function at this site.
    pub fn new(site: &'static FunctionSite, type_name: &'static str) -> Self {
        let timeout = site.ttl_ms.map(std::time::Duration::from_millis);
        let mut call = Self::of(site.cache, timeout.into());
        call.part(&type_name);
        for part in [&site.file as &dyn Display, &site.line, &site.column] {
            call.part(part);
        }
        call
    }

    pub(super) fn of(cache: Option<&'static str>, timeout: Timeout) -> Self {
        Self {
            cache,
            timeout,
            key: String::new(),
            tags: Vec::new(),
            identity: Vec::new(),
            is_broken: false,
        }
    }

    /// The key, rendered before the body moves the values away.
    pub fn key(&mut self, key: Arguments<'_>) {
        self.key = self.rendered(key);
    }

    /// A tag.
    pub fn tag(&mut self, tag: Arguments<'_>) {
        let tag = self.rendered(tag);
        self.tags.push(tag);
    }

    /// The values of a template, each by itself: a separator inside one of them must not make two
    /// calls share a value.
    pub fn values(&mut self, values: &[&dyn Display]) {
        for value in values {
            self.part(*value);
        }
    }

    /// One value that tells two calls apart.
    pub fn part<P: Display + ?Sized>(&mut self, part: &P) {
        let mut text = String::new();
        self.is_broken |= write!(text, "{part}").is_err();
        self.identity
            .extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.identity.extend_from_slice(text.as_bytes());
    }

    fn rendered(&mut self, text: Arguments<'_>) -> String {
        let mut rendered = String::new();
        // No key and no tag is empty: it would name nothing, or everything.
        self.is_broken |= rendered.write_fmt(text).is_err() || rendered.is_empty();
        rendered
    }

    /// The value, found or computed; a cache that fails is a function that runs.
    pub(super) async fn run<T, E, W>(self, own: Option<SmartCache>, work: W) -> Result<T, E>
    where
        T: CachedValue,
        W: Future<Output = Result<T, E>>,
    {
        if self.is_broken {
            return work.await;
        }
        let surrounding = own.or_else(crate::protocol::scope::current_cache);
        let Some(smart) = crate::start::resolve(surrounding, self.cache).await else {
            return work.await;
        };
        let opened = match Opened::of(smart) {
            Ok(opened) => opened,
            Err(why) => {
                tracing::debug!(cause = %why, "no cache: the function runs");
                return work.await;
            }
        };
        let Ok(name) = opened.name(&self.key, None) else {
            return work.await;
        };
        let tags = self.tags.iter().map(String::as_str).chain([&*self.key]);
        Job::new(&opened, &self.key, name, self.timeout)
            .identified(self.identity)
            .tagged(tags)
            .run(work, |_| None)
            .await
    }
}

/// What a function returns, by its type: of a `Result` only `Ok` is stored, whatever alias it goes
/// by.
///
/// The inherent method is there for results alone, and it goes before that of the trait.
#[derive(Debug)]
pub struct Returned<T>(PhantomData<fn() -> T>);

impl<T> Returned<T> {
    /// Chooses by its type parameter.
    #[expect(clippy::new_without_default, reason = "only generated code makes one")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, E> Returned<Result<T, E>> {
    /// The function's result, found or computed.
    pub async fn run<W>(self, call: FunctionCall, work: W) -> Result<T, E>
    where
        T: CachedValue,
        W: Future<Output = Result<T, E>>,
    {
        call.run(None, work).await
    }
}

/// Of everything that is no `Result`.
pub trait ReturnsValue {
    /// What the function returns.
    type Value;

    /// The function's value, found or computed.
    fn run<W>(self, call: FunctionCall, work: W) -> impl Future<Output = Self::Value>
    where
        W: Future<Output = Self::Value>;
}

impl<T: CachedValue> ReturnsValue for Returned<T> {
    type Value = T;

    async fn run<W>(self, call: FunctionCall, work: W) -> T
    where
        W: Future<Output = T>,
    {
        infallible(call, None, work).await
    }
}

/// [`FunctionCall::run`] of what cannot fail.
pub(super) async fn infallible<T: CachedValue>(
    call: FunctionCall,
    own: Option<SmartCache>,
    work: impl Future<Output = T>,
) -> T {
    use std::convert::Infallible;

    let work = async { Ok::<T, Infallible>(work.await) };
    match call.run(own, work).await {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
