//! Schedule 12: tags that are known only once the handler has run.

use std::sync::Arc;
use std::time::Duration;

use smart_cache::Target;
use smart_cache::backend::{Lookup, Stored, Ticket};

use super::on_each_backend;
use super::stage::{Settings, Stage, Subject, page, tagged, tags};

on_each_backend![
    an_unknown_tag_is_refused_once_and_then_accepted,
    a_clear_after_the_handler_kills_the_entry,
    a_clear_before_the_handler_is_no_obstacle_to_the_refill,
    a_clear_during_the_handler_refuses_the_store,
    a_clear_during_the_refill_refuses_the_store,
    the_dead_entry_tells_its_tags,
    a_tag_that_the_ticket_did_not_foresee_is_refused_once,
    a_list_that_changes_depends_on_its_newest_members_only,
    one_missing_tag_of_many_is_enough_to_miss,
    a_young_found_tag_settles,
    found_tags_and_declared_tags_are_the_same_tokens,
    a_ticket_of_a_list_whose_tag_fell_is_not_filled,
    a_ticket_of_another_list_is_not_told_of_an_entry_whose_tag_fell,
];

async fn fill_with(backend: &Subject, target: &Target, body: &str, found: &[Arc<str>]) -> Stored {
    let lease = backend.lead_with(target, found).await;
    backend.store_with(target, &lease, body, None, found).await
}

async fn an_unknown_tag_is_refused_once_and_then_accepted(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["product:1"]));
    let lease = backend.lead(&list).await;
    let stored = backend.store_with(&list, &lease, "one", None, &found).await;
    assert_eq!(stored, Stored::YoungTag);
    assert_eq!(backend.served(&list).await, None);
    let lease = backend.lead(&list).await;
    let stored = backend.store_with(&list, &lease, "two", None, &found).await;
    assert_eq!(stored, Stored::Landed(None));
    assert_eq!(backend.served(&list).await.as_deref(), Some("two"));
}

async fn a_clear_after_the_handler_kills_the_entry(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a", "b"]));
    for tag in ["a", "b"] {
        let stored = fill_with(&backend, &list, "list", &found).await;
        assert_eq!(stored, Stored::Landed(None));
        assert_eq!(backend.served(&list).await.as_deref(), Some("list"));
        backend.clear(&[tag]).await;
        assert_eq!(backend.served(&list).await, None, "{tag} was cleared");
    }
}

async fn a_clear_before_the_handler_is_no_obstacle_to_the_refill(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a"]));
    fill_with(&backend, &list, "old", &found).await;
    backend.clear(&["a"]).await;
    let stored = fill_with(&backend, &list, "new", &found).await;
    assert_eq!(stored, Stored::Landed(None));
    assert_eq!(backend.served(&list).await.as_deref(), Some("new"));
}

async fn a_clear_during_the_handler_refuses_the_store(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a"]));
    backend.lead(&page("a")).await;
    let lease = backend.lead(&list).await;
    backend.clear(&["a"]).await;
    let stored = backend.store_with(&list, &lease, "old", None, &found).await;
    assert_eq!(stored, Stored::YoungTag);
    assert_eq!(backend.served(&list).await, None);
}

async fn a_clear_during_the_refill_refuses_the_store(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a"]));
    fill_with(&backend, &list, "first", &found).await;
    backend.clear(&["a"]).await;
    let lease = backend.lead_with(&list, &found).await;
    backend.clear(&["a"]).await;
    // Another reader mints the token anew in between.
    backend.lead(&page("a")).await;
    let stored = backend
        .store_with(&list, &lease, "second", None, &found)
        .await;
    assert_eq!(stored, Stored::YoungTag);
    assert_eq!(backend.served(&list).await, None);
}

async fn the_dead_entry_tells_its_tags(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a", "b"]));
    fill_with(&backend, &list, "list", &found).await;
    backend.clear(&["b"]).await;
    let Lookup::Miss { digest, dynamic } = backend.lookup(&list).await.unwrap() else {
        panic!("a tag was cleared")
    };
    assert!(digest.is_some(), "the static tokens are all there");
    assert_eq!(dynamic, found);
}

