//! Pure functions over headers: no I/O, no clock.

pub(crate) mod accept_encoding;
pub(crate) mod accept_language;
pub(crate) mod age;
pub(crate) mod cache_status;
pub(crate) mod conditional;
pub(crate) mod encoding;
pub(crate) mod etag;
pub(crate) mod freshness;
pub(crate) mod hop_by_hop;
pub(crate) mod media;
pub(crate) mod number;
pub(crate) mod quality;
pub(crate) mod range;
pub(crate) mod vary;
pub(crate) mod wants;
