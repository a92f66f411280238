//! Encoded bodies are made once, when an answer is stored, and chosen by what a request accepts.

use std::io::Read as _;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get as on_get;
use bytes::Bytes;
use http::{Method, Response};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{Gate, Served, eventually};
use tower_http::compression::CompressionLayer;

use super::{ask, code, get, header, serve};
use crate::road::{HIT, STORED, every_kind, in_memory, memory, stored};

/// Text that compresses, of this many lines.
fn text_of(lines: u64) -> String {
    (0..lines)
        .map(|line| format!("line {line} of {lines}: the quick brown fox\n"))
        .collect()
}

#[smart_cache("text:{lines}", encodings("zstd", "br", "gzip"))]
async fn text(State(gate): State<Gate>, Path(lines): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("x-own", "1")], text_of(lines))
}

#[smart_cache("gzip-first:{lines}", encodings("gzip", "br"), max_body = "64KiB")]
async fn gzip_first(State(gate): State<Gate>, Path(lines): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("etag", "W/\"v1\"")], text_of(lines))
}

/// What the cache keeps by default.
#[smart_cache("usual:{lines}")]
async fn usual(State(gate): State<Gate>, Path(lines): Path<u64>) -> String {
    gate.pass().await;
    text_of(lines)
}

/// Not even what the cache keeps by default.
#[smart_cache("never:{lines}", encodings())]
async fn never(State(gate): State<Gate>, Path(lines): Path<u64>) -> String {
    gate.pass().await;
    text_of(lines)
}

/// Text that may not be encoded, for one reason or another.
#[smart_cache("kind:{kind}", encodings("gzip"))]
async fn kind(State(gate): State<Gate>, Path(kind): Path<String>) -> impl IntoResponse {
    gate.pass().await;
    let header = match kind.as_str() {
        "picture" => ("content-type", "image/png"),
        "untouched" => ("cache-control", "no-transform, max-age=5"),
        "encoded" => ("content-encoding", "x-own"),
        _ => ("x-kind", "text"),
    };
    ([header], text_of(100))
}

/// Bytes that no encoder makes fewer.
#[smart_cache("noise:{id}", encodings("gzip", "br", "zstd"))]
async fn noise(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    let mut random = smart_cache_tests::harness::Random::seeded(id);
    let bytes: Vec<u8> = (0..4096).map(|_| random.below(256) as u8).collect();
    ([("content-type", "text/plain")], bytes)
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/text/{lines}", on_get(text))
        .route("/gzip-first/{lines}", on_get(gzip_first))
        .route("/usual/{lines}", on_get(usual))
        .route("/never/{lines}", on_get(never))
        .route("/kind/{kind}", on_get(kind))
        .route("/noise/{id}", on_get(noise))
        .with_state(gate.clone())
}

/// The answer that a client reads.
fn decoded(answer: &Response<Bytes>) -> Vec<u8> {
    let body = &answer.body()[..];
    let mut out = Vec::new();
    match answer
        .headers()
        .get("content-encoding")
        .map(http::HeaderValue::as_bytes)
    {
        None => out.extend_from_slice(body),
        Some(b"zstd") => out = zstd::decode_all(body).unwrap(),
        Some(b"br") => {
            brotli::BrotliDecompress(&mut &*body, &mut out).unwrap();
        }
        Some(b"gzip") => {
            flate2::read::GzDecoder::new(body)
                .read_to_end(&mut out)
                .unwrap();
        }
        Some(other) => panic!("unknown encoding {other:?}"),
    }
    out
}

fn encoding(answer: &Response<Bytes>) -> &str {
    answer
        .headers()
        .get("content-encoding")
        .map_or("-", |name| name.to_str().unwrap())
}

/// Asks once, and waits until that is stored.
async fn filled(served: &Served, cache: &SmartCache, path: &str) -> Response<Bytes> {
    let before = cache.stats().stored;
    let first = get(served, path, &[("accept-encoding", "br, gzip, zstd")]).await;
    assert_eq!(header(&first, "cache-status"), STORED);
    stored(cache, before + 1).await;
    first
}

