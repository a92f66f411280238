//! Properties that hold for any input: the codec, the query normaliser, and everything that reads
//! a header or decides by one.
//!
//! Short with every test run; `SMART_FUZZ_CASES=1000000` runs as long as one wants.
//!
//! Over 400 lines, since the properties share what they are tried with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proptest::prelude::*;

use crate::codec::{self, Head};
use crate::entry::{Answer, EncodedBody, EntryId};
use crate::http::conditional::{Selected, Verdict, judge};
use crate::http::encoding::{Encoding, Encodings};
use crate::http::range::{self, Wanted};
use crate::http::wants::Wants;
use crate::http::{accept_encoding, accept_language, cache_status, etag, hop_by_hop, vary};
use crate::key::{IgnoredQuery, QueryRule, normalise};
use crate::listed::Listed;
use crate::policy::{self, Bypass, Rules};

fn cases() -> ProptestConfig {
    let cases = std::env::var("SMART_FUZZ_CASES");
    ProptestConfig {
        cases: cases.ok().and_then(|n| n.parse().ok()).unwrap_or(256),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Anything that a header may hold.
fn value() -> impl Strategy<Value = HeaderValue> {
    proptest::collection::vec(
        prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
        0..60,
    )
    .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

/// Pieces of what these headers are made of, in any order: nearly right is the hardest.
fn shuffled(pieces: &'static [&'static str]) -> impl Strategy<Value = HeaderValue> {
    proptest::collection::vec(proptest::sample::select(pieces), 0..12)
        .prop_map(|pieces| HeaderValue::from_str(&pieces.concat()).unwrap())
}

const TAGS: &[&str] = &[
    "\"", "W/", "a", "b", ",", " ", "*", "\"a\"", "W/\"a\"", "\"b\"", "é",
];
const RANGES: &[&str] = &[
    "bytes",
    "=",
    "-",
    ",",
    " ",
    "0",
    "1",
    "9",
    "99",
    "18446744073709551616",
    "Bytes=",
    "items=",
];
const CODINGS: &[&str] = &[
    "gzip", "br", "zstd", "identity", "*", ",", ";", "q=", "0", "1", ".5", "0.5", " ", "x-gzip",
    "=",
];
const LANGUAGES: &[&str] = &[
    "de", "DE", "en-US", "*", ",", ";", "q=", "0", "0.5", "1", " ", "-",
];
const NAMES: &[&str] = &["accept", "Accept-Language", "*", ",", " ", "cookie", "\t"];
const DATES: &[&str] = &[
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun",
    "Nov",
    "06",
    "1994",
    "08:49:37",
    " ",
    ",",
    "GMT",
    "99",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "-1",
    "é",
];

const CONTROLS: &[&str] = &[
    "private",
    "Private",
    "no-store",
    "NO-STORE",
    "no-cache",
    "No-Cache",
    "public",
    "max-age=60",
    "x",
    "=",
    "\"",
    ",",
    ", ",
    ";",
    " ",
    "\t",
];
const HOPS: &[&str] = &[
    "close",
    "x-hop",
    "X-Hop",
    "x-other",
    "keep-alive",
    "TE",
    ",",
    ", ",
    " ",
    "\t",
    "=",
    "\"",
];
/// Headers of one connection, whatever `Connection` says.
const OF_ONE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const OF_THE_ANSWER: &[&str] = &["x-hop", "x-other", "x-own", "etag"];

fn any_of(pieces: &'static [&'static str]) -> impl Strategy<Value = HeaderValue> {
    prop_oneof![value(), shuffled(pieces)]
}

prop_compose! {
    fn answers()(
        status in 100..1000_u16,
        lines in proptest::collection::vec(("[a-z][a-z-]{0,12}", value()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        encoded in proptest::collection::vec(
            (0..3_usize, proptest::option::of(value()), proptest::collection::vec(any::<u8>(), 0..80)), 0..4),
        created in 0..(1_u64 << 45),
        took in 0..(1_u64 << 45),
    ) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
            encoded: encoded.into_iter().map(|(which, etag, body)| EncodedBody {
                encoding: Encoding::ALL[which],
                etag: etag.filter(|etag| !etag.is_empty()),
                body: body.into(),
            }).collect(),
            created: UNIX_EPOCH + Duration::from_millis(created),
            took: Duration::from_micros(took),
        }
    }
}

prop_compose! {
    fn heads()(names in proptest::collection::vec(".{1,10}", 1..5), dynamic in 0..3_usize) -> Head {
        let split = names.len().saturating_sub(dynamic).max(1);
        Head {
            key: names[0].as_str().into(),
            tags: names[1..split].iter().map(|name| name.as_str().into()).collect(),
            dynamic: names[split..].iter().map(|name| name.as_str().into()).collect(),
        }
    }
}

type Facts = (
    u16,
    HeaderMap,
    Bytes,
    Vec<(Encoding, Option<HeaderValue>, Bytes)>,
    SystemTime,
    Duration,
);

fn facts(answer: &Answer) -> Facts {
    let encoded = answer.encoded.iter();
    (
        answer.status.as_u16(),
        answer.headers.clone(),
        answer.body.clone(),
        encoded
            .map(|one| (one.encoding, one.etag.clone(), one.body.clone()))
            .collect(),
        answer.created,
        answer.took,
    )
}

/// What a handler reads of a query: the values of each name, in their order.
fn read(query: &str) -> std::collections::BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let decode = |text: &str| -> Vec<u8> {
        percent_encoding::percent_decode(text.replace('+', " ").as_bytes()).collect()
    };
    let mut values = std::collections::BTreeMap::<_, Vec<_>>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        values.entry(decode(name)).or_default().push(decode(value));
    }
    values
}

