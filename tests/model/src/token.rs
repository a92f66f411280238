//! Tokens and digests in small numbers.

use crate::Flaw;

/// 128 random bits; here a number that nobody has used yet.
pub type Nonce = u8;

/// Tags that a handler may find.
pub const TAGS: usize = 2;
/// Everything that owns a token: the namespace, the key, the tags.
pub const NAMES: usize = 2 + TAGS;
/// The namespace's place among them.
pub const NAMESPACE: usize = 0;
/// The key's.
pub const KEY: usize = 1;

/// A tag's place.
#[must_use]
pub const fn tag(number: usize) -> usize {
    2 + number
}

/// A set of names, one bit each.
pub type Set = u8;

/// A number that only has to be told from others, or put in order with others of its kind. The
/// checker renames them, so that states which differ by names alone are one state.
#[derive(Debug)]
pub enum Number<'a> {
    /// Of a nonce: only equality counts.
    Nonce(&'a mut u8),
    /// Of the server's clock: only order counts, as long as TIME has no part in it.
    Stamp(&'a mut u8),
}

/// What a clear deletes: `<id>:<nonce>:<stamp>`, with the origin behind it when it was expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The incarnation of the server, in the namespace's own; 0 in any other.
    pub id: u8,
    /// Fresh for each attempt.
    pub nonce: Nonce,
    /// Unique, and never backwards.
    pub stamp: u8,
    /// What it was as of its last clear, if it was expired since.
    pub origin: Option<Origin>,
}

/// What of a token only a clear changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// As in the token.
    pub id: u8,
    /// Of the attempt that minted it.
    pub nonce: Nonce,
    /// Of that attempt.
    pub stamp: u8,
}

/// What stands under the name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// `!`: a write is open.
    Held,
    /// A token.
    Token(Token),
}

/// The digest over the static tokens: the namespace's and the key's.
pub type Digest = [Token; 2];
/// The digest over the tokens of tags that were found; which tags they are of it does not tell.
pub type Second = [Option<Token>; TAGS];

impl Mark {
    /// The token, unless a write holds its place.
    #[must_use]
    pub const fn token(self) -> Option<Token> {
        match self {
            Self::Held => None,
            Self::Token(token) => Some(token),
        }
    }
}

impl Token {
    /// What a clear, and nothing else, would change.
    #[must_use]
    pub fn origin(self, flaw: Option<Flaw>) -> Origin {
        let own = Origin {
            id: self.id,
            nonce: self.nonce,
            stamp: self.stamp,
        };
        let origin = self.origin.unwrap_or(own);
        if flaw == Some(Flaw::OriginIsNonce) && origin.id == 0 {
            Origin { stamp: 0, ..origin }
        } else {
            origin
        }
    }

    /// Shows every number in it.
    pub fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        visit(Number::Nonce(&mut self.nonce));
        visit(Number::Stamp(&mut self.stamp));
        if let Some(origin) = &mut self.origin {
            origin.visit(visit);
        }
    }
}

impl Origin {
    /// Shows every number in it.
    pub fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        visit(Number::Nonce(&mut self.nonce));
        visit(Number::Stamp(&mut self.stamp));
    }
}
