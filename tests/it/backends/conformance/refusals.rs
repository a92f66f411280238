//! Schedule 1 and its neighbours: a clear outlaws every ticket and entry from before it.

use smart_cache::backend::Stored;

use super::on_each_backend;
use super::stage::{Stage, Subject, page, tagged};

on_each_backend![
    a_clear_of_the_key_refuses_the_ticket_from_before_it,
    a_clear_of_a_tag_refuses_the_ticket_from_before_it,
    a_clear_of_everything_refuses_the_ticket_from_before_it,
    a_clear_of_the_key_kills_the_entry,
    a_clear_of_a_tag_kills_the_entry,
    a_clear_of_everything_kills_the_entry,
    a_clear_of_something_else_leaves_the_entry,
    a_clear_is_exact,
    one_clear_takes_many_keys,
    a_clear_of_nothing_is_acknowledged,
    a_clear_of_the_same_key_twice_is_one,
    a_clear_during_the_handler_leaves_room_for_the_next,
    a_second_delivery_of_a_store_does_not_land,
    a_store_after_a_clear_and_a_new_fill_does_not_land,
    a_refused_store_spends_its_lease,
];

enum Wish {
    Keys(&'static [&'static str]),
    All,
}

impl Wish {
    async fn make(&self, backend: &Subject) {
        match self {
            Self::Keys(keys) => backend.clear(keys).await,
            Self::All => backend.0.clear_all().await.unwrap(),
        }
    }
}

async fn check_refuses_earlier_tickets(stage: Stage, wish: Wish) {
    let (backend, target) = (stage.backend(), tagged("k", &["t", "u"]));
    let lease = backend.lead(&target).await;
    wish.make(&backend).await;
    assert_eq!(backend.store(&target, &lease, "old").await, Stored::Cleared);
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn a_clear_of_the_key_refuses_the_ticket_from_before_it(stage: Stage) {
    check_refuses_earlier_tickets(stage, Wish::Keys(&["k"])).await;
}

async fn a_clear_of_a_tag_refuses_the_ticket_from_before_it(stage: Stage) {
    check_refuses_earlier_tickets(stage, Wish::Keys(&["u"])).await;
}

async fn a_clear_of_everything_refuses_the_ticket_from_before_it(stage: Stage) {
    check_refuses_earlier_tickets(stage, Wish::All).await;
}

async fn check_kills_the_entry(stage: Stage, wish: Wish) {
    let (backend, target) = (stage.backend(), tagged("k", &["t", "u"]));
    backend.fill(&target, "old").await;
    wish.make(&backend).await;
    assert_eq!(backend.served(&target).await, None);
    let lease = backend.lead(&target).await;
    assert_eq!(
        backend.served(&target).await,
        None,
        "new tokens revive nothing"
    );
    assert_eq!(
        backend.store(&target, &lease, "new").await,
        Stored::Landed(None)
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn a_clear_of_the_key_kills_the_entry(stage: Stage) {
    check_kills_the_entry(stage, Wish::Keys(&["k"])).await;
}

async fn a_clear_of_a_tag_kills_the_entry(stage: Stage) {
    check_kills_the_entry(stage, Wish::Keys(&["t"])).await;
}

async fn a_clear_of_everything_kills_the_entry(stage: Stage) {
    check_kills_the_entry(stage, Wish::All).await;
}

async fn a_clear_of_something_else_leaves_the_entry(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    backend.fill(&target, "stays").await;
    backend.clear(&["other", "K", "t ", "kt"]).await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("stays"));
}

async fn a_clear_is_exact(stage: Stage) {
    let backend = stage.backend();
    let longer = [page("article:10"), page("articles"), page("article:*")];
    for target in &longer {
        backend.fill(target, "stays").await;
    }
    backend
        .clear(&["article:1", "article", "*", "a?ticles"])
        .await;
    for target in &longer {
        assert_eq!(
            backend.served(target).await.as_deref(),
            Some("stays"),
            "{target:?}"
        );
    }
}

async fn one_clear_takes_many_keys(stage: Stage) {
    let backend = stage.backend();
    let names: Vec<String> = (0..200).map(|at| format!("k{at}")).collect();
    for name in &names {
        backend.fill(&page(name), "old").await;
    }
    backend.0.clear(&names).await.unwrap();
    for name in &names {
        assert_eq!(backend.served(&page(name)).await, None, "{name}");
    }
}

async fn a_clear_of_nothing_is_acknowledged(stage: Stage) {
    let backend = stage.backend();
    backend.0.clear(&[]).await.unwrap();
    backend.clear(&["never used"]).await;
    backend.0.clear_all().await.unwrap();
}

async fn a_clear_of_the_same_key_twice_is_one(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "old").await;
    backend.clear(&["k", "k"]).await;
    backend.clear(&["k"]).await;
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

/// The leader's lease is still there after the clear, but for another digest.
async fn a_clear_during_the_handler_leaves_room_for_the_next(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let old = backend.lead(&target).await;
    backend.clear(&["k"]).await;
    let new = backend.lead(&target).await;
    assert_ne!(old.digest, new.digest);
    assert_eq!(backend.store(&target, &old, "old").await, Stored::LeaseLost);
    assert_eq!(
        backend.store(&target, &new, "new").await,
        Stored::Landed(None)
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn a_second_delivery_of_a_store_does_not_land(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    assert_eq!(
        backend.store(&target, &lease, "first").await,
        Stored::Landed(None)
    );
    assert_eq!(
        backend.store(&target, &lease, "second").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("first"));
}

async fn a_store_after_a_clear_and_a_new_fill_does_not_land(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    backend.store(&target, &lease, "old").await;
    backend.clear(&["k"]).await;
    backend.fill(&target, "new").await;
    assert_eq!(
        backend.store(&target, &lease, "old again").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn a_refused_store_spends_its_lease(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    backend.clear(&["t"]).await;
    assert_eq!(backend.store(&target, &lease, "old").await, Stored::Cleared);
    assert_eq!(
        backend.store(&target, &lease, "old").await,
        Stored::LeaseLost
    );
    backend.lead(&target).await;
}
