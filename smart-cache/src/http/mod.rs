//! Pure functions over headers: no I/O, no clock.

pub(crate) mod cache_status;
pub(crate) mod hop_by_hop;
pub(crate) mod vary;
