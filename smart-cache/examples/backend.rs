//! Responses and values in a store of one's own: here a map, in yours whatever keeps names and bytes.
//!
//! `cargo run -p smart-cache --example backend`. It is as long as the trait. What a store promises
//! is said at [`ValueStore`]; the three rules that carry everything are marked.

use std::collections::HashMap;
use std::error::Error;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use smart_cache::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore, matches_glob};
use smart_cache::{BackendError, SmartCache};

type Values = HashMap<String, (Bytes, Option<Instant>)>;
type Is<'a, T> = BoxFuture<'a, Result<T, BackendError>>;

/// Values, each with the moment at which it goes.
#[derive(Debug, Default)]
struct Map(Mutex<Values>);

impl Map {
    /// One step over what is alive; nothing else happens meanwhile.
    fn step<'a, T: Send + 'a>(&self, step: impl FnOnce(&mut Values) -> T) -> Is<'a, T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        values.retain(|_, (_, ends)| ends.is_none_or(|ends| ends > now));
        Box::pin(ready(Ok(step(&mut values))))
    }
}

fn ends(expiry: Expiry) -> Option<Instant> {
    expiry.and_then(|after| Instant::now().checked_add(after))
}

impl ValueStore for Map {
    fn get_many<'a>(&'a self, names: &'a [String]) -> Is<'a, Vec<Option<Bytes>>> {
        let value = |values: &Values, name| values.get(name).map(|(value, _)| value.clone());
        self.step(|values| names.iter().map(|name| value(values, name)).collect())
    }

    fn set_many<'a>(&'a self, new: &'a [(String, Bytes)], expiry: Expiry) -> Is<'a, Vec<usize>> {
        let new = new.iter().cloned();
        let new = new.map(|(name, value)| (name, (value, ends(expiry))));
        self.step(|values| {
            values.extend(new);
            Vec::new() // nothing was too large
        })
    }

    /// Rule one: it is atomic, and is never sent twice.
    fn add<'a>(&'a self, name: &'a str, value: Bytes, expiry: Expiry) -> Is<'a, bool> {
        self.step(|values| {
            let is_new = !values.contains_key(name);
            if is_new {
                values.insert(name.to_owned(), (value, ends(expiry)));
            }
            is_new
        })
    }

    /// Rule two, here and in the two that follow: what was removed meanwhile does not come back.
    fn touch<'a>(&'a self, name: &'a str, expiry: Expiry) -> Is<'a, bool> {
        let touched = |value: &mut (Bytes, _)| value.1 = ends(expiry);
        self.step(|values| values.get_mut(name).map(touched).is_some())
    }

    fn increment<'a>(&'a self, name: &'a str, delta: i64) -> Is<'a, Counted> {
        self.step(|values| {
            let Some((value, _)) = values.get_mut(name) else {
                return Counted::Missing;
            };
            let text = str::from_utf8(value).unwrap_or_default();
            let Ok(number) = text.parse::<i64>() else {
                return Counted::NotAnInteger;
            };
            number.checked_add(delta).map_or(Counted::Overflow, |sum| {
                *value = sum.to_string().into();
                Counted::Now(sum)
            })
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Is<'a, bool> {
        self.step(|values| {
            let moved = values.remove(from);
            let is_there = moved.is_some();
            values.extend(moved.map(|value| (to.to_owned(), value)));
            is_there
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> Is<'a, u64> {
        self.step(|values| names.iter().filter_map(|name| values.remove(name)).count() as u64)
    }

    fn ttl<'a>(&'a self, name: &'a str) -> Is<'a, Ttl> {
        let left = |ends: Instant| ends.saturating_duration_since(Instant::now());
        self.step(|values| match values.get(name) {
            None => Ttl::Missing,
            Some((_, ends)) => ends.map_or(Ttl::Never, |ends| Ttl::After(left(ends))),
        })
    }

    fn names<'a>(&'a self, glob: &'a str, _: Option<String>) -> Is<'a, NamePage> {
        let mut page = NamePage::default(); // without `next`: the only one
        self.step(|values| {
            let names = values.keys().filter(|name| matches_glob(glob, name));
            page.names = names.cloned().collect();
            page
        })
    }

    fn clear(&self) -> Is<'_, ()> {
        self.step(HashMap::clear)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    /// Rule three: it changes whenever old data may have come back. A map ends with its process.
    fn incarnation(&self) -> Is<'_, String> {
        Box::pin(ready(Ok(String::new())))
    }

    fn describe(&self) -> String {
        "a map".to_owned()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Arc::new(Map::default());
    let cache = SmartCache::builder().value_store(store).build().await?;
    println!("caching in {}", cache.describe());

    let made = |text: &'static str| {
        let job = cache.values().get_or_set("greeting").tags("texts");
        job.compute(async move || text.to_owned())
    };
    assert_eq!(made("hello").await?, "hello");
    assert_eq!(made("unused").await?, "hello");
    cache.clear("texts").await?;
    assert_eq!(made("welcome").await?, "welcome");
    Ok(())
}

#[cfg(test)]
#[test]
fn a_map_is_a_backend() {
    main().unwrap();
}
