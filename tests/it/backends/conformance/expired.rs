//! Soft clears: what was expired may be shown once more, what was cleared never.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use smart_cache::Target;
use smart_cache::backend::{Lease, Lookup, Stored, Ticket};
use smart_cache_tests::harness::{eventually, orders, orders_or_sample};

use super::on_own_backends;
use super::stage::{Settings, Stage, Subject, page, tagged, tags};

on_own_backends![
    an_expired_entry_is_stale_until_it_is_filled_again,
    what_was_read_before_an_expire_is_not_stored_after_it,
    a_clear_makes_an_expired_entry_gone,
    a_cleared_entry_is_not_brought_back_by_an_expire,
    a_tag_expires_its_entries_and_no_others,
    a_tag_that_was_found_expires_its_entries,
    a_clear_of_any_other_name_makes_an_expired_entry_gone,
    expiring_twice_is_expiring_once,
    expiring_what_is_not_there_is_nothing,
    an_expired_entry_tells_when,
    one_refresh_at_a_time,
    an_entry_with_a_time_to_live_does_not_outlive_it_by_being_expired,
    the_sweep_spares_what_was_only_expired,
    every_order_of_a_reader_an_expire_and_a_clear,
    many_orders_of_two_readers_an_expire_and_two_clears,
];

/// Stores of plain values clear instead, which is more than was asked for.
mod plain {
    #[tokio::test]
    async fn an_expire_is_a_clear_where_the_two_cannot_be_told_apart() {
        let stage = crate::backends::keyvalue::plain();
        let (backend, target) = (stage.backend(), super::tagged("k", &["t"]));
        backend.fill(&target, "old").await;
        let other = super::tagged("other", &["t"]);
        let lease = backend.lead(&other).await;
        backend.expire(&["t"]).await;
        assert_eq!(backend.served(&target).await, None);
        assert_eq!(backend.stale(&target).await, None);
        let late = backend.store(&other, &lease, "old").await;
        assert_eq!(late, super::Stored::Cleared);
        super::every_order_of_a_reader_an_expire_and_a_clear(stage).await;
    }
}

