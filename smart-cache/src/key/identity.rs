//! Which function answers: what is the same for all of its requests.
//!
//! In full it is some hundred bytes of type names and paths. Requests carry what is shorter and says
//! as much: in this process the address of those names, everywhere else their hash.

use std::cell::RefCell;

use super::form::field;
use super::variant::tag;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    /// Module, impl, function and generic arguments.
    pub(crate) type_name: &'static str,
    /// File, line and column tell apart two functions of one name in one function's blocks.
    pub(crate) place: (&'static str, u32, u32),
    /// The router's state: one function mounted with two types of state answers differently.
    pub(crate) state: &'static str,
}

/// Bytes of an identity's address.
pub(super) const ADDRESS: usize = 6 * size_of::<u64>();
/// 160 bits, as in an entry's id: two identities that meet by chance are not a thing that happens.
pub(super) const HASH: usize = 20;
/// Identities whose hashes a thread remembers, each in the place that its address says.
const REMEMBERED: usize = 64;

type Remembered = ([u8; ADDRESS], [u8; HASH]);

thread_local! {
    /// By their addresses. No identity has the address 0, since no name stands there.
    static HASHES: RefCell<[Remembered; REMEMBERED]> =
        const { RefCell::new([([0; ADDRESS], [0; HASH]); REMEMBERED]) };
}

impl Identity {
    /// Where its names stand in this process. Two identities of one address are one; one identity
    /// may have several, which only keeps its answers twice.
    pub(super) fn address(&self) -> [u8; ADDRESS] {
        let (file, line, column) = self.place;
        let short = |length: usize| u64::from(length as u32);
        let words = [
            self.type_name.as_ptr() as usize as u64,
            file.as_ptr() as usize as u64,
            self.state.as_ptr() as usize as u64,
            short(self.type_name.len()) << 32 | short(file.len()),
            short(self.state.len()),
            u64::from(line) << 32 | u64::from(column),
        ];
        let mut address = [0; ADDRESS];
        for (to, word) in address.chunks_exact_mut(size_of::<u64>()).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        address
    }

    /// The hash of all its names, the same in every process. The names are static, so what stands
    /// at an address today stands there tomorrow.
    pub(super) fn hash(&self) -> [u8; HASH] {
        let address = self.address();
        // Names of functions that stand one behind the other differ in these bits.
        let at = (self.type_name.as_ptr() as usize >> 3) % REMEMBERED;
        HASHES.with_borrow_mut(|hashes| {
            let (known, hash) = &mut hashes[at];
            if *known != address {
                (*known, *hash) = (address, self.hashed());
            }
            *hash
        })
    }

    fn hashed(&self) -> [u8; HASH] {
        let (file, line, column) = self.place;
        let names = self.type_name.len() + file.len() + self.state.len();
        let mut out = Vec::with_capacity(names + 5 * 5 + 2 * 4);
        field(&mut out, tag::IDENTITY, self.type_name.as_bytes());
        field(&mut out, tag::PLACE, file.as_bytes());
        field(&mut out, tag::PLACE, &line.to_le_bytes());
        field(&mut out, tag::PLACE, &column.to_le_bytes());
        field(&mut out, tag::STATE, self.state.as_bytes());
        let mut hash = [0; HASH];
        hash.copy_from_slice(&blake3::hash(&out).as_bytes()[..HASH]);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Identity> {
        let mut all = Vec::new();
        // More than are remembered, and several at each place.
        for type_name in ["a::b", "a::c", "b"] {
            for file in ["a.rs", "b.rs"] {
                for line in 1..60 {
                    for state in ["()", "Db"] {
                        let place = (file, line, 2 * line);
                        all.push(Identity {
                            type_name,
                            place,
                            state,
                        });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn each_identity_has_a_hash_of_its_own_and_keeps_it() {
        let all = all();
        let first: Vec<_> = all.iter().map(Identity::hash).collect();
        let again: Vec<_> = all.iter().rev().map(Identity::hash).collect();
        assert!(first.iter().eq(again.iter().rev()));
        assert!(
            first
                .iter()
                .eq(all.iter().map(Identity::hashed).collect::<Vec<_>>().iter())
        );
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn names_that_stand_elsewhere_are_the_same_identity() {
        let here = Identity {
            type_name: "a::b",
            place: ("a.rs", 1, 2),
            state: "()",
        };
        let there = Identity {
            type_name: String::from("a::b").leak(),
            ..here
        };
        assert_ne!(here.address(), there.address());
        assert_eq!(here.hash(), there.hash());
    }
}
