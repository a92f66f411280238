//! Options within options, which MessagePack alone cannot tell apart: it writes `None`, `Some(None)`
//! and `Some(())` as the same nil.
//!
//! What stands directly inside a `Some` and would be nil is written as a sequence instead: `None` as
//! an empty one, `Some(x)` as one of one element, `()` as an empty one. Everything else passes
//! through unchanged, so what was never nested is plain MessagePack.

mod read;
mod write;

use serde::de::DeserializeOwned;
use serde::ser::Serialize;

/// A value, and whether it stands directly inside a `Some`.
struct Inside<T> {
    value: T,
    some: bool,
}

impl<T> Inside<T> {
    /// Inside something that is told from nil.
    fn plain(value: T) -> Self {
        Self { value, some: false }
    }
}

/// Writes a value.
pub(super) fn to_vec<T: Serialize + ?Sized>(
    mut bytes: Vec<u8>,
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    value.serialize(Inside::plain(&mut serializer))?;
    Ok(bytes)
}

/// Reads a value.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    T::deserialize(Inside::plain(&mut deserializer))
}
