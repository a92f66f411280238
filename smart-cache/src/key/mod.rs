//! What a request asks for: the key that can be cleared, and the variant under it.

mod form;
mod identity;
mod into_keys;
mod part;
mod pattern;
mod query;
mod variant;
mod words;

pub(crate) use form::{Form, Seen, Target};
pub(crate) use identity::Identity;
pub use into_keys::IntoKeys;
pub use part::{BodyPart, HeaderPart, KeyPart, Shows};
pub(crate) use pattern::{Template, nearest, overlap};
#[cfg(test)]
pub(crate) use query::normalise;
pub(crate) use query::{IgnoredQuery, QueryRule};
pub use variant::Variant;
