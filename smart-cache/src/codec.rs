//! Entries as bytes, and back: the only place that knows the format.
//!
//! What a backend keeps after the three digests and the time-to-live mark that the store script
//! writes (`docs/protocol.md`):
//!
//! ```text
//! head    "SC" 0x01 | static names: u16, each u32 + bytes (the key first, then the tags)
//!                   | dynamic tags: u16, each u32 + bytes
//! record  format u8 | crc32 u32 | length of meta u32 | meta (postcard) | body | encoded bodies
//! ```
//!
//! Numbers are little-endian. The head's layout is frozen across versions, since the sweep of
//! one build reads the entries of another. The checksum covers the entry's id, the head, the
//! meta and the body: what was truncated, damaged, written by another format or moved to
//! another name is no entry, which is a miss. Bodies are sliced out, never copied.
//!
//! Over 400 lines, with the tests that pin the bytes: whoever changes the format changes them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::entry::{self, Answer, EncodedBody, Entry, EntryId};
use crate::http::encoding::Encoding;
use crate::http::media;
use crate::local::Sample;
use crate::protocol::MAX_TAGS;
use crate::seal::{Bound, Keyring};

/// Begins every head.
const MAGIC: [u8; 3] = *b"SC\x01";
/// The format of the record; another number is another build's business.
const FORMAT: u8 = 3;
/// In place of the format where a record is sealed (`seal.rs`).
const SEALED: u8 = 0xE5;
/// Format, checksum and length in front of the meta.
const RECORD_FIXED: usize = 1 + 4 + 4;

/// An entry as a backend keeps it: head and record. Decoded at most once, however many requests
/// were given it.
#[derive(Clone)]
pub struct Payload {
    bytes: Bytes,
    entry: Arc<OnceLock<Option<Arc<Entry>>>>,
    /// What was known before the lookup that found it; absent for what has a time to live, and
    /// where nothing is heard of changes.
    sample: Option<Arc<Sample>>,
}

impl Payload {
    /// The entry; `None` for bytes that cannot be read. What is sealed is opened with the keys of the
    /// cache, and what is not is no entry where there are any.
    pub(crate) fn entry(
        &self,
        id: EntryId,
        keys: Option<&Keyring>,
        status_header: bool,
        now: Moment,
    ) -> Option<Arc<Entry>> {
        self.entry
            .get_or_init(|| {
                let answer = unsealed(id, &self.bytes, keys)?;
                Some(Arc::new(Entry::arranged(answer, status_header, now)))
            })
            .clone()
    }

    /// With the sample that was taken before the lookup.
    pub(crate) fn sampled(mut self, sample: Option<Sample>) -> Self {
        self.sample = sample.map(Arc::new);
        self
    }

    pub(crate) fn sample(&self) -> Option<&Arc<Sample>> {
        self.sample.as_ref()
    }

    /// The tags that the handler had found. A list that nobody can have stored is none: stored
    /// bytes are untrusted, and these become names in Redis.
    pub(crate) fn dynamic(&self) -> Vec<Arc<str>> {
        let listed = Head::read(&self.bytes)
            .map(|(head, _)| head.dynamic)
            .unwrap_or_default();
        let plausible = listed.len() <= MAX_TAGS && listed.iter().all(|tag| !tag.is_empty());
        if plausible { listed } else { Vec::new() }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            entry: Arc::default(),
            sample: None,
        }
    }
}

impl std::ops::Deref for Payload {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl PartialEq<[u8]> for Payload {
    fn eq(&self, other: &[u8]) -> bool {
        self.bytes == other
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}

/// What an entry depends on, as its head says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) key: Arc<str>,
    /// Sorted.
    pub(crate) tags: Vec<Arc<str>>,
    /// Tags found while the handler ran; sorted, none of them static.
    pub(crate) dynamic: Vec<Arc<str>>,
}

/// The response without its body.
#[derive(Serialize, Deserialize)]
struct Meta<'a> {
    status: u16,
    created_ms: u64,
    took_us: u64,
    /// What was asked, in words; only pages read it.
    request: &'a str,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a [u8])>,
    /// Bytes of the plain body.
    length: u64,
    #[serde(borrow)]
    encoded: Vec<MetaEncoded<'a>>,
}

