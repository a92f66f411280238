//! What tells two answers under one key apart, as bytes that no two requests share.
//!
//! Every part is written with a tag and its length in front, so no choice of values can make
//! the end of one part look like the beginning of the next.

use std::fmt::{Arguments, Display, Write as _};

use http::{HeaderMap, HeaderName};

/// Collects what the parts of a request show ([`KeyPart`](crate::KeyPart)) into the variant.
///
/// The request's path, the handler's identity and its state type are in every variant and need
/// not be added.
///
/// # Example
/// ```
/// use smart_cache::{KeyPart, Variant};
///
/// struct Tenant { id: u64 }
///
/// impl KeyPart for Tenant {
///     fn show(&self, variant: &mut Variant) {
///         variant.push(self.id);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Variant {
    /// Fields, one behind the other.
    pub(super) bytes: Vec<u8>,
    pub(super) query: QueryUse,
    bypass: bool,
    nameless: bool,
}

/// Room for what one request shows and the identity's address, so that it is allocated once.
const USUAL_FORM: usize = 192;

/// How much of the query the handler can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QueryUse {
    Unseen,
    Normalised,
    Exact,
}

/// Tags in front of each field; part of the identity of stored entries.
pub(super) mod tag {
    pub(in crate::key) const KEY: u8 = b'k';
    pub(in crate::key) const TAG: u8 = b't';
    pub(in crate::key) const IDENTITY: u8 = b'h';
    pub(in crate::key) const PLACE: u8 = b'l';
    pub(in crate::key) const STATE: u8 = b's';
    pub(in crate::key) const PATH: u8 = b'p';
    pub(in crate::key) const REWRITTEN: u8 = b'r';
    pub(in crate::key) const QUERY: u8 = b'q';
    pub(in crate::key) const QUERY_PRESENT: u8 = b'?';
    pub(in crate::key) const EXACT_URI: u8 = b'u';
    pub(in crate::key) const HEADER: u8 = b'v';
    pub(in crate::key) const HEADER_ABSENT: u8 = b'-';
    pub(in crate::key) const VALUE: u8 = b'x';
    pub(in crate::key) const WISH: u8 = b'w';
    pub(in crate::key) const ABSENT: u8 = b'0';
    pub(in crate::key) const PRESENT: u8 = b'1';
}

impl Variant {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(USUAL_FORM),
            query: QueryUse::Unseen,
            bypass: false,
            nameless: false,
        }
    }

    /// The variant, and nothing in its place.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            bytes: std::mem::take(&mut self.bytes),
            ..*self
        }
    }

    /// Adds one value; two requests share an entry only if they push the same values in the
    /// same order.
    pub fn push(&mut self, value: impl Display) {
        self.show(tag::VALUE, format_args!("{value}"));
    }

    /// [`push`](Self::push) for a value that need not be text.
    pub(crate) fn push_bytes(&mut self, value: &[u8]) {
        self.bytes_field(tag::VALUE, value);
    }

    /// Adds the query as it was sent.
    pub(crate) fn raw_query(&mut self, query: Option<&str>) {
        if let Some(query) = query {
            self.bytes_field(tag::QUERY, query.as_bytes());
            self.bytes.push(tag::QUERY_PRESENT);
        }
    }

    /// Adds a header of the request with all its lines, byte for byte; its absence counts too. An
    /// answer that says in `Vary` that it depends on this header may then be stored.
    ///
    /// # Example
    /// ```
    /// use axum::http::{HeaderMap, HeaderName};
    /// use smart_cache::{KeyPart, Variant};
    ///
    /// /// An extractor that reads one header.
    /// struct Colour(HeaderMap);
    ///
    /// impl KeyPart for Colour {
    ///     fn show(&self, variant: &mut Variant) {
    ///         variant.header(&HeaderName::from_static("x-colour"), &self.0);
    ///     }
    /// }
    /// ```
    pub fn header(&mut self, name: &HeaderName, headers: &HeaderMap) {
        self.bytes_field(tag::HEADER, name.as_str().as_bytes());
        let mut lines = headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            self.bytes.push(tag::HEADER_ABSENT);
        }
        for line in lines {
            self.bytes_field(tag::VALUE, line.as_bytes());
        }
        // Behind the last line, so that a value which follows is not taken for one.
        self.present();
    }

    fn bytes_field(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.bytes
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds the key.
    pub(crate) fn key(&mut self, key: Arguments<'_>) {
        self.name(tag::KEY, key);
    }

    /// Adds a tag.
    pub(crate) fn tag(&mut self, tag: Arguments<'_>) {
        self.name(tag::TAG, tag);
    }

    fn name(&mut self, tag: u8, name: Arguments<'_>) {
        // No key and no tag is empty: an empty one would name the namespace.
        self.nameless |= self.show(tag, name) == 0;
    }

    /// Writes a field whose length is known only afterwards; returns that length.
    fn show(&mut self, tag: u8, text: Arguments<'_>) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[tag, 0, 0, 0, 0]);
        if Appended(&mut self.bytes).write_fmt(text).is_err() {
            // A value that cannot be shown cannot tell two requests apart.
            self.bypass = true;
        }
        let length = self.bytes.len() - at - 5;
        self.bytes[at + 1..at + 5].copy_from_slice(&(length as u32).to_le_bytes());
        length
    }

    /// Lets the query count: normalised, that is sorted by name and without ignored parameters.
    pub fn query(&mut self) {
        self.query = self.query.max(QueryUse::Normalised);
    }

    /// Lets the whole request target count exactly as it was sent: scheme, authority, path and
    /// the query with its order.
    pub fn exact_uri(&mut self) {
        self.query = QueryUse::Exact;
    }

    /// Marks an optional part that is not there, unlike any value that could be pushed.
    pub fn absent(&mut self) {
        self.bytes.push(tag::ABSENT);
    }

    /// Marks an optional part that is there; its values follow.
    pub fn present(&mut self) {
        self.bytes.push(tag::PRESENT);
    }

    /// Keeps this request out of the cache: it is neither answered from it nor stored in it.
    pub fn bypass(&mut self) {
        self.bypass = true;
    }

    pub(crate) fn is_bypassed(&self) -> bool {
        self.bypass
    }

    /// Whether the key or a tag came to nothing.
    pub(crate) fn is_nameless(&self) -> bool {
        self.nameless
    }
}

/// `fmt::Write` for the end of a byte buffer.
struct Appended<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Appended<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