async fn a_tag_that_the_ticket_did_not_foresee_is_refused_once(stage: Stage) {
    let (backend, list) = (stage.backend(), page("list"));
    let (old, new) = (tags(&["a"]), tags(&["a", "b"]));
    fill_with(&backend, &list, "old", &old).await;
    backend.clear(&["a"]).await;
    let lease = backend.lead_with(&list, &old).await;
    let stored = backend.store_with(&list, &lease, "new", None, &new).await;
    assert_eq!(stored, Stored::YoungTag);
    let lease = backend.lead_with(&list, &old).await;
    let stored = backend.store_with(&list, &lease, "new", None, &new).await;
    assert_eq!(stored, Stored::Landed(None));
    backend.clear(&["b"]).await;
    assert_eq!(backend.served(&list).await, None);
}

async fn a_list_that_changes_depends_on_its_newest_members_only(stage: Stage) {
    let (backend, list) = (stage.backend(), tagged("list", &["lists"]));
    let (old, new) = (tags(&["a"]), tags(&["b"]));
    fill_with(&backend, &list, "old", &old).await;
    backend.clear(&["lists"]).await;
    let stored = fill_with(&backend, &list, "new", &new).await;
    assert_eq!(stored, Stored::Landed(None));
    backend.clear(&["a"]).await;
    assert_eq!(backend.served(&list).await.as_deref(), Some("new"));
    backend.clear(&["b"]).await;
    assert_eq!(backend.served(&list).await, None);
}

async fn one_missing_tag_of_many_is_enough_to_miss(stage: Stage) {
    let (backend, list) = (stage.backend(), page("list"));
    let names: Vec<String> = (0..300).map(|at| format!("product:{at:03}")).collect();
    let found: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
    let stored = fill_with(&backend, &list, "all", &found).await;
    assert_eq!(stored, Stored::Landed(None));
    assert_eq!(backend.served(&list).await.as_deref(), Some("all"));
    backend.clear(&["product:299"]).await;
    assert_eq!(backend.served(&list).await, None);
}

async fn a_young_found_tag_settles(stage: Stage) {
    let settle = Duration::from_secs(3600);
    let backend = stage.with(&Settings {
        settle,
        ..Settings::default()
    });
    let stored = fill_with(&backend, &page("list"), "list", &tags(&["a"])).await;
    assert_eq!(stored, Stored::Landed(Some(settle)));
}

async fn found_tags_and_declared_tags_are_the_same_tokens(stage: Stage) {
    let backend = stage.backend();
    let (product, list, found) = (page("product:7"), page("list"), tags(&["product:7"]));
    backend.fill(&product, "seven").await;
    let stored = fill_with(&backend, &list, "list", &found).await;
    assert_eq!(stored, Stored::Landed(None));
    backend.clear(&["product:7"]).await;
    assert_eq!(backend.served(&product).await, None);
    assert_eq!(backend.served(&list).await, None);
}

async fn a_ticket_of_a_list_whose_tag_fell_is_not_filled(stage: Stage) {
    let (backend, list, found) = (stage.backend(), page("list"), tags(&["a"]));
    fill_with(&backend, &list, "old", &found).await;
    backend.clear(&["a"]).await;
    // Even one that does not name the tag must not hand out the dead entry.
    let lease = backend.lead(&list).await;
    backend.0.release(&list, &lease).await.unwrap();
    backend.lead_with(&list, &found).await;
}

/// Both tags were minted by one ticket. That must not make the token of one pass for the other's.
async fn a_ticket_of_another_list_is_not_told_of_an_entry_whose_tag_fell(stage: Stage) {
    let (backend, list) = (stage.backend(), page("list"));
    let (both, first, second) = (tags(&["a", "b"]), tags(&["a"]), tags(&["b"]));
    assert_eq!(
        fill_with(&backend, &list, "both", &both).await,
        Stored::Landed(None)
    );
    backend.clear(&["list"]).await;
    let lease = backend.lead_with(&list, &both).await;
    let stored = backend
        .store_with(&list, &lease, "old", None, &second)
        .await;
    assert_eq!(stored, Stored::Landed(None));
    backend.clear(&["b"]).await;
    assert_eq!(backend.served(&list).await, None);
    // Whoever saw an older entry, which depended on the other tag, asks with that one's list.
    let ticket = backend.ticket_with(&list, &first).await.unwrap();
    assert!(!matches!(ticket, Ticket::Filled(_)), "{ticket:?}");
}
