//! The scale program (`src/bin/scale`) in short: it runs, and says what it found.

use smart_cache_tests::harness::Program;

async fn scale(arguments: &[&str]) -> String {
    let program = Program::start(env!("CARGO_BIN_EXE_scale"), arguments, &[]);
    let (status, lines) = program.ended().await;
    let text = lines.join("\n");
    assert!(status.success(), "{text}");
    text
}

#[tokio::test]
async fn a_fleet_is_told_of_clears_and_stops_serving_what_was_cleared() {
    let text = scale(&[
        "fleet",
        "--processes",
        "3",
        "--clearers",
        "1",
        "--rate",
        "200",
        "--seconds",
        "2",
    ])
    .await;
    assert!(
        text.contains("still served after the acknowledgement"),
        "{text}"
    );
}

#[tokio::test]
async fn a_namespace_fills_and_is_cleared_and_swept_whole() {
    let text = scale(&[
        "keys",
        "--entries",
        "1500",
        "--body",
        "64",
        "--lookups",
        "300",
    ])
    .await;
    for what in ["at a thousand", "at all of them", "clear of the tag of all"] {
        assert!(text.contains(what), "{text}");
    }
    let swept = |which: &str| {
        let line = text.lines().find(|line| line.contains(which));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(swept("sweep, all alive").contains(" 0 removed"), "{text}");
    assert!(swept("sweep, all dead").contains(" 1500 removed"), "{text}");
}

#[tokio::test]
async fn tags_do_not_accumulate_in_an_entry_nor_in_redis() {
    let text = scale(&["tags", "--tags", "400", "--at-once", "20"]).await;
    assert!(text.contains("tokens behind it"), "{text}");
}
