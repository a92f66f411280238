//! The keys of a row: what a change of it clears.

use std::collections::HashSet;

/// What a change of this row clears: written once, where the row's type is declared, instead of
/// beside each write.
///
/// # Deriving
/// The templates of `#[cache_keys(..)]` name fields, as in `format!`: `{id}`, `{author.id}` for a
/// field of a field, `{self.0}` for a field without a name. They are written with `Display`. A name
/// that is no field of the struct is an error on that word. Structs may have type parameters and
/// lifetimes; for an enum, write the implementation by hand.
///
/// Derived templates are known to [`registry()`](crate::registry()), so that its reports of what is
/// never cleared and never cached take them into account.
///
/// # Example
/// ```
/// use smart_cache::hooks::{CacheKeys, changed};
///
/// #[derive(Clone, CacheKeys)]
/// #[cache_keys("product:{id}", "products", "category:{category_id}")]
/// struct Product {
///     id: u64,
///     category_id: u64,
///     name: String,
/// }
///
/// let old = Product { id: 7, category_id: 1, name: "Lamp".to_owned() };
/// assert_eq!(old.cache_keys(), ["product:7", "products", "category:1"]);
///
/// // An update that moves a row from one group to another concerns both.
/// let new = Product { category_id: 2, ..old.clone() };
/// assert_eq!(changed(&old, &new), ["product:7", "products", "category:1", "category:2"]);
/// ```
///
/// # Pitfalls
/// `Option` fields do not implement `Display`: write `impl CacheKeys` by hand, or give the field a
/// type of its own that shows what its absence means.
#[diagnostic::on_unimplemented(
    message = "nothing says which keys a change of `{Self}` clears",
    note = "derive it: `#[derive(CacheKeys)] #[cache_keys(\"product:{{id}}\", \"products\")]`"
)]
pub trait CacheKeys {
    /// The keys and tags of this row as it is. The order is that of the templates; duplicates are
    /// harmless.
    fn cache_keys(&self) -> Vec<String>;
}

/// The keys of an update: those of the row as it was and as it has become, each once.
///
/// # Example
/// See [`CacheKeys`](trait@CacheKeys).
#[must_use = "it only names the keys; give them to a collector, or to clear_cache after the commit"]
pub fn changed(old: &(impl CacheKeys + ?Sized), new: &(impl CacheKeys + ?Sized)) -> Vec<String> {
    let mut seen = HashSet::new();
    let keys = old.cache_keys().into_iter().chain(new.cache_keys());
    keys.filter(|key| seen.insert(key.clone())).collect()
}

impl<T: CacheKeys + ?Sized> CacheKeys for &T {
    fn cache_keys(&self) -> Vec<String> {
        (**self).cache_keys()
    }
}

/// A row that may not be there has no keys when it is not.
impl<T: CacheKeys> CacheKeys for Option<T> {
    fn cache_keys(&self) -> Vec<String> {
        self.as_ref().map(T::cache_keys).unwrap_or_default()
    }
}

impl<T: CacheKeys> CacheKeys for [T] {
    fn cache_keys(&self) -> Vec<String> {
        self.iter().flat_map(T::cache_keys).collect()
    }
}

impl<T: CacheKeys> CacheKeys for Vec<T> {
    fn cache_keys(&self) -> Vec<String> {
        self.as_slice().cache_keys()
    }
}
