//! Everything that names one key or several.

use std::borrow::Cow;
use std::sync::Arc;

/// One key or several, in any of the usual shapes: `"a"`, `String`, arrays, slices, vectors,
/// tuples, and references to them.
///
/// # Example
/// ```
/// use smart_cache::IntoKeys;
///
/// assert_eq!("product:7".into_keys(), ["product:7"]);
/// assert_eq!([format!("product:{}", 7), "products".to_owned()].into_keys().len(), 2);
/// assert_eq!(("products", format!("category:{}", 3)).into_keys(), ["products", "category:3"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a key",
    label = "not a key",
    note = "a key is text: `format!(\"product:{{id}}\")`, or an array, a vector or a tuple of texts"
)]
pub trait IntoKeys {
    /// The keys, in the order given; duplicates are harmless.
    fn into_keys(self) -> Vec<String>;
}

/// The shapes of one key.
macro_rules! one_key {
    ($($type:ty),*) => {$(
        impl IntoKeys for $type {
            fn into_keys(self) -> Vec<String> {
                vec![self.into()]
            }
        }
        impl IntoKeys for &$type {
            fn into_keys(self) -> Vec<String> {
                vec![self.to_owned().into()]
            }
        }
    )*};
}
one_key!(String, Box<str>, Cow<'_, str>);

impl IntoKeys for &str {
    fn into_keys(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoKeys for &&str {
    fn into_keys(self) -> Vec<String> {
        vec![(*self).to_owned()]
    }
}

impl IntoKeys for Arc<str> {
    fn into_keys(self) -> Vec<String> {
        vec![self.as_ref().to_owned()]
    }
}

impl IntoKeys for &Arc<str> {
    fn into_keys(self) -> Vec<String> {
        vec![self.as_ref().to_owned()]
    }
}

impl IntoKeys for std::fmt::Arguments<'_> {
    fn into_keys(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl<K: IntoKeys, const N: usize> IntoKeys for [K; N] {
    fn into_keys(self) -> Vec<String> {
        self.into_iter().flat_map(IntoKeys::into_keys).collect()
    }
}

impl<'a, K, const N: usize> IntoKeys for &'a [K; N]
where
    &'a K: IntoKeys,
{
    fn into_keys(self) -> Vec<String> {
        self.iter().flat_map(IntoKeys::into_keys).collect()
    }
}

impl<K: IntoKeys> IntoKeys for Vec<K> {
    fn into_keys(self) -> Vec<String> {
        self.into_iter().flat_map(IntoKeys::into_keys).collect()
    }
}

impl<'a, K> IntoKeys for &'a Vec<K>
where
    &'a K: IntoKeys,
{
    fn into_keys(self) -> Vec<String> {
        self.iter().flat_map(IntoKeys::into_keys).collect()
    }
}

impl<'a, K> IntoKeys for &'a [K]
where
    &'a K: IntoKeys,
{
    fn into_keys(self) -> Vec<String> {
        self.iter().flat_map(IntoKeys::into_keys).collect()
    }
}

impl<K: IntoKeys> IntoKeys for Option<K> {
    fn into_keys(self) -> Vec<String> {
        self.map(IntoKeys::into_keys).unwrap_or_default()
    }
}

/// Tuples whose members are keys of different shapes.
macro_rules! tuples {
    ($(($($name:ident),+))*) => {$(
        impl<$($name: IntoKeys),+> IntoKeys for ($($name,)+) {
            fn into_keys(self) -> Vec<String> {
                #[expect(non_snake_case, reason = "the type parameters name the members too")]
                let ($($name,)+) = self;
                let mut keys = Vec::new();
                $(keys.extend($name.into_keys());)+
                keys
            }
        }
    )*};
}
tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G) (A, B, C, D, E, F, G, H) }