async fn an_expired_entry_is_stale_until_it_is_filled_again(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    backend.expire(&["k"]).await;
    assert_eq!(backend.served(&target).await, None);
    assert_eq!(backend.stale(&target).await.as_deref(), Some("old"));
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn what_was_read_before_an_expire_is_not_stored_after_it(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    backend.expire(&["k"]).await;
    assert_eq!(backend.store(&target, &lease, "old").await, Stored::Cleared);
    assert_eq!(backend.stale(&target).await, None);
}

async fn a_clear_makes_an_expired_entry_gone(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    backend.expire(&["k"]).await;
    backend.clear(&["k"]).await;
    assert_eq!(backend.stale(&target).await, None);
    // Minted anew, and still another token.
    backend.lead(&target).await;
    assert_eq!(backend.stale(&target).await, None);
}

async fn a_cleared_entry_is_not_brought_back_by_an_expire(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    backend.clear(&["t"]).await;
    backend.expire(&["k", "t"]).await;
    assert_eq!(backend.stale(&target).await, None);
    backend.lead(&target).await;
    backend.expire(&["k", "t"]).await;
    assert_eq!(backend.stale(&target).await, None);
}

async fn a_tag_expires_its_entries_and_no_others(stage: Stage) {
    let backend = stage.backend();
    let (one, two, other) = (
        tagged("one", &["t"]),
        tagged("two", &["a", "t"]),
        page("other"),
    );
    for target in [&one, &two, &other] {
        backend.fill(target, "old").await;
    }
    backend.expire(&["t"]).await;
    assert_eq!(backend.stale(&one).await.as_deref(), Some("old"));
    assert_eq!(backend.stale(&two).await.as_deref(), Some("old"));
    assert_eq!(backend.served(&other).await.as_deref(), Some("old"));
}

/// Stores with a tag that the handler found, which is minted by the ticket.
async fn fill_with(backend: &Subject, target: &Target, found: &[Arc<str>], body: &str) {
    let lease = backend.lead_with(target, found).await;
    let stored = backend.store_with(target, &lease, body, None, found).await;
    assert_eq!(stored, Stored::Landed(None));
}

async fn a_tag_that_was_found_expires_its_entries(stage: Stage) {
    let (target, found) = (tagged("k", &["t"]), tags(&["d", "e"]));
    for name in ["d", "k"] {
        let backend = stage.backend();
        fill_with(&backend, &target, &found, "old").await;
        backend.expire(&[name]).await;
        let Lookup::Stale(stale) = backend.lookup(&target).await.unwrap() else {
            panic!("{name} was expired")
        };
        assert_eq!(stale.dynamic, found);
        fill_with(&backend, &target, &found, "new").await;
        assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
    }
}

async fn a_clear_of_any_other_name_makes_an_expired_entry_gone(stage: Stage) {
    let (target, found) = (tagged("k", &["t"]), tags(&["d"]));
    for expired in ["k", "t", "d"] {
        for cleared in ["k", "t", "d"] {
            let backend = stage.backend();
            fill_with(&backend, &target, &found, "old").await;
            backend.expire(&[expired]).await;
            backend.clear(&[cleared]).await;
            assert_eq!(backend.stale(&target).await, None, "{expired} {cleared}");
            backend.lead_with(&target, &found).await;
            assert_eq!(backend.stale(&target).await, None, "{expired} {cleared}");
        }
        let backend = stage.backend();
        fill_with(&backend, &target, &found, "old").await;
        backend.expire(&[expired]).await;
        backend.0.clear_all().await.unwrap();
        assert_eq!(backend.stale(&target).await, None, "{expired} everything");
    }
}

async fn expiring_twice_is_expiring_once(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    backend.expire(&["k"]).await;
    backend.expire(&["k", "t"]).await;
    assert_eq!(backend.stale(&target).await.as_deref(), Some("old"));
    backend.fill(&target, "new").await;
    backend.expire(&["k"]).await;
    assert_eq!(backend.stale(&target).await.as_deref(), Some("new"));
}

async fn expiring_what_is_not_there_is_nothing(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.expire(&["k", "nothing"]).await;
    assert!(matches!(
        backend.lookup(&target).await.unwrap(),
        Lookup::Miss { digest: None, .. }
    ));
    backend.fill(&target, "body").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("body"));
}

async fn an_expired_entry_tells_when(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "old").await;
    // Stamps have microseconds.
    let before = SystemTime::now() - Duration::from_millis(1);
    backend.expire(&["k"]).await;
    let Lookup::Stale(stale) = backend.lookup(&target).await.unwrap() else {
        panic!("it was expired")
    };
    assert!(
        (before..=SystemTime::now() + Duration::from_millis(1)).contains(&stale.since),
        "{stale:?}"
    );
}

async fn one_refresh_at_a_time(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "old").await;
    backend.expire(&["k"]).await;
    let lease = backend.lead(&target).await;
    assert!(backend.is_busy(&target).await);
    assert_eq!(backend.stale(&target).await.as_deref(), Some("old"));
    assert_eq!(
        backend.store(&target, &lease, "new").await,
        Stored::Landed(None)
    );
    assert!(matches!(
        backend.ticket(&target).await.unwrap(),
        Ticket::Filled(_)
    ));
}

async fn an_entry_with_a_time_to_live_does_not_outlive_it_by_being_expired(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    let ttl = Duration::from_millis(60);
    backend
        .store_with(&target, &lease, "old", Some(ttl), &[])
        .await;
    backend.expire(&["k"]).await;
    eventually("its end", async || {
        backend.stale(&target).await.is_none().then_some(())
    })
    .await;
}

