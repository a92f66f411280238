//! What an answer varies on is told apart here and by every cache further out.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get as on_get;
use http::HeaderMap;
use smart_cache::smart_cache;
use smart_cache_tests::harness::{Gate, Log};

use super::{get, header, serve};
use crate::road::{HIT, STORED, every_kind, in_memory, stored};

#[smart_cache("greeting:{id}", vary("accept-language"))]
async fn greeting(
    State(gate): State<Gate>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> String {
    gate.pass().await;
    format!("{id} {:?}", headers.get("accept-language"))
}

/// Names one of its two headers by itself.
#[smart_cache("both:{id}", vary("accept-language", "x-theme"))]
async fn both(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("vary", "X-Theme")], id.to_string())
}

#[smart_cache("surprise:{id}", vary("accept-language"))]
async fn surprise(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("vary", "Accept-Language, X-Surprise")], id.to_string())
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/greeting/{id}", on_get(greeting))
        .route("/both/{id}", on_get(both))
        .route("/surprise/{id}", on_get(surprise))
        .with_state(gate.clone())
}

#[tokio::test]
async fn spellings_of_one_language_share_an_answer_and_languages_do_not() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let mut stores = 0;
        for (language, expected) in [
            ("de-DE,de;q=0.9", STORED),
            ("DE-de, de; q=0.9", HIT),
            ("de;q=0.90 , de-de", HIT),
            ("de-DE,de;q=0.8", STORED),
            ("de-DE,de;q=0", STORED),
            ("de-DE", STORED),
            ("", STORED),
            ("de;q=nonsense", STORED),
            ("DE;q=nonsense", STORED),
            ("de;q=nonsense", HIT),
        ] {
            let answer = get(&served, "/greeting/1", &[("accept-language", language)]).await;
            assert_eq!(header(&answer, "cache-status"), expected, "{language}");
            stores += u64::from(expected == STORED);
            stored(&cache, stores).await;
        }
        let absent = get(&served, "/greeting/1", &[]).await;
        assert_eq!(
            header(&absent, "cache-status"),
            STORED,
            "absent is not empty"
        );
    }
}

#[tokio::test]
async fn caches_further_out_are_told_what_the_variant_holds() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for expected in [STORED, HIT] {
        let answer = get(&served, "/greeting/1", &[]).await;
        assert_eq!(
            (header(&answer, "cache-status"), header(&answer, "vary")),
            (expected, "accept-language")
        );
        let answer = get(&served, "/both/1", &[]).await;
        let lines: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert_eq!(lines, ["X-Theme", "accept-language"]);
        stored(&cache, 2).await;
    }
    let tag = header(&get(&served, "/greeting/1", &[]).await, "etag").to_owned();
    let same = get(&served, "/greeting/1", &[("if-none-match", &tag)]).await;
    assert_eq!(
        (super::code(&same), header(&same, "vary")),
        (304, "accept-language")
    );
}

#[tokio::test]
async fn an_answer_that_varies_on_something_else_is_not_stored_and_the_log_says_the_word_once() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let (log, _guard) = Log::of_this_thread();
    for _ in 0..3 {
        let answer = get(&served, "/surprise/1", &[]).await;
        assert_eq!(
            header(&answer, "cache-status"),
            "smart-cache; fwd=bypass; detail=vary"
        );
        assert_eq!(header(&answer, "vary"), "Accept-Language, X-Surprise");
    }
    let text = log.text();
    let told: Vec<_> = text.lines().filter(|line| line.contains("vary(")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("vary(\"accept-language\", \"x-surprise\")"),
        "{told:?}"
    );
    assert!(told[0].contains("surprise"), "{told:?}");
}
