//! A key may hold anything: each is itself, exactly, and no other.

use super::on_each_backend;
use super::stage::{Stage, Subject, page, tagged};

on_each_backend![
    every_key_is_only_itself,
    every_tag_is_only_itself,
    a_key_that_looks_like_a_stored_name_is_only_a_key,
];

/// What applications put into keys, and what would betray a careless encoding.
fn nasty() -> Vec<String> {
    let long = "x".repeat(10_000);
    let mut names: Vec<String> = [
        "k",
        "K",
        " k",
        "k ",
        "k:",
        ":k",
        "k::",
        "a:b",
        "a b",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "\0",
        "k\0",
        "\u{1}",
        "\u{7f}",
        "*",
        "?",
        "[ab]",
        "[^a]",
        "k*",
        "\\",
        "\\*",
        "#",
        "##",
        "#k",
        "{}",
        "{k}",
        "}{",
        "{cache}:t:k",
        "\"",
        "'",
        "%",
        "%41",
        "A",
        "é",
        "e\u{301}",
        "ß",
        "ẞ",
        "日本語",
        "🦀",
        "👩‍👩‍👧",
        "שלום",
        "\u{202e}abc",
        "\u{feff}k",
        "!",
        "-",
        "$-1\r\n",
        "*1\r\n$8\r\nFLUSHALL\r\n",
        "t:k",
        "n:0:k",
        "clock",
    ]
    .map(str::to_owned)
    .into();
    // Long keys are stored by a hash; one that differs at the end is another key.
    names.push(format!("{long}y"));
    names.push(format!("{long}z"));
    names.push("x".repeat(512));
    names.push("x".repeat(513));
    names.push(long);
    names
}

async fn served(backend: &Subject, name: &str, is_tag: bool) -> Option<String> {
    backend.served(&target(name, is_tag)).await
}

fn target(name: &str, is_tag: bool) -> smart_cache::Target {
    if is_tag {
        tagged(&format!("page under {name}"), &[name])
    } else {
        page(name)
    }
}

async fn check_each_is_only_itself(backend: &Subject, is_tag: bool) {
    let names = nasty();
    for name in &names {
        backend.fill(&target(name, is_tag), name).await;
    }
    for name in &names {
        assert_eq!(
            served(backend, name, is_tag).await.as_ref(),
            Some(name),
            "every one is there"
        );
    }
    for (at, cleared) in names.iter().enumerate() {
        backend.clear(&[cleared]).await;
        assert_eq!(
            served(backend, cleared, is_tag).await,
            None,
            "{cleared:?} was cleared"
        );
        for name in &names[at + 1..] {
            assert_eq!(
                served(backend, name, is_tag).await.as_ref(),
                Some(name),
                "{cleared:?} was cleared, not {name:?}"
            );
        }
    }
}

async fn every_key_is_only_itself(stage: Stage) {
    check_each_is_only_itself(&stage.backend(), false).await;
}

async fn every_tag_is_only_itself(stage: Stage) {
    check_each_is_only_itself(&stage.backend(), true).await;
}

async fn a_key_that_looks_like_a_stored_name_is_only_a_key(stage: Stage) {
    let backend = stage.backend();
    let plain = page("k");
    backend.fill(&plain, "body").await;
    for name in ["", ":", "t:", "#", "e:0:k", "builds", "sweeper", "clock"] {
        if !name.is_empty() {
            backend.clear(&[name]).await;
            backend.fill(&page(name), "own").await;
        }
    }
    assert_eq!(backend.served(&plain).await.as_deref(), Some("body"));
}