async fn the_sweep_spares_what_was_only_expired(stage: Stage) {
    let backend = stage.backend();
    let (spared, gone) = (page("k"), Target::new("k", &[], b"another"));
    fill_with(&backend, &spared, &tags(&["d"]), "old").await;
    fill_with(&backend, &gone, &tags(&["u"]), "old").await;
    backend.expire(&["k", "u"]).await;
    backend.clear(&["u"]).await;
    assert_eq!(backend.0.sweep().await.unwrap(), 1);
    assert_eq!(backend.stale(&spared).await.as_deref(), Some("old"));
}

/// What the database says, and the greatest versions that a clear and an expire have settled.
#[derive(Default)]
struct History {
    committed: AtomicU64,
    cleared: AtomicU64,
    expired: AtomicU64,
}

/// One reader's progress.
#[derive(Default)]
struct Reader {
    lease: Option<Lease>,
    read: u64,
    step: usize,
}

impl Reader {
    /// Lookup and ticket; read; store.
    async fn step(&mut self, backend: &Subject, target: &Target, history: &History) {
        match self.step {
            0 => {
                if let Ok(Ticket::Lead(lease)) = backend.ticket(target).await {
                    self.lease = Some(lease);
                }
            }
            1 => self.read = history.committed.load(Ordering::SeqCst),
            _ => {
                if let Some(lease) = self.lease.take() {
                    let body = self.read.to_string();
                    backend.store(target, &lease, &body).await;
                }
            }
        }
        self.step += 1;
        check(backend, target, history).await;
    }
}

/// Nothing of before a clear is shown in any way; nothing of before an expire as if it were new.
async fn check(backend: &Subject, target: &Target, history: &History) {
    let cleared = history.cleared.load(Ordering::SeqCst);
    let expired = history.expired.load(Ordering::SeqCst);
    let version = |body: String| body.parse::<u64>().unwrap();
    if let Some(shown) = backend.served(target).await.map(version) {
        assert!(shown >= cleared, "{shown} was cleared by {cleared}");
        assert!(shown >= expired, "{shown} was expired by {expired}");
    }
    if let Some(shown) = backend.stale(target).await.map(version) {
        assert!(
            shown >= cleared,
            "{shown} was cleared by {cleared}, and is shown"
        );
    }
}

/// Runs an order of readers (three steps each), then an expire and clears (commit, then the wish).
async fn enact(stage: &Stage, order: &[usize], readers: usize) {
    let settings = Settings::default();
    let (backend, target) = (stage.with(&settings), tagged("k", &["t"]));
    backend.fill(&target, "0").await;
    let history = History::default();
    let mut reading: Vec<Reader> = (0..readers).map(|_| Reader::default()).collect();
    let mut wishes = [None; 4];
    for actor in order {
        if let Some(reader) = reading.get_mut(*actor) {
            reader.step(&backend, &target, &history).await;
            continue;
        }
        let (writer, expires) = (*actor - readers, *actor == readers);
        match wishes[writer] {
            None => {
                wishes[writer] = Some(history.committed.fetch_add(1, Ordering::SeqCst) + 1);
            }
            Some(version) if expires => {
                backend.expire(&["t"]).await;
                history.expired.fetch_max(version, Ordering::SeqCst);
            }
            Some(version) => {
                backend.clear(&["k"]).await;
                history.cleared.fetch_max(version, Ordering::SeqCst);
            }
        }
        check(&backend, &target, &history).await;
    }
}

async fn every_order_of_a_reader_an_expire_and_a_clear(stage: Stage) {
    for order in orders(&[3, 2, 2]) {
        enact(&stage, &order, 1).await;
    }
}

async fn many_orders_of_two_readers_an_expire_and_two_clears(stage: Stage) {
    for order in orders_or_sample(&[3, 3, 2, 2, 2], 150, 7) {
        enact(&stage, &order, 2).await;
    }
}