/// One of the encoded bodies behind the plain one.
#[derive(Serialize, Deserialize)]
struct MetaEncoded<'a> {
    encoding: &'a str,
    /// Its tag; empty for none.
    etag: &'a [u8],
    /// Bytes.
    length: u64,
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        let statics = std::iter::once(&self.key).chain(&self.tags);
        names(out, 1 + self.tags.len(), statics);
        names(out, self.dynamic.len(), self.dynamic.iter());
    }

    /// Where the record begins, without reading the names.
    fn end(bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let statics = each_name(&mut rest, |_| Some(()))?;
        each_name(&mut rest, |_| Some(()))?;
        (statics > 0).then_some(bytes.len() - rest.len())
    }

    /// Reads a head from the start of `bytes`; also returns where the record begins.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let mut statics = read_names(&mut rest)?;
        let dynamic = read_names(&mut rest)?;
        if statics.is_empty() {
            return None;
        }
        let key = statics.remove(0);
        Some((
            Self {
                key,
                tags: statics,
                dynamic,
            },
            bytes.len() - rest.len(),
        ))
    }
}

/// Writes a counted list of names.
fn names<'a>(out: &mut Vec<u8>, count: usize, list: impl Iterator<Item = &'a Arc<str>>) {
    out.extend_from_slice(&(count as u16).to_le_bytes());
    for name in list {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
    }
}

/// Reads a counted list of names and moves `rest` behind it.
fn read_names(rest: &mut &[u8]) -> Option<Vec<Arc<str>>> {
    let mut list = Vec::new();
    each_name(rest, |name| {
        list.push(std::str::from_utf8(name).ok()?.into());
        Some(())
    })?;
    Some(list)
}

/// Goes over a counted list of names and moves `rest` behind it; how many there were.
fn each_name<'a>(rest: &mut &'a [u8], mut each: impl FnMut(&'a [u8]) -> Option<()>) -> Option<u16> {
    let (count, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    let count = u16::from_le_bytes(*count);
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (name, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        each(name)?;
        *rest = tail;
    }
    Some(count)
}

/// The head in front of a record, for who keeps the names without the answer.
pub(crate) fn head_alone(payload: &[u8]) -> &[u8] {
    Head::end(payload).map_or(payload, |end| &payload[..end])
}

/// Encodes head and record, ready for the store script; `request` says in words what was asked.
pub(crate) fn encode(id: EntryId, head: &Head, answer: &Answer, request: &str) -> Vec<u8> {
    let meta = Meta {
        status: answer.status.as_u16(),
        created_ms: answer.created_ms(),
        took_us: answer.took.as_micros() as u64,
        request,
        headers: answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
        length: answer.body.len() as u64,
        encoded: answer
            .encoded
            .iter()
            .map(|encoded| MetaEncoded {
                encoding: encoded.encoding.name(),
                etag: encoded.etag.as_ref().map_or(&[], HeaderValue::as_bytes),
                length: encoded.body.len() as u64,
            })
            .collect(),
    };
    let bodies = std::iter::once(&answer.body);
    let bodies = bodies.chain(answer.encoded.iter().map(|encoded| &encoded.body));
    let length = bodies.clone().map(Bytes::len).sum::<usize>();
    let mut out = Vec::with_capacity(512 + length);
    head.write(&mut out);
    let record = out.len();
    out.push(FORMAT);
    out.extend_from_slice(&[0; 8]);
    // Serialising plain data into a vector cannot fail; an empty meta would be read as a miss.
    let out = postcard::to_extend(&meta, out).unwrap_or_default();
    if out.len() < record + RECORD_FIXED {
        return out;
    }
    let mut out = out;
    let meta_length = (out.len() - record - RECORD_FIXED) as u32;
    out[record + 5..record + 9].copy_from_slice(&meta_length.to_le_bytes());
    for body in bodies {
        out.extend_from_slice(body);
    }
    let crc = checksum(id, &out, record);
    out[record + 1..record + 5].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Seals the record behind the head of what [`encode`] wrote; `None` where that cannot be done, and
/// then nothing may be stored.
pub(crate) fn seal(id: EntryId, payload: Vec<u8>, keys: Option<&Keyring>) -> Option<Vec<u8>> {
    let Some(keys) = keys else {
        return Some(payload);
    };
    let (head, record) = payload.split_at(Head::end(&payload)?);
    let bound = Bound::Entry {
        id: id.as_bytes(),
        head,
    };
    let sealed = keys.seal(&bound, record)?;
    Some([head, &[SEALED], &sealed].concat())
}

/// Decodes what [`encode`] and [`seal`] wrote, its headers in a [`entry::room`].
fn unsealed(id: EntryId, bytes: &Bytes, keys: Option<&Keyring>) -> Option<Answer> {
    let Some(keys) = keys else {
        return decode_into(id, bytes, entry::room);
    };
    let (head, record) = bytes.split_at(Head::end(bytes)?);
    let bound = Bound::Entry {
        id: id.as_bytes(),
        head,
    };
    let record = keys.open(&bound, record.strip_prefix(&[SEALED])?)?;
    decode_into(id, &[head, &record].concat().into(), entry::room)
}

/// Decodes what [`encode`] wrote; `None` for anything else.
pub(crate) fn decode(id: EntryId, bytes: &Bytes) -> Option<Answer> {
    decode_into(id, bytes, HeaderMap::with_capacity)
}

fn decode_into(id: EntryId, bytes: &Bytes, room: fn(usize) -> HeaderMap) -> Option<Answer> {
    let record = Head::end(bytes)?;
    let fixed = bytes.get(record..record + RECORD_FIXED)?;
    let crc = u32::from_le_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]);
    let meta_length = u32::from_le_bytes([fixed[5], fixed[6], fixed[7], fixed[8]]) as usize;
    if fixed[0] != FORMAT || crc != checksum(id, bytes, record) {
        return None;
    }
    let meta_at = record + RECORD_FIXED;
    let body_at = meta_at.checked_add(meta_length)?;
    let meta: Meta<'_> = postcard::from_bytes(bytes.get(meta_at..body_at)?).ok()?;
    let mut headers = room(meta.headers.len());
    for (name, value) in &meta.headers {
        // Names and values are checked again: stored bytes are untrusted input.
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let usual = (name == header::CONTENT_TYPE).then(|| media::usual(value));
        let value = match usual.flatten() {
            Some(value) => value,
            None => HeaderValue::from_maybe_shared(bytes.slice_ref(value)).ok()?,
        };
        headers.append(name, value);
    }
    let mut rest = bytes.slice(body_at..);
    let body = take(&mut rest, meta.length)?;
    let mut encoded = Vec::with_capacity(meta.encoded.len());
    for one in &meta.encoded {
        let etag = match one.etag {
            [] => None,
            etag => Some(HeaderValue::from_maybe_shared(bytes.slice_ref(etag)).ok()?),
        };
        encoded.push(EncodedBody {
            encoding: Encoding::parse(one.encoding)?,
            etag,
            body: take(&mut rest, one.length)?,
        });
    }
    if !rest.is_empty() {
        return None;
    }
    Some(Answer {
        status: StatusCode::from_u16(meta.status).ok()?,
        headers,
        body,
        encoded,
        created: UNIX_EPOCH.checked_add(Duration::from_millis(meta.created_ms))?,
        took: Duration::from_micros(meta.took_us),
    })
}

