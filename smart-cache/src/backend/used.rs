//! Which tokens something depends on, as a sweep remembers it: entries and computed values that live.

use std::hash::{BuildHasher as _, RandomState};

/// Names of tokens that something depends on: all of them, and perhaps some others, which are found out in
/// another pass. A fixed number of bits, however many entries there are: with one name for each bit in
/// thirteen (ten million) one unused token in fifty stays until the next pass.
pub(super) struct Used {
    bits: Vec<u64>,
    /// Other ones in each pass.
    hasher: RandomState,
}

/// 16 MiB, of which a small namespace touches a few pages.
const USED_BITS: usize = 1 << 27;

impl Default for Used {
    fn default() -> Self {
        Self {
            bits: vec![0; USED_BITS / 64],
            hasher: RandomState::new(),
        }
    }
}

impl Used {
    pub(super) fn add(&mut self, name: &str) {
        for place in self.places(name) {
            self.bits[place / 64] |= 1 << (place % 64);
        }
    }

    pub(super) fn may_have(&self, name: &str) -> bool {
        let mut places = self.places(name).into_iter();
        places.all(|place| self.bits[place / 64] & (1 << (place % 64)) != 0)
    }

    fn places(&self, name: &str) -> [usize; 2] {
        let hash = self.hasher.hash_one(name);
        [hash, hash >> 32].map(|half| half as u32 as usize % USED_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_that_is_used_is_forgotten_and_few_others_are_spared() {
        let mut used = Used::default();
        for number in 0..100_000 {
            used.add(&format!("used:{number}"));
        }
        assert!((0..100_000).all(|number| used.may_have(&format!("used:{number}"))));
        let spared = (0..100_000).filter(|number| used.may_have(&format!("unused:{number}")));
        assert!(spared.count() < 100);
    }
}