#[tokio::test]
async fn a_hit_is_sent_in_the_encoding_that_is_wanted_most() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let first = filled(&served, &cache, "/text/200").await;
        let plain = text_of(200).into_bytes();
        assert_eq!((encoding(&first), &first.body()[..]), ("-", &plain[..]));
        let mut tags = vec![header(&first, "etag").to_owned()];
        for (accept, expected) in [
            (None, "-"),
            (Some(""), "-"),
            (Some("gzip, deflate, br, zstd"), "zstd"),
            (Some("gzip, deflate, br"), "br"),
            (Some("gzip;q=1.0, br;q=0.9"), "gzip"),
            (Some("br;q=0, gzip"), "gzip"),
            (Some("*"), "zstd"),
            (Some("zstd;q=0, *;q=0.1"), "br"),
            (Some("identity, br;q=0.5"), "-"),
            (Some("identity;q=0"), "-"),
            (Some("identity;q=0, gzip"), "gzip"),
            (Some("deflate"), "-"),
            (Some("gzip;q=nonsense"), "-"),
        ] {
            for _ in 0..2 {
                let wanted: Vec<_> = accept
                    .iter()
                    .map(|accept| ("accept-encoding", *accept))
                    .collect();
                let hit = get(&served, "/text/200", &wanted).await;
                assert_eq!(
                    (encoding(&hit), header(&hit, "cache-status")),
                    (expected, HIT),
                    "{accept:?}"
                );
                assert_eq!(decoded(&hit), plain);
                assert_eq!(header(&hit, "content-length"), hit.body().len().to_string());
                assert_eq!(
                    (header(&hit, "vary"), header(&hit, "x-own")),
                    ("accept-encoding", "1")
                );
                tags.push(header(&hit, "etag").to_owned());
            }
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 4, "a tag for each encoding: {tags:?}");
        assert!(
            tags.iter().all(|tag| tag.starts_with('"')),
            "all are strong"
        );
        assert_eq!(gate.runs(), 1);
    }
}

#[tokio::test]
async fn conditions_and_ranges_are_about_the_encoding_that_is_chosen() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let first = filled(&served, &cache, "/text/200").await;
        let gzip = ("accept-encoding", "gzip");
        let whole = get(&served, "/text/200", &[gzip]).await;
        let (plain_tag, tag) = (header(&first, "etag"), header(&whole, "etag"));
        let same = get(&served, "/text/200", &[gzip, ("if-none-match", tag)]).await;
        assert_eq!(
            (code(&same), header(&same, "etag"), header(&same, "vary")),
            (304, tag, "accept-encoding")
        );
        assert_eq!(encoding(&same), "-", "a 304 says nothing of the content");
        let other = get(&served, "/text/200", &[gzip, ("if-none-match", plain_tag)]).await;
        assert_eq!((code(&other), encoding(&other)), (200, "gzip"));
        let plain = get(&served, "/text/200", &[("if-none-match", tag)]).await;
        assert_eq!((code(&plain), encoding(&plain)), (200, "-"));

        let part = get(
            &served,
            "/text/200",
            &[gzip, ("range", "bytes=10-19"), ("if-range", tag)],
        )
        .await;
        assert_eq!((code(&part), encoding(&part)), (206, "gzip"));
        assert_eq!(part.body(), &whole.body().slice(10..20));
        let range = format!("bytes 10-19/{}", whole.body().len());
        assert_eq!(
            (header(&part, "content-range"), header(&part, "etag")),
            (&*range, tag)
        );
        let stale = [gzip, ("range", "bytes=10-19"), ("if-range", plain_tag)];
        assert_eq!(code(&get(&served, "/text/200", &stale).await), 200);

        let head = ask(&served, Method::HEAD, "/text/200", &[gzip]).await;
        assert_eq!(
            (encoding(&head), header(&head, "content-length")),
            ("gzip", &*whole.body().len().to_string())
        );
        assert_eq!(gate.runs(), 1);
    }
}

#[tokio::test]
async fn the_servers_order_decides_and_the_handlers_tag_gets_a_suffix() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    filled(&served, &cache, "/gzip-first/100").await;
    let hit = get(
        &served,
        "/gzip-first/100",
        &[("accept-encoding", "br, gzip, zstd")],
    )
    .await;
    assert_eq!(encoding(&hit), "gzip");
    assert!(header(&hit, "etag").starts_with("W/\"v1-gzip-"), "{hit:?}");
    let plain = get(&served, "/gzip-first/100", &[("accept-encoding", "zstd")]).await;
    assert_eq!(
        (encoding(&plain), header(&plain, "etag")),
        ("-", "W/\"v1\"")
    );
}