/// Takes this many bytes off the front.
fn take(rest: &mut Bytes, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// What a list shows of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) status: u16,
    pub(crate) created: SystemTime,
    pub(crate) took: Duration,
    pub(crate) request: String,
}

/// Reads the beginning of an entry, without its body and therefore without its checksum; `None`
/// when that is too short, or something else.
pub(crate) fn summary(bytes: &[u8]) -> Option<Summary> {
    let record = Head::end(bytes)?;
    let fixed = bytes.get(record..record + RECORD_FIXED)?;
    if fixed[0] != FORMAT {
        return None;
    }
    let meta_length = u32::from_le_bytes([fixed[5], fixed[6], fixed[7], fixed[8]]) as usize;
    let meta_at = record + RECORD_FIXED;
    let meta = bytes.get(meta_at..meta_at.checked_add(meta_length)?)?;
    let meta: Meta<'_> = postcard::from_bytes(meta).ok()?;
    Some(Summary {
        status: meta.status,
        created: UNIX_EPOCH.checked_add(Duration::from_millis(meta.created_ms))?,
        took: Duration::from_micros(meta.took_us),
        request: meta.request.to_owned(),
    })
}

/// The checksum of everything but itself.
fn checksum(id: EntryId, bytes: &[u8], record: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id.as_bytes());
    hasher.update(&bytes[..=record]);
    hasher.update(&bytes[record + 5..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (EntryId, Head, Answer) {
        let mut headers = HeaderMap::new();
        headers.append("x-many", "one".parse().unwrap());
        headers.append("x-many", "two".parse().unwrap());
        headers.append("x-bytes", HeaderValue::from_bytes(&[0xff, b'a']).unwrap());
        let entry = Answer {
            status: StatusCode::NOT_FOUND,
            headers,
            body: Bytes::from_static(b"\0body\xff"),
            encoded: vec![
                EncodedBody {
                    encoding: Encoding::Zstd,
                    etag: Some(HeaderValue::from_static("\"a-zstd\"")),
                    body: Bytes::from_static(b"zstd\xff"),
                },
                EncodedBody {
                    encoding: Encoding::Gzip,
                    etag: None,
                    body: Bytes::from_static(b""),
                },
            ],
            created: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            took: Duration::from_micros(77),
        };
        let head = Head {
            key: "k:ü".into(),
            tags: vec!["a".into(), "b".into()],
            dynamic: vec!["d".into()],
        };
        (EntryId::of(b"x"), head, entry)
    }

    #[test]
    fn what_was_encoded_is_decoded_to_the_byte() {
        let (id, head, entry) = sample();
        let bytes = Bytes::from(encode(id, &head, &entry, "/x?y=1"));
        let back = decode(id, &bytes).unwrap();
        assert_eq!(
            (
                back.status,
                &back.headers,
                &back.body,
                back.created,
                back.took
            ),
            (
                entry.status,
                &entry.headers,
                &entry.body,
                entry.created,
                entry.took
            )
        );
        let encoded = |answer: &Answer| {
            let one = |body: &EncodedBody| (body.encoding, body.etag.clone(), body.body.clone());
            answer.encoded.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(encoded(&back), encoded(&entry));
        assert_eq!(Head::read(&bytes).unwrap().0, head);
    }

    #[test]
    fn the_beginning_of_an_entry_tells_what_it_is() {
        let (id, head, entry) = sample();
        let bytes = encode(id, &head, &entry, "/x?y=1");
        let summary = summary(&bytes[..bytes.len() - entry.body.len()]).unwrap();
        assert_eq!(
            (summary.status, summary.created, summary.took),
            (404, entry.created, entry.took)
        );
        assert_eq!(summary.request, "/x?y=1");
        assert_eq!(super::summary(&bytes[..30]), None);
    }

    #[test]
    fn the_stored_bytes_are_pinned() {
        // A change here makes every stored entry of a running deployment a miss, and a change
        // of the head's part breaks the sweep between builds: raise FORMAT, never MAGIC.
        let (id, head, entry) = sample();
        let bytes = encode(id, &head, &entry, "/x?y=1");
        let golden = "534301030004000000\
            6b3ac3bc01000000610100000062010001000000640\
            3";
        let hex = crate::protocol::hex(&bytes);
        assert!(hex.starts_with(&golden.replace(' ', "")), "{hex}");
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_a_miss() {
        let (id, head, entry) = sample();
        let bytes = encode(id, &head, &entry, "/x?y=1");
        for length in 0..bytes.len() {
            assert!(
                decode(id, &Bytes::copy_from_slice(&bytes[..length])).is_none(),
                "cut at {length}"
            );
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            assert!(
                decode(id, &Bytes::from(damaged)).is_none(),
                "flipped at {at}"
            );
        }
    }

    #[test]
    fn an_entry_under_another_name_is_a_miss() {
        let (id, head, entry) = sample();
        let bytes = Bytes::from(encode(id, &head, &entry, "/x?y=1"));
        assert!(decode(EntryId::of(b"y"), &bytes).is_none());
    }

    #[test]
    fn a_line_break_in_a_stored_header_is_a_miss_though_its_checksum_is_right() {
        let (id, head, mut entry) = sample();
        let value = HeaderValue::from_static("a~~set-cookie: b");
        entry.headers.insert("x-split", value);
        let bytes = encode(id, &head, &entry, "/");
        let at = bytes.windows(5).position(|window| window == b"a~~se");
        let at = at.unwrap() + 1;
        let tampered = |with: &[u8; 2]| {
            let mut bytes = bytes.clone();
            bytes[at..at + 2].copy_from_slice(with);
            let record = Head::end(&bytes).unwrap();
            let crc = checksum(id, &bytes, record);
            bytes[record + 1..record + 5].copy_from_slice(&crc.to_le_bytes());
            decode(id, &Bytes::from(bytes))
        };
        assert!(tampered(b"--").is_some());
        for with in [b"\r\n", b"-\n", b"\r-", b"-\0"] {
            assert!(tampered(with).is_none(), "{with:?}");
        }
    }
}
