//! The smallest store of values: a map. What a user would write to try the trait out.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use smart_cache::BackendError;
use smart_cache::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};

/// Values in a map; each method is one step.
#[derive(Debug, Default)]
pub(super) struct Plain {
    values: Mutex<HashMap<String, (Bytes, Option<Instant>)>>,
}

impl Plain {
    /// What happens to the living values, in one step.
    fn step<T>(&self, step: impl FnOnce(&mut HashMap<String, (Bytes, Option<Instant>)>) -> T) -> T {
        let mut values = self.values.lock().unwrap();
        let now = Instant::now();
        values.retain(|_, (_, expires)| expires.is_none_or(|at| at > now));
        step(&mut values)
    }

    /// The names that are there now, sorted.
    pub(super) fn all_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.step(|values| values.keys().cloned().collect());
        names.sort();
        names
    }
}

fn at(expiry: Expiry) -> Option<Instant> {
    expiry.and_then(|after| Instant::now().checked_add(after))
}

impl ValueStore for Plain {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        let found = |name: &String| self.step(|values| Some(values.get(name)?.0.clone()));
        Box::pin(async move { Ok(names.iter().map(found).collect()) })
    }

    fn set_many<'a>(
        &'a self,
        new: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            for (name, value) in new {
                self.step(|values| values.insert(name.clone(), (value.clone(), at(expiry))));
            }
            Ok(Vec::new())
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| {
                let is_new = !values.contains_key(name);
                if is_new {
                    values.insert(name.to_owned(), (value, at(expiry)));
                }
                is_new
            }))
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| {
                let held = values.get_mut(name);
                held.map(|(_, expires)| *expires = at(expiry)).is_some()
            }))
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        let gone = |name: &&String| self.step(|values| values.remove(*name).is_some());
        Box::pin(async move { Ok(names.iter().filter(gone).count() as u64) })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| {
                let Some((value, _)) = values.get_mut(name) else {
                    return Counted::Missing;
                };
                let Some(before) = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok())
                else {
                    return Counted::NotAnInteger;
                };
                match before.checked_add(delta) {
                    Some(now) => {
                        *value = now.to_string().into();
                        Counted::Now(now)
                    }
                    None => Counted::Overflow,
                }
            }))
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| {
                let moved = values.remove(from);
                moved
                    .map(|value| values.insert(to.to_owned(), value))
                    .is_some()
            }))
        })
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| {
                let Some((value, _)) = values.get_mut(name).filter(|(value, _)| value == old)
                else {
                    return false;
                };
                match new {
                    Some(new) => *value = new.clone(),
                    None => drop(values.remove(name)),
                }
                true
            }))
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async move {
            Ok(self.step(|values| match values.get(name) {
                None => Ttl::Missing,
                Some((_, None)) => Ttl::Never,
                Some((_, Some(at))) => Ttl::After(at.saturating_duration_since(Instant::now())),
            }))
        })
    }

    /// Knows one kind of glob: a beginning and a star.
    fn names<'a>(
        &'a self,
        glob: &'a str,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async move {
            let mut page = NamePage::default();
            let beginning = glob.trim_end_matches('*');
            page.names = self.all_names();
            page.names.retain(|name| name.starts_with(beginning));
            Ok(page)
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.step(HashMap::clear);
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn describe(&self) -> String {
        "a map".to_owned()
    }
}