fn normal(query: &str) -> (bool, Vec<Vec<u8>>) {
    let (ignored, mut pairs) = (IgnoredQuery::parse("-"), Vec::new());
    let there = normalise(Some(query), QueryRule::AllBut(&ignored), |pair| {
        pairs.push(pair.to_vec());
    });
    (there, pairs)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else_is(
        answer in answers(),
        head in heads(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let id = EntryId::of(b"fuzz");
        let bytes = codec::encode(id, &head, &answer, "/x");
        let whole = Bytes::from(bytes.clone());
        let back = codec::decode(id, &whole).unwrap();
        prop_assert_eq!(facts(&back), facts(&answer));
        prop_assert_eq!(Head::read(&whole).unwrap().0, head);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= flip;
        prop_assert!(codec::decode(id, &damaged.into()).is_none());
        prop_assert!(codec::decode(id, &whole.slice(..cut.index(bytes.len()))).is_none());
        prop_assert!(codec::decode(EntryId::of(b"other"), &whole).is_none());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), answer in answers(), head in heads(), at in any::<prop::sample::Index>()) {
        let id = EntryId::of(b"fuzz");
        prop_assert!(codec::decode(id, &bytes.clone().into()).is_none());
        let _ = codec::summary(&bytes);
        let _ = Head::read(&bytes);
        // Right up to some place, then anything.
        let mut mixed = codec::encode(id, &head, &answer, "/x");
        mixed.truncate(at.index(mixed.len()));
        mixed.extend_from_slice(&bytes);
        let _ = codec::summary(&mixed);
        let _ = Head::read(&mixed);
        let _ = codec::decode(id, &mixed.into());
    }

    #[test]
    fn queries_that_are_read_differently_never_share(
        one in "([ab]|%61|%26|%3D|\\+|%20|=|&|1|2){0,10}",
        other in "([ab]|%61|%26|%3D|\\+|%20|=|&|1|2){0,10}",
    ) {
        if normal(&one) == normal(&other) {
            prop_assert_eq!(read(&one), read(&other), "{} and {}", one, other);
        }
    }

    #[test]
    fn the_order_of_names_does_not_split(mut pairs in proptest::collection::vec(("[a-d]", "[0-9]{0,2}"), 0..6)) {
        let joined = |pairs: &[(String, String)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs.join("&")
        };
        let one = joined(&pairs);
        pairs.sort_by(|(one, _), (other, _)| other.cmp(one));
        prop_assert_eq!(normal(&one), normal(&joined(&pairs)));
    }

    #[test]
    fn a_range_is_inside_the_body(value in any_of(RANGES), length in 0..1000_usize) {
        if let Wanted::Part(part) = range::read(value.as_bytes(), length) {
            prop_assert!(part.start < part.end && part.end <= length, "{part:?} of {length}");
        }
    }

    #[test]
    fn an_encoding_is_one_that_is_stored_and_not_refused(
        lines in proptest::collection::vec(any_of(CODINGS), 0..3),
        stored in proptest::sample::subsequence(Encoding::ALL.to_vec(), 0..=3),
    ) {
        if let Some(chosen) = accept_encoding::choose(lines.iter(), stored.iter().copied()) {
            prop_assert!(stored.contains(&chosen));
            let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b","].concat()).collect();
            let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
            prop_assert!(text.contains(chosen.name()) || text.contains('*'), "{chosen:?} for {text}");
        }
    }

    #[test]
    fn a_listed_tag_is_found_whatever_stands_beside_it(
        before in "[a-z \t]{0,5}",
        others in proptest::collection::vec("\"[a-z,]{0,4}\"", 0..3),
        tag in "\"[A-Z]{1,5}\"",
    ) {
        let mut members = others.clone();
        members.insert(others.len() / 2, tag.clone());
        members.insert(0, before);
        let line = HeaderValue::from_str(&members.join(", ")).unwrap();
        let current = etag::Tag::parse(tag.as_bytes());
        prop_assert!(etag::names([&line].into_iter(), current, etag::Comparison::Strong), "{line:?}");
        let absent = etag::Tag::parse(b"\"0\"");
        prop_assert!(!etag::names([&line].into_iter(), absent, etag::Comparison::Weak), "{line:?}");
    }

    #[test]
    fn conditions_never_panic_and_parts_are_inside(
        matches in proptest::option::of(any_of(TAGS)),
        none_match in proptest::option::of(any_of(TAGS)),
        modified_since in proptest::option::of(any_of(DATES)),
        unmodified_since in proptest::option::of(any_of(DATES)),
        if_range in proptest::option::of(prop_oneof![any_of(TAGS), any_of(DATES)]),
        range in proptest::option::of(any_of(RANGES)),
        tag in proptest::option::of(any_of(TAGS)),
        modified in proptest::option::of(any_of(DATES)),
        is_head in any::<bool>(),
        length in 0..200_usize,
    ) {
        let map = |lines: Vec<(HeaderName, Option<HeaderValue>)>| {
            lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<HeaderMap>()
        };
        let asked = map(vec![
            (header::IF_MATCH, matches),
            (header::IF_NONE_MATCH, none_match),
            (header::IF_MODIFIED_SINCE, modified_since),
            (header::IF_UNMODIFIED_SINCE, unmodified_since),
            (header::IF_RANGE, if_range),
            (header::RANGE, range),
        ]);
        let headers = map(vec![(header::ETAG, tag), (header::LAST_MODIFIED, modified)]);
        let selected = Selected { headers: &headers, length, created: UNIX_EPOCH, is_head };
        match judge(&Wants::of(&asked), selected) {
            Verdict::Part(part) => {
                prop_assert!(part.start < part.end && part.end <= length && !is_head);
                prop_assert!(asked.contains_key(header::RANGE));
            }
            Verdict::Unsatisfiable => prop_assert!(asked.contains_key(header::RANGE) && !is_head),
            Verdict::PreconditionFailed => prop_assert!(
                asked.contains_key(header::IF_MATCH) || asked.contains_key(header::IF_UNMODIFIED_SINCE)
            ),
            Verdict::NotModified => prop_assert!(
                asked.contains_key(header::IF_NONE_MATCH) || asked.contains_key(header::IF_MODIFIED_SINCE)
            ),
            Verdict::Whole => {}
        }
    }

    #[test]
    fn one_spelling_of_a_language_list_is_its_own(line in any_of(LANGUAGES)) {
        if let Some(text) = accept_language::canonical([&line].into_iter()) {
            let again = HeaderValue::from_bytes(&text).unwrap();
            prop_assert_eq!(accept_language::canonical([&again].into_iter()), Some(text));
        }
    }

    #[test]
    fn what_is_added_to_vary_is_there_and_a_star_is_never_covered(lines in proptest::collection::vec(any_of(NAMES), 0..3)) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            headers.append(header::VARY, line.clone());
        }
        let declared = ["accept", "accept-language", "cookie"];
        let star = lines.iter().any(|line| {
            line.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*")
        });
        prop_assert!(!(star && vary::is_covered(&headers, &declared)));
        vary::add(&mut headers, declared.into_iter());
        for name in declared {
            let is_named = headers.get_all(header::VARY).iter().any(|line| {
                line.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(name))
            });
            prop_assert!(is_named, "{name} in {headers:?}");
        }
    }

    #[test]
    fn any_key_can_be_shown(key in any::<String>()) {
        let mut headers = HeaderMap::new();
        headers.insert(cache_status::NAME, HeaderValue::from_static("smart-cache; hit"));
        cache_status::add_key(&mut headers, &key);
        let line = headers[cache_status::NAME].to_str().unwrap();
        let quoted = line.strip_prefix("smart-cache; hit; key=\"").and_then(|rest| rest.strip_suffix('"'));
        let mut escaped = false;
        for byte in quoted.unwrap().bytes() {
            prop_assert!(escaped || byte != b'"', "{line}");
            escaped = !escaped && byte == b'\\';
        }
        prop_assert!(!escaped);
    }

    #[test]
    fn an_answer_that_forbids_storing_is_refused_however_that_is_written(
        lines in proptest::collection::vec(any_of(CONTROLS), 0..4),
    ) {
        let rules = Rules {
            status: Listed::Static(&[]),
            vary: Listed::Static(&[]),
            max_body: 0,
            encodings: Encodings::of(&[]),
            encode_from: 0,
            honour_freshness: false,
        };
        let forbidding = ["private", "no-store", "no-cache"];
        let (mut headers, mut texts) = (HeaderMap::new(), Vec::new());
        for line in lines {
            texts.push(String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase());
            headers.append(header::CACHE_CONTROL, line);
        }
        let verdict = policy::response(StatusCode::OK, &headers, &rules, &[]);
        let is_forbidden = texts.iter().flat_map(|text| text.split(',')).any(|directive| {
            let name = directive.split(['=', ';']).next().unwrap_or_default().trim();
            forbidding.contains(&name)
        });
        if is_forbidden {
            prop_assert_eq!(verdict, Err(Bypass::CacheControl));
        }
        let is_innocent = texts.iter().all(|text| {
            text.is_ascii() && !forbidding.iter().any(|name| text.contains(name))
        });
        if is_innocent {
            prop_assert_eq!(verdict, Ok(()));
        }
    }

    #[test]
    fn nothing_of_one_connection_is_left_and_everything_else_is(
        lines in proptest::collection::vec(shuffled(HOPS), 0..3),
        hops in proptest::sample::subsequence(OF_ONE_CONNECTION[1..].to_vec(), 0..=7),
        others in proptest::sample::subsequence(OF_THE_ANSWER.to_vec(), 0..=4),
    ) {
        let (mut headers, mut named) = (HeaderMap::new(), Vec::<String>::new());
        for line in lines {
            let text = line.to_str().unwrap().to_ascii_lowercase();
            named.extend(text.split(',').map(|name| name.trim().to_owned()));
            headers.append(header::CONNECTION, line);
        }
        for name in hops.iter().chain(&others).copied() {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        hop_by_hop::strip(&mut headers);
        for name in OF_ONE_CONNECTION {
            prop_assert!(!headers.contains_key(*name), "{name} in {headers:?}");
        }
        for name in others {
            let is_named = named.iter().any(|hop| hop == name);
            prop_assert_eq!(headers.contains_key(name), !is_named);
        }
    }
}