#[tokio::test]
async fn the_caches_encodings_are_for_handlers_that_say_nothing() {
    let builder = memory().encodings("br , gzip").encode_from(2000);
    let (cache, gate) = (builder.build().await.unwrap(), Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let accept = [("accept-encoding", "zstd, br, gzip")];
    for (path, expected) in [
        ("/usual/100", "br"),
        // Under the length from which it pays.
        ("/usual/20", "-"),
        ("/never/100", "-"),
        ("/text/100", "zstd"),
    ] {
        filled(&served, &cache, path).await;
        let hit = get(&served, path, &accept).await;
        assert_eq!(encoding(&hit), expected, "{path}");
        assert_eq!(
            hit.headers().contains_key("vary"),
            expected != "-",
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_encoded_or_does_not_get_shorter_stays_as_it_is() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let accept = [("accept-encoding", "gzip, br, zstd")];
    for (path, expected) in [
        ("/kind/text", "gzip"),
        ("/kind/picture", "-"),
        ("/kind/untouched", "-"),
        ("/kind/encoded", "x-own"),
        ("/noise/1", "-"),
        ("/text/25", "-"),
        ("/text/40", "zstd"),
    ] {
        let first = filled(&served, &cache, path).await;
        let hit = get(&served, path, &accept).await;
        assert_eq!(
            (encoding(&hit), header(&hit, "cache-status")),
            (expected, HIT),
            "{path}"
        );
        if matches!(expected, "-" | "x-own") {
            assert_eq!(hit.body(), first.body());
        }
    }
}

#[tokio::test]
async fn all_bodies_together_keep_within_max_body() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    // 62 KB of text: with both encodings it would be more than 64 KiB.
    let lines = 1600;
    assert!(
        (61_000..65_000).contains(&text_of(lines).len()),
        "{}",
        text_of(lines).len()
    );
    filled(&served, &cache, &format!("/gzip-first/{lines}")).await;
    let bytes = cache.stats().stored_bytes;
    assert!(bytes < (64 << 10) + 500, "{bytes}");
}

#[tokio::test]
async fn encoded_bodies_weigh_in_the_local_tier() {
    let (caches, _server) = every_kind().await;
    let near = &caches[2];
    let gate = Gate::opened();
    let served = serve(app(&gate), near).await;
    filled(&served, near, "/text/2000").await;
    let weight = eventually("an entry in the local tier", async || {
        get(&served, "/text/2000", &[]).await;
        let local = near.stats().local.map(|local| local.bytes);
        local.filter(|bytes| *bytes > 0)
    })
    .await;
    let mut bodies = text_of(2000).len();
    for name in ["zstd", "br", "gzip"] {
        let hit = get(&served, "/text/2000", &[("accept-encoding", name)]).await;
        assert_eq!(encoding(&hit), name);
        bodies += hit.body().len();
    }
    let bodies = bodies as u64;
    assert!(
        (bodies..bodies + 10_000).contains(&weight),
        "{weight} for {bodies}"
    );
}

#[tokio::test]
async fn a_compression_layer_outside_does_not_encode_again() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate).layer(CompressionLayer::new()), &cache).await;
    let gzip = [("accept-encoding", "gzip")];
    let first = get(&served, "/text/300", &gzip).await;
    // The first answer is plain, so the layer has its say.
    assert_eq!(
        (encoding(&first), decoded(&first)),
        ("gzip", text_of(300).into_bytes())
    );
    stored(&cache, 1).await;
    let hit = get(&served, "/text/300", &gzip).await;
    assert_eq!(
        (encoding(&hit), header(&hit, "cache-status")),
        ("gzip", HIT)
    );
    assert_eq!(decoded(&hit), text_of(300).into_bytes(), "encoded once");
    assert_eq!(header(&hit, "content-length"), hit.body().len().to_string());
    let part = get(&served, "/text/300", &[gzip[0], ("range", "bytes=0-9")]).await;
    assert_eq!((code(&part), part.body().len()), (206, 10));
}
